//! One line a request, with the same field names everywhere, and never a token.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};

use super::Service;
use super::client_address::client_address;

/// What a handler wants to stand in the line of its request.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub reason: Option<&'static str>,
    pub decision_id: Option<String>,
    pub project: Option<String>,
    pub scope: Option<String>,
}

/// Writes the line once the answer is known. Of the address only the pattern that matched is written, and of the method
/// only one that is known, so that nothing a caller put there can reach the log.
pub(super) async fn one_line(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let method = known(request.method());
    let address = request.app_data::<Data<Service>>().and_then(|service| {
        let peer = request.peer_addr().map(|peer| peer.ip());
        client_address(peer, request.headers(), &service.trusted_proxies)
    });
    let response = next.call(request).await?;

    let noted = response.request().extensions_mut().remove::<Noted>();
    let noted = noted.unwrap_or_default();
    // A flood would fill the disk with lines: those beyond the limit are counted, see `failures`.
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        return Ok(response);
    }
    let path = response
        .request()
        .match_pattern()
        .unwrap_or_else(|| "-".to_owned());
    let millis = started.elapsed().as_secs_f64() * 1000.0;
    tracing::info!(
        method,
        path,
        status = response.status().as_u16(),
        millis = (millis * 10.0).round() / 10.0,
        client_address = address.map(tracing::field::display),
        reason = noted.reason,
        decision_id = noted.decision_id,
        project = noted.project,
        scope = noted.scope,
        "request"
    );
    Ok(response)
}

/// A method of RFC 9110, section 9.3; any other text could be as long as a header may be.
fn known(method: &Method) -> &'static str {
    const METHODS: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    let known = METHODS.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("-")
}
