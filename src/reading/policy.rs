//! Which policy was in force for a project at a moment, and below which guard rails.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::walk::walk;
use super::{ReadingError, Sources, Wish};
use crate::audit::{Entry, Event, Filter, Happening};
use crate::clock::UnixTime;
use crate::ledger::AuditLog;

/// How many changes before the moment, and how many after it, are told.
const MOST_CHANGES: usize = 5;

/// What was in force for a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAnswer {
    /// The project.
    pub project: String,
    /// The moment, RFC 3339.
    pub at: String,
    /// Its policy.
    pub policy: FileHistory,
    /// The guard rails of its organization.
    pub guard_rails: FileHistory,
}

/// One file of the trust policies around a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHistory {
    /// The file, below the folder of the policies.
    pub file: String,
    /// What of it was in force; none if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<InForce>,
    /// What happened to it up to the moment, the newest first; what brought the version into force is the first.
    pub before: Vec<PolicyChange>,
    /// What happened to it later, the oldest first.
    pub after: Vec<PolicyChange>,
}

/// The version of a file that was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// SHA-256 of its text.
    pub digest: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Its text; none if it was not kept, or is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// One thing that happened to a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    /// The number of its entry.
    pub index: u64,
    /// The name of its entry.
    pub event_id: String,
    /// `policy-loaded`, `policy-refused` or `policy-removed`.
    pub kind: String,
    /// When, RFC 3339.
    pub at: String,
    /// The digest of the version that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The names of entries that came with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// The names of entries that went with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// The names of entries that say something else since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Of a version that was refused: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The kinds of entries that are about a file.
const KINDS: [&str; 3] = ["policy-loaded", "policy-refused", "policy-removed"];

/// What was in force for the project of `wish` at its moment.
pub async fn policy(sources: Sources<'_>, wish: &Wish) -> Result<PolicyAnswer, ReadingError> {
    let project = wish.filter.project.clone().unwrap_or_default();
    let organization = project.split('/').next().unwrap_or_default();
    let of_project = Filter {
        project: Some(project.clone()),
        ..Filter::default()
    };
    let of_organization = Filter {
        organization: Some(organization.to_owned()),
        ..Filter::default()
    };
    let file = format!("{project}.toml");
    let above = format!("{organization}/_organization.toml");
    Ok(PolicyAnswer {
        policy: history(sources, file, &of_project, wish.at).await?,
        guard_rails: history(sources, above, &of_organization, wish.at).await?,
        at: wish.at.to_string(),
        project,
    })
}

async fn history(
    sources: Sources<'_>,
    file: String,
    filter: &Filter,
    at: UnixTime,
) -> Result<FileHistory, ReadingError> {
    let mut around = Around::default();
    for kind in KINDS {
        let filter = Filter {
            kind: Some(kind.into()),
            ..filter.clone()
        };
        around.add(changes(sources.log, &filter, &file, at).await?);
    }
    let in_force = match around.in_force() {
        None => None,
        Some((digest, since)) => {
            let text = sources.policies.policy_text(digest.clone()).await?;
            Some(InForce {
                text: text.and_then(|text| String::from_utf8(text).ok()),
                digest,
                since,
            })
        }
    };
    Ok(FileHistory {
        file,
        in_force,
        before: around.before,
        after: around.after,
    })
}

/// What happened to a file up to a moment and after it.
#[derive(Debug, Default)]
struct Around {
    before: Vec<PolicyChange>,
    after: Vec<PolicyChange>,
}

impl Around {
    /// Takes in changes of another kind.
    fn add(&mut self, other: Self) {
        self.before.extend(other.before);
        self.before
            .sort_by_key(|change| std::cmp::Reverse(change.index));
        self.after.extend(other.after);
        self.after.sort_by_key(|change| change.index);
    }

    /// The digest in force and since when: what loaded last, unless it was removed later. Ends with as many changes as are
    /// told.
    fn in_force(&mut self) -> Option<(String, String)> {
        let mut effective = self.before.iter();
        let last = effective.find(|change| change.kind != "policy-refused");
        let found = last
            .filter(|change| change.kind == "policy-loaded")
            .and_then(|change| Some((change.digest.clone()?, change.at.clone())));
        self.before.truncate(MOST_CHANGES);
        self.after.truncate(MOST_CHANGES);
        found
    }
}

/// The changes of one kind to `file` that are nearest to `at`.
async fn changes(
    log: &dyn AuditLog,
    filter: &Filter,
    file: &str,
    at: UnixTime,
) -> Result<Around, ReadingError> {
    let mut around = Around::default();
    walk(log, filter, |index, entry| {
        let Entry::Event(event) = entry else {
            return ControlFlow::Continue(());
        };
        let when = UnixTime::from_millis(event.at_millis);
        let Some(change) = change(index, event).filter(|(of, _)| of == file) else {
            return ControlFlow::Continue(());
        };
        if when > at {
            // The walk comes from the end: the nearest are the last.
            if around.after.len() == MOST_CHANGES {
                around.after.remove(0);
            }
            around.after.push(change.1);
        } else {
            around.before.push(change.1);
        }
        if around.before.len() < MOST_CHANGES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .await?;
    Ok(around)
}

/// What an event says of which file.
pub(super) fn change(index: u64, event: Event) -> Option<(String, PolicyChange)> {
    let change = PolicyChange {
        index,
        event_id: event.event_id.to_string(),
        kind: event.what.kind().to_owned(),
        at: UnixTime::from_millis(event.at_millis).to_string(),
        ..PolicyChange::default()
    };
    Some(match event.what {
        Happening::PolicyLoaded(loaded) => (
            loaded.file,
            PolicyChange {
                digest: Some(loaded.digest),
                added: loaded.added,
                removed: loaded.removed,
                changed: loaded.changed,
                ..change
            },
        ),
        Happening::PolicyRefused {
            file,
            digest,
            message,
            ..
        } => (
            file,
            PolicyChange {
                digest,
                message: Some(message),
                ..change
            },
        ),
        Happening::PolicyRemoved { file, before } => (
            file,
            PolicyChange {
                digest: before,
                ..change
            },
        ),
        _ => return None,
    })
}
