//! `POST /oauth/token` (RFC 8693): the form on the wire becomes an exchange, and its outcome an answer.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, USER_AGENT};
use actix_web::web::{Data, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, Span};

use super::super::Service;
use super::super::error::{RequestError, malformed, refused};
use super::super::failures::Client;
use super::super::log::Noted;
use super::form::{ACCESS_TOKEN, fault, read_form};
use crate::exchange::{Caller, ExchangeRequest, Issued};
use crate::metrics::Outcome;
use crate::telemetry::{self, Came, step};

/// The largest body that is read, in bytes.
const LARGEST_BODY: usize = 64 * 1024;

/// How much of a `User-Agent` is recorded, in characters.
const USER_AGENT_KEPT: usize = 200;

/// Exchanges a subject token for a project token.
pub(in crate::http) async fn token(
    request: &HttpRequest,
    payload: Payload,
    service: &Data<Service>,
    client: Client,
) -> HttpResponse {
    let span = telemetry::exchange(traceparent(request.headers()));
    asked(request, payload, service, client, &span)
        .instrument(span.clone())
        .await
}

/// The same within its `span`.
async fn asked(
    request: &HttpRequest,
    payload: Payload,
    service: &Data<Service>,
    client: Client,
    span: &Span,
) -> HttpResponse {
    let began = Instant::now();
    let read = read(request, payload, service, client);
    let (answer, reason, issuer) = match read.instrument(step!("read")).await {
        Err(error) => (malformed(request, &error), Some(error.reason()), None),
        Ok(exchange_request) => {
            let project = exchange_request.audience.clone();
            match service.exchange.run(exchange_request).await {
                Ok(issued) => {
                    let trusted = Some(issued.issuer.clone());
                    (answer(request, issued, project), None, trusted)
                }
                Err(refusal) => {
                    let answer = refused(request, &refusal, project);
                    (answer, Some(refusal.error.code()), refusal.issuer)
                }
            }
        }
    };
    let outcome = match answer.status() {
        status if status.is_success() => Outcome::Allowed,
        status if status.is_server_error() => Outcome::Failed,
        _ => Outcome::Denied,
    };
    let noted = request.extensions();
    let noted = noted.get::<Noted>();
    let came = Came {
        status: answer.status().as_u16(),
        outcome: outcome.code(),
        reason,
        issuer: issuer.as_deref(),
        decision_id: noted.and_then(|noted| noted.decision_id.as_deref()),
    };
    came.note_on(span);
    let metrics = &service.metrics.exchanges;
    metrics.finished(outcome, reason, issuer, began.elapsed());
    answer
}

/// The trace that this request belongs to, if it says so once.
fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all("traceparent");
    let first = given.next()?;
    if given.next().is_some() {
        return None;
    }
    first.to_str().ok()
}

/// RFC 8693, section 2.2.1.
#[derive(Serialize)]
struct Answer<'a> {
    access_token: String,
    audit_index: u64,
    decision_id: &'a str,
    expires_in: i64,
    issued_token_type: &'static str,
    scope: &'a str,
    token_type: &'static str,
}

fn answer(request: &HttpRequest, issued: Issued, project: String) -> HttpResponse {
    let decision_id = issued.decision_id.to_string();
    let response = HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(Answer {
            access_token: issued.token.into_text(),
            audit_index: issued.audit_index,
            decision_id: &decision_id,
            expires_in: issued.expires_in,
            issued_token_type: ACCESS_TOKEN,
            scope: &issued.scope,
            token_type: "Bearer",
        });
    request.extensions_mut().insert(Noted {
        reason: None,
        decision_id: Some(decision_id),
        project: Some(project),
        scope: Some(issued.scope),
        ..Noted::default()
    });
    response
}

async fn read(
    request: &HttpRequest,
    payload: Payload,
    service: &Service,
    client: Client,
) -> Result<ExchangeRequest, RequestError> {
    if !is_form(request.headers()) {
        return Err(fault(
            "the content type must be application/x-www-form-urlencoded",
        ));
    }
    let too_large = || fault("the body is larger than 64 KiB");
    if announced(request.headers()).is_some_and(|length| length > LARGEST_BODY) {
        return Err(too_large());
    }
    let whole = timeout(
        service.patience.body,
        payload.to_bytes_limited(LARGEST_BODY),
    );
    let body = match whole.await {
        Err(_) => return Err(fault("the body did not arrive in time")),
        Ok(Err(_)) => return Err(too_large()),
        Ok(Ok(Err(_))) => return Err(fault("the body ended before it was whole")),
        Ok(Ok(Ok(body))) => body,
    };
    let caller = caller(request, client);
    read_form(&body, &service.exchange.public_url, caller)
}

/// How long the body says that it is.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| {
        media_type
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

fn caller(request: &HttpRequest, client: Client) -> Caller {
    let user_agent = request
        .headers()
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok());
    Caller {
        address: client.address.map(|address| address.to_string()),
        user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_KEPT).collect()),
        fails_often: client.fails_often,
    }
}
