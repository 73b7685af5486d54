//! The folder of policy files, read file by file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::DirectoryError;
use crate::issuer::Registry;
use crate::trust::{PolicyFault, ProjectPath, ProjectPolicy, read_policy};

/// The largest policy file that is read, in bytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// The file that will hold an organization's guard rails. This version does not know them, and does not act as if they
/// were not there.
const GUARD_RAILS: &str = "_organization.toml";

/// One file that is not in force as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileProblem {
    /// The file, below the folder of the policies.
    pub file: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What is in force instead.
    pub in_force: &'static str,
}

/// What a scan found.
pub(super) struct Scan {
    /// Whether anything differs from the scan before.
    pub changed: bool,
    /// The policies in force.
    pub policies: Vec<Arc<ProjectPolicy>>,
    /// What is wrong with the files.
    pub problems: Vec<FileProblem>,
}

/// The folder, and what was read of it so far.
pub(super) struct Folder {
    path: PathBuf,
    registry: Arc<Registry>,
    files: BTreeMap<ProjectPath, ReadFile>,
    problems: Vec<FileProblem>,
    scanned_before: bool,
}

struct ReadFile {
    stamp: Stamp,
    in_force: Option<Arc<ProjectPolicy>>,
    problem: Option<FileProblem>,
}

/// What changes when a file is written, replaced or swapped for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Folder {
    pub(super) fn new(path: PathBuf, registry: Arc<Registry>) -> Self {
        let files = BTreeMap::new();
        Self {
            path,
            registry,
            files,
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
        let found = self.list().map_err(|fault| DirectoryError::Unreadable {
            folder: self.path.clone(),
            fault,
        })?;
        let mut problems = found.problems;
        let mut changed = !self.scanned_before;
        let mut files = BTreeMap::new();
        for (project, (file, stamp)) in found.files {
            let before = self.files.remove(&project);
            let read = match before {
                Some(before) if before.stamp == stamp => before,
                before => {
                    changed = true;
                    self.read(
                        &project,
                        &file,
                        stamp,
                        before.and_then(|before| before.in_force),
                    )
                }
            };
            problems.extend(read.problem.clone());
            files.insert(project, read);
        }
        for gone in self.files.keys() {
            changed = true;
            tracing::info!(project = %gone, "policy removed");
        }
        changed |= problems != self.problems;
        self.files = files;
        self.problems = problems;
        self.scanned_before = true;
        let policies = self
            .files
            .values()
            .filter_map(|file| file.in_force.clone())
            .collect();
        Ok(Scan {
            changed,
            policies,
            problems: self.problems.clone(),
        })
    }

    fn read(
        &self,
        project: &ProjectPath,
        file: &Path,
        stamp: Stamp,
        last_good: Option<Arc<ProjectPolicy>>,
    ) -> ReadFile {
        let name = format!("{project}.toml");
        let fault = match read_text(file, stamp) {
            Err(fault) => (fault.to_string(), fault.to_string()),
            Ok(text) => match read_policy(project.clone(), &name, &text, &self.registry) {
                Ok(policy) => {
                    tracing::info!(%project, digest = policy.digest(), "policy loaded");
                    return ReadFile {
                        stamp,
                        in_force: Some(Arc::new(policy)),
                        problem: None,
                    };
                }
                Err(fault) => (in_one_line(&fault), fault.render(false)),
            },
        };
        let in_force = match last_good {
            Some(_) => "the last good version of this file",
            None => "nothing: the project is disabled",
        };
        let (message, rendered) = fault;
        tracing::error!(%project, in_force, "policy refused\n{rendered}");
        let problem = Some(FileProblem {
            file: name,
            message,
            in_force,
        });
        ReadFile {
            stamp,
            in_force: last_good,
            problem,
        }
    }

    fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in sorted(&self.path)? {
            let Some(organization) = text_of(&entry) else {
                continue;
            };
            // Editors and version control keep folders of their own beside ours.
            if organization.starts_with('.') || !entry.path().is_dir() {
                continue;
            }
            self.list_organization(&organization, &entry.path(), &mut listing);
        }
        Ok(listing)
    }

    fn list_organization(&self, organization: &str, folder: &Path, listing: &mut Listing) {
        let ours = |project: &ProjectPath| project.organization() == organization;
        let entries = match sorted(folder) {
            Ok(entries) => entries,
            Err(fault) => {
                // As above: what cannot be read is not what was deleted.
                let kept = self.files.iter().filter(|(project, _)| ours(project));
                let kept = kept
                    .map(|(project, file)| (project.clone(), (folder.to_path_buf(), file.stamp)));
                listing.files.extend(kept);
                listing.problem(
                    organization,
                    &format!("the folder cannot be read: {fault}"),
                    "what was read before",
                );
                return;
            }
        };
        if entries.iter().any(|entry| entry.file_name() == GUARD_RAILS) {
            listing.problem(
                &format!("{organization}/{GUARD_RAILS}"),
                "guard rails are not known to this version",
                "nothing: every project of the organization is disabled",
            );
            return;
        }
        for entry in entries {
            if let Some(name) = text_of(&entry).filter(|name| !name.starts_with('.')) {
                listing.file(organization, &name, entry.path());
            }
        }
    }
}

#[derive(Default)]
struct Listing {
    files: BTreeMap<ProjectPath, (PathBuf, Stamp)>,
    problems: Vec<FileProblem>,
}

impl Listing {
    /// Lists a file of an organization's folder, if it is a policy.
    fn file(&mut self, organization: &str, name: &str, path: PathBuf) {
        let Some(project) = name.strip_suffix(".toml") else {
            return;
        };
        let file = format!("{organization}/{name}");
        match (
            ProjectPath::parse(&format!("{organization}/{project}")),
            fs::metadata(&path),
        ) {
            (Ok(project), Ok(metadata)) if metadata.is_file() => {
                self.files.insert(project, (path, Stamp::of(&metadata)));
            }
            (Ok(_), Ok(_)) => {}
            // Deleted between the two looks.
            (_, Err(fault)) if fault.kind() == io::ErrorKind::NotFound => {}
            (Ok(_), Err(fault)) => self.problem(&file, &fault.to_string(), "nothing"),
            (Err(fault), _) => {
                let message = format!("the name of the file is no project: {fault}");
                self.problem(&file, &message, "nothing");
            }
        }
    }

    fn problem(&mut self, file: &str, message: &str, in_force: &'static str) {
        let (file, message) = (file.to_owned(), message.to_owned());
        self.problems.push(FileProblem {
            file,
            message,
            in_force,
        });
    }
}

fn sorted(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

fn text_of(entry: &fs::DirEntry) -> Option<String> {
    entry.file_name().into_string().ok()
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

fn read_text(file: &Path, stamp: Stamp) -> io::Result<String> {
    if stamp.size > LARGEST_FILE {
        return Err(io::Error::other("the file is larger than 4 MiB"));
    }
    fs::read_to_string(file)
}
