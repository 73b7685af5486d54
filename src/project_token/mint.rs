//! What a project token says.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
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

/// Everything that a project token will say (RFC 9068, section 2.2), fixed before it is recorded and signed. What others
/// said already, it borrows.
#[derive(Debug, Serialize)]
pub struct UnsignedToken<'a> {
    iss: &'a str,
    sub: String,
    aud: Cow<'a, str>,
    client_id: String,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    scope: String,
    project: &'a str,
    project_id: &'a str,
    organization: &'a str,
    trust: Vec<Arc<str>>,
    ci: Ci<'a>,
}

/// What is known of the job.
#[derive(Debug, Serialize)]
struct Ci<'a> {
    issuer: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
    reference: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Cow<'a, str>>,
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
pub fn prepare<'a>(
    grant: Grant,
    holder: Holder<'a>,
    claims: &'a VerifiedClaims,
    public_url: &'a str,
    now: UnixTime,
) -> UnsignedToken<'a> {
    let fact = |claim: Option<&str>| match claims.get(claim?)? {
        Value::String(text) if !text.is_empty() => Some(Cow::Borrowed(&**text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    };
    let facts = claims.trusted().profile.facts;
    let resource = grant.resource().map(|asked| Cow::Owned(asked.to_owned()));
    UnsignedToken {
        iss: public_url,
        sub: format!("project:{}", holder.id),
        aud: resource.unwrap_or(Cow::Borrowed(public_url)),
        client_id: format!("{}:{}", claims.trusted().name, claims.subject()),
        jti: token_id(now).to_string(),
        iat: now.seconds(),
        nbf: now.seconds(),
        exp: now.plus(grant.lifetime()).seconds(),
        scope: grant.scopes().to_string(),
        project: holder.path.as_str(),
        project_id: holder.id,
        organization: holder.path.organization(),
        trust: grant.trust().to_vec(),
        ci: Ci {
            issuer: claims.issuer().as_str(),
            subject: claims.subject(),
            repository: fact(facts.repository),
            reference: fact(facts.reference),
            sha: fact(facts.sha),
            run_id: fact(facts.run_id),
            actor: fact(facts.actor),
        },
    }
}

/// A UUID of version 7, so that the record of a token is found by its name, which says when it was made.
fn token_id(now: UnixTime) -> Uuid {
    let millis = u64::try_from(now.millis()).unwrap_or(0);
    let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(
        uuid::NoContext,
        millis / 1000,
        nanos,
    ))
}

impl UnsignedToken<'_> {
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
    pub fn trust(&self) -> &[Arc<str>] {
        &self.trust
    }

    /// Its scopes, separated by spaces.
    pub fn scope(&self) -> &str {
        &self.scope
    }
}
