//! An exchange that was refused: why, what is recorded of it, and what its caller is told.

use serde_json::Map;

use super::{Exchange, ExchangeRequest};
use crate::audit::{DecisionId, Outcome, Record};
use crate::clock::{Seconds, UnixTime};
use crate::directory::Project;
use crate::issuer::{Match, TrustedIssuer};
use crate::ledger::{Denial, DenialKey, StoreUnavailable, Unrecorded, remember_until};
use crate::project_token::KeyFault;
use crate::subject::{InvalidToken, LONGEST_LIFETIME, SignedClaims, SpentKey, VerifiedClaims};
use crate::trust::{Judgement, Refusal, Shadow};
use std::sync::Arc;

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The subject token has a fault.
    #[error(transparent)]
    InvalidToken(#[from] InvalidToken),
    /// The policy says no; the description holds what this caller may know.
    #[error("{description}")]
    Refused {
        /// Why.
        refusal: Refusal,
        /// What the caller is told.
        description: String,
    },
    /// The subject token was used as often as it may.
    #[error("this token was exchanged before, and may be exchanged {}: ask the CI system for a fresh one", times(*.max_uses))]
    Spent {
        /// How often it may be.
        max_uses: u32,
    },
    /// The issuer's keys cannot be had at this moment.
    #[error("the keys of the issuer `{issuer}` cannot be fetched at this moment; try again later")]
    IssuerUnreachable {
        /// The issuer's name in the configuration.
        issuer: String,
        /// When it is worth another try.
        retry_after: Seconds,
    },
    /// The store cannot promise anything at this moment.
    #[error(
        "the decision cannot be recorded at this moment, so no token is issued; try again later, with a fresh token where the CI system gives one"
    )]
    Unavailable(#[from] StoreUnavailable),
    /// The token cannot be signed.
    #[error("the token cannot be signed at this moment; try again later")]
    Unsignable(#[from] KeyFault),
}

fn times(max_uses: u32) -> String {
    if max_uses == 1 {
        "once".to_owned()
    } else {
        format!("{max_uses} times")
    }
}

impl ExchangeError {
    /// A name for dashboards, tests and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidToken(fault) => fault.code(),
            Self::Refused { refusal, .. } => refusal.code(),
            Self::Spent { .. } => "token-spent",
            Self::IssuerUnreachable { .. } => "issuer-unreachable",
            Self::Unavailable(_) | Self::Unsignable(_) => "store-unavailable",
        }
    }

    /// When another try is worth it, for what passes by itself.
    pub fn retry_after(&self) -> Option<Seconds> {
        match self {
            Self::IssuerUnreachable { retry_after, .. } => Some(*retry_after),
            Self::Unavailable(_) | Self::Unsignable(_) => Some(Seconds(5)),
            _ => None,
        }
    }

    /// A grant for a project that does not exist, which no policy gives.
    pub(super) fn no_grant() -> Self {
        let description = "there is no such project".to_owned();
        Self::Refused {
            refusal: Refusal::NotTrusted,
            description,
        }
    }
}

/// A refused exchange, and the name of its record where there is one.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// Why.
    pub error: ExchangeError,
    /// The name of the record.
    pub decision_id: Option<DecisionId>,
}

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
pub(super) struct Witness<'a> {
    request: &'a ExchangeRequest,
    project: Option<&'a Project>,
    stage: Stage,
    relationships: Vec<Judgement>,
    denies: Vec<Judgement>,
    not_listed: usize,
    proven: bool,
    /// What entries in shadow mode would have done.
    pub(super) shadow: Shadow,
}

impl<'a> Witness<'a> {
    pub(super) fn new(request: &'a ExchangeRequest, project: Option<&'a Project>) -> Self {
        Self {
            request,
            project,
            stage: Stage::Unread,
            relationships: Vec::new(),
            denies: Vec::new(),
            not_listed: 0,
            proven: false,
            shadow: Shadow::default(),
        }
    }

    pub(super) fn reached(&mut self, stage: Stage) {
        self.stage = stage;
    }

    pub(super) fn judged(
        &mut self,
        relationships: Vec<Judgement>,
        denies: Vec<Judgement>,
        proven: bool,
        not_listed: usize,
    ) {
        self.relationships = relationships;
        self.denies = denies;
        self.proven = proven;
        self.not_listed = not_listed;
    }

    /// The identity fields whose names have changed since the policy was written.
    pub(super) fn renamed(&self) -> Vec<String> {
        let holding = self
            .relationships
            .iter()
            .filter(|judgement| judgement.holds);
        let findings = holding.flat_map(|judgement| &judgement.findings);
        let mut renamed: Vec<String> = findings
            .filter(|finding| finding.renamed)
            .map(|finding| finding.asked.to_string())
            .collect();
        renamed.sort();
        renamed.dedup();
        renamed
    }

    /// The record, as far as the exchange came. Whoever asks adds what is its own.
    pub(super) fn record(&self, outcome: Outcome, now: UnixTime) -> Record {
        let (trusted, unverified_issuer, subject, claims) = match &self.stage {
            Stage::Unread => (None, None, None, Map::new()),
            Stage::IssuerFound { trusted, matched } => (
                Some(trusted),
                Some(matched.issuer.to_string()),
                None,
                Map::new(),
            ),
            Stage::Signed(signed) => {
                let subject = signed.all().get("sub").and_then(serde_json::Value::as_str);
                (
                    Some(signed.trusted()),
                    None,
                    subject.map(str::to_owned),
                    signed.all().clone(),
                )
            }
            Stage::Verified(claims) => {
                let subject = claims.subject().to_owned();
                (
                    Some(claims.trusted()),
                    None,
                    Some(subject),
                    claims.all().clone(),
                )
            }
        };
        Record {
            version: 1,
            decision_id: DecisionId::new(now),
            at_millis: now.millis(),
            outcome,
            reason: None,
            description: None,
            issuer: trusted.map(|trusted| trusted.name.to_string()),
            verified: matches!(self.stage, Stage::Signed(_) | Stage::Verified(_)),
            unverified_issuer,
            subject,
            claims,
            audience: self.request.audience.clone(),
            project: self.project.map(|project| project.path.to_string()),
            project_id: self.project.map(|project| project.id.clone()),
            policy_digest: self
                .project
                .map(|project| project.policy.digest().to_owned()),
            guard_rails_digest: self
                .project
                .and_then(|project| project.policy.guard_rails())
                .map(|above| above.digest().to_owned()),
            trust: Vec::new(),
            relationships: Vec::new(),
            denies: Vec::new(),
            relationships_not_listed: 0,
            shadow_trust: self.shadow.trust_names(),
            shadow_denies: self.shadow.deny_names(),
            renamed: Vec::new(),
            scopes: Vec::new(),
            resource: self.request.wish.resource.clone(),
            token_id: None,
            token_expires: None,
            use_number: None,
            client_address: self.request.caller.address.clone(),
            user_agent: self.request.caller.user_agent.clone(),
        }
    }

    /// What makes this denial the same as another, and until when that is remembered.
    fn key(&self, reason: &str, now: UnixTime) -> (DenialKey, UnixTime) {
        let (token, until) = match &self.stage {
            Stage::Unread | Stage::IssuerFound { .. } => {
                let longest = remember_until(now.plus(LONGEST_LIFETIME));
                (
                    SpentKey::of_unverified(&self.request.subject_token),
                    longest,
                )
            }
            Stage::Signed(signed) => (
                signed.content_key(),
                remember_until(now.plus(LONGEST_LIFETIME)),
            ),
            Stage::Verified(claims) => (claims.spent_key(), remember_until(claims.expires())),
        };
        (
            DenialKey::new(&token, reason, &self.request.audience),
            until,
        )
    }

    /// The issuer and its customer, for limits: only what is to be believed counts.
    fn customer(&self) -> (String, String) {
        match &self.stage {
            Stage::Unread => ("-".to_owned(), String::new()),
            Stage::IssuerFound { trusted, .. } => (trusted.name.to_string(), "-".to_owned()),
            Stage::Signed(signed) => (signed.trusted().name.to_string(), signed.tenant()),
            Stage::Verified(claims) => (claims.trusted().name.to_string(), claims.tenant()),
        }
    }
}

impl Exchange {
    /// Records a denial, as far as denials of this kind are recorded, and answers it. If the store cannot record it, the
    /// caller is told all the same: nothing was granted.
    pub(super) async fn refuse(
        &self,
        error: ExchangeError,
        witness: Witness<'_>,
        now: UnixTime,
    ) -> Refused {
        let decision_id = match &error {
            // These are faults of ours or of the issuer, and say nothing about the job.
            ExchangeError::IssuerUnreachable { .. }
            | ExchangeError::Unavailable(_)
            | ExchangeError::Unsignable(_) => {
                let (issuer, _) = witness.customer();
                self.ledger.count_denial(
                    Unrecorded {
                        issuer,
                        reason: error.code(),
                    },
                    now,
                );
                None
            }
            _ => self
                .record_denial(&error, witness, now)
                .await
                .unwrap_or_else(|fault| {
                    tracing::warn!(%fault, reason = error.code(), "a denial could not be recorded");
                    None
                }),
        };
        Refused { error, decision_id }
    }

    async fn record_denial(
        &self,
        error: &ExchangeError,
        witness: Witness<'_>,
        now: UnixTime,
    ) -> Result<Option<DecisionId>, StoreUnavailable> {
        let reason = error.code();
        let (key, until) = witness.key(reason, now);
        if !witness.proven {
            if let Some(earlier) = self.ledger.denial_on_record(key).await? {
                return Ok(Some(earlier));
            }
            let (issuer, customer) = witness.customer();
            if !self.allowance.take(&issuer, &customer, now) {
                self.ledger.count_denial(Unrecorded { issuer, reason }, now);
                return Ok(None);
            }
        }
        let mut record = witness.record(Outcome::Denied, now);
        record.reason = Some(reason.to_owned());
        record.description = Some(error.to_string());
        record.relationships = witness.relationships;
        record.denies = witness.denies;
        record.relationships_not_listed = witness.not_listed;
        self.ledger
            .record_denial(Denial { key, until, record })
            .await
            .map(Some)
    }
}
