//! Whether the service lives, and whether it can do its work.

use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::Service;
use super::log::Noted;
use crate::ledger::StoreUnavailable;

/// How many who ask whether we are ready may ask the store at the same time. Anybody may ask, and the store's queue is
/// for exchanges.
static ASKING: Semaphore = Semaphore::const_new(16);

/// Answers 200 as long as the process answers at all.
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Whether exchanges can be recorded, and policies are in force.
async fn can_exchange(service: &Service) -> Result<(), StoreUnavailable> {
    can_write(service).await?;
    // Policies that are not on record are not in force, and until they are nothing is exchanged.
    service.exchange.directory.settled()
}

/// Whether the store can write at this moment.
pub(super) async fn can_write(service: &Service) -> Result<(), StoreUnavailable> {
    let _place = ASKING.acquire().await;
    service.exchange.ledger.check().await
}

/// Answers 200 if exchanges can be recorded, else 503. What is wrong and does not stop other projects is `degraded`:
/// files that are not in force as they stand, relationships that a guard rail switched off, issuers whose keys could not
/// be refreshed, a log that is not signed any more, a certificate that cannot take the place of the one before, other
/// instances that have other policies in force or other settings.
pub(super) async fn ready(request: HttpRequest, service: Data<Service>) -> HttpResponse {
    let exchange = &service.exchange;
    if let Err(fault) = can_exchange(&service).await {
        let fault = Some(fault.to_string());
        request.extensions_mut().insert(Noted {
            fault,
            ..Noted::default()
        });
        return HttpResponse::ServiceUnavailable()
            .json(json!({"status": "unavailable", "store": "cannot write"}));
    }
    // Which line of a file is wrong stands in the log: the page is open to everybody.
    let policies: Vec<Value> = exchange
        .directory
        .problems()
        .iter()
        .map(|problem| json!({"file": problem.file, "in_force": problem.in_force}))
        .collect();
    let issuers: Vec<Value> = exchange
        .keys
        .status()
        .iter()
        .filter(|status| status.failing)
        .map(|status| json!({"issuer": status.issuer.as_str(), "keys_in_use": status.keys}))
        .collect();
    let breaches = exchange.directory.switched_off();
    let log = service.notary.fault().map(|fault| fault.what);
    // Who they are stands in the log.
    let (other_policies, other_settings) = service.peers.differing();
    let wrong = [
        policies.len(),
        issuers.len(),
        breaches.len(),
        other_policies,
        other_settings,
    ];
    let certificate = service.certificate.as_ref();
    let certificate = certificate.and_then(|certificate| certificate.fault());
    let degraded = log.is_some() || certificate.is_some() || wrong.iter().any(|count| *count > 0);
    let mut body = json!({
        "status": if degraded { "degraded" } else { "ok" },
        "projects": exchange.directory.len(),
        "policies": policies,
        "breaches": breaches,
        "issuers": issuers,
    });
    if let (Some(what), Some(members)) = (log, body.as_object_mut()) {
        members.insert("log".to_owned(), json!(what));
    }
    if let (Some(_), Some(members)) = (certificate, body.as_object_mut()) {
        // Where its files are stands in the log.
        let said = "the certificate changed and cannot be used: the one before is still shown";
        members.insert("tls".to_owned(), json!(said));
    }
    if let (true, Some(members)) = (other_policies + other_settings > 0, body.as_object_mut()) {
        let instances = json!({"other_policies": other_policies, "other_settings": other_settings});
        members.insert("instances".to_owned(), instances);
    }
    HttpResponse::Ok().json(body)
}
