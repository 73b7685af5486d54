//! The pretended CI systems at one address: what a job there asks, and what it finds.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::request_token::Seal;
use super::shell::export;
use super::system::{Form, Handover, every_variable};
use super::{AgentRequest, FakeCiError, Job, Signed, Signer, TRIAL_AUDIENCE, page};
use crate::clock::Clock;

/// All pretended CI systems, at one loopback address.
pub struct FakeCi {
    signer: Signer,
    clock: Arc<dyn Clock>,
    seal: Seal,
}

impl FakeCi {
    /// Makes the keys of CI systems that are reached at `address`, a loopback address with the port that is really bound.
    pub fn new(address: SocketAddr, clock: Arc<dyn Clock>) -> Result<Self, FakeCiError> {
        if !address.ip().is_loopback() {
            return Err(FakeCiError::NotLoopback(address));
        }
        Ok(Self {
            signer: Signer::new(&format!("http://{address}"))?,
            clock,
            seal: Seal::new()?,
        })
    }

    /// The keys and addresses.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// A token of `job`, made now.
    pub fn token(&self, job: &Job, audience: Option<&str>) -> Result<Signed, FakeCiError> {
        self.signer.sign(job, audience, self.clock.now())
    }

    /// What GitHub answers to a step that shows its request token.
    pub fn github_token(
        &self,
        request_token: &str,
        audience: Option<&str>,
    ) -> Result<Signed, FakeCiError> {
        let (job, usual) = self.seal.open("github", request_token)?;
        self.token(&job, audience.or(usual.as_deref()))
    }

    /// What Buildkite answers to an agent that shows its access token for the job `job_id`.
    pub fn buildkite_token(
        &self,
        access_token: &str,
        job_id: &str,
        request: &AgentRequest,
    ) -> Result<Signed, FakeCiError> {
        let (job, usual) = self.seal.open("buildkite", access_token)?;
        let own = job.claims().get("job_id").cloned().unwrap_or_default();
        if own != job_id {
            return Err(FakeCiError::AnotherJob {
                own: own.as_str().unwrap_or_default().to_owned(),
                asked: job_id.to_owned(),
            });
        }
        let told = request.told_by(&job, self.clock.now())?;
        let asked = request.audience.as_deref().filter(|text| !text.is_empty());
        self.token(&told, asked.or(usual.as_deref()))
    }

    /// What `job` finds in its environment, as lines for a POSIX shell. First of all, whatever another pretended job may
    /// have left there is taken away.
    pub fn environment(&self, job: &Job, audience: Option<&str>) -> Result<String, FakeCiError> {
        let names: Vec<&str> = every_variable().collect();
        let mut lines = format!("unset {}\n", names.join(" "));
        for (name, value) in self.handed_over(job, audience)? {
            lines.push_str(&export(name, &value));
        }
        let claims = self.token(job, audience)?.claims;
        for (name, says) in job.system.variables {
            if let Some(value) = says.value(&claims) {
                lines.push_str(&export(name, &value));
            }
        }
        Ok(lines)
    }

    /// A `countersign.toml` for trying policies against this issuer.
    pub fn configuration(&self) -> String {
        let tables = self.signer.issuer_tables();
        format!(
            "public-url = \"{TRIAL_AUDIENCE}\"\ntrust-policies = \"trust-policies\"\nallow-loopback-http = true\n\n{tables}"
        )
    }

    /// The page that explains all this.
    pub fn page(&self) -> String {
        page::text(self.signer.base())
    }

    /// The variables by which `job` comes to its token.
    fn handed_over(
        &self,
        job: &Job,
        audience: Option<&str>,
    ) -> Result<Vec<(&'static str, String)>, FakeCiError> {
        let base = self.signer.base();
        Ok(match &job.system.handover {
            Handover::Request { address, token } => vec![
                // The real address has a query already, and a client must add to it.
                (
                    *address,
                    format!("{base}/github/token-request?api-version=2.0"),
                ),
                (*token, self.seal.close(job, audience)?),
            ],
            Handover::Agent { endpoint, token } => vec![
                (*endpoint, format!("{base}/buildkite/v3")),
                (*token, self.seal.close(job, audience)?),
            ],
            Handover::Variables(variables) => variables
                .iter()
                .map(|(name, form)| Ok((*name, self.token(&form.of(job), audience)?.token)))
                .collect::<Result<_, FakeCiError>>()?,
        })
    }
}

impl Form {
    /// The job as a token of this form tells of it.
    fn of(self, job: &Job) -> Job {
        let mut job = job.clone();
        if self == Self::SubjectWithoutRepository {
            let claims = job.claims();
            let subject = claims.get("sub").and_then(Value::as_str);
            let short = subject.and_then(|subject| subject.split("/vcs-origin/").next());
            if let Some(short) = short {
                job.overrides.entry("sub").or_insert(json!(short));
            }
        }
        job
    }
}
