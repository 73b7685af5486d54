//! One line a request, with the same field names everywhere, and never a token.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};

use super::Service;
use super::client_address::{ClientAddress, client_address};
use super::failures::Whose;

/// What a handler wants to stand in the line of its request. Whatever the token endpoint answers has one.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub reason: Option<&'static str>,
    pub decision_id: Option<String>,
    pub project: Option<String>,
    pub scope: Option<String>,
    /// What is behind a failure of ours, which the client is not told.
    pub fault: Option<String>,
}

/// Writes the line once the answer is known: of exchanges and failures, as far as the budget of the client's address
/// reaches, and of pages that were only read for who wants to debug. Of the path only the pattern that matched is written,
/// and of the method only one that is known, so that nothing a caller put there can reach the log.
pub(super) async fn one_line(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let method = known(request.method());
    let service = request.app_data::<Data<Service>>().cloned();
    let address = service.as_ref().and_then(|service| {
        let peer = request.peer_addr().map(|peer| peer.ip());
        client_address(peer, request.headers(), &service.trusted_proxies)
    });
    request.extensions_mut().insert(ClientAddress(address));
    let response = next.call(request).await?;

    let noted = response.request().extensions_mut().remove::<Noted>();
    let is_exchange = noted.is_some();
    let status = response.status();
    if let Some(service) = &service {
        service.metrics.http.answered(status.as_u16());
    }
    if !is_exchange && status.is_success() {
        tracing::debug!(method, path = path(&response), "read");
        return Ok(response);
    }
    // A flood would fill the disk with lines: those beyond the limit are counted, see `failures`.
    let has_line = service.as_ref().is_none_or(|service| {
        let failures = &service.failures;
        let is_within = match (status.is_server_error(), is_exchange) {
            (true, _) => failures.take(Whose::Ours, address).is_ok(),
            (false, true) if status.is_success() => return true,
            // What failed is taken from the budget already.
            (false, true) => status != StatusCode::TOO_MANY_REQUESTS,
            (false, false) => failures.take(Whose::Theirs, address).is_ok(),
        };
        is_within && failures.has_line()
    });
    if !has_line {
        return Ok(response);
    }
    let noted = noted.unwrap_or_default();
    let millis = started.elapsed().as_secs_f64() * 1000.0;
    tracing::info!(
        method,
        path = path(&response),
        status = status.as_u16(),
        millis = (millis * 10.0).round() / 10.0,
        client_address = address.map(tracing::field::display),
        reason = noted.reason,
        decision_id = noted.decision_id,
        project = noted.project,
        scope = noted.scope,
        fault = noted.fault,
        "request"
    );
    Ok(response)
}

/// The pattern that matched.
fn path<B>(response: &ServiceResponse<B>) -> String {
    let matched = response.request().match_pattern();
    matched.unwrap_or_else(|| "-".to_owned())
}

/// A method of RFC 9110, section 9.3; any other text could be as long as a header may be.
fn known(method: &Method) -> &'static str {
    const METHODS: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    let known = METHODS.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("-")
}
