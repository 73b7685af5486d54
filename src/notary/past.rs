//! What was signed before: the last checkpoint in the store, and the copy of it elsewhere.

use super::copy::CheckpointCopy;
use super::key::CheckpointKey;
use super::note::{Checkpoint, Note};
use super::{KeptIn, NotaryError, SEALED_AS};
use crate::ledger::{AuditLog, Kept, LogFault, StoreUnavailable, TreeHead, size_of_checkpoint};
use crate::seal::{KeyEncryptionKey, open};

/// The store lacks something that was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{whose} was signed over {signed} entries, and the log in the {kept_in} {lacks}: the {kept_in} was rolled back or is another one, and tokens that were spent since could be used again. Restore the {kept_in} that belongs to it. If that is lost for good, move this checkpoint away: the log then goes on from where it is, and whoever holds a later checkpoint of it can tell"
)]
pub struct RolledBack {
    /// Where the log is kept.
    pub kept_in: KeptIn,
    /// Which checkpoint says so.
    pub whose: String,
    /// How many entries were signed.
    pub signed: u64,
    /// What the log has instead.
    pub lacks: String,
}

/// What came of comparing.
#[derive(Default)]
pub(super) struct Past {
    /// The latest checkpoint that fits, or an empty text.
    pub(super) note: String,
    /// What it was signed over.
    pub(super) head: Option<TreeHead>,
    /// How many entries the last cosigned checkpoint is over.
    pub(super) cosigned: u64,
    /// Something that does not fit.
    pub(super) fault: Option<LogFault>,
}

/// What one checkpoint is to the log.
enum Finding {
    /// It was signed over the beginning of the log.
    Fits(TreeHead),
    /// It was signed over something that is not the beginning of the log.
    Contradicts(u64),
    /// It is not as it was signed.
    Damaged,
}

/// Compares the log with the checkpoints that were signed. Writes nothing.
pub(super) async fn compare(
    log: &dyn AuditLog,
    kept_in: KeptIn,
    encryption: Option<&KeyEncryptionKey>,
    copy: Option<&CheckpointCopy>,
) -> Result<Past, NotaryError> {
    let mut past = Past::default();
    let own = log.checkpoint(Kept::Signed).await?;
    let mut own_fits = own.is_none();
    let cosigned = log.checkpoint(Kept::Cosigned).await?;
    past.cosigned = cosigned.as_deref().map_or(0, size_of_checkpoint);
    let key = kept_key(log, encryption).await?;
    if let (Some(note), Some(key)) = (&cosigned, &key) {
        let whose = format!("the cosigned checkpoint in the {kept_in}");
        let found = look(log, kept_in, key, &whose, note).await?;
        past.object(kept_in, &whose, &found);
    }
    if let (Some(note), Some(key)) = (own, &key) {
        let whose = format!("the checkpoint in the {kept_in}");
        let found = look(log, kept_in, key, &whose, &note).await?;
        own_fits = matches!(found, Finding::Fits(_));
        past.take(kept_in, &whose, note, &found);
    }
    let Some(copy) = copy else {
        return Ok(past);
    };
    let whose = copy.name();
    let read = copy.read();
    let unread = |fault| StoreUnavailable(format!("{whose} cannot be read: {fault}"));
    let Some(note) = read.map_err(unread)? else {
        return Ok(past);
    };
    let Some(key) = key.filter(|key| !is_of_another(key, &note)) else {
        let signed = Note::parse(&note).ok();
        let signed = signed.and_then(|note| Checkpoint::parse(&note.text).ok());
        return Err(RolledBack {
            kept_in,
            whose,
            signed: signed.map_or(0, |checkpoint| checkpoint.size),
            lacks: "has no key that signed it".to_owned(),
        }
        .into());
    };
    match look(log, kept_in, &key, &whose, &note).await? {
        // If the folder's own checkpoint does not fit either, the tree itself is damaged, and nothing was lost.
        Finding::Contradicts(signed) if own_fits => Err(RolledBack {
            kept_in,
            whose,
            signed,
            lacks: "does not begin with those".to_owned(),
        }
        .into()),
        found => {
            past.take(kept_in, &whose, note, &found);
            Ok(past)
        }
    }
}

/// Compares the log with one checkpoint.
async fn look(
    log: &dyn AuditLog,
    kept_in: KeptIn,
    key: &CheckpointKey,
    whose: &str,
    note: &str,
) -> Result<Finding, NotaryError> {
    let Some(signed) = believed(key, note) else {
        return Ok(Finding::Damaged);
    };
    let has = log.tree().await?.size;
    if signed.size > has {
        return Err(RolledBack {
            kept_in,
            whose: whose.to_owned(),
            signed: signed.size,
            lacks: format!("has {has}"),
        }
        .into());
    }
    let beginning = std::iter::once(0..signed.size).collect();
    if log.hashes(beginning).await?.first() != Some(&signed.root) {
        return Ok(Finding::Contradicts(signed.size));
    }
    Ok(Finding::Fits(TreeHead {
        size: signed.size,
        root: signed.root,
    }))
}

impl Past {
    /// Keeps what was found of one checkpoint: the latest that fits, and the first fault.
    fn take(&mut self, kept_in: KeptIn, whose: &str, note: String, found: &Finding) {
        match found {
            Finding::Fits(head) if self.head.is_none_or(|other| other.size <= head.size) => {
                (self.note, self.head) = (note, Some(*head));
            }
            _ => self.object(kept_in, whose, found),
        }
    }

    /// Keeps the first fault.
    fn object(&mut self, kept_in: KeptIn, whose: &str, found: &Finding) {
        let fault = match found {
            Finding::Fits(_) => return,
            Finding::Contradicts(signed) => LogFault {
                what: format!(
                    "the first {signed} entries of the log are not those over which {whose} was signed"
                ),
                mend: kept_in.restore(),
            },
            Finding::Damaged => damaged(kept_in, whose),
        };
        self.fault.get_or_insert(fault);
    }
}

/// A checkpoint that is not as it was signed.
pub(super) fn damaged(kept_in: KeptIn, whose: &str) -> LogFault {
    let is_in_database = kept_in == KeptIn::Database && whose.ends_with(kept_in.as_str());
    let mend = if is_in_database {
        // It is no file that could be put back alone.
        kept_in.restore()
    } else {
        "restore that file from a backup; if there is none, see whether it was this log's at all, and move it away".to_owned()
    };
    LogFault {
        what: format!("{whose} is not as this log has signed it"),
        mend,
    }
}

/// The key that the log was signed with so far.
async fn kept_key(
    log: &dyn AuditLog,
    encryption: Option<&KeyEncryptionKey>,
) -> Result<Option<CheckpointKey>, NotaryError> {
    let Some(sealed) = log.checkpoint_key().await? else {
        return Ok(None);
    };
    let private = open(encryption, SEALED_AS, &sealed)?;
    // Which name it has does not matter here: each note says its own.
    Ok(Some(CheckpointKey::read("-", &private)?))
}

/// The checkpoint in `note` if `key` signed it, under whatever name the log had then.
pub(super) fn believed(key: &CheckpointKey, note: &str) -> Option<Checkpoint> {
    let note = Note::parse(note).ok()?;
    let checkpoint = Checkpoint::parse(&note.text).ok()?;
    let key = key.as_named(&checkpoint.origin).ok()?;
    key.has_signed(&note).then_some(checkpoint)
}

/// Whether `note` says that it was signed with another key: then it is no damaged one of this log.
fn is_of_another(key: &CheckpointKey, note: &str) -> bool {
    let Ok(note) = Note::parse(note) else {
        return false;
    };
    let mut lines = note.signatures.iter();
    lines.all(|line| {
        let named = key.as_named(&line.name);
        named.is_ok_and(|key| key.id() != line.id)
    })
}
