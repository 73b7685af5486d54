//! What an exchange has seen so far: what its record can say, and what of it is to be believed.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::ExchangeRequest;
use crate::audit::{Explanation, Outcome, Record, RecordedClaims};
use crate::clock::UnixTime;
use crate::directory::Project;
use crate::issuer::{Match, Profile, TrustedIssuer};
use crate::ledger::{DenialKey, remember_until};
use crate::subject::{LONGEST_LIFETIME, SignedClaims, SpentKey, VerifiedClaims};
use crate::trust::{
    Answer, Circumstances, Decision, Grant, Limits, Refusal, decide, no_such_project,
};

/// How many characters a value must have at least to be told apart from what stands in a text by chance.
const SHORTEST_TELLING: usize = 3;

/// How far an exchange came, and so what is known and to be believed of its token.
#[derive(Debug)]
pub(super) enum Stage {
    /// Nothing is known.
    Unread,
    /// It names a registered issuer. Nobody's word yet.
    IssuerFound {
        trusted: Arc<TrustedIssuer>,
        matched: Match,
    },
    /// It is genuine, and not for us or not for now.
    Signed(SignedClaims),
    /// It is genuine, for us, and for now.
    Verified(VerifiedClaims),
}

/// What an exchange has seen so far, for its record.
pub(super) struct Trail<'a> {
    request: &'a ExchangeRequest,
    project: Option<Arc<Project>>,
    stage: Stage,
    proven: bool,
    /// What the policy was asked with, once it was.
    circumstances: Option<Circumstances>,
    /// Its answer in words, once they were needed.
    decision: Option<Decision>,
    renamed: Vec<String>,
    shadow_trust: Vec<String>,
    shadow_denies: Vec<String>,
}

impl<'a> Trail<'a> {
    pub(super) fn new(request: &'a ExchangeRequest, project: Option<Arc<Project>>) -> Self {
        Self {
            request,
            project,
            stage: Stage::Unread,
            proven: false,
            circumstances: None,
            decision: None,
            renamed: Vec::new(),
            shadow_trust: Vec::new(),
            shadow_denies: Vec::new(),
        }
    }

    /// Notes that the exchange came so far.
    pub(super) fn reached(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Notes the project that is asked for, as it stands now, and hands it on.
    pub(super) fn asked_for(&mut self, project: Option<Arc<Project>>) -> Option<Arc<Project>> {
        self.project.clone_from(&project);
        project
    }

    /// Keeps what the policy answered, and with what it was asked, and hands on what came of it.
    pub(super) fn answered(
        &mut self,
        answer: Answer,
        circumstances: Circumstances,
    ) -> Result<Grant, Refusal> {
        self.circumstances = Some(circumstances);
        self.proven = answer.proven;
        self.renamed = answer.renamed;
        self.shadow_trust = answer.shadow_trust;
        self.shadow_denies = answer.shadow_denies;
        answer.outcome
    }

    /// What the caller may know of `refusal`. Who proved nothing learns nothing of the relationships, so that a flood of
    /// strangers does not pay for words about each of them.
    pub(super) fn told_of(&mut self, refusal: &Refusal, limits: Limits) -> String {
        if self.proven {
            self.decision = self.explained(limits);
        }
        let bare = || Decision {
            outcome: Err(refusal.clone()),
            ..no_such_project()
        };
        self.decision
            .as_ref()
            .map_or_else(|| bare().description(), Decision::description)
    }

    /// Asks the policy again, for the reasons of its answer: they stand in the record of a denial.
    fn explained(&self, limits: Limits) -> Option<Decision> {
        let Stage::Verified(claims) = &self.stage else {
            return None;
        };
        let policy = &self.project.as_ref()?.policy;
        let circumstances = self.circumstances.as_ref()?;
        let wish = &self.request.wish;
        Some(decide(policy, claims, wish, &limits, circumstances))
    }

    /// Whether the caller proved an identity that some relationship of the project asks for.
    pub(super) fn proven(&self) -> bool {
        self.proven
    }

    /// Whether the caller proved nothing, and those like it fail too often for another look at the ledger.
    pub(super) fn is_not_worth_a_record(&self) -> bool {
        self.request.caller.fails_often && !self.proven
    }

    /// The identity fields whose names have changed since the policy was written, see [`Decision::renamed`].
    pub(super) fn renamed(&self) -> &[String] {
        &self.renamed
    }

    /// The record, as far as the exchange came. Whoever asks adds what is its own.
    pub(super) fn record(&self, outcome: Outcome, now: UnixTime) -> Record {
        let claims = self.stage.claims().cloned().unwrap_or_default();
        let trusted = self.stage.trusted();
        let profile = trusted.map(|trusted| trusted.profile);
        let facts = profile.map(|profile| profile.facts);
        let fact = |claim: Option<&str>| match claims.get(claim?)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let project = self.project.as_ref();
        let guard_rails = project.and_then(|project| project.policy.guard_rails());
        Record {
            issuer: trusted.map(|trusted| trusted.name.to_string()),
            verified: matches!(self.stage, Stage::Signed(_) | Stage::Verified(_)),
            unverified_issuer: self.stage.unverified_issuer(),
            subject: claims.get("sub").and_then(Value::as_str).map(str::to_owned),
            repository: fact(facts.and_then(|facts| facts.repository)),
            run_id: fact(facts.and_then(|facts| facts.run_id)),
            claims: RecordedClaims::new(claims.clone(), personal(profile, &claims)),
            audience: self.request.audience.clone(),
            project: project.map(|project| project.path.to_string()),
            project_id: project.map(|project| project.id.clone()),
            policy_digest: project.map(|project| project.policy.digest().to_owned()),
            guard_rails_digest: guard_rails.map(|guard_rails| guard_rails.digest().to_owned()),
            shadow_trust: self.shadow_trust.clone(),
            shadow_denies: self.shadow_denies.clone(),
            resource: self.request.wish.resource.clone(),
            client_address: self.request.caller.address.clone(),
            user_agent: self.request.caller.user_agent.clone(),
            ..Record::new(outcome, now)
        }
    }

    /// The record of a denial, with everything that the policy answered.
    pub(super) fn denial(
        mut self,
        reason: &str,
        description: String,
        limits: Limits,
        now: UnixTime,
    ) -> Record {
        let record = self.record(Outcome::Denied, now);
        let decision = self.decision.take().or_else(|| self.explained(limits));
        let decision = decision.unwrap_or_else(no_such_project);
        let nearest = decision.relationships.first();
        let denied_by = decision.denies.iter().find(|deny| deny.holds);
        Record {
            reason: Some(reason.to_owned()),
            nearest: nearest.map(|judged| judged.name.to_string()),
            denied_by: denied_by.map(|deny| deny.name.to_string()),
            explanation: Some(Explanation {
                description,
                relationships: decision.relationships,
                denies: decision.denies,
                relationships_not_listed: decision.not_listed,
            }),
            ..record
        }
    }

    /// What makes this denial the same as another, and until when that is remembered.
    pub(super) fn key(&self, reason: &str, now: UnixTime) -> (DenialKey, UnixTime) {
        let longest = now.plus(LONGEST_LIFETIME);
        let (token, expires) = match &self.stage {
            Stage::Unread | Stage::IssuerFound { .. } => {
                let token = SpentKey::of_unverified(&self.request.subject_token);
                (token, longest)
            }
            Stage::Signed(signed) => (signed.content_key(), longest),
            Stage::Verified(claims) => (claims.spent_key(), claims.expires()),
        };
        let policy = self.project.as_ref();
        let policy = policy.map(|project| project.policy.digest());
        let key = DenialKey::new(&token, reason, &self.request.audience, policy);
        (key, remember_until(expires))
    }

    /// The name in the configuration of the issuer that the token names, also before anybody has vouched for that.
    pub(super) fn issuer(&self) -> Option<Arc<str>> {
        self.stage.trusted().map(|trusted| trusted.name.clone())
    }

    /// The issuer and its tenant, for limits: only what is to be believed counts.
    pub(super) fn issuer_and_tenant(&self) -> (String, String) {
        let tenant = match &self.stage {
            Stage::Unread => String::new(),
            Stage::IssuerFound { .. } => "-".to_owned(),
            Stage::Signed(signed) => signed.tenant(),
            Stage::Verified(claims) => claims.tenant(),
        };
        let issuer = self.stage.trusted().map(|trusted| trusted.name.to_string());
        (issuer.unwrap_or_else(|| "-".to_owned()), tenant)
    }
}

/// The names of the claims that are about a person: those that the profile marks, and `sub` if it repeats one of them.
fn personal(profile: Option<&Profile>, claims: &Map<String, Value>) -> Vec<&'static str> {
    let Some(profile) = profile else {
        return Vec::new();
    };
    let marked = profile.claims.iter().filter(|claim| claim.personal);
    let marked = marked.map(|claim| claim.name);
    let mut personal: Vec<&str> = marked
        .chain(profile.also_personal.iter().copied())
        .collect();
    let subject = claims.get("sub").and_then(Value::as_str);
    let subject = subject.unwrap_or_default();
    let is_repeated = |name: &&str| {
        let value = claims.get(*name);
        value.is_some_and(|value| stands_in(subject, value))
    };
    if !personal.contains(&"sub") && personal.iter().any(is_repeated) {
        personal.push("sub");
    }
    personal
}

/// Whether a text holds all of a value, unless the value is so short that it stands anywhere.
fn stands_in(text: &str, value: &Value) -> bool {
    let holds =
        |value: &str| value.chars().nth(SHORTEST_TELLING - 1).is_some() && text.contains(value);
    match value {
        Value::String(value) => holds(value),
        Value::Number(value) => holds(&value.to_string()),
        _ => false,
    }
}

impl Stage {
    /// The configured issuer, once it is found.
    fn trusted(&self) -> Option<&TrustedIssuer> {
        match self {
            Self::Unread => None,
            Self::IssuerFound { trusted, .. } => Some(trusted),
            Self::Signed(signed) => Some(signed.trusted()),
            Self::Verified(claims) => Some(claims.trusted()),
        }
    }

    /// The text of `iss` as long as nobody has vouched for it.
    fn unverified_issuer(&self) -> Option<String> {
        match self {
            Self::IssuerFound { matched, .. } => Some(matched.issuer.to_string()),
            Self::Unread | Self::Signed(_) | Self::Verified(_) => None,
        }
    }

    /// The claims, once it is known who signed them.
    fn claims(&self) -> Option<&Arc<Map<String, Value>>> {
        match self {
            Self::Unread | Self::IssuerFound { .. } => None,
            Self::Signed(signed) => Some(signed.all()),
            Self::Verified(claims) => Some(claims.all()),
        }
    }
}
