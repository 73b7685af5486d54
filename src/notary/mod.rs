//! Signs checkpoints of the log, and never two that contradict each other.
//!
//! A checkpoint says: so many entries, with this root. Whoever holds an earlier one can prove that a later one has the same
//! beginning. So before anything is signed, the tree is compared with what was signed before: with the last checkpoint in
//! the data folder, with its copy elsewhere (which a data folder that was rolled back does not take along), and with what
//! witnesses have seen.

mod key;
mod note;
mod past;
mod witnesses;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::audit::tree::Hash;
use crate::audit::{Entry, Filter, Happening, InvalidEntry};
use crate::clock::Clock;
use crate::ledger::{AuditLog, Kept, LogFault, StoreUnavailable, TreeHead};
use crate::seal::{KeyEncryptionKey, SealError, is_encrypted, open, seal};

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

/// What a notary needs to know.
pub struct Settings {
    /// Our issuer name.
    pub public_url: String,
    /// The key for keys at rest.
    pub encryption: Option<KeyEncryptionKey>,
    /// A file outside the data folder that holds the last checkpoint too.
    pub copy: Option<PathBuf>,
    /// Who cosigns.
    pub witnesses: Vec<Witness>,
}

/// Signs checkpoints.
pub struct Notary {
    log: Arc<dyn AuditLog>,
    key: CheckpointKey,
    vkey: String,
    copy: Option<PathBuf>,
    witnesses: Vec<Witness>,
    /// How many have asked for a checkpoint.
    asked: AtomicU64,
    last: tokio::sync::Mutex<Last>,
    /// What was signed before and does not fit the log.
    refused: Mutex<Option<LogFault>>,
}

/// The last checkpoint.
#[derive(Default)]
struct Last {
    note: String,
    head: Option<TreeHead>,
    /// How many had asked before its tree was.
    asked: u64,
}

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
    /// The data folder is of an earlier time than a checkpoint that was signed.
    #[error(transparent)]
    RolledBack(#[from] RolledBack),
}

/// The name of the log of a service: its address without the scheme, as C2SP tlog-tiles has it.
pub fn origin_of(public_url: &str) -> String {
    let bare = public_url.split_once("://");
    format!("{}/audit", bare.map_or(public_url, |(_, bare)| bare))
}

impl Notary {
    /// Takes the key from the log's store, or makes it, and compares the log with what was signed before. A log that has
    /// fewer entries than that was rolled back: then there is no notary, and there should be no service, which would let
    /// tokens in again that were spent in what is lost. Anything else that does not fit lets the notary refuse to sign.
    pub async fn open(
        log: Arc<dyn AuditLog>,
        clock: &dyn Clock,
        settings: Settings,
    ) -> Result<Self, NotaryError> {
        let origin = origin_of(&settings.public_url);
        let key = named_key(&*log, clock, &origin, settings.encryption.as_ref()).await?;
        let vkey = key.public().to_string();
        let notary = Self {
            log,
            key,
            vkey,
            copy: settings.copy,
            witnesses: settings.witnesses,
            asked: AtomicU64::new(0),
            last: tokio::sync::Mutex::default(),
            refused: Mutex::default(),
        };
        let refused = notary.compare_with_the_past().await?;
        if let Some(fault) = refused {
            notary.refuse(fault);
        }
        Ok(notary)
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
        let refused = self.refused.lock();
        let refused = refused.unwrap_or_else(PoisonError::into_inner).clone();
        refused.or_else(|| self.log.fault())
    }

    /// A signed checkpoint over every entry that was acknowledged before this call. It is on disk, and in its copy, before
    /// this answers.
    pub async fn checkpoint(&self) -> Result<String, NotaryFault> {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some(fault) = self.fault() {
            return Err(NotaryFault::Refused(fault));
        }
        // Somebody who asked later was served while this one waited.
        if last.asked > ticket {
            return Ok(last.note.clone());
        }
        let asked = self.asked.load(Ordering::SeqCst);
        let head = self.log.tree().await?;
        if last.head == Some(head) && !last.note.is_empty() {
            last.asked = asked;
            return Ok(last.note.clone());
        }
        if let Some(earlier) = last.head {
            self.check_extends(earlier, head).await?;
        }
        let signed = self.key.sign(&Checkpoint {
            origin: self.origin().to_owned(),
            size: head.size,
            root: head.root,
        });
        let note = signed.to_string();
        self.log.keep_checkpoint(Kept::Signed, note.clone()).await?;
        self.keep_copy(&note).await?;
        *last = Last {
            note: note.clone(),
            head: Some(head),
            asked,
        };
        Ok(note)
    }

    /// The last checkpoint that a witness cosigned, with its cosignatures.
    pub async fn cosigned(&self) -> Result<Option<String>, NotaryFault> {
        Ok(self.log.checkpoint(Kept::Cosigned).await?)
    }

    /// Signs what is new, so that the copy elsewhere is never long out of date. To be called now and then.
    pub async fn tend(&self) {
        match self.checkpoint().await {
            Ok(_) => {}
            Err(NotaryFault::Unavailable(fault)) => {
                tracing::warn!(%fault, "no checkpoint could be signed");
            }
            Err(fault) => tracing::error!(%fault, "the log cannot be signed"),
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
            mend: past::RESTORE.to_owned(),
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
        tracing::error!(
            what = fault.what,
            mend = fault.mend,
            "no checkpoint is signed"
        );
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get_or_insert(fault);
    }
}

/// The key of the log, made at first start. The log says under which name and key it is signed, whenever that changes.
async fn named_key(
    log: &dyn AuditLog,
    clock: &dyn Clock,
    origin: &str,
    encryption: Option<&KeyEncryptionKey>,
) -> Result<CheckpointKey, NotaryError> {
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
        log.keep_checkpoint_key(sealed, named, clock.now()).await?;
    } else if last_name(log).await?.as_ref() != Some(&named) {
        log.append(vec![named], clock.now()).await?;
    }
    Ok(key)
}

/// What the log says last of its name.
async fn last_name(log: &dyn AuditLog) -> Result<Option<Happening>, NotaryError> {
    let filter = Filter {
        kind: Some("log-named".to_owned()),
        ..Filter::default()
    };
    let mut before = None;
    loop {
        let page = log.search(filter.clone(), before, 1).await?;
        if let Some(found) = page.entries.first() {
            return Ok(match found.entry()? {
                Entry::Event(event) => Some(event.what),
                Entry::Decision(_) | Entry::Unknown(_) => None,
            });
        }
        before = page.next;
        if before.is_none() {
            return Ok(None);
        }
    }
}
