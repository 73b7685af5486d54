//! The folder of policy files, read file by file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::changes::{FileChange, State};
use super::file::{
    ALL_DISABLED, Broken, InForce, LAST_GOOD, NO_RAILS, ReadFile, Version, bad, good, read,
};
use super::held::Held;
use super::listing::{GUARD_RAILS, Seen, list, read_text};
use super::{DirectoryError, OnRecord};
use crate::issuer::Registry;
use crate::trust::{GuardRails, PolicyFault, ProjectPath, ProjectPolicy, Shared, digest_of};

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
    /// What is in force of them, see [`Directory::digest`](super::Directory::digest).
    pub digest: String,
}

/// The folder, and what was read of it so far.
///
/// What a scan finds is [accepted](Folder::accept) once it is on record and in force; else the next scan finds it again. So
/// the last good version of a file is always one that was in force.
pub(super) struct Folder {
    path: PathBuf,
    registry: Arc<Registry>,
    texts: Texts,
    /// What the files have in common.
    shared: Shared,
    projects: BTreeMap<ProjectPath, ReadFile<ProjectPolicy>>,
    guard_rails: BTreeMap<String, ReadFile<GuardRails>>,
    /// Organizations whose folders could not be read, and why not.
    unreadable: BTreeMap<String, String>,
    problems: Vec<FileProblem>,
    scanned_before: bool,
    /// Whether what the last scan found was accepted.
    accepted: bool,
    /// What the log says, where that is not what was accepted last.
    on_record: Option<HashMap<String, OnRecord>>,
    /// What the last scan put in the place of what was accepted.
    replaced: Vec<Replaced>,
    held: Held,
}

/// A file that was read anew, or is gone, and what was known of it before.
enum Replaced {
    Project(ProjectPath, Option<ReadFile<ProjectPolicy>>),
    GuardRails(String, Option<ReadFile<GuardRails>>),
}

/// Whether policies hold the texts of their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    /// They do, for verbs that show them.
    Kept,
    /// They do not: a decision needs none, and they would be a third of the memory.
    LetGo,
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
            unreadable: BTreeMap::new(),
            problems: Vec::new(),
            scanned_before: false,
            accepted: false,
            on_record: None,
            replaced: Vec::new(),
            held: Held::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Says what is on record, because that is not known from what was accepted.
    pub(super) fn compare_with(&mut self, on_record: HashMap<String, OnRecord>) {
        self.on_record = Some(on_record);
    }

    /// Notes that what the last scan found is on record and in force.
    pub(super) fn accept(&mut self) {
        self.replaced = Vec::new();
        self.held = Held::default();
        self.on_record = None;
        self.accepted = true;
    }

    /// Takes back what a scan found that was not accepted.
    fn take_back(&mut self) {
        self.held = Held::default();
        for replaced in std::mem::take(&mut self.replaced) {
            match replaced {
                Replaced::Project(project, before) => put_back(&mut self.projects, project, before),
                Replaced::GuardRails(name, before) => put_back(&mut self.guard_rails, name, before),
            }
        }
    }

    /// Reads what changed. If the folder itself cannot be read, everything stays as it was: a volume that is away for a
    /// moment is not an operator who deleted every project.
    pub(super) fn scan(&mut self) -> Result<Scan, DirectoryError> {
        self.take_back();
        let found = list(&self.path).map_err(|fault| DirectoryError::Unreadable {
            folder: self.path.clone(),
            fault,
        })?;
        let mut problems = found.problems;
        let mut replaced = Vec::new();
        self.unreadable = found.unreadable;

        let mut guard_rails = BTreeMap::new();
        for (organization, seen) in found.guard_rails {
            let before = self.guard_rails.remove(&organization);
            let read = match before {
                Some(before) if before.stamp == seen.stamp => before,
                before => {
                    let in_force = before.as_ref().map(|before| before.in_force.clone());
                    replaced.push(Replaced::GuardRails(organization.clone(), before));
                    self.read_guard_rails(&organization, &seen, in_force)
                }
            };
            guard_rails.insert(organization, read);
        }
        for (organization, before) in std::mem::take(&mut self.guard_rails) {
            if self.unreadable.contains_key(&organization) {
                guard_rails.insert(organization, before);
            } else {
                replaced.push(Replaced::GuardRails(organization, Some(before)));
            }
        }

        let mut projects = BTreeMap::new();
        for (project, seen) in found.projects {
            let before = self.projects.remove(&project);
            let read = match before {
                Some(before) if before.stamp == seen.stamp => before,
                before => {
                    let in_force = before.as_ref().map(|before| before.in_force.clone());
                    replaced.push(Replaced::Project(project.clone(), before));
                    self.read_project(&project, &seen, in_force)
                }
            };
            projects.insert(project, read);
        }
        for (project, before) in std::mem::take(&mut self.projects) {
            if self.unreadable.contains_key(project.organization()) {
                projects.insert(project, before);
            } else {
                replaced.push(Replaced::Project(project, Some(before)));
            }
        }

        let mut changed = !self.accepted || !replaced.is_empty();
        let policies = put_under(&mut projects, &guard_rails, &mut changed);
        problems.extend(guard_rails.values().filter_map(|read| read.problem.clone()));
        problems.extend(projects.values().filter_map(|read| read.problem.clone()));
        changed |= problems != self.problems;
        self.guard_rails = guard_rails;
        self.projects = projects;
        self.replaced = replaced;
        self.problems.clone_from(&problems);
        self.accepted = !changed;
        if !self.scanned_before {
            // One line: a start with a hundred thousand policies is no hundred thousand events.
            let relationships: usize = policies.iter().map(|policy| policy.len()).sum();
            tracing::info!(projects = policies.len(), relationships, "policies loaded");
        }
        self.scanned_before = true;
        if changed {
            self.shared.forget_unused();
        }
        let digest = if changed {
            self.digest_of(&policies)
        } else {
            String::new()
        };
        Ok(Scan {
            changed,
            policies,
            problems,
            digest,
        })
    }

    /// The digest of `policies` and of the guard rails in force.
    fn digest_of(&self, policies: &[Arc<ProjectPolicy>]) -> String {
        let rails = self.guard_rails.iter().filter_map(|(organization, read)| {
            let version = read.in_force.version()?;
            Some((rails_file(organization), version.digest()))
        });
        let projects = policies
            .iter()
            .map(|policy| (project_file(policy.path()), policy.digest()));
        let mut files: Vec<(String, &str)> = rails.chain(projects).collect();
        files.sort_unstable();
        let bare = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
        let lines = files
            .iter()
            .map(|(file, digest)| format!("{}  {file}\n", bare(digest)));
        digest_of(&lines.collect::<String>())
    }

    /// The files with which it stands otherwise than the log says, guard rails first.
    pub(super) fn changes(&self) -> Vec<FileChange> {
        let Some(on_record) = &self.on_record else {
            let changes = self.replaced.iter().filter_map(|replaced| match replaced {
                Replaced::GuardRails(organization, before) => {
                    let before = before
                        .as_ref()
                        .and_then(|before| before.state().on_record());
                    FileChange::of(
                        rails_file(organization),
                        None,
                        before,
                        self.rails_state(organization),
                    )
                }
                Replaced::Project(project, before) => {
                    let before = before
                        .as_ref()
                        .and_then(|before| before.state().on_record());
                    let state = self.project_state(project);
                    FileChange::of(project_file(project), Some(project), before, state)
                }
            });
            return changes.collect();
        };
        let mut unseen: BTreeSet<&String> = on_record.keys().collect();
        let mut changes = Vec::new();
        for (organization, read) in &self.guard_rails {
            let file = rails_file(organization);
            unseen.remove(&file);
            let before = on_record.get(&file).cloned();
            changes.extend(FileChange::of(file, None, before, read.state()));
        }
        for (project, read) in &self.projects {
            let file = project_file(project);
            unseen.remove(&file);
            let before = on_record.get(&file).cloned();
            changes.extend(FileChange::of(file, Some(project), before, read.state()));
        }
        for file in unseen {
            let before = on_record.get(file).cloned();
            changes.extend(FileChange::of(
                file.clone(),
                None,
                before,
                self.unseen_state(file),
            ));
        }
        changes
    }

    fn rails_state(&self, organization: &str) -> State {
        let read = self.guard_rails.get(organization);
        read.map_or(State::Gone, ReadFile::state)
    }

    fn project_state(&self, project: &ProjectPath) -> State {
        let read = self.projects.get(project);
        read.map_or(State::Gone, ReadFile::state)
    }

    /// How it stands with a file that the log knows and the folder does not show.
    fn unseen_state(&self, file: &str) -> State {
        let organization = file.split('/').next().unwrap_or_default();
        match self.unreadable.get(organization) {
            None => State::Gone,
            Some(why) => State::Refused {
                digest: None,
                message: why.clone(),
                in_force: None,
                instead: "nothing",
            },
        }
    }

    /// The text of `file`, if it still has this digest.
    pub(super) fn text_of(&mut self, file: &str, digest: &str) -> Option<String> {
        let held = self.held.take(file);
        let text = held.or_else(|| read_text(&self.path.join(file)).ok())?;
        (digest_of(&text) == digest).then_some(text)
    }

    /// Holds the text of a file until it is on record, unless it is there already.
    fn hold<T: Version>(&mut self, file: &str, text: Option<String>, read: &Result<T, Broken>) {
        let digest = match read {
            Ok(version) => version.digest().to_owned(),
            Err(Broken {
                fault: Some(fault), ..
            }) => fault.digest(),
            Err(Broken { fault: None, .. }) => return,
        };
        let on_record = self.on_record.as_ref();
        let on_record = on_record.and_then(|on_record| on_record.get(file));
        let is_known = on_record.is_some_and(|known| known.in_force.as_ref() == Some(&digest));
        if let Some(text) = text.filter(|_| self.texts == Texts::LetGo && !is_known) {
            self.held.keep(file, text);
        }
    }

    fn read_project(
        &mut self,
        project: &ProjectPath,
        seen: &Seen,
        before: Option<InForce<ProjectPolicy>>,
    ) -> ReadFile<ProjectPolicy> {
        let name = project_file(project);
        let (shared, registry) = (&mut self.shared, &self.registry);
        let (read, text) = read(seen, |text| {
            shared.read_policy(project.clone(), &name, text, registry)
        });
        self.hold(&name, text, &read);
        match read {
            Ok(policy) => {
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
        let name = rails_file(organization);
        let (shared, registry) = (&mut self.shared, &self.registry);
        let (read, text) = read(seen, |text| {
            shared.read_guard_rails(organization, &name, text, registry)
        });
        self.hold(&name, text, &read);
        let was_there = || {
            let mut projects = self.projects.iter();
            projects.any(|(project, file)| {
                project.organization() == organization && file.in_force.version().is_some()
            })
        };
        match read {
            Ok(guard_rails) => good(seen, guard_rails),
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

/// The name of a project's file, below the folder.
fn project_file(project: &ProjectPath) -> String {
    format!("{project}.toml")
}

/// The name of an organization's guard rails, below the folder.
fn rails_file(organization: &str) -> String {
    format!("{organization}/{GUARD_RAILS}")
}

fn put_back<K: Ord, V>(files: &mut BTreeMap<K, V>, name: K, before: Option<V>) {
    match before {
        Some(before) => files.insert(name, before),
        None => files.remove(&name),
    };
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
