//! One decision, as it is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

/// The word `decision`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// What came of an exchange.
    #[default]
    Decision,
}

/// One decision: when, who, for what, by which trust relationships, and what came of it. Never a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The version of this form.
    pub version: u32,
    /// The word by which it is told from events.
    #[serde(default)]
    pub kind: RecordKind,
    /// Its name, which the caller was told.
    pub decision_id: DecisionId,
    /// When, in milliseconds since the epoch.
    pub at_millis: i64,
    /// What came of it.
    pub outcome: Outcome,
    /// The stable code of a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the caller was told of a denial, and what the policy answered. Never in a leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
    /// The relationship that came nearest to holding, of a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// The deny entry that held, of a denial by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_by: Option<String>,
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
    #[serde(default, skip_serializing_if = "RecordedClaims::is_empty")]
    pub claims: RecordedClaims,
    /// The repository that the job is of, as the CI system names it, where the profile knows which claim that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The run, pipeline or build that the job is part of, where the profile knows which claim that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The project as the caller named it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
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
    /// The digests of the values that the leaf does not hold, by their places in it (RFC 6901). Empty until the record is
    /// sealed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withheld: BTreeMap<String, String>,
}

impl Record {
    /// A decision made at `now`, of which nothing else is said.
    pub fn new(outcome: Outcome, now: UnixTime) -> Self {
        Self {
            version: 1,
            kind: RecordKind::Decision,
            decision_id: DecisionId::new(now),
            at_millis: now.millis(),
            outcome,
            reason: None,
            explanation: None,
            nearest: None,
            denied_by: None,
            issuer: None,
            verified: false,
            unverified_issuer: None,
            subject: None,
            claims: RecordedClaims::default(),
            repository: None,
            run_id: None,
            audience: String::new(),
            project: None,
            project_id: None,
            policy_digest: None,
            guard_rails_digest: None,
            trust: Vec::new(),
            shadow_trust: Vec::new(),
            shadow_denies: Vec::new(),
            renamed: Vec::new(),
            scopes: Vec::new(),
            resource: None,
            token_id: None,
            token_expires: None,
            use_number: None,
            client_address: None,
            user_agent: None,
            withheld: BTreeMap::new(),
        }
    }
}

/// Why a denial is one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// What the caller was told.
    pub description: String,
    /// What the relationships answered; the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relationships: Vec<Judgement>,
    /// What the deny entries answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denies: Vec<Judgement>,
    /// How many relationships were judged and are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub relationships_not_listed: usize,
}

/// The claims of a subject token, and which of them a leaf does not hold.
#[derive(Debug, Clone, Default)]
pub struct RecordedClaims {
    all: Arc<Map<String, Value>>,
    /// The names of those that are about a person.
    personal: Vec<&'static str>,
    /// The names of those that are left out when this is written.
    held_back: Vec<String>,
}

impl RecordedClaims {
    /// These claims, of which those with a name in `personal` are about a person.
    pub fn new(all: Arc<Map<String, Value>>, personal: Vec<&'static str>) -> Self {
        Self {
            all,
            personal,
            held_back: Vec::new(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the claim of this name is about a person.
    pub fn is_personal(&self, name: &str) -> bool {
        self.personal.contains(&name)
    }

    /// Leaves the claim of this name out when this is written.
    pub(super) fn hold_back(&mut self, name: String) {
        self.held_back.push(name);
    }
}

impl Deref for RecordedClaims {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Serialize for RecordedClaims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = self.all.iter();
        serializer.collect_map(written.filter(|(name, _)| !self.held_back.contains(name)))
    }
}

impl<'de> Deserialize<'de> for RecordedClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(|all| Self::new(Arc::new(all), Vec::new()))
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
