//! `GET /api/v1/audit`: entries, the newest first, page by page.
//!
//! Where the next page begins is said by a cursor. Who counts entries themselves gives `before` or `from`, the number of an
//! entry, and is answered a number; with `from`, entries come in the order of the log, for who follows it as it grows.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::super::super::Service;
use super::super::super::audit::{Answer, AuditError, Part, Places, answered};
use super::cursor::Cursor;
use super::parameters::{Parameters, malformed};
use super::wish::{names, wish};
use crate::ledger::{AuditLog, LARGEST_PAGE};
use crate::reading::{self, Question, Wish};

/// How many entries a page holds if nobody says.
const PAGE: usize = 50;

/// How often a page asks: a filter that hardly anything passes is asked for again, with the cursor.
const MOST_STEPS: usize = 20;

/// A page of entries.
pub(super) async fn list(
    request: HttpRequest,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = read(&request, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn read(request: &HttpRequest, service: &Service, places: &Places) -> Answer {
    service.audit_access.check(request, Part::Entries)?;
    let mut known = names(Question::List);
    known.push("cursor");
    let parameters = Parameters::read(request.query_string(), &known)?;
    let cursor = Cursor::read(&parameters)?;
    let asked_at = cursor.map_or_else(|| service.exchange.clock.now(), |cursor| cursor.asked_at);
    let mut wish = wish(Question::List, &parameters, asked_at)?;
    let by_number = wish.before.is_some() || wish.from.is_some();
    if let Some(Cursor { before, .. }) = cursor {
        if by_number {
            let message = "`cursor` excludes `before` and `from`: it says where the page begins";
            return Err(malformed(message.to_owned()));
        }
        wish.before = Some(before);
    }
    if parameters.text("limit").is_none() {
        wish.limit = PAGE;
    }
    let _place = places.for_a_search().await?;
    let (mut body, next) = page(&*service.log, wish).await?;
    let next = next.map(|next| {
        let cursor = Cursor {
            before: next,
            asked_at,
        };
        if by_number {
            next.to_string()
        } else {
            // What a cursor consists of needs no escaping.
            format!("\"{}\"", cursor.written(&parameters))
        }
    });
    if let Some(next) = next {
        body.extend(format!(",\"next\":{next}").bytes());
    }
    body.push(b'}');
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .content_type("application/json")
        .body(body))
}

/// The begin of the answer, with all of the entries, and at which entry the next page begins.
async fn page(log: &dyn AuditLog, mut wish: Wish) -> Result<(Vec<u8>, Option<u64>), AuditError> {
    let mut left = wish.limit;
    let mut body = b"{\"entries\":[".to_vec();
    let begin = body.len();
    let mut next = None;
    for _ in 0..MOST_STEPS {
        wish.limit = left;
        let some = reading::list(log, &wish).await?;
        left = left.saturating_sub(some.entries.len());
        for entry in &some.entries {
            if body.len() > begin {
                body.push(b',');
            }
            // A value that was read as JSON can be written as JSON.
            let _ = serde_json::to_writer(&mut body, entry);
        }
        next = some.next;
        wish.before = next;
        // Who follows the log gets what there is, and asks again.
        if next.is_none() || left == 0 || body.len() > LARGEST_PAGE || wish.from.is_some() {
            break;
        }
    }
    body.push(b']');
    Ok((body, next))
}
