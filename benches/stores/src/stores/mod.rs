//! The databases that are compared.

mod fjall;
mod nothing;
mod redb;
mod sled;
mod sqlite;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use countersign::clock::FrozenClock;
use countersign::ledger::{AuditLog, Ledger};
use countersign::store::{EmbeddedStore, Options};
use serde::{Deserialize, Serialize};

use crate::group::{Fault, GroupCommit, Uses};
use crate::work;

/// How many octets of memory each database may use for what it has read: what the product gives its own by default.
const CACHE: u32 = 128 << 20;

/// A store, and its log if it keeps one.
pub type Opened = (Arc<dyn Ledger>, Option<Arc<dyn AuditLog>>);

/// A store that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreName {
    /// The callers and the one writer alone: nothing reaches a disk. What is left when this is taken off is the store.
    Nothing,
    /// The product's own store.
    Countersign,
    /// The same without the hashes of the log's tree.
    CountersignTreeless,
    /// sled 0.34 with a sync of our own.
    Sled,
    /// fjall 3.
    Fjall,
    /// redb 4.
    Redb,
    /// redb 4, writing what it needs to open quickly after a crash into every commit.
    RedbQuickRepair,
    /// `SQLite` 3 with a write-ahead log.
    Sqlite,
}

impl StoreName {
    /// The name on the command line and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Countersign => "countersign",
            Self::CountersignTreeless => "countersign-treeless",
            Self::Sled => "sled",
            Self::Fjall => "fjall",
            Self::Redb => "redb",
            Self::RedbQuickRepair => "redb-quick-repair",
            Self::Sqlite => "sqlite",
        }
    }

    /// Whether anything is left when the process ends.
    pub fn keeps(self) -> bool {
        self != Self::Nothing
    }

    /// Opens the store in `folder`, which is there. It closes with the last clone.
    pub fn open(self, folder: &Path) -> Result<Opened, Fault> {
        let store: Arc<dyn Ledger> = match self {
            Self::Nothing => Arc::new(GroupCommit::over(nothing::Nothing::default())?),
            Self::Countersign | Self::CountersignTreeless => {
                // Nothing expires while the clock stands still, as nothing is forgotten by the others.
                let clock = Arc::new(FrozenClock::at(work::moment(0)));
                let options = Options {
                    tree: self == Self::Countersign,
                    ..Options::default()
                };
                let store = Arc::new(EmbeddedStore::open(folder, clock, options)?);
                return Ok((store.clone(), Some(store)));
            }
            Self::Sled => Arc::new(GroupCommit::over(sled::Sled::open(folder)?)?),
            Self::Fjall => Arc::new(GroupCommit::over(fjall::Fjall::open(folder)?)?),
            Self::Redb => Arc::new(GroupCommit::over(redb::Redb::open(folder, false)?)?),
            Self::RedbQuickRepair => Arc::new(GroupCommit::over(redb::Redb::open(folder, true)?)?),
            Self::Sqlite => Arc::new(GroupCommit::over(sqlite::Sqlite::open(folder)?)?),
        };
        // A synced file whose name is lost is lost, and not every database syncs the names.
        File::open(folder)?.sync_all()?;
        Ok((store, None))
    }
}

/// The value under a spent key where a database knows only octets. Numbers are big-endian.
fn write_uses((number, until): Uses) -> Vec<u8> {
    [number.to_be_bytes().as_slice(), &until.to_be_bytes()].concat()
}

fn read_uses(value: &[u8]) -> Option<Uses> {
    let (number, until) = value.split_first_chunk()?;
    let until = until.first_chunk()?;
    Some((u32::from_be_bytes(*number), u64::from_be_bytes(*until)))
}
