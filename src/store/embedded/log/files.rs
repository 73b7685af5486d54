//! The files of one folder: written at places that are known before, and read back.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::index::write_again;

/// How many files are kept open.
const MOST_OPEN: usize = 64;

/// Files with numbers for names.
pub(in super::super) struct Files {
    folder: PathBuf,
    /// How many digits a name has at least.
    digits: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<u64, Arc<File>>,
    /// What was written since it was last synced, by file: from its first octet to its last.
    unsynced: BTreeMap<u64, Range<u64>>,
    /// A file was made since the names were last synced.
    has_new: bool,
}

impl Files {
    /// The files in `folder`, named by at least so many digits.
    pub(super) fn new(folder: &Path, digits: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            digits,
            state: Mutex::default(),
        }
    }

    /// What the file is called below the data folder.
    pub(super) fn name(&self, number: u64) -> String {
        let folder = self.folder.file_name().unwrap_or_default();
        format!("{}/{}", folder.to_string_lossy(), self.base(number))
    }

    /// Writes `octets` into a file, which is made if it is not there. Not durable yet.
    pub(super) fn write(&self, number: u64, offset: u64, octets: &[u8]) -> io::Result<()> {
        if octets.is_empty() {
            return Ok(());
        }
        let range = offset..offset + octets.len() as u64;
        let file = self.opened(number, OpenOptions::new().create(true).mode(0o600))?;
        let mut state = self.lock();
        let unsynced = state.unsynced.entry(number).or_insert(range.clone());
        unsynced.start = unsynced.start.min(range.start);
        unsynced.end = unsynced.end.max(range.end);
        drop(state);
        file.write_all_at(octets, offset)
    }

    /// Fills `octets` with what a file has from `offset` on.
    pub(super) fn read(&self, number: u64, offset: u64, octets: &mut [u8]) -> io::Result<()> {
        self.opened(number, &mut OpenOptions::new())?
            .read_exact_at(octets, offset)
    }

    /// The files that there are, with their lengths.
    pub(super) fn lengths(&self) -> io::Result<BTreeMap<u64, u64>> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(number) = name.and_then(|name| name.parse().ok()) {
                found.insert(number, path.metadata()?.len());
            }
        }
        Ok(found)
    }

    /// Deletes every file before the one with this number. Durable when this returns.
    pub(super) fn remove_before(&self, number: u64) -> io::Result<()> {
        let found = self.lengths()?;
        let mut old = found.range(..number).map(|(number, _)| *number).peekable();
        if old.peek().is_none() {
            return Ok(());
        }
        for number in old {
            let mut state = self.lock();
            state.open.remove(&number);
            state.unsynced.remove(&number);
            drop(state);
            std::fs::remove_file(self.path(number))?;
        }
        File::open(&self.folder)?.sync_all()
    }

    /// Makes everything durable that was written before.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        let unsynced = std::mem::take(&mut state.unsynced);
        let has_new = std::mem::take(&mut state.has_new);
        drop(state);
        let mut files = unsynced.keys();
        let synced = files.try_for_each(|number| self.file(*number)?.sync_data());
        let synced = synced.and_then(|()| {
            if has_new {
                File::open(&self.folder)?.sync_all()?;
            }
            Ok(())
        });
        if synced.is_err() {
            self.put_back(unsynced, has_new);
        }
        synced
    }

    /// Writes over itself what could not be synced, and syncs it.
    pub(super) fn write_again(&self) -> io::Result<()> {
        let unsynced = std::mem::take(&mut self.lock().unsynced);
        for (number, range) in &unsynced {
            let written = write_again(&self.path(*number), range.start..range.end);
            if let Err(error) = written {
                self.put_back(unsynced, true);
                return Err(error);
            }
        }
        File::open(&self.folder)?.sync_all()
    }

    fn put_back(&self, unsynced: BTreeMap<u64, Range<u64>>, has_new: bool) {
        let mut state = self.lock();
        state.has_new |= has_new;
        for (number, range) in unsynced {
            let kept = state.unsynced.entry(number).or_insert(range.clone());
            kept.start = kept.start.min(range.start);
            kept.end = kept.end.max(range.end);
        }
    }

    fn file(&self, number: u64) -> io::Result<Arc<File>> {
        self.opened(number, &mut OpenOptions::new())
    }

    fn opened(&self, number: u64, options: &mut OpenOptions) -> io::Result<Arc<File>> {
        if let Some(file) = self.lock().open.get(&number) {
            return Ok(file.clone());
        }
        let file = options.read(true).write(true).open(self.path(number))?;
        let is_new = file.metadata()?.len() == 0;
        let file = Arc::new(file);
        let mut state = self.lock();
        state.has_new |= is_new;
        if state.open.len() >= MOST_OPEN {
            state.open.pop_first();
        }
        state.open.insert(number, file.clone());
        Ok(file)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(self.base(number))
    }

    fn base(&self, number: u64) -> String {
        format!("{number:0digits$}", digits = self.digits)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `files` end where they should: all of those from `first` on are there, all but the last are `full` octets long
/// if that is given, and the last one ends so many octets behind the beginning of the file number `last`. The error is a
/// sentence.
pub(super) fn check_end(
    files: &Files,
    first: u64,
    (last, end): (u64, u64),
    full: Option<u64>,
) -> io::Result<()> {
    let found = files.lengths()?;
    let refused = |number, what: &str| {
        let name = files.name(number);
        let why = format!(
            "`{name}` {what}; restore the whole data folder from one backup, or let nothing else write to it"
        );
        Err(io::Error::other(why))
    };
    for number in first..last + u64::from(end > 0) {
        let Some(length) = found.get(&number).copied() else {
            return refused(number, "is missing");
        };
        let expected = if number == last { Some(end) } else { full };
        match expected.map(|expected| length.cmp(&expected)) {
            Some(std::cmp::Ordering::Less) => return refused(number, "has lost its end"),
            Some(std::cmp::Ordering::Greater) => {
                return refused(number, "is newer than the index");
            }
            _ => {}
        }
    }
    let past = found.range(last + u64::from(end > 0)..);
    let past = past
        .filter(|(_, length)| **length > 0)
        .map(|(number, _)| *number);
    match past.min() {
        Some(number) => refused(number, "is newer than the index"),
        None => Ok(()),
    }
}
