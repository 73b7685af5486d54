//! Reads the audit log that a service serves, resource by resource.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use super::{UnreadBody, body_of, is_for_tokens};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a resource may be: the longest is a full bundle of the longest entries.
const LONGEST: usize = 256 * (2 + 65_535);

/// How often a resource is asked for, and how long we wait in between.
const TRIES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// The audit log of a service.
#[derive(Debug, Clone)]
pub struct AuditLogClient {
    http: Client,
    prefix: String,
    authorization: Option<HeaderValue>,
}

/// The log could not be asked, or gave no answer that we understand.
#[derive(Debug, thiserror::Error)]
#[error("`{address}` {fault}")]
pub struct AuditLogError {
    address: String,
    fault: String,
}

/// What one try came to.
enum Tried {
    Failed(String),
    /// Another try may do better.
    Passing(String),
}

impl AuditLogClient {
    /// A client of the log at `address`, with or without `/audit` at its end. A token is sent only where nobody can read it
    /// on the way: by https, or on this machine.
    pub fn new(address: &str, token: Option<&str>) -> Result<Self, AuditLogError> {
        let failed = |fault: &str| AuditLogError {
            address: address.to_owned(),
            fault: fault.to_owned(),
        };
        Url::parse(address).map_err(|_| failed("is no URL"))?;
        if token.is_some() && !is_for_tokens(address) {
            return Err(failed(
                "is not https: a token is not sent where others can read it",
            ));
        }
        let authorization = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}")));
        let mut authorization = authorization.transpose().map_err(|_| {
            failed("cannot be sent this token: it has characters that no token has")
        })?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let http = Client::builder()
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(LIMIT)
            .build();
        let base = address.trim_end_matches('/');
        let base = base.strip_suffix("/audit").unwrap_or(base);
        Ok(Self {
            http: http
                .map_err(|fault| failed(&format!("cannot be asked: {}", fault.without_url())))?,
            prefix: format!("{base}/audit"),
            authorization,
        })
    }

    /// The resource of this name: `checkpoint`, `tile/0/000`. `None` if there is none.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, AuditLogError> {
        let address = format!("{}/{name}", self.prefix);
        let mut fault = String::new();
        for pause in TRIES {
            tokio::time::sleep(pause).await;
            match self.once(&address).await {
                Ok(resource) => return Ok(resource),
                Err(Tried::Failed(said)) => {
                    return Err(AuditLogError {
                        address,
                        fault: said,
                    });
                }
                Err(Tried::Passing(said)) => fault = said,
            }
        }
        Err(AuditLogError { address, fault })
    }

    async fn once(&self, address: &str) -> Result<Option<Vec<u8>>, Tried> {
        let mut request = self.http.get(address);
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        let lost = |fault: reqwest::Error| {
            let cause = super::innermost(&fault.without_url());
            Tried::Passing(format!("does not answer: {cause}"))
        };
        let answer = request.send().await.map_err(lost)?;
        match answer.status() {
            StatusCode::OK => body(answer).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let fault = "may not be read: it asks for an audit token that may read tiles";
                Err(Tried::Failed(fault.to_owned()))
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Tried::Passing(format!("answers {status}")))
            }
            status => Err(Tried::Failed(format!("answers {status}"))),
        }
    }
}

async fn body(answer: Response) -> Result<Vec<u8>, Tried> {
    body_of(answer, LONGEST)
        .await
        .map_err(|unread| match unread {
            UnreadBody::Lost(fault) => {
                Tried::Passing(format!("broke off: {}", fault.without_url()))
            }
            UnreadBody::TooLong => Tried::Failed("is longer than any part of a log".to_owned()),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_may_end_in_audit() {
        for address in [
            "https://sts.example.com",
            "https://sts.example.com/",
            "https://sts.example.com/audit/",
        ] {
            let client = AuditLogClient::new(address, None).unwrap();
            assert_eq!(client.prefix, "https://sts.example.com/audit");
        }
    }

    #[test]
    fn a_token_goes_where_nobody_else_reads_it() {
        assert!(AuditLogClient::new("http://sts.example.com", None).is_ok());
        let error = AuditLogClient::new("http://sts.example.com", Some("secret")).unwrap_err();
        assert!(error.to_string().contains("not https"), "{error}");
        let client = AuditLogClient::new("http://127.0.0.1:8080", Some("secret")).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }
}
