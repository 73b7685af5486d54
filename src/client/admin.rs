//! Asks the service of this machine over its socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::form_urlencoded::Serializer;

use super::innermost;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How long an answer may take that is put together from the whole log.
const LONG_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The administration of a running service.
#[derive(Debug, Clone)]
pub struct AdminClient {
    http: reqwest::Client,
    socket: PathBuf,
}

/// No answer could be had, or none that we understand.
#[derive(Debug, thiserror::Error)]
#[error("the service at `{socket}` {fault}", socket = .socket.display())]
pub struct AdminError {
    socket: PathBuf,
    fault: String,
}

/// What the service says is wrong.
#[derive(Deserialize)]
struct Complaint {
    error: String,
}

impl AdminClient {
    /// A client of the service that listens at `socket`.
    pub fn new(socket: &Path) -> Result<Self, AdminError> {
        let failed = |fault: reqwest::Error| AdminError {
            socket: socket.to_owned(),
            fault: format!("cannot be asked: {}", fault.without_url()),
        };
        let builder = reqwest::Client::builder().unix_socket(socket);
        Ok(Self {
            http: builder.no_proxy().timeout(LIMIT).build().map_err(failed)?,
            socket: socket.to_owned(),
        })
    }

    /// Asks for `path`, with these parameters. `None` if there is no such thing.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Option<T>, AdminError> {
        let query = Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        self.ask(self.http.get(format!("http://localhost{path}?{query}")))
            .await
    }

    /// Asks for `path` as [`Self::get`] does, and waits long: the answer is octets of JSON.
    pub async fn octets(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
    ) -> Result<Option<Vec<u8>>, AdminError> {
        let query = Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let request = self.http.get(format!("http://localhost{path}?{query}"));
        self.body(request.timeout(LONG_LIMIT)).await
    }

    /// Asks for `body` to be done at `path`. `None` if there is no such thing.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Option<T>, AdminError> {
        let body = serde_json::to_vec(body).map_err(|fault| self.error(fault.to_string()))?;
        let request = self.http.post(format!("http://localhost{path}"));
        let request = request.header("content-type", "application/json");
        self.ask(request.body(body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Option<T>, AdminError> {
        let Some(body) = self.body(request).await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&body).map(Some);
        read.map_err(|_| self.error("answered with something else than was asked for".to_owned()))
    }

    /// The body of the answer. `None` if there is no such thing.
    async fn body(&self, request: RequestBuilder) -> Result<Option<Vec<u8>>, AdminError> {
        let lost = |fault: reqwest::Error| {
            let cause = innermost(&fault.without_url());
            self.error(format!("does not answer: {cause}"))
        };
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(lost)?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if status.is_success() {
            return Ok(Some(body.into()));
        }
        Err(match serde_json::from_slice::<Complaint>(&body) {
            Ok(complaint) => self.error(format!("says: {}", complaint.error)),
            Err(_) => self.error(format!("answered {status} with something else than JSON")),
        })
    }

    fn error(&self, fault: String) -> AdminError {
        AdminError {
            socket: self.socket.clone(),
            fault,
        }
    }
}
