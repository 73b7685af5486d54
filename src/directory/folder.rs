//! The folder of policy files, read file by file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::DirectoryError;
use super::listing::{GUARD_RAILS, Seen, Stamp, list, read_text};
use crate::issuer::Registry;
use crate::trust::{GuardRails, PolicyFault, ProjectPath, ProjectPolicy, Shared};

/// One file that is not in force as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileProblem {
    /// The file, below the folder of the policies.
    pub file: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What is in force instead.
    pub in_force: &'static str,
    /// Everything that is wrong, where the file could be read.
    #[serde(skip)]
    pub fault: Option<PolicyFault>,
}

/// A relationship that is off because it breaks a guard rail of its organization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SwitchedOff {
    /// The project's file, below the folder of the policies.
    pub file: String,
    /// The relationship's name.
    pub relationship: String,
    /// The file of the guard rails.
    pub by: String,
}

/// What a scan found.
pub(super) struct Scan {
    /// Whether anything differs from the scan before.
    pub changed: bool,
    /// The policies in force, under their guard rails.
    pub policies: Vec<Arc<ProjectPolicy>>,
    /// What is wrong with the files.
    pub problems: Vec<FileProblem>,
}

/// The folder, and what was read of it so far.
pub(super) struct Folder {
    path: PathBuf,
    registry: Arc<Registry>,
    texts: Texts,
    /// What the files have in common.
    shared: Shared,
    projects: BTreeMap<ProjectPath, ReadFile<ProjectPolicy>>,
    guard_rails: BTreeMap<String, ReadFile<GuardRails>>,
    problems: Vec<FileProblem>,
    scanned_before: bool,
}

/// Whether policies hold the texts of their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    /// They do, for verbs that show them.
    Kept,
    /// They do not: a decision needs none, and they would be a third of the memory.
    LetGo,
}

/// A file as it was read last.
struct ReadFile<T> {
    /// Its stamp, or why it could not even be looked at.
    stamp: Result<Stamp, String>,
    in_force: InForce<T>,
    problem: Option<FileProblem>,
}

/// What is in force of a file.
enum InForce<T> {
    /// This version of it.
    Version(Arc<T>),
    /// Nothing, and what it stands for is disabled.
    Disabled,
    /// Nothing, as if there were no such file.
    Ignored,
}

impl<T> InForce<T> {
    fn version(&self) -> Option<&Arc<T>> {
        match self {
            Self::Version(version) => Some(version),
            Self::Disabled | Self::Ignored => None,
        }
    }
}

impl Folder {
    pub(super) fn new(path: PathBuf, registry: Arc<Registry>, texts: Texts) -> Self {
        Self {
            path,
            registry,
            texts,
            shared: Shared::default(),
            projects: BTreeMap::new(),
            guard_rails: BTreeMap::new(),
            problems: Vec::new(),
            scanned_before: false,
        }
    }

    /// Makes the next scan count as a change, because what the last one found did not come into force.
    pub(super) fn scan_again(&mut self) {
        self.scanned_before = false;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what changed. If the folder itself cannot be read, everything stays as it was: a volume that is away for a
    /// moment is not an operator who deleted every project.
    pub(super) fn scan(&mut self) -> Result<Scan, DirectoryError> {
        let found = list(&self.path).map_err(|fault| DirectoryError::Unreadable {
            folder: self.path.clone(),
            fault,
        })?;
        let mut problems = found.problems;
        let mut changed = !self.scanned_before;
        let unread = |organization: &str| found.unreadable.contains(organization);

        let mut guard_rails = BTreeMap::new();
        for (organization, seen) in found.guard_rails {
            let before = self.guard_rails.remove(&organization);
            let (read, is_new) = read_again(before, &seen, |seen, before| {
                self.read_guard_rails(&organization, seen, before)
            });
            changed |= is_new;
            guard_rails.insert(organization, read);
        }
        for (organization, before) in std::mem::take(&mut self.guard_rails) {
            if unread(&organization) {
                guard_rails.insert(organization, before);
            } else {
                changed = true;
                tracing::info!(%organization, "guard rails removed");
            }
        }

        let mut projects = BTreeMap::new();
        let known = std::mem::take(&mut self.projects);
        let (kept, mut known): (BTreeMap<_, _>, BTreeMap<_, _>) = known
            .into_iter()
            .partition(|(project, _)| unread(project.organization()));
        projects.extend(kept);
        for (project, seen) in found.projects {
            let before = known.remove(&project);
            let (read, is_new) = read_again(before, &seen, |seen, before| {
                self.read_project(&project, seen, before)
            });
            changed |= is_new;
            projects.insert(project, read);
        }
        for project in known.keys() {
            changed = true;
            tracing::info!(%project, "policy removed");
        }

        let policies = put_under(&mut projects, &guard_rails, &mut changed);
        problems.extend(guard_rails.values().filter_map(|read| read.problem.clone()));
        problems.extend(projects.values().filter_map(|read| read.problem.clone()));
        changed |= problems != self.problems;
        self.guard_rails = guard_rails;
        self.projects = projects;
        self.problems.clone_from(&problems);
        if !self.scanned_before {
            // One line: a start with a hundred thousand policies is no hundred thousand events.
            let relationships: usize = policies.iter().map(|policy| policy.len()).sum();
            tracing::info!(projects = policies.len(), relationships, "policies loaded");
        }
        self.scanned_before = true;
        if changed {
            self.shared.forget_unused();
        }
        Ok(Scan {
            changed,
            policies,
            problems,
        })
    }

    fn read_project(
        &mut self,
        project: &ProjectPath,
        seen: &Seen,
        before: Option<InForce<ProjectPolicy>>,
    ) -> ReadFile<ProjectPolicy> {
        let name = format!("{project}.toml");
        let (shared, registry) = (&mut self.shared, &self.registry);
        let read = read(seen, &name, |text| {
            shared.read_policy(project.clone(), &name, text, registry)
        });
        match read {
            Ok(policy) => {
                if self.scanned_before {
                    tracing::info!(%project, digest = policy.digest(), "policy loaded");
                } else {
                    tracing::debug!(%project, digest = policy.digest(), "policy loaded");
                }
                let policy = match self.texts {
                    Texts::Kept => policy,
                    Texts::LetGo => policy.without_text(),
                };
                good(seen, policy)
            }
            Err(broken) => {
                let (in_force, in_words) = match before {
                    Some(good @ InForce::Version(_)) => (good, LAST_GOOD),
                    _ => (InForce::Disabled, "nothing: the project is disabled"),
                };
                bad(seen, name, broken, in_force, in_words)
            }
        }
    }

    /// Reads guard rails. Where there were none before, those that are broken leave the organization as it was; if it was
    /// not there either, nobody knows what it would allow, so it is disabled.
    fn read_guard_rails(
        &mut self,
        organization: &str,
        seen: &Seen,
        before: Option<InForce<GuardRails>>,
    ) -> ReadFile<GuardRails> {
        let name = format!("{organization}/{GUARD_RAILS}");
        let (shared, registry) = (&mut self.shared, &self.registry);
        let read = read(seen, &name, |text| {
            shared.read_guard_rails(organization, &name, text, registry)
        });
        let was_there = || {
            let mut projects = self.projects.iter();
            projects.any(|(project, file)| {
                project.organization() == organization && file.in_force.version().is_some()
            })
        };
        match read {
            Ok(guard_rails) => {
                tracing::info!(
                    organization,
                    digest = guard_rails.digest(),
                    "guard rails loaded"
                );
                good(seen, guard_rails)
            }
            Err(broken) => {
                let (in_force, in_words) = match before {
                    Some(good @ InForce::Version(_)) => (good, LAST_GOOD),
                    Some(InForce::Ignored) => (InForce::Ignored, NO_RAILS),
                    None if was_there() => (InForce::Ignored, NO_RAILS),
                    Some(InForce::Disabled) | None => (InForce::Disabled, ALL_DISABLED),
                };
                bad(seen, name, broken, in_force, in_words)
            }
        }
    }
}

const LAST_GOOD: &str = "the last good version of this file";
const NO_RAILS: &str = "no guard rails, as before this file was there";
const ALL_DISABLED: &str = "nothing: every project of the organization is disabled";

/// Why a file is not in force, in one line and with everything that is wrong.
struct Broken {
    message: String,
    fault: Option<PolicyFault>,
}

/// Reads a file with `reader`, unless it is what was read before; and whether it was not.
fn read_again<T>(
    before: Option<ReadFile<T>>,
    seen: &Seen,
    reader: impl FnOnce(&Seen, Option<InForce<T>>) -> ReadFile<T>,
) -> (ReadFile<T>, bool) {
    match before {
        Some(before) if before.stamp == seen.stamp => (before, false),
        before => (reader(seen, before.map(|before| before.in_force)), true),
    }
}

fn read<T>(
    seen: &Seen,
    name: &str,
    reader: impl FnOnce(&str) -> Result<T, PolicyFault>,
) -> Result<T, Broken> {
    let unreadable = |message: String| {
        tracing::error!(file = name, "{message}");
        Broken {
            message,
            fault: None,
        }
    };
    let text = match &seen.stamp {
        Ok(_) => read_text(&seen.path).map_err(unreadable)?,
        Err(why) => return Err(unreadable(why.clone())),
    };
    reader(&text).map_err(|fault| {
        tracing::error!(file = name, "refused\n{}", fault.render(false));
        Broken {
            message: in_one_line(&fault),
            fault: Some(fault),
        }
    })
}

fn good<T>(seen: &Seen, version: T) -> ReadFile<T> {
    ReadFile {
        stamp: seen.stamp.clone(),
        in_force: InForce::Version(Arc::new(version)),
        problem: None,
    }
}

fn bad<T>(
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

/// Puts each policy under the guard rails of its organization, where it is not yet, and lists those that are in force.
fn put_under(
    projects: &mut BTreeMap<ProjectPath, ReadFile<ProjectPolicy>>,
    guard_rails: &BTreeMap<String, ReadFile<GuardRails>>,
    changed: &mut bool,
) -> Vec<Arc<ProjectPolicy>> {
    let mut in_force = Vec::new();
    for (project, file) in projects {
        let InForce::Version(policy) = &mut file.in_force else {
            continue;
        };
        let above = guard_rails.get(project.organization());
        if above.is_some_and(|above| matches!(above.in_force, InForce::Disabled)) {
            continue;
        }
        let above = above.and_then(|above| above.in_force.version());
        let same = match (policy.guard_rails(), above) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        if !same {
            *changed = true;
            *policy = Arc::new(policy.under(above.cloned()));
            for breach in policy.breaches() {
                let (relationship, by) = (breach.relationship(), breach.guard_rail());
                tracing::warn!(%project, %relationship, by, "switched off by a guard rail");
            }
        }
        in_force.push(policy.clone());
    }
    in_force
}

/// The relationships of a policy that a guard rail switched off.
pub(super) fn switched_off(policy: &ProjectPolicy) -> Vec<SwitchedOff> {
    let Some(above) = policy.guard_rails() else {
        return Vec::new();
    };
    let mut off: Vec<SwitchedOff> = policy
        .breaches()
        .iter()
        .map(|breach| SwitchedOff {
            file: policy.file().name().to_owned(),
            relationship: breach.relationship().to_string(),
            by: above.file().name().to_owned(),
        })
        .collect();
    off.dedup();
    off
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
