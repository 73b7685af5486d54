//! Signs checkpoints of the log, and never two that contradict each other.
//!
//! A checkpoint says: so many entries, with this root. Whoever holds an earlier one can prove that a later one has the same
//! beginning. So before anything is signed, the tree is compared with what was signed before: with the last checkpoint in
//! the store, with its copy elsewhere (which a store that was rolled back does not take along), and with what
//! witnesses have seen.
//!
//! Several instances may sign one log, with one key that the store keeps. What another one signed counts as signed before.

mod copy;
mod key;
mod note;
mod past;
mod witnesses;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::audit::tree::Hash;
use crate::audit::{Entry, Happening, InvalidEntry};
use crate::clock::Clock;
use crate::ledger::{AuditLog, Kept, LogFault, StoreUnavailable, TreeHead, newest};
use crate::seal::{KeyEncryptionKey, SealError, is_encrypted, open, seal};

use copy::CheckpointCopy;
use key::CheckpointKey;

pub use key::CheckpointKeyFault;
pub use note::{
    Checkpoint, InvalidNote, InvalidVerifierKey, Note, SignatureLine, SignatureType, VerifierKey,
    read_signatures,
};
pub use past::RolledBack;
pub use witnesses::{AnswerOfWitness, AskWitness, Witness};

/// The name under which the key is sealed.
const SEALED_AS: &str = "checkpoint key";

/// Where the log is kept, in the words of who mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptIn {
    /// A folder of this machine.
    Folder,
    /// A database on a server.
    Database,
}

impl KeptIn {
    fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "data folder",
            Self::Database => "database",
        }
    }

    /// What to do about a log that is not what was signed.
    fn restore(self) -> String {
        let place = self.as_str();
        format!(
            "stop the service, keep the {place} as it is for who will look into it, and restore the whole {place} from its last good backup"
        )
    }
}

impl fmt::Display for KeptIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a notary needs to know.
pub struct Settings {
    /// Where the log is kept.
    pub kept_in: KeptIn,
    /// Our issuer name.
    pub public_url: String,
    /// The key for keys at rest.
    pub encryption: Option<KeyEncryptionKey>,
    /// A file outside the store that holds the last checkpoint too, of this instance alone.
    pub copy: Option<PathBuf>,
    /// Who cosigns.
    pub witnesses: Vec<Witness>,
}

/// Signs checkpoints.
pub struct Notary {
    log: Arc<dyn AuditLog>,
    kept_in: KeptIn,
    key: CheckpointKey,
    vkey: String,
    copy: Option<Arc<CheckpointCopy>>,
    witnesses: Vec<Witness>,
    /// How many have asked for a checkpoint.
    asked: AtomicU64,
    last: tokio::sync::Mutex<Last>,
    /// How many entries the last cosigned checkpoint was over when this was last looked at.
    cosigned_over: AtomicU64,
    /// What was signed before and does not fit the log.
    refused: Mutex<Option<LogFault>>,
    /// What witnesses have against the log, by their names.
    accused: Mutex<BTreeMap<String, LogFault>>,
    /// What was said last of a log that is not signed.
    said: Mutex<Option<String>>,
    /// How many entries the last checkpoint covers, and when it was last seen to cover all.
    whole: Mutex<Option<(u64, Instant)>>,
}

/// The last checkpoint.
#[derive(Default)]
struct Last {
    note: String,
    head: Option<TreeHead>,
    /// How many had asked before its tree was.
    asked: u64,
    /// When it was signed by this process.
    at: Option<Instant>,
}

/// How long after one checkpoint the next is signed at the earliest. Who asks meanwhile shares it: otherwise everybody who
/// may ask could keep the disk busy.
const APART: Duration = Duration::from_millis(100);

/// No checkpoint can be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotaryFault {
    /// Not at this moment.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
    /// Not before somebody has mended the log.
    #[error("no checkpoint is signed: {}; {}", .0.what, .0.mend)]
    Refused(LogFault),
}

/// A notary that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
    /// The key cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The key cannot be made or read.
    #[error(transparent)]
    Key(#[from] CheckpointKeyFault),
    /// An entry of the log cannot be read.
    #[error(transparent)]
    Entry(#[from] InvalidEntry),
    /// The store lacks what was signed.
    #[error(transparent)]
    RolledBack(#[from] RolledBack),
}

/// The name of the log of a service: its address without the scheme, as C2SP tlog-tiles has it.
pub fn origin_of(public_url: &str) -> String {
    let bare = public_url.split_once("://");
    format!("{}/audit", bare.map_or(public_url, |(_, bare)| bare))
}

impl Notary {
    /// Compares the log with what was signed before, and takes its key from the store, or makes it. If the log lacks
    /// something that was signed, it was rolled back or is another one: then there is no notary, and there should be no
    /// service, which would let tokens in again that were spent in what is lost. Anything else that does not fit lets the
    /// notary refuse to sign.
    pub async fn open(
        log: Arc<dyn AuditLog>,
        clock: &dyn Clock,
        settings: Settings,
    ) -> Result<Arc<Self>, NotaryError> {
        let origin = origin_of(&settings.public_url);
        let encryption = settings.encryption.as_ref();
        let copy = settings.copy.map(|path| Arc::new(CheckpointCopy::at(path)));
        // Nothing is written before it is compared.
        let past = past::compare(&*log, settings.kept_in, encryption, copy.as_deref()).await?;
        let key = named_key(&*log, clock, &origin, encryption).await?;
        let vkey = key.public().to_string();
        // Under another name it counts as signed, and is not handed out.
        let is_named = past.note.starts_with(&format!("{origin}\n"));
        let last = Last {
            note: if is_named { past.note } else { String::new() },
            head: past.head,
            ..Last::default()
        };
        let notary = Self {
            log,
            kept_in: settings.kept_in,
            key,
            vkey,
            copy,
            witnesses: settings.witnesses,
            asked: AtomicU64::new(0),
            last: tokio::sync::Mutex::new(last),
            cosigned_over: AtomicU64::new(past.cosigned),
            refused: Mutex::default(),
            accused: Mutex::default(),
            said: Mutex::default(),
            whole: Mutex::default(),
        };
        if let Some(fault) = past.fault {
            notary.refuse(fault);
        }
        Ok(Arc::new(notary))
    }

    /// The public half of the key that signs, as a vkey (C2SP signed-note).
    pub fn key(&self) -> &str {
        &self.vkey
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        self.key.public().name()
    }

    /// What keeps checkpoints from being signed.
    pub fn fault(&self) -> Option<LogFault> {
        let refused = locked(&self.refused).clone();
        let accused = || locked(&self.accused).values().next().cloned();
        refused.or_else(accused).or_else(|| self.log.fault())
    }

    /// How many entries the last checkpoint covers, and how long ago it was seen to cover all. None before the first one
    /// since the start.
    pub fn covers(&self) -> Option<(u64, Duration)> {
        let whole = *locked(&self.whole);
        whole.map(|(size, at)| (size, at.elapsed()))
    }

    /// A signed checkpoint over every entry that was acknowledged before this call. It is on disk, and in its copy, before
    /// this answers. What was begun is finished also if nobody waits for it any more.
    pub async fn checkpoint(self: &Arc<Self>) -> Result<String, NotaryFault> {
        let notary = self.clone();
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst);
        let signing = tokio::spawn(async move { notary.signed_after(ticket).await });
        let interrupted = || StoreUnavailable("signing was interrupted".to_owned()).into();
        signing.await.unwrap_or_else(|_| Err(interrupted()))
    }

    async fn signed_after(&self, ticket: u64) -> Result<String, NotaryFault> {
        let mut last = self.last.lock().await;
        if let Some(fault) = self.fault() {
            return Err(NotaryFault::Refused(fault));
        }
        // Somebody who asked later was served while this one waited.
        if last.asked > ticket {
            return Ok(last.note.clone());
        }
        if let Some(at) = last.at {
            tokio::time::sleep_until(at + APART).await;
        }
        let asked = self.asked.load(Ordering::SeqCst);
        // Looked at before the tree, which therefore covers what another instance has signed.
        let signed = self.signed_by_another(&last).await?;
        let head = self.log.tree().await?;
        if last.head == Some(head) && !last.note.is_empty() {
            last.asked = asked;
            *locked(&self.whole) = Some((head.size, Instant::now()));
            return Ok(last.note.clone());
        }
        for earlier in last.head.into_iter().chain(signed) {
            self.check_extends(earlier, head).await?;
        }
        let note = self.sign(head);
        self.log.keep_checkpoint(Kept::Signed, note.clone()).await?;
        if let Some(copy) = &self.copy {
            copy.replace(&note).await?;
        }
        *last = Last {
            note: note.clone(),
            head: Some(head),
            asked,
            at: Some(Instant::now()),
        };
        *locked(&self.whole) = Some((head.size, Instant::now()));
        Ok(note)
    }

    fn sign(&self, head: TreeHead) -> String {
        let signed = self.key.sign(&Checkpoint {
            origin: self.origin().to_owned(),
            size: head.size,
            root: head.root,
        });
        signed.to_string()
    }

    /// What was signed last, if that is not what this one knows as the last.
    async fn signed_by_another(&self, last: &Last) -> Result<Option<TreeHead>, NotaryFault> {
        let note = self.log.checkpoint(Kept::Signed).await?;
        let Some(note) = note.filter(|note| *note != last.note) else {
            return Ok(None);
        };
        let Some(signed) = past::believed(&self.key, &note) else {
            let fault = past::damaged(
                self.kept_in,
                &format!("the checkpoint in the {}", self.kept_in),
            );
            self.refuse(fault.clone());
            return Err(NotaryFault::Refused(fault));
        };
        let (size, root) = (signed.size, signed.root);
        Ok(Some(TreeHead { size, root }))
    }

    /// The last checkpoint that a witness cosigned, with its cosignatures, whichever instance showed it.
    pub async fn cosigned(&self) -> Result<Option<String>, StoreUnavailable> {
        self.log.checkpoint(Kept::Cosigned).await
    }

    /// Signs what is new, so that the copy elsewhere is never long out of date. To be called now and then. What keeps it
    /// from that is said once.
    pub async fn tend(self: &Arc<Self>) {
        let fault = self.checkpoint().await.err().map(|fault| fault.to_string());
        let before = std::mem::replace(&mut *locked(&self.said), fault.clone());
        match fault {
            Some(fault) if before.as_ref() != Some(&fault) => {
                tracing::error!(fault, "no checkpoint is signed");
            }
            None if before.is_some() => tracing::info!("checkpoints are signed again"),
            _ => {}
        }
    }

    /// Whether the tree of `head` begins with that of `earlier`; if not, nothing is signed any more.
    async fn check_extends(&self, earlier: TreeHead, head: TreeHead) -> Result<(), NotaryFault> {
        if earlier.size <= head.size && self.root_of(earlier.size).await? == Some(earlier.root) {
            return Ok(());
        }
        let fault = LogFault {
            what: format!(
                "the tree of {} entries does not begin with that of {} entries which was signed before",
                head.size, earlier.size
            ),
            mend: self.kept_in.restore(),
        };
        self.refuse(fault.clone());
        Err(NotaryFault::Refused(fault))
    }

    /// The root of the tree of the first `size` entries.
    async fn root_of(&self, size: u64) -> Result<Option<Hash>, StoreUnavailable> {
        let whole = std::iter::once(0..size).collect();
        Ok(self.log.hashes(whole).await?.pop())
    }

    fn refuse(&self, fault: LogFault) {
        locked(&self.refused).get_or_insert(fault);
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The key of the log, made at first start. The log says under which name and key it is signed, whenever that changes.
async fn named_key(
    log: &dyn AuditLog,
    clock: &dyn Clock,
    origin: &str,
    encryption: Option<&KeyEncryptionKey>,
) -> Result<CheckpointKey, NotaryError> {
    loop {
        let kept = log.checkpoint_key().await?;
        let private = match &kept {
            Some(sealed) => open(encryption, SEALED_AS, sealed)?,
            None => CheckpointKey::generate()?,
        };
        let key = CheckpointKey::read(origin, &private)?;
        let named = Happening::LogNamed {
            origin: origin.to_owned(),
            key: key.public().to_string(),
        };
        let is_sealed = |sealed: &Vec<u8>| is_encrypted(sealed) == encryption.is_some();
        if !kept.as_ref().is_some_and(is_sealed) {
            let sealed = seal(encryption, SEALED_AS, &private)?;
            let keeping = log.keep_checkpoint_key(kept, sealed, named, clock.now());
            if !keeping.await? {
                // Another instance was first, and its key is the one.
                continue;
            }
        } else if last_name(log).await?.as_ref() != Some(&named) {
            log.append(vec![named], clock.now()).await?;
        }
        return Ok(key);
    }
}

/// What the log says last of its name.
async fn last_name(log: &dyn AuditLog) -> Result<Option<Happening>, NotaryError> {
    let Some(found) = newest(log, "log-named").await? else {
        return Ok(None);
    };
    Ok(match found.entry()? {
        Entry::Event(event) => Some(event.what),
        Entry::Decision(_) | Entry::Unknown(_) => None,
    })
}
