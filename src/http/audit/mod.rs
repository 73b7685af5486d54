//! `/audit/…`: the log as others can check it, by C2SP tlog-tiles. What is asked of single entries stands in `api`.

mod access;
mod checkpoint;
mod fault;
mod path;
mod places;
mod tiles;

pub use access::AuditAccess;
pub(super) use access::Part;
pub(super) use checkpoint::text;
pub(super) use fault::{AuditError, TokenFault};
pub(super) use places::Places;

use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};

use super::{Service, error, failures, only, read};

/// An answer about the log, or why there is none.
pub(super) type Answer = Result<HttpResponse, AuditError>;

/// Every path below `/audit`.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(only(
            "/audit/checkpoint",
            read().to(checkpoint::checkpoint),
            "GET",
        ))
        .service(only(
            "/audit/cosigned-checkpoint",
            read().to(checkpoint::cosigned),
            "GET",
        ))
        .service(only("/audit/key", read().to(checkpoint::key), "GET"))
        .service(only(
            "/audit/schema.json",
            read().to(checkpoint::schema),
            "GET",
        ))
        .service(only("/audit/tile/{tile:.*}", read().to(tiles::tile), "GET"));
}

/// The answer as it goes out. Who shows no token, or a wrong one, fails as who sends a wrong subject token does.
pub(super) async fn answered(
    request: &HttpRequest,
    service: &Service,
    answer: Answer,
) -> HttpResponse {
    match answer {
        Ok(answer) => answer,
        Err(fault) => {
            let fault = explained(fault, service);
            let answer = error::of_the_log(request, &fault);
            match fault {
                AuditError::TokenRequired(_) => failures::limited(request, service, answer).await,
                _ => answer,
            }
        }
    }
}

/// The fault, or the damage that is behind it: whoever meets that first is told no less than those after.
fn explained(fault: AuditError, service: &Service) -> AuditError {
    match (fault, service.notary.fault()) {
        (AuditError::Unavailable(_), Some(damage)) => damage.into(),
        (fault, _) => fault,
    }
}
