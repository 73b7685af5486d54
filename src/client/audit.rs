//! Asks a service for its log.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{UnreadBody, body_of, innermost, is_for_tokens};
use crate::text::{for_terminal, on_one_line};

/// How long an answer may take: it may be put together from the whole log.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// How long an answer may be, in octets: a page ends after some megabytes, and one entry with all its values has at most 16.
const LONGEST: usize = 256 << 20;

const TOO_LONG: &str = "answers with something longer than any answer about a log";

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
    /// A client of the service at `base`, its public address. It shows `token` if there is one, where nobody can read it on
    /// the way: by https, or on this machine.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, AuditClientError> {
        let base = base.trim_end_matches('/').to_owned();
        if token.is_some() && !is_for_tokens(&base) {
            return Err(AuditClientError {
                fault: "is not https: a token is not sent where others can read it".to_owned(),
                address: base,
                passes: false,
            });
        }
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
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        let body = body_of(answer, LONGEST)
            .await
            .map_err(|unread| match unread {
                UnreadBody::Lost(fault) => lost(fault),
                UnreadBody::TooLong => failed(TOO_LONG.to_owned(), false),
            })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_where_nobody_else_reads_it() {
        let token = || Some("secret".to_owned());
        let error = AuditClient::new("http://sts.example.com", token()).unwrap_err();
        assert!(
            !error.passes && error.to_string().contains("not https"),
            "{error}"
        );
        assert!(AuditClient::new("http://sts.example.com", None).is_ok());
        for address in ["https://sts.example.com", "http://127.0.0.1:8080/"] {
            let client = AuditClient::new(address, token()).unwrap();
            assert!(!format!("{client:?}").contains("secret"));
        }
    }
}
