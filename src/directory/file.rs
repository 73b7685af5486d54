//! One policy file as it was read last: what is in force of it, and what is wrong with it.

use std::sync::Arc;

use super::FileProblem;
use super::changes::State;
use super::listing::{Seen, Stamp, read_text};
use crate::trust::{GuardRails, PolicyFault, ProjectPolicy};

pub(super) const LAST_GOOD: &str = "the last good version of this file";
pub(super) const NO_RAILS: &str = "no guard rails, as before this file was there";
pub(super) const ALL_DISABLED: &str = "nothing: every project of the organization is disabled";

/// A file as it was read last.
pub(super) struct ReadFile<T> {
    /// Its stamp, or why it could not even be looked at.
    pub stamp: Result<Stamp, String>,
    pub in_force: InForce<T>,
    pub problem: Option<FileProblem>,
}

/// What is in force of a file.
pub(super) enum InForce<T> {
    /// This version of it.
    Version(Arc<T>),
    /// Nothing, and what it stands for is disabled.
    Disabled,
    /// Nothing, as if there were no such file.
    Ignored,
}

/// What a file is read into.
pub(super) trait Version {
    /// The digest of the file.
    fn digest(&self) -> &str;
}

impl Version for ProjectPolicy {
    fn digest(&self) -> &str {
        self.digest()
    }
}

impl Version for GuardRails {
    fn digest(&self) -> &str {
        self.digest()
    }
}

impl<T: Version> ReadFile<T> {
    /// How it stands with it.
    pub fn state(&self) -> State {
        let version = self.in_force.version();
        let in_force = version.map(|version| version.digest().to_owned());
        match (&self.problem, in_force) {
            (Some(problem), in_force) => State::Refused {
                digest: problem.fault.as_ref().map(PolicyFault::digest),
                message: problem.message.clone(),
                in_force,
                instead: problem.in_force,
            },
            (None, Some(digest)) => State::InForce { digest },
            (None, None) => State::Gone,
        }
    }
}

impl<T> InForce<T> {
    pub fn version(&self) -> Option<&Arc<T>> {
        match self {
            Self::Version(version) => Some(version),
            Self::Disabled | Self::Ignored => None,
        }
    }
}

impl<T> Clone for InForce<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Version(version) => Self::Version(version.clone()),
            Self::Disabled => Self::Disabled,
            Self::Ignored => Self::Ignored,
        }
    }
}

/// Why a file is not in force, in one line and with everything that is wrong.
pub(super) struct Broken {
    pub message: String,
    pub fault: Option<PolicyFault>,
}

/// What came of reading a file, and its text if there is one.
pub(super) fn read<T>(
    seen: &Seen,
    reader: impl FnOnce(&str) -> Result<T, PolicyFault>,
) -> (Result<T, Broken>, Option<String>) {
    let text = seen.stamp.clone().and_then(|_| read_text(&seen.path));
    let text = match text {
        Ok(text) => text,
        Err(message) => {
            let fault = None;
            return (Err(Broken { message, fault }), None);
        }
    };
    let outcome = reader(&text).map_err(|fault| Broken {
        message: in_one_line(&fault),
        fault: Some(fault),
    });
    (outcome, Some(text))
}

pub(super) fn good<T>(seen: &Seen, version: T) -> ReadFile<T> {
    ReadFile {
        stamp: seen.stamp.clone(),
        in_force: InForce::Version(Arc::new(version)),
        problem: None,
    }
}

pub(super) fn bad<T>(
    seen: &Seen,
    file: String,
    broken: Broken,
    in_force: InForce<T>,
    in_words: &'static str,
) -> ReadFile<T> {
    ReadFile {
        stamp: seen.stamp.clone(),
        in_force,
        problem: Some(FileProblem {
            file,
            message: broken.message,
            in_force: in_words,
            fault: broken.fault,
        }),
    }
}

fn in_one_line(fault: &PolicyFault) -> String {
    let first = fault.problems().first();
    let first = first.map(|problem| format!("line {}: {}", problem.line(), problem.message()));
    match (first, fault.problems().len()) {
        (Some(first), 1) => first,
        (Some(first), all) => format!("{first} (and {} more)", all - 1),
        (None, _) => "the file cannot be read".to_owned(),
    }
}
