//! What can be wrong with a subject token.

use super::token::printable;
use crate::clock::{Seconds, UnixTime};

/// A fault of the caller's own token. Each is told in full: the caller holds the token and can read it too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It is not a JWT in compact form that we could read.
    #[error("the subject token cannot be read: {0}")]
    Malformed(String),
    /// Nobody we know is called so.
    #[error(
        "no issuer is registered under the exact text `{0}`: compare it letter by letter with the configuration"
    )]
    IssuerUnknown(String),
    /// A claim that we need is missing or of a wrong type.
    #[error("the claim `{claim}` {fault}")]
    ClaimType {
        /// The claim.
        claim: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The algorithm is not accepted, or is not the key's.
    #[error("the algorithm `{algorithm}` is refused: {why}")]
    AlgorithmRefused {
        /// What the header says.
        algorithm: String,
        /// Why not.
        why: &'static str,
    },
    /// The issuer publishes no such key.
    #[error("there is no key for this token: {0}")]
    KeyUnknown(String),
    /// The signature does not verify.
    #[error(
        "the signature does not verify with the key that the header names: the token was changed, or another party signed it"
    )]
    SignatureInvalid,
    /// It was made for somebody else.
    #[error("the token was made for {found}: ask the CI system for one with the audience `{ours}`")]
    AudienceMismatch {
        /// What `aud` holds.
        found: String,
        /// Our public address.
        ours: String,
    },
    /// Its time is over.
    #[error(
        "the token expired at {expired}, and it is now {now}: ask the CI system for a fresh one right before the exchange"
    )]
    Expired {
        /// The value of `exp`.
        expired: UnixTime,
        /// The moment of the check.
        now: UnixTime,
    },
    /// Its time is still to come.
    #[error(
        "the token is valid from {from} (`{claim}`), and it is now {now}: one of the two clocks is wrong"
    )]
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// Its value.
        from: UnixTime,
        /// The moment of the check.
        now: UnixTime,
    },
    /// It was made too long ago.
    #[error(
        "the token was made at {issued} and is accepted for {limit} from then, and it is now {now}: ask the CI system for a fresh one right before the exchange"
    )]
    TooOld {
        /// The value of `iat`.
        issued: UnixTime,
        /// How long it is accepted.
        limit: Seconds,
        /// The moment of the check.
        now: UnixTime,
    },
    /// It lives longer than any token should.
    #[error("the token lives longer than {0}: ask the CI system for a shorter lifetime")]
    LivesTooLong(Seconds),
}

impl InvalidToken {
    /// Nobody is registered under the text of `iss`.
    pub fn issuer_unknown(unverified_issuer: &str) -> Self {
        Self::IssuerUnknown(printable(unverified_issuer))
    }

    /// A claim that we need cannot be used, because it `fault`.
    pub(super) fn wrong_claim(claim: &'static str, fault: &'static str) -> Self {
        Self::ClaimType { claim, fault }
    }

    /// The header names no key, and guessing one is not our way.
    pub fn no_key_named() -> Self {
        Self::KeyUnknown("its header has no `kid`".to_owned())
    }

    /// A name for dashboards, tests and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "token-malformed",
            Self::IssuerUnknown(_) => "issuer-unknown",
            Self::ClaimType { .. } => "claim-type",
            Self::AlgorithmRefused { .. } => "algorithm-refused",
            Self::KeyUnknown(_) => "key-unknown",
            Self::SignatureInvalid => "signature-invalid",
            Self::AudienceMismatch { .. } => "audience-mismatch",
            Self::Expired { .. } => "token-expired",
            Self::NotYetValid { .. } => "token-not-yet-valid",
            Self::TooOld { .. } | Self::LivesTooLong(_) => "token-too-old",
        }
    }
}
