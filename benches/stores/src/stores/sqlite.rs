//! `SQLite` 3 with a write-ahead log.
//!
//! Durable by `synchronous=FULL`: "Writers sync the WAL on every transaction commit if `PRAGMA synchronous` is set to
//! FULL", says its documentation. One `fsync` of the log a batch, and of the database at each checkpoint; it would be
//! `fdatasync` if the crate that builds it said that the system has one. It syncs the name of the log itself.

use std::path::Path;

use countersign::audit::{DecisionId, Record};
use countersign::ledger::{Spend, Spent};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::CACHE;
use crate::group::{Batch, Entry, Fault, decide};

/// The tables. The index is what finds the keys that may be forgotten. A row of `records` is too long for a table without
/// row numbers, whose inner pages would hold whole rows.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS spent (key BLOB PRIMARY KEY, uses INTEGER NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS due ON spent (until);
    CREATE TABLE IF NOT EXISTS records (id BLOB PRIMARY KEY, json BLOB NOT NULL);
";

/// After how many pages of 4 KiB the log is copied into the database. The default, 1000, does so every hundred spends or
/// so; this is 64 MiB, in which pages that are written often are copied once.
const CHECKPOINT: u32 = 16_384;

/// One connection, which the one writer has.
pub struct Sqlite(Connection);

impl Sqlite {
    /// Opens the database in `folder`.
    pub fn open(folder: &Path) -> Result<Self, Fault> {
        let connection = Connection::open(folder.join("sqlite"))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        // Negative: in KiB and not in pages.
        connection.pragma_update(None, "cache_size", -i64::from(CACHE / 1024))?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
        connection.execute_batch(TABLES)?;
        Ok(Self(connection))
    }
}

impl Batch for Sqlite {
    fn spend_all(&mut self, work: &mut [(Spend, Record)]) -> Result<Vec<Spent>, Fault> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.0.transaction_with_behavior(behavior)?;
        let mut uses = transaction.prepare_cached("SELECT uses FROM spent WHERE key = ?1")?;
        let (answers, entries) = decide(work, |key| {
            Ok(uses.query_row([key], |row| row.get(0)).optional()?)
        })?;
        let mut spend = transaction.prepare_cached(
            "INSERT INTO spent VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET uses = ?2, until = ?3",
        )?;
        let mut keep = transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2)")?;
        for Entry {
            key,
            uses: (number, until),
            id,
            json,
        } in &entries
        {
            spend.execute(params![key, number, i64::try_from(*until)?])?;
            keep.execute(params![id, json])?;
        }
        drop((uses, spend, keep));
        transaction.commit()?;
        Ok(answers)
    }

    fn record(&mut self, id: DecisionId) -> Result<Option<Vec<u8>>, Fault> {
        let mut read = (self.0).prepare_cached("SELECT json FROM records WHERE id = ?1")?;
        let json = read.query_row([id.as_bytes()], |row| row.get(0));
        Ok(json.optional()?)
    }
}
