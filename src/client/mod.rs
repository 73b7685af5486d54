//! What runs at the other end: in a CI job, where it asks for a project token, and beside the service, where it asks
//! that service to do what only it can.

mod admin;
mod audit;
mod audit_log;
mod health;
mod witness;

pub use admin::{AdminClient, AdminError};
pub use audit::{AuditClient, AuditClientError};
pub use audit_log::{AuditLogClient, AuditLogError};
pub use health::{Health, health};
pub use witness::WitnessClient;

use serde::Deserialize;
use url::form_urlencoded::Serializer;

use crate::issuer::is_secure;

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

/// Whether nobody on the way reads what is sent to `address`: a token goes by https, or stays on this machine.
fn is_for_tokens(address: &str) -> bool {
    is_secure(address, true)
}

/// Why the body of an answer was not read.
enum UnreadBody {
    /// It broke off.
    Lost(reqwest::Error),
    /// It has more octets than it may have.
    TooLong,
}

/// The body of an answer, of at most `longest` octets.
async fn body_of(mut answer: reqwest::Response, longest: usize) -> Result<Vec<u8>, UnreadBody> {
    let mut octets = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(UnreadBody::Lost)? {
        octets.extend_from_slice(&piece);
        if octets.len() > longest {
            return Err(UnreadBody::TooLong);
        }
    }
    Ok(octets)
}

/// What lies behind an error, which says more than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// What somebody answers with a body of so many octets, or with one that breaks off there.
    async fn answer(octets: usize, promised: usize) -> reqwest::Response {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {promised}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            // Who has read enough hangs up.
            let _ = stream.write_all(&vec![b'x'; octets]);
        });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        http.get(format!("http://{address}/")).send().await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_read_as_far_as_it_may_be_long() {
        let whole = body_of(answer(1000, 1000).await, 1000).await;
        assert!(whole.is_ok_and(|octets| octets.len() == 1000));
        let long = body_of(answer(1 << 24, 1 << 24).await, 1000).await;
        assert!(matches!(long, Err(UnreadBody::TooLong)));
        let torn = body_of(answer(10, 1000).await, 1000).await;
        assert!(matches!(torn, Err(UnreadBody::Lost(_))));
    }
}
