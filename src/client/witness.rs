//! Asks a witness of the log (C2SP tlog-witness).

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use url::Url;

use super::{UnreadBody, body_of};
use crate::notary::{AnswerOfWitness, AskWitness};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The longest answer that is read, in octets.
const LONGEST: usize = 64 * 1024;

/// A witness at an address.
#[derive(Debug)]
pub struct WitnessClient {
    http: reqwest::Client,
    submit: Url,
}

impl WitnessClient {
    /// A client of the witness whose submission prefix is `prefix`. An error is a sentence.
    pub fn new(prefix: &Url) -> Result<Self, String> {
        let builder = reqwest::Client::builder().redirect(Policy::none());
        let http = builder.no_proxy().timeout(LIMIT).build();
        let http = http.map_err(|fault| fault.without_url().to_string())?;
        let submit = format!("{}/add-checkpoint", prefix.as_str().trim_end_matches('/'));
        let submit = Url::parse(&submit).map_err(|fault| fault.to_string())?;
        Ok(Self { http, submit })
    }

    async fn ask(&self, body: String) -> Result<AnswerOfWitness, String> {
        let lost = |fault: reqwest::Error| fault.without_url().to_string();
        let request = self.http.post(self.submit.clone()).body(body);
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        let is_size = answer.headers().get(CONTENT_TYPE);
        let is_size = is_size.is_some_and(|kind| kind == "text/x.tlog.size");
        let octets = body_of(answer, LONGEST).await;
        let octets = octets.map_err(|unread| match unread {
            UnreadBody::Lost(fault) => lost(fault),
            UnreadBody::TooLong => "its answer is too long".to_owned(),
        })?;
        let text = String::from_utf8(octets).map_err(|_| "its answer is no text".to_owned())?;
        match status {
            StatusCode::OK => Ok(AnswerOfWitness::Cosigned(text)),
            StatusCode::UNPROCESSABLE_ENTITY => Ok(AnswerOfWitness::Inconsistent),
            StatusCode::CONFLICT if is_size => {
                let size = text.trim_end_matches('\n').parse();
                let odd = |_| "it answered 409 without a size".to_owned();
                size.map(AnswerOfWitness::HasSeen).map_err(odd)
            }
            status => Err(format!("it answered {status}")),
        }
    }
}

impl AskWitness for WitnessClient {
    fn add_checkpoint(&self, body: String) -> BoxFuture<'_, Result<AnswerOfWitness, String>> {
        self.ask(body).boxed()
    }
}
