//! sled 0.34, one tree, as the product used it before it had a journal of its own.
//!
//! Durable by our own hand: `flush` "synchronously flushes all dirty IO buffers and calls fsync", says its documentation;
//! on Linux what it calls is `sync_file_range`, which makes neither the size of the file nor the cache of the disk durable.
//! So `fdatasync` follows on the one file that holds everything.

use std::fs::{File, OpenOptions};
use std::path::Path;

use countersign::audit::{DecisionId, Record};
use countersign::ledger::{Spend, Spent};

use super::{CACHE, read_uses, write_uses};
use crate::group::{Batch, Entry, Fault, decide};

/// The one tree, because a batch is atomic within a tree and not across trees. The first octet of a key says what it is:
/// `s` a spent key, `x` a time with the spent key that may then be forgotten, `r` a record.
pub struct Sled {
    db: sled::Db,
    file: File,
}

impl Sled {
    /// Opens the database in `folder`.
    pub fn open(folder: &Path) -> Result<Self, Fault> {
        let config = sled::Config::new().path(folder);
        let db = config.cache_capacity(u64::from(CACHE)).open()?;
        let mut file = OpenOptions::new();
        let file = file.write(true).open(folder.join("db"))?;
        file.sync_data()?;
        Ok(Self { db, file })
    }

    fn uses(&self, key: &[u8; 32]) -> Result<Option<u32>, Fault> {
        let value = self.db.get([b"s".as_slice(), key].concat())?;
        let uses = value.as_deref().and_then(read_uses);
        Ok(uses.map(|(number, _)| number))
    }
}

impl Batch for Sled {
    fn spend_all(&mut self, work: &mut [(Spend, Record)]) -> Result<Vec<Spent>, Fault> {
        let (answers, entries) = decide(work, |key| self.uses(key))?;
        if !entries.is_empty() {
            let mut batch = sled::Batch::default();
            for Entry {
                key,
                uses,
                id,
                json,
            } in entries
            {
                let until = uses.1.to_be_bytes();
                let spent = [b"s".as_slice(), &key].concat();
                batch.insert(spent, write_uses(uses));
                let due = [b"x".as_slice(), &until, &key].concat();
                batch.insert(due, &[]);
                batch.insert([b"r".as_slice(), &id].concat(), json);
            }
            self.db.apply_batch(batch)?;
            self.db.flush()?;
            self.file.sync_data()?;
        }
        Ok(answers)
    }

    fn record(&mut self, id: DecisionId) -> Result<Option<Vec<u8>>, Fault> {
        let value = self.db.get([b"r".as_slice(), id.as_bytes()].concat())?;
        Ok(value.map(|value| value.to_vec()))
    }
}
