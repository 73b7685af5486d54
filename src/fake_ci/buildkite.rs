//! What a Buildkite job may ask of its agent: how long the token lives, and which of the optional claims it has.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{FakeCiError, Job, claim_set};
use crate::clock::{Seconds, UnixTime};

/// The body of a request to the agent API, `jobs/{id}/oidc/tokens`.
#[derive(Debug, Default, Clone, Deserialize)]
pub struct AgentRequest {
    /// Whom the token is for; nothing or nobody means the organization's page at Buildkite.
    #[serde(default)]
    pub audience: Option<String>,
    /// How long it lives, in seconds; 0 or nothing means five minutes.
    #[serde(default)]
    pub lifetime: Option<u32>,
    /// The optional claims it is to have.
    #[serde(default)]
    pub claims: Vec<String>,
    /// The claim whose value is to be the subject.
    #[serde(default)]
    pub subject_claim: Option<String>,
    /// Tags for AWS, which are not pretended.
    #[serde(default)]
    pub aws_session_tags: Vec<String>,
}

/// The longest lifetime that an organization has by default.
const LONGEST: Seconds = Seconds(2 * 60 * 60);

/// The claims that may be the subject.
const SUBJECTS: [&str; 7] = [
    "organization_id",
    "pipeline_id",
    "cluster_id",
    "queue_id",
    "build_id",
    "job_id",
    "agent_id",
];

impl AgentRequest {
    /// The job as the token is to tell of it: the optional claims that were asked for, and no others.
    pub(super) fn told_by(&self, job: &Job, now: UnixTime) -> Result<Job, FakeCiError> {
        if !self.aws_session_tags.is_empty() {
            return refuse("`aws_session_tags` are not pretended".to_owned());
        }
        let lifetime = match self.lifetime.map(Seconds) {
            None | Some(Seconds(0)) => Seconds(300),
            Some(lifetime) if lifetime > LONGEST => {
                return refuse(format!("the `lifetime` is longer than {LONGEST}"));
            }
            Some(lifetime) => lifetime,
        };
        let subject = self
            .subject_claim
            .as_deref()
            .filter(|name| !name.is_empty());
        if let Some(name) = subject.filter(|name| !SUBJECTS.contains(name)) {
            return refuse(format!("`{name}` cannot be the `subject_claim`"));
        }

        let optional = optional_claims(job);
        let mut told = job.clone();
        for asked in self.claims.iter().map(String::as_str).chain(subject) {
            let always = job.set.claims.contains_key(asked);
            if !optional.contains_key(asked) && !always {
                let known: Vec<&str> = optional.keys().map(String::as_str).collect();
                return refuse(format!(
                    "`{asked}` is no optional claim: {}",
                    known.join(", ")
                ));
            }
        }
        for (claim, value) in &optional {
            let asked = self.claims.contains(claim) || subject == Some(claim);
            let value = if asked { value.clone() } else { Value::Null };
            told.overrides.insert(claim.clone(), value);
        }
        if let Some(value) = subject.and_then(|name| told.claims().get(name).cloned()) {
            told.overrides.entry("sub").or_insert(value);
        }
        let expires = now.plus(lifetime).seconds();
        told.overrides.entry("exp").or_insert(json!(expires));
        Ok(told)
    }
}

/// The claims that a token of `job` has only if it is asked to, with their values.
fn optional_claims(job: &Job) -> Map<String, Value> {
    let (usual, with_optional) = (
        claim_set("buildkite-push"),
        claim_set("buildkite-optional-claims"),
    );
    let usual = |claim: &str| usual.is_none_or(|set| set.claims.contains_key(claim));
    let mut optional: Map<String, Value> = with_optional
        .into_iter()
        .flat_map(|set| set.claims.clone())
        .filter(|(claim, _)| !usual(claim))
        .collect();
    for (claim, value) in &mut optional {
        if let Some(given) = job.overrides.get(claim) {
            *value = given.clone();
        }
    }
    optional
}

fn refuse<T>(why: String) -> Result<T, FakeCiError> {
    Err(FakeCiError::NotGiven(why))
}
