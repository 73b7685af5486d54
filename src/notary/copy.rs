//! The copy of the last checkpoint, outside the data folder.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::ledger::StoreUnavailable;

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
        let read = File::open(&self.path).and_then(|file| {
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

    /// Puts `note` in place of what is in it, durably.
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

/// Replaces the file as a whole: whoever reads it, and whatever crashes, it is the one before or this one.
fn write(path: &Path, note: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let mut file = File::create(&beside)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}
