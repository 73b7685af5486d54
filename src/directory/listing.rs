//! Which files there are in the folder of the policies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::FileProblem;
use crate::trust::ProjectPath;

/// The largest policy file that is read, in bytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// The file that holds an organization's guard rails.
pub(super) const GUARD_RAILS: &str = "_organization.toml";

/// The files of the folder that count, and what is wrong with the names of others.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) projects: BTreeMap<ProjectPath, Seen>,
    /// By organization.
    pub(super) guard_rails: BTreeMap<String, Seen>,
    /// Organizations whose folders cannot be read, and why not.
    pub(super) unreadable: BTreeMap<String, String>,
    pub(super) problems: Vec<FileProblem>,
}

/// A file that is there. What cannot be looked at is not what was deleted.
pub(super) struct Seen {
    pub(super) path: PathBuf,
    /// Its stamp, or why it cannot be read.
    pub(super) stamp: Result<Stamp, String>,
}

/// What changes when a file is written, replaced or swapped for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
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

/// Lists the files of `folder`.
pub(super) fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in sorted(folder)? {
        let name = entry.file_name();
        let shown = name.to_string_lossy();
        // Editors and version control keep folders of their own beside ours.
        if shown.starts_with('.') {
            continue;
        }
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => match name.to_str() {
                Some(organization) => listing.organization(organization, &entry.path()),
                None => listing.problem(&shown, "the name of the folder is not UTF-8", "nothing"),
            },
            Err(fault) if entry.file_type().is_ok_and(|kind| kind.is_symlink()) => {
                listing.problem(&shown, &in_words(&fault), "nothing");
            }
            // A file beside the organizations, or what was deleted between the two looks.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(listing)
}

/// The text of a policy file.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|fault| in_words(&fault))?;
    let mut octets = Vec::new();
    let mut bounded = file.take(LARGEST_FILE + 1);
    bounded
        .read_to_end(&mut octets)
        .map_err(|fault| in_words(&fault))?;
    if octets.len() as u64 > LARGEST_FILE {
        return Err("the file is larger than 4 MiB".to_owned());
    }
    String::from_utf8(octets).map_err(|fault| {
        let at = fault.utf8_error().valid_up_to();
        let read = fault.as_bytes().get(..at).unwrap_or_default();
        let line = read.split(|&octet| octet == b'\n').count();
        format!("line {line}: the file is not UTF-8")
    })
}

impl Listing {
    fn problem(&mut self, file: &str, message: &str, in_force: &'static str) {
        self.problems.push(FileProblem {
            file: file.to_owned(),
            message: message.to_owned(),
            in_force,
            fault: None,
        });
    }

    fn organization(&mut self, organization: &str, folder: &Path) {
        let entries = match sorted(folder) {
            Ok(entries) => entries,
            Err(fault) => {
                let message = format!("the folder cannot be read: {}", in_words(&fault));
                self.problem(organization, &message, "what was read before");
                self.unreadable.insert(organization.to_owned(), message);
                return;
            }
        };
        let names: BTreeSet<String> = entries
            .iter()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        for entry in entries {
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            if shown.starts_with('.') {
                continue;
            }
            let file = format!("{organization}/{shown}");
            match (name.to_str(), shown.strip_suffix(".toml")) {
                (_, None) => {}
                (None, Some(_)) => {
                    self.problem(&file, "the name of the file is not UTF-8", "nothing");
                }
                (Some(GUARD_RAILS), Some(_)) => self.guard_rails(organization, &entry, &file),
                (Some(_), Some(project)) => {
                    self.project(&format!("{organization}/{project}"), &names, &entry, &file);
                }
            }
        }
    }

    fn guard_rails(&mut self, organization: &str, entry: &fs::DirEntry, file: &str) {
        if let Err(fault) = ProjectPath::parse(&format!("{organization}/x")) {
            let message = format!("the name of the folder is no organization: {fault}");
            self.problem(file, &message, "nothing");
        } else if let Some(seen) = look_at(entry) {
            self.guard_rails.insert(organization.to_owned(), seen);
        }
    }

    fn project(&mut self, path: &str, names: &BTreeSet<String>, entry: &fs::DirEntry, file: &str) {
        match ProjectPath::parse(path) {
            Ok(project) => {
                if let Some(seen) = look_at(entry) {
                    self.projects.insert(project, seen);
                }
            }
            Err(fault) => {
                let lower = entry.file_name().to_string_lossy().to_ascii_lowercase();
                let twin = if names.contains(&lower) && !file.ends_with(&lower) {
                    format!("; `{lower}` is there too, and counts")
                } else {
                    String::new()
                };
                let message = format!("the name of the file is no project: {fault}{twin}");
                self.problem(file, &message, "nothing");
            }
        }
    }
}

/// The file, unless it was deleted between the two looks.
fn look_at(entry: &fs::DirEntry) -> Option<Seen> {
    let path = entry.path();
    let stamp = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(Stamp::of(&metadata)),
        Ok(_) => Err("this is no file".to_owned()),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
            fs::symlink_metadata(&path).ok()?;
            Err("this link leads nowhere".to_owned())
        }
        Err(fault) => Err(in_words(&fault)),
    };
    Some(Seen { path, stamp })
}

fn sorted(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

/// The fault without the number that the system gives it.
fn in_words(fault: &io::Error) -> String {
    let text = fault.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut characters = words.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}
