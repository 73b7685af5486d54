//! `GET /api/v1/audit/export`: every entry of a filter, as one stream.

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, Stream};
use tokio::sync::OwnedSemaphorePermit;

use super::super::super::Service;
use super::super::super::audit::{Answer, Part, Places, answered};
use super::parameters::{Parameters, SHOWN, malformed};
use super::wish::{names, wish};
use crate::reading::{Export, ExportForm, Question, ReadingError};
use crate::text::printable;

/// How much is sent at once, in octets: what a client takes from us in one go says that it still reads.
const PIECE: usize = 64 * 1024;

/// The entries of a filter, the newest first.
pub(super) async fn export(
    request: HttpRequest,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = begin(&request, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn begin(request: &HttpRequest, service: &Data<Service>, places: &Places) -> Answer {
    service.audit_access.check(request, Part::Entries)?;
    let mut known = names(Question::List);
    known.retain(|name| !["limit", "before", "from"].contains(name));
    known.push("format");
    let parameters = Parameters::read(request.query_string(), &known)?;
    let (form, media_type, name) = match parameters.text("format") {
        None | Some("jsonl") => (ExportForm::JsonLines, "application/x-ndjson", "audit.jsonl"),
        Some("csv") => (ExportForm::Csv, "text/csv; charset=utf-8", "audit.csv"),
        Some(other) => {
            return Err(malformed(format!(
                "`format` cannot be `{}`: it is jsonl or csv",
                printable(other, SHOWN)
            )));
        }
    };
    let wish = wish(Question::List, &parameters, service.exchange.clock.now())?;
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ))
        .content_type(media_type);
    if request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let mut running = Running {
        service: service.clone(),
        export: Export::new(form, wish),
        rest: Bytes::new(),
        _place: places.for_an_export().await?,
    };
    // What fails at once is told; later on an answer can only break off.
    running.fill().await?;
    Ok(answer.streaming(pieces(running)))
}

/// An export, and the place that it takes as long as it runs.
struct Running {
    service: Data<Service>,
    export: Export,
    /// What was written and not sent yet.
    rest: Bytes,
    _place: OwnedSemaphorePermit,
}

impl Running {
    /// Sees to it that something is there to be sent, unless this is the end.
    async fn fill(&mut self) -> Result<(), ReadingError> {
        while self.rest.is_empty() {
            let Some(chunk) = self.export.next_chunk(&*self.service.log).await? else {
                return Ok(());
            };
            self.rest = chunk.into();
        }
        Ok(())
    }

    /// What is to be sent next; none at the end. Never an empty piece, which would end the stream.
    async fn piece(&mut self) -> Result<Option<Bytes>, ReadingError> {
        self.fill().await?;
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Ok((!piece.is_empty()).then_some(piece))
    }
}

fn pieces(running: Running) -> impl Stream<Item = Result<Bytes, ReadingError>> {
    stream::try_unfold(running, |mut running| async move {
        let piece = running.piece().await.inspect_err(|fault| {
            tracing::warn!(%fault, "an export broke off");
        });
        Ok(piece?.map(|piece| (piece, running)))
    })
}
