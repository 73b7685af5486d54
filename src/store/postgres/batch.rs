//! One commit of many changes: what is asked of `countersign.commit_batch`, and what it answers.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use deadpool_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, GenericClient, Row, Statement};
use uuid::Uuid;

use super::super::KEY;
use super::fault::Fault;
use crate::audit::Sealed;
use crate::clock::UnixTime;
use crate::digest::sha256_of;

/// How many changes one commit takes.
pub(super) const MOST_CHANGES: usize = 512;

/// How many octets of entries one commit takes, besides those of one change.
pub(super) const MOST_OCTETS: usize = 4 << 20;

/// As much of the digest of a token or a denial as every store keeps: what one has must be found in another.
pub(super) fn kept(digest: &[u8; 32]) -> &[u8] {
    digest.get(..KEY).unwrap_or(digest)
}

/// What a change does beside adding entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Uses a subject token that was used so often before, and is remembered until then.
    Spend {
        key: [u8; 32],
        before: u32,
        until: i64,
    },
    /// Records a denial, or whatever else is to be done once, which is remembered until then.
    Deny { key: [u8; 32], until: i64 },
    /// Nothing else.
    Nothing,
}

/// Names that a change is let in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PinnedNames {
    /// What the names are kept under.
    pub(super) id: [u8; 32],
    /// The version of what is remembered of them that the change was decided with.
    pub(super) version: i64,
    /// What is remembered from here on, if it changes.
    pub(super) state: Option<String>,
}

/// What is done wholly or not at all.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) deed: Deed,
    /// The decision, or any name that no other change has.
    pub(super) id: Uuid,
    pub(super) pins: Vec<PinnedNames>,
    pub(super) entries: Vec<Sealed>,
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done; the number of its first entry, if it has any.
    Done(Option<u64>),
    /// The token was used so often.
    Used(u32),
    /// It is not known any more whether the token was used.
    Forgotten,
    /// Names have another version.
    NamesChanged,
    /// The denial is on record under this name.
    OnRecord(Uuid),
    /// It was done before, by this very change.
    DoneBefore,
}

impl Change {
    /// A change that adds entries, once: in a transaction of its own, of which it is always known what came of it.
    pub(super) fn adding(entries: Vec<Sealed>) -> Self {
        Self {
            deed: Deed::Nothing,
            id: Uuid::new_v4(),
            pins: Vec::new(),
            entries,
        }
    }

    /// The same for a batch, which may be sent again if it is not known what came of it. Until then its name is remembered,
    /// in the place of denials: it is as a denial that nobody asked for.
    pub(super) fn adding_once(entries: Vec<Sealed>, until: UnixTime) -> Self {
        let mut change = Self::adding(entries);
        if !change.entries.is_empty() {
            change.deed = Deed::Deny {
                key: sha256_of(&[b"entries".as_slice(), change.id.as_bytes()]),
                until: until.millis(),
            };
        }
        change
    }

    /// What no other change of the same commit may have.
    pub(super) fn key(&self) -> Option<&[u8; 32]> {
        match &self.deed {
            Deed::Spend { key, .. } | Deed::Deny { key, .. } => Some(key),
            Deed::Nothing => None,
        }
    }

    /// How many octets its entries have.
    pub(super) fn octets(&self) -> usize {
        let each = |entry: &Sealed| entry.leaf.len() + entry.withheld.len();
        self.entries.iter().map(each).sum()
    }
}

/// The question, with the types of its parameters, so that no round trip is needed to learn them.
const ASKED: &str = "SELECT outcome, uses, decision, entry FROM countersign.commit_batch(\
                     $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
static TYPES: LazyLock<[Type; 18]> = LazyLock::new(|| {
    [
        Type::INT2_ARRAY,
        Type::BYTEA_ARRAY,
        Type::UUID_ARRAY,
        Type::INT4_ARRAY,
        Type::INT8_ARRAY,
        Type::INT4_ARRAY,
        Type::BYTEA_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT4_ARRAY,
        Type::INT4_ARRAY,
        Type::INT4_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::INT8,
    ]
});

/// The question of what most batches are.
const FIRST_USES: &str =
    "SELECT countersign.commit_first_uses($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
static FIRST_USES_TYPES: LazyLock<[Type; 12]> = LazyLock::new(|| {
    [
        Type::BYTEA_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8,
        Type::INT4_ARRAY,
        Type::INT4_ARRAY,
        Type::INT8,
        Type::INT8,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
    ]
});

/// How many batches are asked about at length once one of first uses alone was more than that: somebody shows tokens again
/// and again, and each would be asked twice.
const AT_LENGTH: u32 = 16;

/// The statements by which a connection commits batches.
pub(super) struct Statements {
    any: Statement,
    first_uses: Statement,
    at_length: AtomicU32,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Fault> {
        Ok(Self {
            any: client.prepare_typed(ASKED, &*TYPES).await?,
            first_uses: client.prepare_typed(FIRST_USES, &*FIRST_USES_TYPES).await?,
            at_length: AtomicU32::new(0),
        })
    }

    /// Commits a batch, and answers what came of each change, in their order.
    pub(super) async fn commit(
        &self,
        client: &Client,
        batch: &Batch<'_>,
    ) -> Result<Vec<Outcome>, Fault> {
        let at_length = self.at_length.load(Ordering::Relaxed);
        let left = at_length.saturating_sub(1);
        self.at_length.store(left, Ordering::Relaxed);
        if at_length == 0 && batch.is_first_uses() {
            if let Some(first) = batch.send_first_uses(client, &self.first_uses).await? {
                let numbers = first..first + batch.kinds.len() as u64;
                return Ok(numbers.map(|number| Outcome::Done(Some(number))).collect());
            }
            self.at_length.store(AT_LENGTH, Ordering::Relaxed);
        }
        batch.send(client, &self.any).await
    }
}

/// The same in a transaction of a connection that may have it already.
pub(super) async fn prepare_cached(transaction: &Transaction<'_>) -> Result<Statement, Fault> {
    Ok(transaction.prepare_typed_cached(ASKED, &*TYPES).await?)
}

/// Some changes as parameters of the statement.
#[derive(Default)]
pub(super) struct Batch<'a> {
    kinds: Vec<i16>,
    keys: Vec<&'a [u8]>,
    ids: Vec<Uuid>,
    before: Vec<i32>,
    untils: Vec<i64>,
    pin_jobs: Vec<i32>,
    pin_ids: Vec<&'a [u8]>,
    pin_versions: Vec<i64>,
    pin_states: Vec<Option<&'a str>>,
    entry_jobs: Vec<i32>,
    leaf_ends: Vec<i32>,
    withheld_ends: Vec<i32>,
    ats: Vec<i64>,
    hashes: Vec<u8>,
    marks: Vec<u8>,
    leaves: Vec<u8>,
    withheld: Vec<u8>,
    announced: Option<i64>,
}

impl<'a> Batch<'a> {
    /// The parameters for `changes`. If the clock was put back, `put_back` is an entry that says so, and the latest time
    /// before.
    pub(super) fn of(
        changes: impl Iterator<Item = &'a Change>,
        put_back: Option<(&'a Sealed, i64)>,
    ) -> Self {
        let mut batch = Self::default();
        if let Some((sealed, before)) = put_back {
            batch.announced = Some(before);
            batch.add_change(&Deed::Nothing, Uuid::nil());
            batch.add_entry(sealed);
        }
        for change in changes {
            batch.add_change(&change.deed, change.id);
            for pin in &change.pins {
                batch.pin_jobs.push(count(batch.kinds.len()));
                batch.pin_ids.push(&pin.id);
                batch.pin_versions.push(pin.version);
                batch.pin_states.push(pin.state.as_deref());
            }
            for sealed in &change.entries {
                batch.add_entry(sealed);
            }
        }
        batch
    }

    fn add_change(&mut self, deed: &'a Deed, id: Uuid) {
        let (kind, key, before, until): (i16, &[u8], i32, i64) = match deed {
            Deed::Spend { key, before, until } => {
                let before = i32::try_from(*before).unwrap_or(i32::MAX);
                (1, kept(key), before, *until)
            }
            Deed::Deny { key, until } => (2, kept(key), 0, *until),
            Deed::Nothing => (3, &[], 0, 0),
        };
        self.kinds.push(kind);
        self.keys.push(key);
        self.ids.push(id);
        self.before.push(before);
        self.untils.push(until);
    }

    fn add_entry(&mut self, sealed: &Sealed) {
        self.entry_jobs.push(count(self.kinds.len()));
        self.leaves.extend_from_slice(&sealed.leaf);
        self.withheld.extend_from_slice(&sealed.withheld);
        self.leaf_ends.push(count(self.leaves.len()));
        self.withheld_ends.push(count(self.withheld.len()));
        self.ats.push(sealed.marks.at_millis);
        self.hashes.extend_from_slice(&sealed.leaf_hash);
        self.marks.extend_from_slice(&sealed.marks.write());
    }

    /// Whether these are first uses of tokens alone, each with one entry.
    fn is_first_uses(&self) -> bool {
        let first = |(kind, before): (&i16, &i32)| *kind == 1 && *before == 0;
        self.pin_ids.is_empty()
            && self.announced.is_none()
            && self.entry_jobs.len() == self.kinds.len()
            && self.kinds.iter().zip(&self.before).all(first)
            && self
                .entry_jobs
                .iter()
                .zip(1..)
                .all(|(job, number)| *job == number)
    }

    /// Asks about first uses, and answers the number of the first entry if that was all.
    async fn send_first_uses(
        &self,
        client: &Client,
        statement: &Statement,
    ) -> Result<Option<u64>, Fault> {
        let least = |all: &[i64]| all.iter().copied().min().unwrap_or_default();
        let newest = self.ats.iter().copied().max().unwrap_or_default();
        let (earliest, oldest) = (least(&self.untils), least(&self.ats));
        let parameters: [&(dyn ToSql + Sync); 12] = [
            &self.keys,
            &self.ids,
            &self.untils,
            &earliest,
            &self.leaf_ends,
            &self.withheld_ends,
            &oldest,
            &newest,
            &self.hashes,
            &self.marks,
            &self.leaves,
            &self.withheld,
        ];
        let row = client.query_one(statement, &parameters).await?;
        let first: Option<i64> = row.try_get(0)?;
        Ok(first.map(i64::cast_unsigned))
    }

    /// Asks, and answers what came of each change, in their order.
    pub(super) async fn send(
        &self,
        client: &impl GenericClient,
        statement: &Statement,
    ) -> Result<Vec<Outcome>, Fault> {
        let parameters: [&(dyn ToSql + Sync); 18] = [
            &self.kinds,
            &self.keys,
            &self.ids,
            &self.before,
            &self.untils,
            &self.pin_jobs,
            &self.pin_ids,
            &self.pin_versions,
            &self.pin_states,
            &self.entry_jobs,
            &self.leaf_ends,
            &self.withheld_ends,
            &self.ats,
            &self.hashes,
            &self.marks,
            &self.leaves,
            &self.withheld,
            &self.announced,
        ];
        let rows = client.query(statement, &parameters).await?;
        let announcing = usize::from(self.announced.is_some());
        let outcomes: Option<Vec<_>> = rows.iter().skip(announcing).map(outcome).collect();
        outcomes
            .filter(|outcomes| outcomes.len() + announcing == self.kinds.len())
            .ok_or_else(|| Fault::Lost("it answers otherwise than it was asked".into()))
    }
}

fn outcome(row: &Row) -> Option<Outcome> {
    let code: i16 = row.try_get(0).ok()?;
    Some(match code {
        1 => {
            let entry: Option<i64> = row.try_get(3).ok()?;
            Outcome::Done(entry.map(i64::cast_unsigned))
        }
        2 => {
            let uses: Option<i32> = row.try_get(1).ok()?;
            Outcome::Used(uses.unwrap_or_default().unsigned_abs())
        }
        3 => Outcome::Forgotten,
        4 => Outcome::NamesChanged,
        5 => Outcome::OnRecord(row.try_get(2).ok()?),
        6 => Outcome::DoneBefore,
        _ => return None,
    })
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
