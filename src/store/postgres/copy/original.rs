//! Everything in the tables, from their beginning to their end.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::super::super::KEY;
use super::super::super::copy::{
    CopiedEntry, CopyError, Counted, IssuerKeys, KeptPolicy, KnownDenial, MOST_SMALL,
    Original as Copied, Part, SpentToken, State,
};
use super::super::PostgresSettings;
use super::super::keeps::DIGEST;
use super::super::migrate::check;
use super::{connect, need_nobody, unavailable};
use crate::audit::tree::{Hash, fold, node_hash};
use crate::audit::{DecisionId, MARKS, Marks};
use crate::clock::UnixTime;
use crate::digest::sha256;
use crate::ledger::{RememberedNames, StoreUnavailable};
use crate::project_token::StoredKey;

/// How many batches of entries are read at once.
const BATCHES: i64 = 4;

/// A store in a database, from its beginning to its end.
pub(in super::super::super) struct Original {
    client: Client,
    reading: Reading,
}

/// How far it is read.
#[derive(Default)]
pub(super) struct Reading {
    /// The number of the next entry.
    entry: u64,
    size: u64,
    /// Which table is read after the log.
    table: usize,
    /// The last key that was read of it.
    after: Option<Key>,
}

/// A key, as the tables have them.
enum Key {
    Octets(Vec<u8>),
    Text(String),
    Count(i64, String, String),
}

impl Original {
    /// The store in this database, to which no instance is connected. As long as this is open, nobody writes to it.
    pub(in super::super::super) async fn open(
        settings: &PostgresSettings,
    ) -> Result<Self, CopyError> {
        let client = connect(settings).await?;
        let there = client
            .query_one(
                "SELECT to_regclass('countersign.log_about') IS NOT NULL",
                &[],
            )
            .await
            .map_err(unavailable)?;
        if !there.get::<_, bool>(0) {
            return Err(CopyError::NotThere(settings.shown()));
        }
        need_nobody(&client, &settings.shown()).await?;
        // What another program keeps there is not known here, and would be left behind.
        check(&client, &settings.shown()).await?;
        client
            .batch_execute(
                "BEGIN ISOLATION LEVEL REPEATABLE READ;
                 LOCK TABLE countersign.log_about, countersign.log_batches IN SHARE MODE",
            )
            .await
            .map_err(unavailable)?;
        Ok(Self {
            client,
            reading: Reading::default(),
        })
    }
}

impl Copied for Original {
    fn state(&mut self) -> BoxFuture<'_, Result<State, StoreUnavailable>> {
        self.reading.state(&self.client).boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Part>, StoreUnavailable>> {
        self.reading.next(&self.client).boxed()
    }
}

impl Reading {
    pub(super) async fn state(&mut self, client: &Client) -> Result<State, StoreUnavailable> {
        let head = client
            .query_one(
                "SELECT size, latest, latest_since, put_back, withheld_from, (SELECT until FROM countersign.forgotten),
                        (SELECT sealed FROM countersign.checkpoint_key),
                        (SELECT note FROM countersign.checkpoints WHERE which = 'signed'),
                        (SELECT note FROM countersign.checkpoints WHERE which = 'cosigned')
                 FROM countersign.log_head",
                &[],
            )
            .await
            .map_err(unavailable)?;
        self.size = unsigned(head.get(0))?;
        let some = |millis: i64| (self.size > 0).then_some(millis);
        let forgotten: Option<i64> = head.get(5);
        Ok(State {
            size: self.size,
            root: root(client, self.size).await?,
            latest: some(head.get(1)),
            latest_since: some(head.get(2)),
            put_back: unsigned(head.get(3))?,
            withheld_from: unsigned(head.get(4))?,
            forgotten: forgotten.map(UnixTime::from_millis),
            checkpoint_key: head.get(6),
            signed: head.get(7),
            cosigned: head.get(8),
        })
    }

    pub(super) async fn next(&mut self, client: &Client) -> Result<Option<Part>, StoreUnavailable> {
        if self.entry < self.size {
            let first = self.entry;
            let entries = entries(client, first).await?;
            if entries.is_empty() {
                return Err(StoreUnavailable(format!("the log has no entry {first}")));
            }
            self.entry += entries.len() as u64;
            return Ok(Some(Part::Entries(first, entries)));
        }
        while self.table < TABLES {
            let (part, last, count) = table(client, self.table, self.after.take()).await?;
            let is_last = count < MOST_SMALL;
            self.after = last.filter(|_| !is_last);
            self.table += usize::from(is_last);
            if part.len() > 0 {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }
}

/// The root of the tree, from the hashes of all leaves.
async fn root(client: &Client, size: u64) -> Result<Hash, StoreUnavailable> {
    let mut peaks: Vec<(u32, Hash)> = Vec::new();
    let mut after = -1_i64;
    let mut count = 0;
    loop {
        let rows = client
            .query(
                "SELECT first, hashes FROM countersign.log_batches WHERE first > $1 ORDER BY first LIMIT 256",
                &[&after],
            )
            .await
            .map_err(unavailable)?;
        let Some(last) = rows.last() else { break };
        after = last.get(0);
        for row in &rows {
            let hashes: &[u8] = row.get(1);
            for hash in hashes.as_chunks::<32>().0 {
                let (mut height, mut hash) = (0, *hash);
                while let Some((_, left)) = peaks.pop_if(|(found, _)| *found == height) {
                    hash = node_hash(&left, &hash);
                    height += 1;
                }
                peaks.push((height, hash));
                count += 1;
            }
        }
    }
    if count != size {
        return Err(StoreUnavailable(format!(
            "the log has {count} hashes and {size} entries"
        )));
    }
    let peaks: Vec<Hash> = peaks.into_iter().map(|(_, hash)| hash).collect();
    Ok(fold(&peaks))
}

/// The entries of some batches.
async fn entries(client: &Client, first: u64) -> Result<Vec<CopiedEntry>, StoreUnavailable> {
    let from = first.cast_signed();
    let rows = client
        .query(
            "SELECT b.first, b.leaf_ends, b.withheld_ends, b.hashes, b.marks, b.leaves, w.withheld
             FROM countersign.log_batches b LEFT JOIN countersign.log_withheld w ON w.first = b.first
             WHERE b.first >= $1 ORDER BY b.first LIMIT $2",
            &[&from, &BATCHES],
        )
        .await
        .map_err(unavailable)?;
    let mut entries = Vec::new();
    for row in rows {
        let begins: i64 = row.get(0);
        if begins.checked_sub(from) != i64::try_from(entries.len()).ok() {
            // What is missing is missed by who reads on from here.
            break;
        }
        batch(&row, &mut entries)
            .ok_or_else(|| StoreUnavailable(format!("the batch of entry {begins} is damaged")))?;
    }
    Ok(entries)
}

fn batch(row: &Row, entries: &mut Vec<CopiedEntry>) -> Option<()> {
    let (leaf_ends, withheld_ends): (Vec<i32>, Vec<i32>) = (row.get(1), row.get(2));
    let (hashes, marks, leaves): (&[u8], &[u8], &[u8]) = (row.get(3), row.get(4), row.get(5));
    let withheld: Option<&[u8]> = row.get(6);
    let (hashes, marks) = (hashes.as_chunks::<32>().0, marks.as_chunks::<MARKS>().0);
    let (mut leaf_start, mut withheld_start) = (0, 0);
    let ends = leaf_ends.into_iter().zip(withheld_ends);
    for ((hash, marks), (leaf_end, withheld_end)) in hashes.iter().zip(marks).zip(ends) {
        let leaf_end = usize::try_from(leaf_end).ok()?;
        let withheld_end = usize::try_from(withheld_end).ok()?;
        let values = match withheld {
            Some(all) => all.get(withheld_start..withheld_end)?.to_vec(),
            None => Vec::new(),
        };
        entries.push(CopiedEntry {
            hash: *hash,
            leaf: leaves.get(leaf_start..leaf_end)?.to_vec(),
            withheld: values,
            marks: Marks::read(marks),
        });
        (leaf_start, withheld_start) = (leaf_end, withheld_end);
    }
    Some(())
}

/// How many tables there are beside the log.
const TABLES: usize = 9;

/// Some rows of a table, by its key, the last key, and how many rows there were.
async fn table(
    client: &Client,
    number: usize,
    after: Option<Key>,
) -> Result<(Part, Option<Key>, usize), StoreUnavailable> {
    let octets = |row: &Row| Key::Octets(row.get(0));
    let text = |row: &Row| Key::Text(row.get(0));
    Ok(match number {
        0 => {
            let rows = page(client, "key, uses, until", "spent_tokens", "key", after).await?;
            let part = Part::Spent(each(&rows, spent)?);
            (part, rows.last().map(octets), rows.len())
        }
        1 => {
            let rows = page(client, "key, decision_id, until", "denials", "key", after).await?;
            let part = Part::Denials(each(&rows, denial)?);
            (part, rows.last().map(octets), rows.len())
        }
        2 => {
            let what = "hour, issuer, reason, count";
            let rows = page(
                client,
                what,
                "denial_counts",
                "(hour, issuer, reason)",
                after,
            )
            .await?;
            let last = rows.last();
            let last = last.map(|row| Key::Count(row.get(0), row.get(1), row.get(2)));
            (Part::Counted(each(&rows, counted)?), last, rows.len())
        }
        3 => {
            let rows = page(client, "id, names, state", "names", "id", after).await?;
            let kept = each(&rows, names)?.into_iter().flatten().collect();
            (Part::Names(kept), rows.last().map(octets), rows.len())
        }
        4 => {
            let rows = page(client, "path, id", "projects", "path", after).await?;
            let pair = |row: &Row| Some((row.get(0), row.get(1)));
            let part = Part::Projects(each(&rows, pair)?);
            (part, rows.last().map(text), rows.len())
        }
        5 => {
            let what = "issuer, fetched, body";
            let rows = page(client, what, "issuer_keys", "issuer", after).await?;
            let part = Part::IssuerKeys(each(&rows, issuer_keys)?);
            (part, rows.last().map(text), rows.len())
        }
        6 => {
            let rows = page(client, "id, sealed", "signing_keys", "id", after).await?;
            let key = |row: &Row| {
                Some(StoredKey {
                    id: row.get(0),
                    sealed: row.get(1),
                })
            };
            let part = Part::SigningKeys(each(&rows, key)?);
            (part, rows.last().map(text), rows.len())
        }
        7 => {
            let rows = page(client, "file, on_record", "policies", "file", after).await?;
            let part = Part::Policies(each(&rows, policy)?);
            (part, rows.last().map(text), rows.len())
        }
        _ => {
            let what = "digest, content";
            let rows = page(client, what, "policy_texts", "digest", after).await?;
            let pair = |row: &Row| Some((row.get(0), row.get(1)));
            let part = Part::PolicyTexts(each(&rows, pair)?);
            (part, rows.last().map(text), rows.len())
        }
    })
}

async fn page(
    client: &Client,
    what: &str,
    table: &str,
    key: &str,
    after: Option<Key>,
) -> Result<Vec<Row>, StoreUnavailable> {
    let select = format!("SELECT {what} FROM countersign.{table}");
    let end = format!("ORDER BY {key} LIMIT {MOST_SMALL}");
    let asked = match &after {
        None => client.query(&format!("{select} {end}"), &[]).await,
        Some(Key::Octets(key_after)) => {
            let parameters: [&(dyn ToSql + Sync); 1] = [key_after];
            let statement = format!("{select} WHERE {key} > $1 {end}");
            client.query(&statement, &parameters).await
        }
        Some(Key::Text(key_after)) => {
            let parameters: [&(dyn ToSql + Sync); 1] = [key_after];
            let statement = format!("{select} WHERE {key} > $1 {end}");
            client.query(&statement, &parameters).await
        }
        Some(Key::Count(hour, issuer, reason)) => {
            let statement = format!("{select} WHERE {key} > ($1, $2, $3) {end}");
            client.query(&statement, &[hour, issuer, reason]).await
        }
    };
    asked.map_err(unavailable)
}

fn each<T>(rows: &[Row], read: impl Fn(&Row) -> Option<T>) -> Result<Vec<T>, StoreUnavailable> {
    let damaged = || StoreUnavailable("a row of the store is damaged".into());
    rows.iter()
        .map(|row| read(row).ok_or_else(damaged))
        .collect()
}

fn time(row: &Row, column: usize) -> UnixTime {
    UnixTime::from_millis(row.get(column))
}

/// The part of a digest that all stores keep.
fn digest(row: &Row) -> Option<[u8; KEY]> {
    value::<&[u8]>(row, 0)?.first_chunk().copied()
}

fn value<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Option<T> {
    row.try_get(column).ok()
}

fn spent(row: &Row) -> Option<SpentToken> {
    Some(SpentToken {
        key: digest(row)?,
        uses: u32::try_from(value::<i32>(row, 1)?).ok()?,
        until: time(row, 2),
    })
}

fn denial(row: &Row) -> Option<KnownDenial> {
    Some(KnownDenial {
        key: digest(row)?,
        id: DecisionId::from_bytes(value::<Uuid>(row, 1)?.into_bytes()),
        until: time(row, 2),
    })
}

fn counted(row: &Row) -> Option<Counted> {
    Some(Counted {
        hour: time(row, 0),
        issuer: row.get(1),
        reason: row.get(2),
        count: u64::try_from(value::<i64>(row, 3)?).ok()?,
    })
}

/// Names, unless nothing is remembered of them.
fn names(row: &Row) -> Option<Vec<RememberedNames>> {
    let state: Option<&str> = value(row, 2)?;
    let kept = state.map(|state| {
        Some(RememberedNames {
            names: serde_json::from_str(value(row, 1)?).ok()?,
            state: serde_json::from_str(state).ok()?,
        })
    });
    kept.map_or(Some(Vec::new()), |kept| Some(vec![kept?]))
}

fn issuer_keys(row: &Row) -> Option<IssuerKeys> {
    let issuer: &str = value(row, 0)?;
    let digest = match issuer.strip_prefix(DIGEST) {
        None => sha256(issuer.as_bytes()),
        Some(hex) => unhex(hex)?,
    };
    Some(IssuerKeys {
        issuer: digest,
        fetched: time(row, 1),
        body: value(row, 2)?,
    })
}

fn policy(row: &Row) -> Option<KeptPolicy> {
    Some(KeptPolicy {
        file: row.get(0),
        on_record: serde_json::from_str(value(row, 1)?).ok()?,
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let pairs = text.as_bytes().as_chunks::<2>().0;
    let octets = pairs.iter().map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    octets.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

fn unsigned(number: i64) -> Result<u64, StoreUnavailable> {
    u64::try_from(number).map_err(|_| StoreUnavailable("a number of the log is damaged".into()))
}
