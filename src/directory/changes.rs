//! What a scan changes, in the words of the log.

use std::collections::BTreeMap;

use super::{OnRecord, PolicyChange};
use crate::audit::{Happening, PolicyLoaded};
use crate::trust::{ProjectPath, entries_by_name};

/// How it stands with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It is not there, and nothing of it is in force.
    Gone,
    /// It is in force as it stands.
    InForce {
        /// The digest of the file.
        digest: String,
    },
    /// It cannot be used as it stands.
    Refused {
        /// The digest of the file; none if it cannot be read.
        digest: Option<String>,
        /// What is wrong with it, in one line.
        message: String,
        /// The digest of the version that stays in force.
        in_force: Option<String>,
        /// What is in force instead, in words.
        instead: &'static str,
    },
}

/// A file with which it stands otherwise than the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileChange {
    /// The file, below the folder of the policies.
    pub file: String,
    /// The organization.
    pub organization: String,
    /// The project; none of guard rails.
    pub project: Option<ProjectPath>,
    /// What the log says until now.
    pub before: Option<OnRecord>,
    /// How it stands.
    pub after: State,
}

impl State {
    /// What the log says once it says this.
    pub fn on_record(&self) -> Option<OnRecord> {
        match self {
            Self::Gone => None,
            Self::InForce { digest } => Some(OnRecord {
                in_force: Some(digest.clone()),
                refused: None,
            }),
            Self::Refused {
                digest,
                message,
                in_force,
                instead,
            } => {
                let version = digest.as_ref().unwrap_or(message);
                Some(OnRecord {
                    in_force: in_force.clone(),
                    // Broken guard rails may leave an organization as it was, and disable it after a restart.
                    refused: Some(match in_force {
                        Some(_) => version.clone(),
                        None => format!("{version}; {instead}"),
                    }),
                })
            }
        }
    }

    /// The digest of the file as it stands, if it could be read.
    pub fn digest(&self) -> Option<&str> {
        match self {
            Self::Gone => None,
            Self::InForce { digest } => Some(digest),
            Self::Refused { digest, .. } => digest.as_deref(),
        }
    }
}

impl FileChange {
    /// The change, if it is one.
    pub fn of(
        file: String,
        project: Option<&ProjectPath>,
        before: Option<OnRecord>,
        after: State,
    ) -> Option<Self> {
        if before == after.on_record() {
            return None;
        }
        let organization = file.split('/').next().unwrap_or_default().to_owned();
        Some(Self {
            file,
            organization,
            project: project.cloned(),
            before,
            after,
        })
    }

    /// The project whose id the log names.
    pub fn loaded_project(&self) -> Option<&ProjectPath> {
        let loaded = matches!(self.after, State::InForce { .. });
        self.project.as_ref().filter(|_| loaded)
    }

    /// The version whose entries the new one is compared with.
    pub fn compared_with(&self) -> Option<&str> {
        let State::InForce { digest } = &self.after else {
            return None;
        };
        let before = self.before.as_ref()?.in_force.as_deref();
        before.filter(|before| before != digest)
    }

    /// The change with its entry for the log. `text` is the file as it stands, and `before` the text of
    /// [`Self::compared_with`].
    pub fn into_record(
        self,
        text: Option<Vec<u8>>,
        before: Option<&[u8]>,
        id: Option<String>,
    ) -> PolicyChange {
        let on_record = self.after.on_record();
        let kept = self.after.digest().map(str::to_owned);
        let kept = kept.zip(text);
        let was_in_force = self.before.and_then(|before| before.in_force);
        let file = self.file.clone();
        let event = match self.after {
            State::Gone => Happening::PolicyRemoved {
                file,
                before: was_in_force,
            },
            State::InForce { digest } => {
                let text = kept.as_ref().map(|(_, text)| text.as_slice());
                let names = if was_in_force.as_ref() == Some(&digest) {
                    Names::default()
                } else {
                    Names::between(before.unwrap_or_default(), text.unwrap_or_default())
                };
                Happening::PolicyLoaded(PolicyLoaded {
                    file,
                    organization: self.organization,
                    project: self.project.map(|project| project.to_string()),
                    project_id: id,
                    digest,
                    before: was_in_force,
                    added: names.added,
                    removed: names.removed,
                    changed: names.changed,
                })
            }
            State::Refused {
                digest,
                message,
                in_force,
                instead,
            } => Happening::PolicyRefused {
                file,
                digest,
                message: match &in_force {
                    Some(_) => message,
                    None => format!("{message}; in force is {instead}"),
                },
                in_force,
            },
        };
        PolicyChange {
            file: self.file,
            event,
            on_record,
            text: kept,
        }
    }
}

/// The names of entries in which two versions of a file differ.
#[derive(Default)]
struct Names {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Names {
    fn between(before: &[u8], after: &[u8]) -> Self {
        let entries = |text: &[u8]| entries_by_name(&String::from_utf8_lossy(text));
        let (before, after) = (entries(before), entries(after));
        let without = |some: &BTreeMap<String, _>, others: &BTreeMap<String, _>| {
            let names = some.keys().filter(|name| !others.contains_key(*name));
            names.cloned().collect()
        };
        let changed = after.iter().filter(|(name, says)| {
            let earlier = before.get(*name);
            earlier.is_some_and(|earlier| earlier != *says)
        });
        Self {
            added: without(&after, &before),
            removed: without(&before, &after),
            changed: changed.map(|(name, _)| name.clone()).collect(),
        }
    }
}
