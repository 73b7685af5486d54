//! Issuers: the CI systems that sign identity tokens, their addresses, their public keys and what we know of each kind.
//!
//! Everything here is data that was checked once. Nothing here asks anyone: fetching lives in `discovery`.

mod claims;
mod keys;
pub mod profile;
mod profiles;
mod registry;
mod url;

pub use keys::{KeySet, PublicKey, SetFault, SigningAlgorithm, UnusableKey};
pub use profile::Profile;
pub use profiles::{PROFILES, profile_named};
pub use registry::{Registry, TrustedIssuer};
pub(crate) use url::is_loopback;
pub use url::{InvalidIssuer, Issuer, IssuerForm, Match};
