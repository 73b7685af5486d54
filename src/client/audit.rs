//! Asks a service for its log.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::innermost;
use crate::text::{for_terminal, on_one_line};

/// How long an answer may take: it may be put together from the whole log.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// How long an answer may be, in octets: a page ends after some megabytes, and one entry with all its values has at most 16.
const LONGEST: usize = 256 << 20;

/// How much of what the service says is wrong is told, in characters.
const LONGEST_COMPLAINT: usize = 500;

/// How long it may take to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The log of a service, at its public address.
#[derive(Clone)]
pub struct AuditClient {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl std::fmt::Debug for AuditClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditClient({})", self.base)
    }
}

/// No answer could be had.
#[derive(Debug, thiserror::Error)]
#[error("`{address}` {fault}")]
pub struct AuditClientError {
    address: String,
    fault: String,
    /// Whether the same may be answered later.
    pub passes: bool,
}

/// What the service says is wrong: in words, or by a word.
#[derive(Default, Deserialize)]
struct Complaint {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl AuditClient {
    /// A client of the service at `base`, its public address. It shows `token` if there is one.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, AuditClientError> {
        let base = base.trim_end_matches('/').to_owned();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .timeout(LIMIT);
        match builder.build() {
            Ok(http) => Ok(Self { http, base, token }),
            Err(fault) => Err(AuditClientError {
                fault: format!("cannot be asked: {}", fault.without_url()),
                address: base,
                passes: false,
            }),
        }
    }

    /// Asks for `path`, with these parameters.
    pub async fn octets(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
    ) -> Result<Vec<u8>, AuditClientError> {
        let address = format!("{}{path}", self.base);
        let failed = |fault: String, passes: bool| AuditClientError {
            address: address.clone(),
            fault,
            passes,
        };
        let lost = |fault: reqwest::Error| {
            let cause = innermost(&fault.without_url());
            failed(format!("does not answer: {cause}"), true)
        };
        let query = Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let mut request = self.http.get(format!("{address}?{query}"));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let mut answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(lost)? {
            body.extend_from_slice(&piece);
            if body.len() > LONGEST {
                let fault = "answers with something longer than any answer about a log";
                return Err(failed(fault.to_owned(), false));
            }
        }
        if status.is_success() {
            return Ok(body);
        }
        let complaint: Complaint = serde_json::from_slice(&body).unwrap_or_default();
        let said = if complaint.error_description.is_empty() {
            complaint.error
        } else {
            complaint.error_description
        };
        let said = on_one_line(&for_terminal(&said), LONGEST_COMPLAINT);
        let mend = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; give an audit token of its configuration with `--token-file`"
            }
            _ => "",
        };
        let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(failed(format!("answered {status}: {said}{mend}"), passes))
    }
}
