//! What was signed before: the last checkpoint, and the copy of it outside the data folder.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::note::{Checkpoint, Note};
use super::{Last, Notary, NotaryError};
use crate::ledger::{Kept, LogFault, StoreUnavailable, TreeHead};

/// What to do about a log that is not what was signed.
pub(super) const RESTORE: &str = "stop the service, keep the data folder as it is for who will look into it, and restore the whole folder from its last good backup";

/// The longest file that is read as a checkpoint, in octets.
const LONGEST: u64 = 64 * 1024;

/// The log has fewer entries than a checkpoint that was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log in the data folder has {has} entries, and {whose} was signed over {signed}: the data folder was rolled back, and tokens that were spent since could be used again. Restore the newer data folder. If it is lost for good, move that checkpoint away: the log then goes on from where it is, and whoever holds a later checkpoint of it can tell"
)]
pub struct RolledBack {
    /// How many entries there are.
    pub has: u64,
    /// How many were signed.
    pub signed: u64,
    /// Which checkpoint says so.
    pub whose: String,
}

impl Notary {
    /// Compares the log with the checkpoints that were signed, and goes on from the latest of them. Answers what does not
    /// fit.
    pub(super) async fn compare_with_the_past(&self) -> Result<Option<LogFault>, NotaryError> {
        let head = self.log.tree().await?;
        let mut latest = Last::default();
        for (whose, note) in self.signed_before().await? {
            match self.compare(whose, &note, head).await? {
                Err(fault) => return Ok(Some(fault)),
                Ok(signed) if latest.head.is_none_or(|other| other.size < signed.size) => {
                    // Under another name it counts as signed, and is not handed out.
                    let is_named = note.starts_with(&format!("{}\n", self.origin()));
                    latest = Last {
                        note: if is_named { note } else { String::new() },
                        head: Some(signed),
                        asked: 0,
                    };
                }
                Ok(_) => {}
            }
        }
        *self.last.lock().await = latest;
        Ok(None)
    }

    /// Every checkpoint that there still is, and where.
    async fn signed_before(&self) -> Result<Vec<(String, String)>, NotaryError> {
        let own = self.log.checkpoint(Kept::Signed).await?;
        let own = own.map(|note| ("the checkpoint in the data folder".to_owned(), note));
        let Some(path) = &self.copy else {
            return Ok(own.into_iter().collect());
        };
        let whose = format!("the checkpoint in `{}`", path.display());
        let copy = read_copy(path)
            .map_err(|fault| StoreUnavailable(format!("{whose} cannot be read: {fault}")))?;
        let copy = copy.map(|note| (whose, note));
        Ok(own.into_iter().chain(copy).collect())
    }

    /// Compares the log with one checkpoint.
    async fn compare(
        &self,
        whose: String,
        note: &str,
        head: TreeHead,
    ) -> Result<Result<TreeHead, LogFault>, NotaryError> {
        let Some(signed) = self.believed(note) else {
            return Ok(Err(LogFault {
                what: format!("{whose} is not one that this log has signed"),
                mend: "restore that file from a backup; if there is none, see whether it was this log's at all, and move it away".to_owned(),
            }));
        };
        if signed.size > head.size {
            return Err(RolledBack {
                has: head.size,
                signed: signed.size,
                whose,
            }
            .into());
        }
        let root = self.log.hashes(vec![0..signed.size]).await?;
        if root.first() != Some(&signed.root) {
            return Ok(Err(LogFault {
                what: format!(
                    "the first {} entries of the log are not those over which {whose} was signed",
                    signed.size
                ),
                mend: RESTORE.to_owned(),
            }));
        }
        Ok(Ok(TreeHead {
            size: signed.size,
            root: signed.root,
        }))
    }

    /// The checkpoint in `note` if our key signed it, under whatever name the log had then.
    fn believed(&self, note: &str) -> Option<Checkpoint> {
        let note = Note::parse(note).ok()?;
        let checkpoint = Checkpoint::parse(&note.text).ok()?;
        let key = self.key.as_named(&checkpoint.origin).ok()?;
        key.has_signed(&note).then_some(checkpoint)
    }

    /// Puts `note` into the copy, durably.
    pub(super) async fn keep_copy(&self, note: &str) -> Result<(), StoreUnavailable> {
        let Some(path) = self.copy.clone() else {
            return Ok(());
        };
        let note = note.to_owned();
        let writing = tokio::task::spawn_blocking(move || {
            write_copy(&path, &note).map_err(|fault| {
                let path = path.display();
                format!("the copy of the checkpoint, `{path}`, cannot be written: {fault}")
            })
        });
        let written = writing.await;
        let written =
            written.unwrap_or_else(|_| Err("writing the copy was interrupted".to_owned()));
        written.map_err(StoreUnavailable)
    }
}

/// The copy, if there is one.
fn read_copy(path: &Path) -> io::Result<Option<String>> {
    let read = File::open(path).and_then(|file| {
        if file.metadata()?.len() > LONGEST {
            return Err(io::Error::other("it is too long for a checkpoint"));
        }
        io::read_to_string(file)
    });
    match read {
        Ok(note) => Ok(Some(note)),
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
        // Whatever it is, it is no checkpoint of ours, and says so when it is compared.
        Err(fault) if fault.kind() == ErrorKind::InvalidData => Ok(Some(String::new())),
        Err(fault) => Err(fault),
    }
}

/// Replaces the copy as a whole: whoever reads it, and whatever crashes, it is the one before or this one.
fn write_copy(path: &PathBuf, note: &str) -> io::Result<()> {
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
