//! An exchange that was refused: why, and how that is recorded.

use std::sync::Arc;

use super::Exchange;
use super::trail::Trail;
use crate::audit::DecisionId;
use crate::clock::{Seconds, UnixTime};
use crate::discovery::KeyError;
use crate::issuer::TrustedIssuer;
use crate::ledger::{Denial, StoreUnavailable, Unrecorded};
use crate::project_token::KeyFault;
use crate::subject::InvalidToken;
use crate::trust::{Refusal, no_such_project};

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The subject token has a fault.
    #[error(transparent)]
    InvalidToken(#[from] InvalidToken),
    /// The policy grants nothing; the description holds what this caller may know of it.
    #[error("{description}")]
    NotGranted {
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
            Self::NotGranted { refusal, .. } => refusal.code(),
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

    /// Nothing is granted for a project that does not exist: to the caller the same as one that does not trust it.
    pub(super) fn no_such_project() -> Self {
        Self::NotGranted {
            refusal: Refusal::NotTrusted,
            description: no_such_project().description(),
        }
    }

    /// The issuer `trusted` has no key for the token, or none that can be had now.
    pub(super) fn without_key(fault: &KeyError, trusted: &TrustedIssuer) -> Self {
        match fault {
            KeyError::Unknown { .. } => InvalidToken::KeyUnknown(fault.to_string()).into(),
            KeyError::Unreachable { retry_after, .. } => Self::IssuerUnreachable {
                issuer: trusted.name.to_string(),
                retry_after: *retry_after,
            },
            KeyError::NotOnRecord { .. } => StoreUnavailable(fault.to_string()).into(),
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
    /// The name in the configuration of the issuer that the token names, if it names one.
    pub issuer: Option<Arc<str>>,
}

impl Exchange {
    /// Records a denial, as far as denials of this kind are recorded, and answers it. If the store cannot record it, the
    /// caller is told all the same: nothing was granted.
    pub(super) async fn refuse(
        &self,
        error: ExchangeError,
        trail: Trail<'_>,
        now: UnixTime,
    ) -> Refused {
        let issuer = trail.issuer();
        let decision_id = match &error {
            // These are faults of ours or of the issuer, and say nothing about the job.
            ExchangeError::IssuerUnreachable { .. }
            | ExchangeError::Unavailable(_)
            | ExchangeError::Unsignable(_) => {
                let (issuer, _) = trail.issuer_and_tenant();
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
                .record_denial(&error, trail, now)
                .await
                .unwrap_or_else(|fault| {
                    tracing::warn!(%fault, reason = error.code(), "a denial could not be recorded");
                    None
                }),
        };
        Refused {
            error,
            decision_id,
            issuer,
        }
    }

    /// The name of the record of a denial: a new one, that of an earlier denial like it, or none where only the number of
    /// such denials is kept.
    async fn record_denial(
        &self,
        error: &ExchangeError,
        trail: Trail<'_>,
        now: UnixTime,
    ) -> Result<Option<DecisionId>, StoreUnavailable> {
        let reason = error.code();
        if trail.is_not_worth_a_record() {
            let (issuer, _) = trail.issuer_and_tenant();
            self.ledger.count_denial(Unrecorded { issuer, reason }, now);
            return Ok(None);
        }
        let (key, until) = trail.key(reason, now);
        if let Some(earlier) = self.ledger.denial_on_record(key).await? {
            return Ok(Some(earlier));
        }
        if !trail.proven() {
            let (issuer, tenant) = trail.issuer_and_tenant();
            if !self.allowance.take(&issuer, &tenant, now) {
                self.ledger.count_denial(Unrecorded { issuer, reason }, now);
                return Ok(None);
            }
        }
        let record = trail.denial(reason, error.to_string(), self.limits, now);
        self.ledger
            .record_denial(Denial { key, until, record })
            .await
            .map(Some)
    }
}
