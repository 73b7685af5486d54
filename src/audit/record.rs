//! One decision, as it is kept.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::trust::Judgement;

/// The name of one decision: a UUID of version 7 (RFC 9562, section 5.7), so that names sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecisionId(uuid::Uuid);

/// A text that is no decision id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a decision id is a UUID, such as `019aa2f3-1c5e-7b1f-8c8e-0123456789ab`")]
pub struct InvalidDecisionId;

impl DecisionId {
    /// A new name for a decision made at `now`.
    pub fn new(now: UnixTime) -> Self {
        let millis = u64::try_from(now.millis()).unwrap_or(0);
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        let moment = uuid::Timestamp::from_unix(uuid::NoContext, millis / 1000, nanos);
        Self(uuid::Uuid::new_v7(moment))
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, InvalidDecisionId> {
        uuid::Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| InvalidDecisionId)
    }

    /// The 16 octets, which sort by time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id of these octets.
    pub fn from_bytes(octets: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(octets))
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hyphenated())
    }
}

/// What came of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A token was issued.
    Allowed,
    /// None was.
    Denied,
}

/// One decision: when, who, for what, by which trust relationships, and what came of it. Never a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The version of this form.
    pub version: u32,
    /// Its name, which the caller was told.
    pub decision_id: DecisionId,
    /// When, in milliseconds since the epoch.
    pub at_millis: i64,
    /// What came of it.
    pub outcome: Outcome,
    /// The stable code of a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the caller was told of a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The issuer's name in the configuration; none if it is not registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Whether the signature verified. If not, no claim is recorded but `unverified_issuer`.
    pub verified: bool,
    /// The text of `iss` of a token whose signature did not verify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified_issuer: Option<String>,
    /// `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// All claims of the subject token.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub claims: Arc<Map<String, Value>>,
    /// The project as the caller named it.
    pub audience: String,
    /// The project's path, if there is such a project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The project's text id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// The digest of the policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_digest: Option<String>,
    /// The digest of the organization's guard rails that decided with it, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard_rails_digest: Option<String>,
    /// The names of the relationships that held, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust: Vec<String>,
    /// What the relationships answered; the nearest first. Kept for denials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relationships: Vec<Judgement>,
    /// What the deny entries answered. Kept for denials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denies: Vec<Judgement>,
    /// How many relationships were judged and are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub relationships_not_listed: usize,
    /// The names of the relationships in shadow mode that held, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow_trust: Vec<String>,
    /// The names of the denies in shadow mode that held, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow_denies: Vec<String>,
    /// The fields whose names differ from the policy's labels while the ids agree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<String>,
    /// The scopes of the issued token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The resource that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `jti` of the issued token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// `exp` of the issued token, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires: Option<i64>,
    /// Which use of the subject token this was, from 1. Written by the store, in the commit that spends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_number: Option<u32>,
    /// The address of the caller, behind trusted proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// The caller's `User-Agent`, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

fn is_empty(claims: &Arc<Map<String, Value>>) -> bool {
    claims.is_empty()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
