//! `/audit/tile/…`: tiles of hashes, and bundles of entries (C2SP tlog-tiles).

use std::ops::Range;

use actix_web::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::super::Service;
use super::access::Part;
use super::path::TilePath;
use super::places::Places;
use super::{Answer, AuditError, answered};
use crate::ledger::{AuditLog, StoreUnavailable};

/// What every path of a tile begins with.
const PREFIX: &str = "/audit/tile/";

/// What is in a tile never changes: a cache may keep it for a year.
const KEEP: &str = "max-age=31536000, immutable";

/// A tile, or a bundle of entries.
pub(super) async fn tile(
    request: HttpRequest,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = read(&request, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn read(request: &HttpRequest, service: &Service, places: &Places) -> Answer {
    service.audit_access.check(request, Part::Leaves)?;
    // The path as it was sent: what the library has decoded could be another one.
    let path = request.path().strip_prefix(PREFIX);
    let Some(path) = path.and_then(TilePath::parse) else {
        return Err(AuditError::NotThere(
            "this is not the path of a tile, as C2SP tlog-tiles has it".to_owned(),
        ));
    };
    let _place = places.for_a_look().await?;
    let log = &*service.log;
    let is_there = |size| path.within(size).is_some();
    let size = places.size(log, is_there).await?;
    let Some(range) = path.within(size) else {
        return Err(AuditError::NotThere(format!(
            "a log of {size} entries has no such tile"
        )));
    };
    let (found, octets) = match path.level {
        Some(level) => hashes(log, level, range.clone()).await?,
        None => bundle(log, range.clone()).await?,
    };
    // Half a tile that is kept for a year would be worse than none.
    if found != range.end - range.start {
        let fault = format!("{found} of the tile {range:?} are there");
        return Err(StoreUnavailable(fault).into());
    }
    let shares = if service.audit_access.tiles_are_public() {
        "public"
    } else {
        "private"
    };
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, format!("{shares}, {KEEP}")))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("application/octet-stream")
        .body(octets))
}

/// The hashes of `range`, and how many they are.
async fn hashes(
    log: &dyn AuditLog,
    level: u8,
    range: Range<u64>,
) -> Result<(u64, Vec<u8>), StoreUnavailable> {
    let hashes = log.tile_hashes(level, range).await?;
    Ok((hashes.len() as u64, hashes.concat()))
}

/// The leaves of `range`, each after its length, and how many they are.
async fn bundle(log: &dyn AuditLog, range: Range<u64>) -> Result<(u64, Vec<u8>), StoreUnavailable> {
    let entries = log.entries(range).await?;
    let all = entries.iter().map(|entry| entry.leaf.len() + 2).sum();
    let mut octets = Vec::with_capacity(all);
    for entry in &entries {
        let length = u16::try_from(entry.leaf.len());
        let length = length
            .map_err(|_| StoreUnavailable(format!("the leaf {} is too long", entry.index)))?;
        octets.extend(length.to_be_bytes());
        octets.extend(&entry.leaf);
    }
    Ok((entries.len() as u64, octets))
}
