//! `GET /api/v1/audit/entries/{index}`: one entry, with whatever is needed to check it.

use std::collections::BTreeMap;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::super::super::Service;
use super::super::super::audit::{Answer, AuditError, Part, Places, answered};
use super::parameters::Parameters;
use super::proof::{index_of, no_such_entry};
use crate::audit::{WithheldValue, tree};

#[derive(Serialize)]
struct OneEntry {
    index: u64,
    /// The leaf, octet by octet.
    leaf: String,
    leaf_hash: String,
    /// Empty if nothing was withheld, or if it was deleted.
    withheld: BTreeMap<String, WithheldValue>,
    /// The leaf with the withheld values in their places.
    entry: Value,
}

/// One entry.
pub(super) async fn entry(
    request: HttpRequest,
    index: Path<String>,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = read(&request, &index, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn read(request: &HttpRequest, index: &str, service: &Service, places: &Places) -> Answer {
    service.audit_access.check(request, Part::Entries)?;
    Parameters::read(request.query_string(), &[])?;
    let index = index_of(index)?;
    let _place = places.for_a_look().await?;
    let size = places.size(&*service.log, |known| index < known).await?;
    if index >= size {
        return Err(no_such_entry(index, size));
    }
    let found = service.log.entries(index..index + 1).await?;
    let found = found.first().ok_or_else(|| no_such_entry(index, size))?;
    let unreadable = || AuditError::Damaged(format!("entry {index} cannot be read"));
    let one = OneEntry {
        index,
        leaf: String::from_utf8(found.leaf.clone()).map_err(|_| unreadable())?,
        leaf_hash: STANDARD.encode(tree::leaf_hash(&found.leaf)),
        withheld: found.values()?,
        entry: found.restored()?,
    };
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(one))
}
