//! A decision as data: what was asked, what every relationship answered and why, and what came of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PinWish, Scopes};
use crate::clock::Seconds;

/// What a caller asks for beyond the project.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The scopes; `None` means all that can be had.
    pub scopes: Option<Scopes>,
    /// The resource that the token is for (RFC 8693, section 2.1); `None` means us.
    pub resource: Option<String>,
}

/// The answer of a project's policy to one set of verified claims.
#[derive(Debug)]
pub struct Decision {
    /// The trust relationships that were judged, the nearest to holding first.
    pub relationships: Vec<Judgement>,
    /// The deny entries that were judged, those that hold first.
    pub denies: Vec<Judgement>,
    /// Whether the claims satisfy all identity fields of some relationship, so that the caller may know which of its
    /// conditions failed.
    pub proven: bool,
    /// How many relationships of the project were left out of `relationships` because there were too many to list.
    pub not_listed: usize,
    /// What entries in shadow mode would have done. None of it has an effect.
    pub shadow: Shadow,
    /// A permission to mint once, or why there is none.
    pub outcome: Result<Grant, Refusal>,
}

/// The same answer without its reasons: what the record of an allowed exchange says of it.
#[derive(Debug)]
pub struct Answer {
    /// A permission to mint once, or why there is none.
    pub outcome: Result<Grant, Refusal>,
    /// See [`Decision::proven`].
    pub proven: bool,
    /// See [`Decision::renamed`].
    pub renamed: Vec<String>,
    /// See [`Shadow::trust_names`].
    pub shadow_trust: Vec<String>,
    /// See [`Shadow::deny_names`].
    pub shadow_denies: Vec<String>,
}

/// What the entries in shadow mode answered: judged and recorded, but they grant nothing and deny nothing.
#[derive(Debug, Clone, Default)]
pub struct Shadow {
    /// The relationships that hold, in the order of the file.
    pub trust: Vec<Judgement>,
    /// The denies that hold, in the order of the file.
    pub denies: Vec<Judgement>,
    /// Relationships that were judged and do not hold, the nearest first, at most as many as a decision lists.
    pub others: Vec<Judgement>,
}

impl Shadow {
    /// The names of the relationships that hold, sorted.
    pub fn trust_names(&self) -> Vec<String> {
        names(&self.trust)
    }

    /// The names of the denies that hold, sorted.
    pub fn deny_names(&self) -> Vec<String> {
        names(&self.denies)
    }
}

fn names(judgements: &[Judgement]) -> Vec<String> {
    let mut names: Vec<String> = judgements
        .iter()
        .map(|judgement| judgement.name.to_string())
        .collect();
    names.sort();
    names
}

/// What one entry of a policy answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Judgement {
    /// The entry's name.
    pub name: Arc<str>,
    /// Whether every finding holds.
    pub holds: bool,
    /// Whether every finding of an identity field holds.
    pub identity_holds: bool,
    /// One finding for each identity field, requirement and condition, in the order of the file.
    pub findings: Vec<Finding>,
}

/// The answer to one question that an entry asks of the claims.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// The key in the policy file: an identity field or a claim.
    pub asked: Arc<str>,
    /// The claim that a person would look at.
    pub claim: Arc<str>,
    /// What kind of question it is.
    pub kind: FindingKind,
    /// What would have satisfied it, in words.
    pub wanted: Arc<str>,
    /// What the token has; `None` if the claim is absent or null. For a guard rail, what the relationship gives.
    pub found: Option<Value>,
    /// Whether it is satisfied.
    pub holds: bool,
    /// Whether it holds only because an id was given, while the name differs: somebody renamed something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renamed: bool,
}

/// What kind of question a finding answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// The entry is for this issuer.
    Issuer,
    /// An identity field.
    Identity,
    /// A name beside a given id: it must be there, and may differ.
    Label,
    /// Something that the profile requires of every token.
    Profile,
    /// A condition under `claims`.
    Condition,
    /// A guard rail of the organization, which this entry breaks: it is off.
    GuardRail,
    /// An id that the first use of the entry's names pinned.
    Pin,
    /// That the entry's names were used in time.
    Expired,
}

/// Why nothing is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No relationship holds, or there is no such project. Callers cannot tell the two apart unless they proved an
    /// identity.
    NotTrusted,
    /// All of a relationship holds but the ids that are pinned to its names: somebody registered the names again, or the
    /// token leaves out ids. Only where the owner is still the same, as far as the token says.
    IdentityChanged {
        /// The relationship's name.
        relationship: Arc<str>,
        /// The ids that are not the pinned ones, at least one.
        changed: Vec<ChangedId>,
    },
    /// All of the relationship called so holds, but it gives names without ids, and they were not used in time.
    RelationshipExpired(Arc<str>),
    /// A relationship holds, and so does a deny.
    DeniedByRule(Arc<str>),
    /// Relationships hold, but do not give all that was asked for.
    ScopeExceedsGrant {
        /// What was asked for and is not given.
        exceeding: Scopes,
        /// What is given.
        granted: Scopes,
    },
    /// Relationships hold, and none of them allows the resource.
    ResourceNotAllowed(String),
}

/// An id of a token that is not the one that is pinned to its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedId {
    /// The identity field.
    pub field: &'static str,
    /// Its claim.
    pub claim: &'static str,
    /// Whether the token has no such id, rather than another one.
    pub left_out: bool,
    /// For an id that was left out: the option of the CI system's command that asks for its claim.
    pub ask_for: Option<&'static str>,
}

impl Refusal {
    /// Every code: the reasons of denials that a policy decided, and that another policy could change.
    pub const CODES: [&'static str; 6] = [
        "not-trusted",
        "identity-changed",
        "relationship-expired",
        "denied-by-rule",
        "scope-exceeds-grant",
        "resource-not-allowed",
    ];

    /// One of [`Self::CODES`]: a name for dashboards, tests and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotTrusted => "not-trusted",
            Self::IdentityChanged { .. } => "identity-changed",
            Self::RelationshipExpired(_) => "relationship-expired",
            Self::DeniedByRule(_) => "denied-by-rule",
            Self::ScopeExceedsGrant { .. } => "scope-exceeds-grant",
            Self::ResourceNotAllowed(_) => "resource-not-allowed",
        }
    }
}

/// The permission to mint one project token. Its fields are private to this room, so only [`super::decide()`] grants.
#[derive(Debug)]
pub struct Grant {
    pub(super) trust: Vec<Arc<str>>,
    pub(super) scopes: Scopes,
    pub(super) lifetime: Seconds,
    pub(super) resource: Option<String>,
    pub(super) pins: Vec<PinWish>,
}

impl Grant {
    /// What the commit that spends the token must compare with the pins, or pin: one for each of the names without ids
    /// that let this token in.
    pub fn pins(&self) -> &[PinWish] {
        &self.pins
    }

    /// The names of all relationships that hold, sorted.
    pub fn trust(&self) -> &[Arc<str>] {
        &self.trust
    }

    /// The scopes.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// How long the token lives.
    pub fn lifetime(&self) -> Seconds {
        self.lifetime
    }

    /// The `aud` that was asked for and is allowed; `None` means our public address.
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_code_of_its_own_and_the_list_has_them_all() {
        let name: Arc<str> = "x".into();
        let all = [
            Refusal::NotTrusted,
            Refusal::IdentityChanged {
                relationship: name.clone(),
                changed: Vec::new(),
            },
            Refusal::RelationshipExpired(name.clone()),
            Refusal::DeniedByRule(name),
            Refusal::ScopeExceedsGrant {
                exceeding: Scopes::default(),
                granted: Scopes::default(),
            },
            Refusal::ResourceNotAllowed(String::new()),
        ];
        assert_eq!(all.map(|refusal| refusal.code()), Refusal::CODES);
    }
}
