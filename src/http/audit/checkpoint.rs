//! What is signed: the checkpoint, the one that witnesses cosigned, the key; and what an entry looks like.

use actix_web::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::super::Service;
use super::access::Part;
use super::places::Places;
use super::{Answer, AuditError, answered};

/// The same text as in the documentation.
const SCHEMA: &str = include_str!("../../../docs/audit-entry.schema.json");

/// The present checkpoint (C2SP tlog-checkpoint).
pub(super) async fn checkpoint(
    request: HttpRequest,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = signed(&request, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn signed(request: &HttpRequest, service: &Service, places: &Places) -> Answer {
    service.audit_access.check(request, Part::Hashes)?;
    let _place = places.for_a_look().await?;
    Ok(text(service.notary.checkpoint().await?, "no-store"))
}

/// The last checkpoint that a witness cosigned (C2SP tlog-cosignature).
pub(super) async fn cosigned(
    request: HttpRequest,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = last_cosigned(&request, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn last_cosigned(request: &HttpRequest, service: &Service, places: &Places) -> Answer {
    service.audit_access.check(request, Part::Hashes)?;
    let _place = places.for_a_look().await?;
    let note = service.notary.cosigned().await?.ok_or_else(|| {
        AuditError::NotThere("no witness has cosigned a checkpoint of this log yet".to_owned())
    })?;
    Ok(text(note, "no-store"))
}

/// The verifier key, in one line (C2SP signed-note, "Verifier keys").
pub(super) async fn key(service: Data<Service>) -> HttpResponse {
    text(format!("{}\n", service.notary.key()), "public, max-age=300")
}

/// What every entry looks like (JSON Schema).
pub(super) async fn schema() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("application/schema+json")
        .body(SCHEMA)
}

pub(in crate::http) fn text(text: String, keep: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, keep))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("text/plain; charset=utf-8")
        .body(text)
}
