//! The copy of the last checkpoint, outside the data folder. Several instances may have one file of it.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use crate::ledger::{StoreUnavailable, size_of_checkpoint};

/// The longest file that is read as a checkpoint, in octets.
const LONGEST: u64 = 64 * 1024;

/// How long writing it may take: it may lie on a disk that is away.
const LIMIT: Duration = Duration::from_secs(5);

/// A file of one checkpoint.
pub(super) struct CheckpointCopy {
    path: PathBuf,
    /// A write that did not end in time is still under way: none is begun beside it.
    busy: Arc<AtomicBool>,
}

impl CheckpointCopy {
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            busy: Arc::default(),
        }
    }

    /// What it is called in a sentence.
    pub(super) fn name(&self) -> String {
        format!("the checkpoint in `{}`", self.path.display())
    }

    /// What is in it; `None` if there is no such file.
    pub(super) fn read(&self) -> io::Result<Option<String>> {
        read(&self.path)
    }

    /// Puts `note` in place of what is in it, durably, unless that is over more entries: then it stays.
    pub(super) async fn replace(&self, note: &str) -> Result<(), StoreUnavailable> {
        let name = self.name();
        let said = |fault: &str| StoreUnavailable(format!("{name} cannot be written: {fault}"));
        if self.busy.swap(true, Ordering::SeqCst) {
            return Err(said("an earlier write has not ended yet"));
        }
        let (path, busy, note) = (self.path.clone(), self.busy.clone(), note.to_owned());
        let writing = tokio::task::spawn_blocking(move || {
            let written = write(&path, &note);
            busy.store(false, Ordering::SeqCst);
            written
        });
        match timeout(LIMIT, writing).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(fault))) => Err(said(&fault.to_string())),
            Ok(Err(_)) => Err(said("it was interrupted")),
            Err(_) => Err(said("it takes too long")),
        }
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let read = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > LONGEST {
            return Err(io::Error::other("it is no file of a checkpoint"));
        }
        io::read_to_string(file)
    });
    match read {
        Ok(note) => Ok(Some(note)),
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
        // Whatever it is, it is no checkpoint of ours, and is found out when it is compared.
        Err(fault) if fault.kind() == ErrorKind::InvalidData => Ok(Some(String::new())),
        Err(fault) => Err(fault),
    }
}

/// Replaces the file as a whole: whoever reads it, and whatever crashes, it is the one before or this one. One that is over
/// more entries stays.
fn write(path: &Path, note: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let beside = |ending: &str| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(ending);
        folder.join(name)
    };
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(beside(".lock"))?;
    // One instance looks and writes at a time. Where files cannot be locked, one that is slow may put back a checkpoint that
    // another has replaced just now; the next one is over more entries again.
    if let Err(fault) = lock.lock() {
        tracing::debug!(%fault, "the copy of the checkpoint is written without a lock");
    }
    let before = read(path)?.map_or(0, |before| size_of_checkpoint(&before));
    if before > size_of_checkpoint(note) {
        return Ok(());
    }
    // Of a name that no other instance has: nobody else's octets are between ours.
    let new = beside(&format!(".{}.new", Uuid::new_v4()));
    let written = File::create_new(&new).and_then(|mut file| {
        file.write_all(note.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    });
    if let Err(fault) = written {
        let _ = std::fs::remove_file(&new);
        return Err(fault);
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(size: u64) -> String {
        // Each has another length, so that mixed octets would show.
        format!(
            "sts.example.com\n{size}\n{}\n",
            "x".repeat(usize::try_from(size).unwrap())
        )
    }

    #[test]
    fn of_many_who_write_at_once_the_one_over_the_most_entries_stays_and_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        std::thread::scope(|scope| {
            for instance in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for turn in 1..=20 {
                        write(path, &note(turn * 4 + instance)).unwrap();
                        let found = read(path).unwrap().unwrap();
                        assert_eq!(found, note(size_of_checkpoint(&found)));
                    }
                });
            }
        });
        assert_eq!(read(&path).unwrap(), Some(note(83)));
        let left = std::fs::read_dir(folder.path()).unwrap().flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_copy_over_more_entries_stays_and_one_that_is_no_checkpoint_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        write(&path, &note(7)).unwrap();
        write(&path, &note(5)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(note(7)));
        std::fs::write(&path, b"\xff\xfe").unwrap();
        write(&path, &note(5)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(note(5)));
    }
}
