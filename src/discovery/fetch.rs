//! One request to one issuer, within limits: the only file of the service that knows reqwest.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Proxy, Response, StatusCode};

use super::fault::{FetchFault, SetupFault};
use crate::issuer::TrustedIssuer;
use crate::metrics::IssuerMetrics;
use crate::text::on_one_line;

/// The longest key set or discovery document that is read, in bytes.
pub(super) const LONGEST_ANSWER: usize = 256 * 1024;

/// What we call ourselves to issuers.
const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// How long issuers are waited for.
#[derive(Debug, Clone)]
pub struct FetchSettings {
    /// How long one try may take in all, the discovery document included where the key set's address stands in it.
    pub limit: Duration,
    /// How long one exchange waits for a try. The try goes on without it.
    pub longest_wait: Duration,
    /// How much time lies between two refreshes.
    pub refresh_every: Duration,
    /// Whether a `jwks-url` may be `http://` on a loopback address.
    pub loopback_http: bool,
    /// What tries are counted with.
    pub metrics: IssuerMetrics,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(5),
            longest_wait: Duration::from_secs(2),
            refresh_every: Duration::from_secs(15 * 60),
            loopback_http: false,
            metrics: IssuerMetrics::default(),
        }
    }
}

/// An answer with the status 200, read whole.
pub(super) struct Answer {
    pub body: Vec<u8>,
    /// What the issuer says it is, for messages.
    pub content_type: String,
}

/// Asks issuers through one proxy, believing one set of certificates.
#[derive(Debug, Clone)]
pub(super) struct Fetcher(Client);

impl Fetcher {
    /// A fetcher with the `ca-file` and the `proxy` of `issuer`.
    ///
    /// Proxies named in the environment are not used: what is believed about an issuer's keys must not depend on a
    /// variable that another program set.
    pub fn new(issuer: &TrustedIssuer) -> Result<Self, SetupFault> {
        let name = || issuer.name.to_string();
        let certificates = match &issuer.ca_file {
            None => Vec::new(),
            Some(path) => certificates(path).map_err(|why| SetupFault::CaFile {
                issuer: name(),
                path: path.clone(),
                why,
            })?,
        };
        let proxy = match &issuer.proxy {
            None => None,
            Some(proxy) => {
                Some(Proxy::all(proxy).map_err(|_| SetupFault::Proxy { issuer: name() })?)
            }
        };
        let with_proxy = |builder: ClientBuilder| match &proxy {
            None => builder,
            Some(proxy) => builder.proxy(proxy.clone()),
        };
        let unusable = match with_proxy(builder().tls_certs_merge(certificates)).build() {
            Ok(client) => return Ok(Self(client)),
            Err(fault) => reason(fault),
        };
        if let Some(path) = &issuer.ca_file {
            return Err(SetupFault::CaFile {
                issuer: name(),
                path: path.clone(),
                why: format!("holds what is no usable certificate: {unusable}"),
            });
        }
        // A machine without any certificates (an empty container) still reads key sets from files and from loopback
        // addresses; every https address then fails by name.
        tracing::warn!(
            issuer = %issuer.name,
            "no certificate is believed, so no `https://` address can be reached: {unusable}"
        );
        let client = with_proxy(builder().tls_certs_only([])).build();
        client.map(Self).map_err(|fault| SetupFault::Client {
            issuer: name(),
            why: reason(fault),
        })
    }

    /// Asks for `address` once. How long that may take is bounded by the caller, over all that one try does.
    pub async fn get(&self, address: &str) -> Result<Answer, FetchFault> {
        let not_reached = |fault| FetchFault::NotReached {
            address: address.to_owned(),
            why: reason(fault),
        };
        let request = self.0.get(address);
        let request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
        let mut response = request.send().await.map_err(not_reached)?;
        let content_type = header(&response, &CONTENT_TYPE);
        check_status(&response, address, &content_type)?;

        let too_long = || FetchFault::TooLong {
            address: address.to_owned(),
        };
        if response
            .content_length()
            .is_some_and(|length| length > LONGEST_ANSWER as u64)
        {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(not_reached)? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { body, content_type })
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        // Nothing is asked twice within minutes, so a connection that was kept would only be found dead.
        .pool_max_idle_per_host(0)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, String> {
    let pem = std::fs::read(path).map_err(|fault| format!("cannot be read: {fault}"))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err("holds no certificate in PEM form".to_owned()),
    }
}

fn check_status(response: &Response, address: &str, content_type: &str) -> Result<(), FetchFault> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    if status.is_redirection() {
        let to = header(response, &LOCATION);
        return Err(FetchFault::Redirected {
            address: address.to_owned(),
            status: status.as_u16(),
            // What follows a question mark may be somebody's secret.
            to: to.split('?').next().unwrap_or_default().to_owned(),
        });
    }
    Err(FetchFault::Status {
        address: address.to_owned(),
        status: status.as_u16(),
        content_type: content_type.to_owned(),
    })
}

/// A header as it may stand in a message.
fn header(response: &Response, name: &reqwest::header::HeaderName) -> String {
    let value = response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok());
    on_one_line(value.unwrap_or("-"), 100)
}

/// What the library says, from the outermost cause to the innermost, without the address (the caller names it).
fn reason(fault: reqwest::Error) -> String {
    let fault = fault.without_url();
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    on_one_line(&text, 300)
}
