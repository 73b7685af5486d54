//! What runs at the other end: in a CI job, where it asks for a project token, and beside the service, where it asks
//! that service to do what only it can.

mod admin;
mod audit;
mod audit_log;
mod witness;

pub use admin::{AdminClient, AdminError};
pub use audit::{AuditClient, AuditClientError};
pub use audit_log::{AuditLogClient, AuditLogError};
pub use witness::WitnessClient;

use serde::Deserialize;
use url::form_urlencoded::Serializer;

/// A service that exchanges tokens.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    token_endpoint: String,
}

/// What the service answered.
#[derive(Debug)]
pub enum Answer {
    /// A project token.
    Issued(Issued),
    /// None, and why.
    Denied(Denied),
}

/// RFC 8693, section 2.2.1, and the name of the decision.
#[derive(Deserialize)]
pub struct Issued {
    /// The project token.
    pub access_token: String,
    /// How long it lives, in seconds.
    pub expires_in: i64,
    /// What it allows.
    pub scope: String,
    /// The name of the decision.
    pub decision_id: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Issued(scope {:?}, decision {:?})",
            self.scope, self.decision_id
        )
    }
}

/// RFC 6749, section 5.2, with the stable code and the name of the decision.
#[derive(Debug, Deserialize)]
pub struct Denied {
    /// The stable code.
    pub reason: String,
    /// What to mend.
    pub error_description: String,
    /// The name of the decision, if it is on record.
    pub decision_id: Option<String>,
}

/// No answer could be had, or none that we understand.
#[derive(Debug, thiserror::Error)]
#[error("the service at `{address}` {fault}")]
pub struct ClientError {
    address: String,
    fault: String,
}

impl Client {
    /// A client of the service at `base`, its public address.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        let token_endpoint = format!("{}/oauth/token", base.trim_end_matches('/'));
        let http = reqwest::Client::builder()
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .build();
        match http {
            Ok(http) => Ok(Self {
                http,
                token_endpoint,
            }),
            Err(fault) => Err(ClientError {
                address: token_endpoint,
                fault: format!("cannot be asked: {}", fault.without_url()),
            }),
        }
    }

    /// Exchanges an identity token for a token of `audience`, a project.
    pub async fn exchange(
        &self,
        subject_token: &str,
        audience: &str,
    ) -> Result<Answer, ClientError> {
        let form = Serializer::new(String::new())
            .append_pair(
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            )
            .append_pair("subject_token", subject_token)
            .append_pair(
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:id_token",
            )
            .append_pair("audience", audience)
            .finish();
        let asked = self
            .http
            .post(&self.token_endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await;
        let answer = asked.map_err(|fault| self.error(&fault.without_url().to_string()))?;
        let status = answer.status();
        let body = answer
            .bytes()
            .await
            .map_err(|fault| self.error(&fault.without_url().to_string()))?;
        let read = if status.is_success() {
            serde_json::from_slice(&body).map(Answer::Issued)
        } else {
            serde_json::from_slice(&body).map(Answer::Denied)
        };
        read.map_err(|_| self.error(&format!("answered {status} with something else than JSON")))
    }

    fn error(&self, fault: &str) -> ClientError {
        ClientError {
            address: self.token_endpoint.clone(),
            fault: fault.to_owned(),
        }
    }
}

/// What lies behind an error, which says more than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
