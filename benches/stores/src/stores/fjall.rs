//! fjall 3: a log-structured merge tree with a journal.
//!
//! Durable by its batch with `PersistMode::SyncData`: "Flushes data using `fdatasync`", says its documentation. That is
//! once a batch, on the journal, before the batch is visible. fjall itself syncs the name of a new journal. A batch is
//! atomic across keyspaces.

use std::path::Path;

use countersign::audit::{DecisionId, Record};
use countersign::ledger::{Spend, Spent};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{CACHE, read_uses, write_uses};
use crate::group::{Batch, Entry, Fault, decide};

/// A keyspace for each kind of key, as fjall would have it.
pub struct Fjall {
    db: Database,
    spent: Keyspace,
    due: Keyspace,
    records: Keyspace,
}

impl Fjall {
    /// Opens the database in `folder`.
    pub fn open(folder: &Path) -> Result<Self, Fault> {
        let db = Database::builder(folder).cache_size(u64::from(CACHE));
        let db = db.open()?;
        let keyspace = |name| db.keyspace(name, KeyspaceCreateOptions::default);
        let (spent, due, records) = (keyspace("spent")?, keyspace("due")?, keyspace("records")?);
        Ok(Self {
            db,
            spent,
            due,
            records,
        })
    }

    fn uses(&self, key: &[u8; 32]) -> Result<Option<u32>, Fault> {
        let value = self.spent.get(key)?;
        let uses = value.as_deref().and_then(read_uses);
        Ok(uses.map(|(number, _)| number))
    }
}

impl Batch for Fjall {
    fn spend_all(&mut self, work: &mut [(Spend, Record)]) -> Result<Vec<Spent>, Fault> {
        let (answers, entries) = decide(work, |key| self.uses(key))?;
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for Entry {
            key,
            uses,
            id,
            json,
        } in entries
        {
            let until = uses.1.to_be_bytes();
            batch.insert(&self.spent, key, write_uses(uses));
            batch.insert(&self.due, [until.as_slice(), &key].concat(), "");
            batch.insert(&self.records, id, json);
        }
        batch.commit()?;
        Ok(answers)
    }

    fn record(&mut self, id: DecisionId) -> Result<Option<Vec<u8>>, Fault> {
        let value = self.records.get(id.as_bytes())?;
        Ok(value.map(|value| value.to_vec()))
    }
}
