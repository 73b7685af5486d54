//! redb 4: a copy-on-write B-tree in one file.
//!
//! Durable by `Durability::Immediate`: "guaranteed to be persistent as soon as `WriteTransaction::commit` returns", says
//! its documentation. That is one `fdatasync` of the file, or two with the commit in two phases that quick repair asks for.

use std::path::Path;

use countersign::audit::{DecisionId, Record};
use countersign::ledger::{Spend, Spent};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::CACHE;
use crate::group::{Batch, Entry, Fault, Uses, decide};

const SPENT: TableDefinition<&[u8; 32], Uses> = TableDefinition::new("spent");
const DUE: TableDefinition<(u64, &[u8; 32]), ()> = TableDefinition::new("due");
const RECORDS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("records");

/// A table for each kind of key.
pub struct Redb {
    db: Database,
    quick_repair: bool,
}

impl Redb {
    /// Opens the database in `folder`. Without `quick_repair` it walks through all of its file after a crash.
    pub fn open(folder: &Path, quick_repair: bool) -> Result<Self, Fault> {
        let mut builder = Database::builder();
        builder.set_cache_size(usize::try_from(CACHE)?);
        let db = builder.create(folder.join("redb"))?;
        Ok(Self { db, quick_repair })
    }
}

impl Batch for Redb {
    fn spend_all(&mut self, work: &mut [(Spend, Record)]) -> Result<Vec<Spent>, Fault> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(self.quick_repair);
        let mut spent = transaction.open_table(SPENT)?;
        let (answers, entries) =
            decide(work, |key| Ok(spent.get(key)?.map(|uses| uses.value().0)))?;
        if entries.is_empty() {
            drop(spent);
            transaction.abort()?;
            return Ok(answers);
        }
        let mut due = transaction.open_table(DUE)?;
        let mut records = transaction.open_table(RECORDS)?;
        for Entry {
            key,
            uses,
            id,
            json,
        } in &entries
        {
            let (_, until) = uses;
            spent.insert(key, uses)?;
            due.insert((*until, key), ())?;
            records.insert(id, json.as_slice())?;
        }
        drop((spent, due, records));
        transaction.commit()?;
        Ok(answers)
    }

    fn record(&mut self, id: DecisionId) -> Result<Option<Vec<u8>>, Fault> {
        let records = self.db.begin_read()?.open_table(RECORDS)?;
        let value = records.get(id.as_bytes())?;
        Ok(value.map(|value| value.value().to_vec()))
    }
}
