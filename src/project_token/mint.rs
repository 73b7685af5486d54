//! What a project token says.

use serde::Serialize;
use uuid::Uuid;

use crate::clock::UnixTime;
use crate::subject::VerifiedClaims;
use crate::trust::{Grant, ProjectPath};

/// The project that a token will act for.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// Its path.
    pub path: &'a ProjectPath,
    /// Its text id.
    pub id: &'a str,
}

/// Everything that a project token will say (RFC 9068, section 2.2), fixed before it is recorded and signed.
#[derive(Debug, Serialize)]
pub struct UnsignedToken {
    iss: String,
    sub: String,
    aud: String,
    client_id: String,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    scope: String,
    project: String,
    project_id: String,
    organization: String,
    trust: Vec<String>,
    ci: Ci,
}

/// What is known of the job.
#[derive(Debug, Serialize)]
struct Ci {
    issuer: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
}

/// A signed project token. It does not print itself.
pub struct ProjectToken {
    pub(super) text: String,
}

impl ProjectToken {
    /// The token, for the answer and nowhere else.
    pub fn into_text(self) -> String {
        self.text
    }
}

impl std::fmt::Debug for ProjectToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProjectToken(..)")
    }
}

/// Spends a grant: it is taken by value, so one decision mints one token.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a grant is spent by being given away"
)]
pub fn prepare(
    grant: Grant,
    holder: Holder<'_>,
    claims: &VerifiedClaims,
    public_url: &str,
    now: UnixTime,
) -> UnsignedToken {
    let fact = |claim: Option<&str>| {
        let text = match claims.get(claim?)? {
            serde_json::Value::String(text) if !text.is_empty() => text.clone(),
            serde_json::Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some(text)
    };
    let facts = claims.trusted().profile.facts;
    UnsignedToken {
        iss: public_url.to_owned(),
        sub: format!("project:{}", holder.id),
        aud: grant.resource().unwrap_or(public_url).to_owned(),
        client_id: format!("{}:{}", claims.trusted().name, claims.subject()),
        jti: Uuid::new_v4().to_string(),
        iat: now.seconds(),
        nbf: now.seconds(),
        exp: now.plus(grant.lifetime()).seconds(),
        scope: grant.scopes().to_string(),
        project: holder.path.to_string(),
        project_id: holder.id.to_owned(),
        organization: holder.path.organization().to_owned(),
        trust: grant.trust().iter().map(ToString::to_string).collect(),
        ci: Ci {
            issuer: claims.issuer().to_string(),
            subject: claims.subject().to_owned(),
            repository: fact(facts.repository),
            reference: fact(facts.reference),
            sha: fact(facts.sha),
            run_id: fact(facts.run_id),
            actor: fact(facts.actor),
        },
    }
}

impl UnsignedToken {
    /// `jti`.
    pub fn id(&self) -> &str {
        &self.jti
    }

    /// `exp`, in seconds since the epoch.
    pub fn expires(&self) -> i64 {
        self.exp
    }

    /// How long it lives from `iat`, in seconds.
    pub fn expires_in(&self) -> i64 {
        self.exp - self.iat
    }

    /// The names of the relationships that it comes from, sorted.
    pub fn trust(&self) -> &[String] {
        &self.trust
    }

    /// Its scopes, separated by spaces.
    pub fn scope(&self) -> &str {
        &self.scope
    }
}
