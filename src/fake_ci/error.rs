//! What a pretended CI system refuses.

use std::net::SocketAddr;

/// Why there is no token. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FakeCiError {
    /// An address that others could reach.
    #[error(
        "`{0}` is not a loopback address: whoever reaches this issuer gets any token, so it listens on 127.0.0.1 or [::1] only"
    )]
    NotLoopback(SocketAddr),
    /// A CI system that is not pretended.
    #[error("`{asked}` is none of the pretended CI systems: {}", .known.join(", "))]
    UnknownProfile {
        /// What was asked for.
        asked: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// A claim set that does not exist, or is another CI system's.
    #[error("`{asked}` is no claim set of `{profile}`: {}", .known.join(", "))]
    UnknownClaimSet {
        /// What was asked for.
        asked: String,
        /// The CI system.
        profile: &'static str,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// Not an organization as `CircleCI` writes it.
    #[error("`{0}` is not the UUID of an organization, in lower case with hyphens")]
    UnknownOrganization(String),
    /// Overrides that are not a JSON object.
    #[error("the overrides are not a JSON object of claims: {0}")]
    OverridesMalformed(String),
    /// A request token that this process did not make for this purpose.
    #[error(
        "the request token is missing or not one of ours: evaluate `/env/{0}` again, request tokens end with the process that made them"
    )]
    RequestTokenRefused(&'static str),
    /// An agent that asks for the token of another job.
    #[error("the access token belongs to the job `{own}`, not to `{asked}`")]
    AnotherJob {
        /// The job of the access token.
        own: String,
        /// The job in the address.
        asked: String,
    },
    /// Something that Buildkite would not give.
    #[error("{0}")]
    NotGiven(String),
    /// The library refused to make a key or to sign.
    #[error("the cryptographic library failed while it {0}")]
    Library(&'static str),
}

impl FakeCiError {
    /// A name for tests. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotLoopback(_) => "not-loopback",
            Self::UnknownProfile { .. } => "profile-unknown",
            Self::UnknownClaimSet { .. } => "claim-set-unknown",
            Self::UnknownOrganization(_) => "organization-unknown",
            Self::OverridesMalformed(_) => "overrides-malformed",
            Self::RequestTokenRefused(_) => "request-token-refused",
            Self::AnotherJob { .. } => "another-job",
            Self::NotGiven(_) => "not-given",
            Self::Library(_) => "library-failed",
        }
    }
}
