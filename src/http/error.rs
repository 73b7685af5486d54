//! The one table from a domain error to status, OAuth error and reason.

use std::future::{Ready, ready};

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde_json::json;

use super::Service;
use super::audit::{AuditError, TokenFault};
use super::errors::page_about;
use super::log::Noted;
use crate::clock::Seconds;
use crate::exchange::{ExchangeError, Refused};
use crate::text::describable;
use crate::trust::Refusal;

/// The longest `error_description`, in characters.
const LONGEST_DESCRIPTION: usize = 1000;

/// A request to `/oauth/token` that is not one, or one too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It lacks something, repeats something, or cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// It asks for another grant.
    #[error("grant_type must be urn:ietf:params:oauth:grant-type:token-exchange")]
    GrantTypeUnsupported,
    /// It names no project, or a resource that is none.
    #[error("{0}")]
    TargetMalformed(String),
    /// It failed, and so did too many others from its address.
    #[error(
        "this request failed, and so did too many others from the same address: why is told again in {0}, if fewer fail"
    )]
    RateLimited(Seconds),
}

impl RequestError {
    /// The reason that stands on the wire.
    pub fn reason(&self) -> &'static str {
        let Row(_, _, reason) = row_of_request(self);
        reason
    }
}

/// What stands on the wire for an error: the status, the `error` of RFC 6749 or RFC 8707, and our `reason`.
struct Row(StatusCode, &'static str, &'static str);

fn row_of_request(error: &RequestError) -> Row {
    match error {
        RequestError::Malformed(_) => Row(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "request-malformed",
        ),
        RequestError::GrantTypeUnsupported => Row(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "grant-type-unsupported",
        ),
        RequestError::TargetMalformed(_) => Row(
            StatusCode::BAD_REQUEST,
            "invalid_target",
            "target-malformed",
        ),
        RequestError::RateLimited(_) => Row(
            StatusCode::TOO_MANY_REQUESTS,
            "temporarily_unavailable",
            "rate-limited",
        ),
    }
}

fn row_of_exchange(error: &ExchangeError) -> Row {
    let reason = error.code();
    match error {
        ExchangeError::InvalidToken(_) | ExchangeError::Spent { .. } => {
            Row(StatusCode::BAD_REQUEST, "invalid_request", reason)
        }
        ExchangeError::NotGranted { refusal, .. } => match refusal {
            Refusal::NotTrusted => Row(StatusCode::BAD_REQUEST, "invalid_target", reason),
            Refusal::ScopeExceedsGrant { .. } => {
                Row(StatusCode::BAD_REQUEST, "invalid_scope", reason)
            }
            Refusal::IdentityChanged { .. }
            | Refusal::RelationshipExpired(_)
            | Refusal::DeniedByRule(_)
            | Refusal::ResourceNotAllowed(_) => {
                Row(StatusCode::BAD_REQUEST, "invalid_request", reason)
            }
        },
        ExchangeError::IssuerUnreachable { .. }
        | ExchangeError::Unavailable(_)
        | ExchangeError::Unsignable(_) => Row(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            reason,
        ),
    }
}

fn row_of_the_log(error: &AuditError) -> Row {
    let reason = error.code();
    match error {
        AuditError::QueryMalformed(_) => Row(StatusCode::BAD_REQUEST, "invalid_request", reason),
        // RFC 6750, section 3.1.
        AuditError::TokenRequired(_) => Row(StatusCode::UNAUTHORIZED, "invalid_token", reason),
        AuditError::NotThere(_) => Row(StatusCode::NOT_FOUND, "not_found", reason),
        AuditError::Busy | AuditError::Unavailable(_) | AuditError::Damaged(_) => Row(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            reason,
        ),
    }
}

/// The answer to a question about the log that gets none.
pub(super) fn of_the_log(request: &HttpRequest, error: &AuditError) -> HttpResponse {
    let row = row_of_the_log(error);
    let retry_after = match error {
        AuditError::Busy | AuditError::Unavailable(_) => Some(Seconds(5)),
        // Somebody must restore something first.
        AuditError::Damaged(_) => Some(Seconds(300)),
        AuditError::QueryMalformed(_) | AuditError::TokenRequired(_) | AuditError::NotThere(_) => {
            None
        }
    };
    let mut response = answer(request, &row, &error.to_string(), None, retry_after);
    if let AuditError::TokenRequired(fault) = error {
        let challenge = match fault {
            TokenFault::Wrong => "Bearer realm=\"audit\", error=\"invalid_token\"",
            TokenFault::NoneShown | TokenFault::NoneConfigured => "Bearer realm=\"audit\"",
        };
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    let mut extensions = request.extensions_mut();
    match (error, extensions.get_mut::<Noted>()) {
        (AuditError::Unavailable(fault), Some(noted)) => noted.fault = Some(fault.to_string()),
        (AuditError::Damaged(what), Some(noted)) => noted.fault = Some(what.clone()),
        // A slip of who reads is one like that of who asks for a path that is none.
        (AuditError::QueryMalformed(_) | AuditError::NotThere(_), _) => {
            extensions.remove::<Noted>();
        }
        _ => {}
    }
    response
}

/// The answer to a request that is not one.
pub(super) fn malformed(request: &HttpRequest, error: &RequestError) -> HttpResponse {
    answer(
        request,
        &row_of_request(error),
        &error.to_string(),
        None,
        None,
    )
}

/// The answer to a failure beyond the limit of its address, whatever failed. `retry_after` is when one is answered in
/// full again.
pub(super) fn rate_limited(
    request: &HttpRequest,
    retry_after: Seconds,
    decision_id: Option<String>,
) -> HttpResponse {
    let retry_after = retry_after.max(Seconds(1));
    let error = RequestError::RateLimited(retry_after);
    answer(
        request,
        &row_of_request(&error),
        &error.to_string(),
        decision_id,
        Some(retry_after),
    )
}

/// The answer to an exchange that was refused.
pub(super) fn refused(request: &HttpRequest, refused: &Refused, project: String) -> HttpResponse {
    let row = row_of_exchange(&refused.error);
    let decision = refused.decision_id.map(|id| id.to_string());
    let response = answer(
        request,
        &row,
        &refused.error.to_string(),
        decision,
        refused.error.retry_after(),
    );
    if let Some(noted) = request.extensions_mut().get_mut::<Noted>() {
        noted.project = Some(project);
        // What is behind a failure of ours is for the log; the caller learns that it will pass.
        if let ExchangeError::Unavailable(fault) = &refused.error {
            noted.fault = Some(fault.to_string());
        }
    }
    response
}

fn answer(
    request: &HttpRequest,
    Row(status, error, reason): &Row,
    description: &str,
    decision_id: Option<String>,
    retry_after: Option<Seconds>,
) -> HttpResponse {
    let mut body = json!({
        "error": error,
        "error_description": describable(description, LONGEST_DESCRIPTION),
        "reason": reason,
    });
    if let (Some(service), Some(members)) =
        (request.app_data::<Data<Service>>(), body.as_object_mut())
    {
        let page = page_about(&service.exchange.public_url, reason);
        members.insert("error_uri".to_owned(), json!(page));
    }
    if let (Some(id), Some(members)) = (&decision_id, body.as_object_mut()) {
        members.insert("decision_id".to_owned(), json!(id));
    }
    request.extensions_mut().insert(Noted {
        reason: Some(reason),
        decision_id,
        ..Noted::default()
    });
    let mut response = HttpResponse::build(*status);
    response.insert_header((CACHE_CONTROL, "no-store"));
    if let Some(span) = retry_after {
        response.insert_header((RETRY_AFTER, span.0.max(1)));
    }
    response.json(body)
}

/// The answer where the path is right and the method is not.
pub(super) fn wrong_method(allowed: &'static str) -> Ready<HttpResponse> {
    ready(
        HttpResponse::MethodNotAllowed()
            .insert_header((ALLOW, allowed))
            .json(
                json!({"error": "invalid_request", "error_description": format!("use {allowed}")}),
            ),
    )
}

/// The answer to who asks for metrics from where they are not told.
pub(super) fn not_for_this_address() -> HttpResponse {
    let body = json!({
        "error": "access_denied",
        "error_description": "metrics are not told to this address: `[metrics]` in the configuration says to whom",
    });
    HttpResponse::Forbidden().json(body)
}

/// The answer where nothing is.
pub(super) fn no_such_path() -> Ready<HttpResponse> {
    ready(
        HttpResponse::NotFound().json(
            json!({"error": "not_found", "error_description": "there is nothing at this path"}),
        ),
    )
}
