//! How a running service is.

use std::time::Duration;

use super::ClientError;

/// How long it may take to answer.
const LIMIT: Duration = Duration::from_secs(4);

/// What a service says of itself.
#[derive(Debug)]
pub struct Health {
    /// Whether it is as it was asked to be.
    pub well: bool,
    /// Its words.
    pub text: String,
}

/// Asks the service at `base`, on this machine, whether it can exchange, or, if not `ready`, only whether it lives. Answers
/// within four seconds. A certificate is taken as it is: it is for the public name, by which nobody asks here, and nothing
/// is told that somebody else could not hear.
pub async fn health(base: &str, ready: bool) -> Result<Health, ClientError> {
    let path = if ready { "readyz" } else { "healthz" };
    let address = format!("{base}/{path}");
    let fault = |fault: reqwest::Error| ClientError {
        address: address.clone(),
        fault: format!("does not answer: {}", fault.without_url()),
    };
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(LIMIT)
        .build()
        .map_err(fault)?;
    let answer = http.get(&address).send().await.map_err(fault)?;
    Ok(Health {
        well: answer.status().is_success(),
        text: answer.text().await.map_err(fault)?,
    })
}
