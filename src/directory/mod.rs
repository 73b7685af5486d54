//! Projects: which there are, what they are called, and what their policies say now.
//!
//! A [`Directory`] is a folder of policy files, read file by file, and the text ids that the store binds to their paths.
//! Exchanges read an immutable snapshot of it and never wait for a reload. What changes in it is on record before it has
//! an effect.

mod audience;
mod changes;
mod file;
mod folder;
mod held;
mod listing;
mod once;
mod peers;
mod record;
mod watch;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::audit::Happening;
use crate::clock::{Clock, UnixTime};
use crate::issuer::Registry;
use crate::ledger::StoreUnavailable;
use crate::trust::{Names, ProjectPath, ProjectPolicy};

pub use audience::{Audience, InvalidAudience};
pub use folder::{FileProblem, SwitchedOff};
pub use once::{ReadPolicies, read_policies};
pub use peers::Peers;
pub use watch::follow;

use folder::{Folder, Scan, Texts, switched_off};
use record::Unfinished;

/// Binds each project's path to a short text id, once and for ever.
pub trait ProjectIds: Send + Sync {
    /// The ids of `paths`, in their order. A path that has none is given a new one; an id is never given to another
    /// path. Durable when this returns.
    fn ids_of(
        &self,
        paths: Vec<ProjectPath>,
    ) -> BoxFuture<'_, Result<Vec<String>, StoreUnavailable>>;
}

/// Remembers when names without ids were first loaded, so that those that nobody uses expire.
pub trait FirstLoads: Send + Sync {
    /// Remembers that a policy with these names is in force at `now`. Where one was before, the earlier time stays.
    /// Durable when this returns.
    fn note_names(
        &self,
        names: Vec<Names>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>>;
}

/// What the log says is in force of one policy file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnRecord {
    /// The digest of the version in force; none if nothing of the file is.
    pub in_force: Option<String>,
    /// The digest of the version that was refused since, or what was wrong with it, and what that led to if nothing is
    /// in force; none if none was.
    pub refused: Option<String>,
}

/// One thing that changed in the policies, to be put on record before it has an effect.
#[derive(Debug, Clone)]
pub struct PolicyChange {
    /// The file, below the folder of the policies.
    pub file: String,
    /// What the log will say of it.
    pub event: Happening,
    /// What is remembered of the file from here on; `None` if it is gone.
    pub on_record: Option<OnRecord>,
    /// The text of the file and its digest, to be kept if the digest is not known yet.
    pub text: Option<(String, Vec<u8>)>,
}

/// Remembers which policies the log says are in force, and the text of every version that ever was.
pub trait PolicyHistory: Send + Sync {
    /// What the log says of every file that is not gone.
    fn policies_on_record(
        &self,
    ) -> BoxFuture<'_, Result<HashMap<String, OnRecord>, StoreUnavailable>>;

    /// Puts changes on record: an entry of the log for each, in one commit with what is remembered. Durable when this
    /// returns. A change after which the log would say what it says already is none: another instance was first.
    fn record_policies(
        &self,
        changes: Vec<PolicyChange>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>>;

    /// The text of the version with this digest, if it was ever in force or refused.
    fn policy_text(
        &self,
        digest: String,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>>;
}

/// One project and the policy that is in force for it.
#[derive(Debug)]
pub struct Project {
    /// Its path.
    pub path: ProjectPath,
    /// Its text id.
    pub id: String,
    /// Its policy, without the text of its file.
    pub policy: Arc<ProjectPolicy>,
}

/// All projects, found by path or id, and kept up with the folder.
pub struct Directory {
    snapshot: ArcSwap<Snapshot>,
    folder: Arc<Mutex<Folder>>,
    ids: Arc<dyn ProjectIds>,
    first_loads: Arc<dyn FirstLoads>,
    history: Arc<dyn PolicyHistory>,
    clock: Arc<dyn Clock>,
    settled: AtomicBool,
    /// Held by the one reload at a time.
    reloading: tokio::sync::Mutex<Unfinished>,
}

#[derive(Default)]
struct Snapshot {
    by_path: HashMap<ProjectPath, Arc<Project>>,
    by_id: HashMap<String, Arc<Project>>,
    organizations_named: HashSet<(String, String)>,
    problems: Vec<FileProblem>,
    switched_off: Vec<SwitchedOff>,
    digest: String,
}

/// The folder of the policies cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be read.
    #[error("the folder of trust policies `{folder}` cannot be read: {fault}", folder = .folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        fault: std::io::Error,
    },
    /// The ids of its projects cannot be had, or what changed cannot be put on record.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
    /// A thread of the program ended where it should not.
    #[error("reading the trust policies was interrupted")]
    Interrupted,
    /// Files are changed again and again while they are read.
    #[error("the trust policies change faster than they can be put on record")]
    Restless,
}

impl Snapshot {
    /// What `scan` found, with the ids of its policies in their order.
    fn of(scan: Scan, ids: Vec<String>) -> Self {
        let mut snapshot = Self {
            problems: scan.problems,
            digest: scan.digest,
            ..Self::default()
        };
        for (policy, id) in scan.policies.into_iter().zip(ids) {
            snapshot.switched_off.extend(switched_off(&policy));
            let named = policy.organizations_named();
            snapshot.organizations_named.extend(
                named.map(|(issuer, organization)| (issuer.to_owned(), organization.to_owned())),
            );
            let project = Arc::new(Project {
                path: policy.path().clone(),
                id: id.clone(),
                policy,
            });
            snapshot
                .by_path
                .insert(project.path.clone(), project.clone());
            snapshot.by_id.insert(id, project);
        }
        snapshot
    }
}

/// The folder, to one at a time. What a scan that panicked had taken out, the next one reads again.
fn locked(folder: &Mutex<Folder>) -> MutexGuard<'_, Folder> {
    folder.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory {
    /// Reads `folder`, and puts on record what the log does not say yet. A file that is broken disables its project
    /// alone, and stands in [`Self::problems`].
    pub async fn open(
        folder: PathBuf,
        registry: Arc<Registry>,
        ids: Arc<dyn ProjectIds>,
        first_loads: Arc<dyn FirstLoads>,
        history: Arc<dyn PolicyHistory>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DirectoryError> {
        let directory = Self {
            snapshot: ArcSwap::default(),
            folder: Arc::new(Mutex::new(Folder::new(folder, registry, Texts::LetGo))),
            ids,
            first_loads,
            history,
            clock,
            settled: AtomicBool::new(true),
            reloading: tokio::sync::Mutex::default(),
        };
        directory.reload().await?;
        Ok(directory)
    }

    /// The project that an exchange asks for, if there is one and its policy could be read.
    pub fn find(&self, audience: &Audience) -> Option<Arc<Project>> {
        let snapshot = self.snapshot.load();
        match audience {
            Audience::Path(path) => snapshot.by_path.get(path).cloned(),
            Audience::Id(id) => snapshot.by_id.get(id).cloned(),
        }
    }

    /// Whether some policy names this organization of the issuer. Only those are asked for keys at an address of their
    /// own.
    pub fn names_organization(&self, issuer: &str, organization: &str) -> bool {
        let named = &self.snapshot.load().organizations_named;
        named.contains(&(issuer.to_owned(), organization.to_owned()))
    }

    /// Every organization that some policy names, with its issuer's name.
    pub fn organizations_named(&self) -> Vec<(String, String)> {
        self.snapshot
            .load()
            .organizations_named
            .iter()
            .cloned()
            .collect()
    }

    /// What is wrong with the files, and what is done about it.
    pub fn problems(&self) -> Vec<FileProblem> {
        self.snapshot.load().problems.clone()
    }

    /// The relationships that are off because they break a guard rail of their organization.
    pub fn switched_off(&self) -> Vec<SwitchedOff> {
        self.snapshot.load().switched_off.clone()
    }

    /// Tells what is in force of all files from what is in force elsewhere: `sha256:` and the SHA-256, in hexadecimal, of one
    /// line for each policy and each file of guard rails in force, sorted by file:
    ///
    /// ```text
    /// <SHA-256 of the file's text, in hexadecimal>  <file, below the folder>
    /// ```
    ///
    /// Where every file is in force as it stands, that is what `LC_ALL=C sha256sum */*.toml | sha256sum` says in the folder.
    /// A file of which nothing is in force counts as little as one that is not there.
    pub fn digest(&self) -> String {
        self.snapshot.load().digest.clone()
    }

    /// How many projects there are.
    pub fn len(&self) -> usize {
        self.snapshot.load().by_path.len()
    }

    /// Whether there is no project.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
