//! `/api/v1/audit/proof/…`: that an entry is in a tree, and that a tree is the begin of a later one. They are hashes, and
//! for everybody.

use std::fmt::Write as _;
use std::ops::Range;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::super::super::Service;
use super::super::super::audit::{Answer, AuditError, Part, Places, answered, text};
use super::parameters::{Parameters, whole_number};
use crate::audit::tree::{self, Hash};
use crate::ledger::{LogFault, TreeHead};
use crate::notary::{Checkpoint, Note};

/// The proof that an entry is in a tree (RFC 6962, section 2.1.1).
#[derive(Serialize)]
struct Inclusion {
    index: u64,
    size: u64,
    leaf_hash: String,
    root_hash: String,
    hashes: Vec<String>,
    /// The signed note of the tree, if the present one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

/// The proof that a tree is the begin of a later one (RFC 6962, section 2.1.2).
#[derive(Serialize)]
struct Consistency {
    from: u64,
    to: u64,
    from_root_hash: String,
    to_root_hash: String,
    hashes: Vec<String>,
    /// The signed note of the later tree, if the present one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

/// `GET /api/v1/audit/proof/inclusion`.
pub(super) async fn inclusion(
    request: HttpRequest,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = prove_inclusion(&request, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn prove_inclusion(request: &HttpRequest, service: &Service, places: &Places) -> Answer {
    service.audit_access.check(request, Part::Hashes)?;
    let parameters = Parameters::read(request.query_string(), &["index", "size"])?;
    let index = parameters.required("index")?;
    let size = parameters.number("size")?;
    let _place = places.for_a_look().await?;
    let (head, checkpoint) = tree_of(service, places, size).await?;
    let mut hashes = inclusion_hashes(service, index, head.size).await?;
    let leaf_hash = hashes.pop().unwrap_or_default();
    Ok(json(&Inclusion {
        index,
        size: head.size,
        leaf_hash,
        root_hash: STANDARD.encode(head.root),
        hashes,
        checkpoint,
    }))
}

/// `GET /api/v1/audit/proof/consistency`.
pub(super) async fn consistency(
    request: HttpRequest,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = prove_consistency(&request, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn prove_consistency(request: &HttpRequest, service: &Service, places: &Places) -> Answer {
    service.audit_access.check(request, Part::Hashes)?;
    let parameters = Parameters::read(request.query_string(), &["from", "to"])?;
    let from = parameters.required("from")?;
    let to = parameters.number("to")?;
    let _place = places.for_a_look().await?;
    let (head, checkpoint) = tree_of(service, places, to).await?;
    let ranges = tree::consistency(from, head.size).ok_or_else(|| {
        AuditError::NotThere(format!(
            "a tree of {from} entries is not the begin of one of {}",
            head.size
        ))
    })?;
    let mut hashes = hashes(service, ranges, 0..from).await?;
    let from_root_hash = hashes.pop().unwrap_or_default();
    Ok(json(&Consistency {
        from,
        to: head.size,
        from_root_hash,
        to_root_hash: STANDARD.encode(head.root),
        hashes,
        checkpoint,
    }))
}

/// `GET /api/v1/audit/proof/{index}`: the same as a text that holds whatever is needed to check it (C2SP tlog-proof).
pub(super) async fn tlog_proof(
    request: HttpRequest,
    index: Path<String>,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = prove(&request, &index, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn prove(request: &HttpRequest, index: &str, service: &Service, places: &Places) -> Answer {
    service.audit_access.check(request, Part::Hashes)?;
    Parameters::read(request.query_string(), &[])?;
    let index = index_of(index)?;
    let _place = places.for_a_look().await?;
    let (head, checkpoint) = signed_tree(service).await?;
    let mut hashes = inclusion_hashes(service, index, head.size).await?;
    hashes.pop();
    let mut proof = format!("c2sp.org/tlog-proof@v1\nindex {index}\n");
    for hash in hashes {
        // Writing to a text does not fail.
        let _ = writeln!(proof, "{hash}");
    }
    let mut answer = text(format!("{proof}\n{checkpoint}"), "no-store");
    let name = format!("attachment; filename=\"{index}.tlog-proof\"");
    if let Ok(name) = name.parse() {
        answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Ok(answer)
}

/// The number of an entry, from a path.
pub(super) fn index_of(text: &str) -> Result<u64, AuditError> {
    whole_number(text).ok_or_else(|| {
        AuditError::NotThere("the number of an entry is a whole number, from 0".to_owned())
    })
}

/// Says that there is no entry of this number in a tree of `size`.
pub(super) fn no_such_entry(index: u64, size: u64) -> AuditError {
    AuditError::NotThere(format!(
        "there is no entry {index} among {size}, which are counted from 0"
    ))
}

/// The tree of the first `size` entries; if that is not said, the one of the present checkpoint, with that.
async fn tree_of(
    service: &Service,
    places: &Places,
    size: Option<u64>,
) -> Result<(TreeHead, Option<String>), AuditError> {
    let Some(size) = size else {
        let (head, checkpoint) = signed_tree(service).await?;
        return Ok((head, Some(checkpoint)));
    };
    let there = places.size(&*service.log, |known| size <= known).await?;
    if size > there {
        return Err(AuditError::NotThere(format!(
            "there is no tree of {size} entries yet: the log has {there}"
        )));
    }
    let whole = std::iter::once(0..size).collect();
    let mut roots = service.log.hashes(whole).await?;
    let root = roots.pop().unwrap_or_else(|| tree::fold(&[]));
    Ok((TreeHead { size, root }, None))
}

/// The tree of the present checkpoint, and that.
async fn signed_tree(service: &Service) -> Result<(TreeHead, String), AuditError> {
    let signed = service.notary.checkpoint().await?;
    let read = Note::parse(&signed).and_then(|note| Checkpoint::parse(&note.text));
    let checkpoint = read.map_err(|fault| {
        AuditError::from(LogFault {
            what: format!("the checkpoint cannot be read: {fault}"),
            mend: String::new(),
        })
    })?;
    let Checkpoint { size, root, .. } = checkpoint;
    Ok((TreeHead { size, root }, signed))
}

/// The hashes of an inclusion proof, and after them that of the leaf.
async fn inclusion_hashes(
    service: &Service,
    index: u64,
    size: u64,
) -> Result<Vec<String>, AuditError> {
    let ranges = tree::inclusion(index, size).ok_or_else(|| no_such_entry(index, size))?;
    hashes(service, ranges, index..index + 1).await
}

/// The hashes of `ranges`, and after them that of `last`.
async fn hashes(
    service: &Service,
    mut ranges: Vec<Range<u64>>,
    last: Range<u64>,
) -> Result<Vec<String>, AuditError> {
    ranges.push(last);
    let hashes: Vec<Hash> = service.log.hashes(ranges).await?;
    Ok(hashes.iter().map(|hash| STANDARD.encode(hash)).collect())
}

fn json(proof: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(proof)
}
