//! `fake-ci`: one issuer on loopback that stands in for the CI systems, for tests, for the demo and for trying a policy.
//!
//! A [`Signer`] holds one key per CI system and signs tokens from [`ClaimSet`]s, with whatever an operator wants changed
//! ([`Job`]). A [`FakeCi`] puts an address and a clock to it, and offers what a job would find there: request tokens and
//! environment variables. No token made here is worth anything to who does not configure this issuer.

mod buildkite;
mod error;
mod follow;
mod job;
mod key;
mod page;
mod pretended;
mod request_token;
mod sets;
mod shell;
mod signer;
mod system;

pub use buildkite::AgentRequest;
pub use error::FakeCiError;
pub use job::{Job, override_from_text, overrides_from_json};
pub use pretended::FakeCi;
pub use sets::{ClaimSet, claim_set, claim_sets};
pub use shell::complaint;
pub use signer::{Signed, Signer};
pub use system::{GITLAB_TOKEN_VARIABLE, RWX_TOKEN_VARIABLE, TRIAL_AUDIENCE};

/// Where `fake-ci` listens unless told otherwise.
pub const DEFAULT_ADDRESS: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9100);
