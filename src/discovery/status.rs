//! How it stands with each issuer's keys, for operators.

use std::sync::Arc;

use crate::clock::UnixTime;
use crate::issuer::Issuer;

/// How it stands with the keys of one concrete issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerStatus {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The concrete issuer.
    pub issuer: Issuer,
    /// How many key names are known and fresh enough to be used.
    pub keys: usize,
    /// When the last try began that brought keys, perhaps before a restart.
    pub last_success: Option<UnixTime>,
    /// The last try that failed. A later success leaves it here.
    pub last_failure: Option<Failure>,
    /// Whether the last try failed, so that the keys in use, if any, grow old.
    pub failing: bool,
    /// What is odd and yet no failure: a discovery document that disagrees, a key that cannot be used, an archive that
    /// could not be written.
    pub warnings: Vec<String>,
    /// How many tries were begun since the start.
    pub fetches: u64,
}

/// A try that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When it began.
    pub at: UnixTime,
    /// Why, for an operator.
    pub text: String,
}
