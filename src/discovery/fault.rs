//! What can go wrong between an issuer's keys and us.

use std::path::PathBuf;
use std::time::Duration;

use super::fetch::LONGEST_ANSWER;
use crate::clock::Seconds;
use crate::issuer::{Issuer, SetFault};

/// Why there is no key for a token. What went wrong on the way to the issuer stands in the log and in the status, not
/// here: this is told to a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The issuer was asked within the last minute, answered, and publishes no usable key of that name.
    #[error("the issuer `{issuer}` publishes no usable key under the `kid` `{kid}`{}", because(*.why))]
    Unknown {
        /// The concrete issuer that was asked.
        issuer: Issuer,
        /// The name that the token gives, cut to 64 printable ASCII characters.
        kid: String,
        /// Why the key of that name is not used, if there is one.
        why: Option<&'static str>,
    },
    /// The issuer could not be asked, or not in time, or too many are waiting for its answer.
    #[error(
        "the keys of the issuer `{issuer}` cannot be had at this moment: try again in {retry_after}"
    )]
    Unreachable {
        /// The concrete issuer.
        issuer: Issuer,
        /// When another try can bring something new; at least a second.
        retry_after: Seconds,
    },
    /// The issuer has other keys than before, and the store could not put that on record.
    #[error("the keys of the issuer `{issuer}` changed, and that could not be put on record")]
    NotOnRecord {
        /// The concrete issuer.
        issuer: Issuer,
    },
}

fn because(why: Option<&'static str>) -> String {
    why.map_or_else(String::new, |why| format!(": the key of that name {why}"))
}

/// A setting of an issuer with which its keys could never be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupFault {
    /// `ca-file` cannot be read, or holds no certificate.
    #[error("the issuer `{issuer}` names the `ca-file` `{}`, which {why}", .path.display())]
    CaFile {
        /// The issuer's name in the configuration.
        issuer: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// `proxy` is no address of a proxy. It may hold a password, so it is not repeated.
    #[error(
        "the issuer `{issuer}` names a `proxy` that is not an address such as `http://proxy.example:3128`"
    )]
    Proxy {
        /// The issuer's name in the configuration.
        issuer: String,
    },
    /// `jwks-url` is not an address that keys are taken from.
    #[error(
        "the issuer `{issuer}` names the `jwks-url` `{address}`, which is not an `https://` address"
    )]
    KeyAddress {
        /// The issuer's name in the configuration.
        issuer: String,
        /// The address.
        address: String,
    },
    /// The machine's TLS library would not start.
    #[error("the TLS client for the issuer `{issuer}` cannot be made: {why}")]
    Client {
        /// The issuer's name in the configuration.
        issuer: String,
        /// What the library says.
        why: String,
    },
}

/// Why one try brought no keys. For the operator; never a part of the answer's body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchFault {
    #[error("`{address}` cannot be reached: {why}")]
    NotReached { address: String, why: String },
    #[error("the answer took longer than {}", humantime::format_duration(*.0))]
    TooSlow(Duration),
    #[error(
        "`{address}` answers with a redirect ({status}) to `{to}`, which is not followed: set `jwks-url` if the keys are there"
    )]
    Redirected {
        address: String,
        status: u16,
        to: String,
    },
    #[error("`{address}` answers with the status {status} and `{content_type}` in place of 200")]
    Status {
        address: String,
        status: u16,
        content_type: String,
    },
    #[error("`{address}` answers with more than {} KiB", LONGEST_ANSWER / 1024)]
    TooLong { address: String },
    #[error("`{address}` answers with `{content_type}`: {fault}")]
    NotKeys {
        address: String,
        content_type: String,
        fault: SetFault,
    },
    #[error("`{address}` answers with `{content_type}`, which is not a discovery document: {why}")]
    NotADocument {
        address: String,
        content_type: String,
        why: &'static str,
    },
    #[error("the discovery document is that of the issuer `{found}`: the `url` must be that text")]
    OtherIssuer { found: String },
    #[error(
        "the discovery document says that the keys are at `{address}`, which is not on the issuer's scheme, host and port: set `jwks-url` if that is right"
    )]
    OtherOrigin { address: String },
    #[error("the file `{}` cannot be read: {why}", .path.display())]
    File { path: PathBuf, why: String },
    #[error("the file `{}` cannot be used: {fault}", .path.display())]
    FileNotKeys { path: PathBuf, fault: SetFault },
}

impl FetchFault {
    /// A name for dashboards. Codes are never renamed.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::NotReached { .. } => "not-reached",
            Self::TooSlow(_) => "too-slow",
            Self::Redirected { .. } => "redirected",
            Self::Status { .. } => "status",
            Self::TooLong { .. } => "too-long",
            Self::NotKeys { .. } => "not-keys",
            Self::NotADocument { .. } | Self::OtherIssuer { .. } | Self::OtherOrigin { .. } => {
                "discovery"
            }
            Self::File { .. } | Self::FileNotKeys { .. } => "file",
        }
    }
}
