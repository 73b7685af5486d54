//! Deleting what leaves do not hold, when it has been kept as long as it should.
//!
//! First the marks are erased that come from what is deleted, and the postings that were made of them: they could tell a
//! guessed value from a wrong one. Then one commit says that the values are deleted, from where they are not seen any more,
//! and holds the entry about it. The rows of the values go last. All but that one commit is done in small transactions, 512
//! entries or 1000 rows each, which lock nothing that an exchange needs and never the end of the log; whatever is left
//! undone by a crash the next call does.
//!
//! What stays is the log: leaves, hashes, and what entries are found by otherwise. Rows that were deleted leave the disk with
//! the server's next vacuum, for which the table asks early; its own log of changes and backups keep them as long as the
//! server's settings say.

use std::collections::BTreeMap;

use deadpool_postgres::{GenericClient, Transaction};
use futures_util::FutureExt;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::PostgresStore;
use super::super::fault::{Fault, sealed_events};
use super::batches::{Found, Unreadable, end, range, signed, unsigned};
use super::pack::await_turn;
use super::places::{CHUNK, Places};
use super::search::strange_postings;
use super::terms::{Term, repository, subject};
use crate::audit::{Happening, LoggedEntry, MARKS, Marks};
use crate::clock::UnixTime;
use crate::ledger::StoreUnavailable;

/// Values are deleted by whole days (UTC), in milliseconds, so that there is one entry about it a day.
const DAY: i64 = 24 * 3600 * 1000;

/// The marks of how many entries are erased in one transaction at most. They are all of one chunk.
const ERASED_AT_ONCE: u64 = 512;

/// How many rows are deleted in one transaction at most.
const DELETED_AT_ONCE: i64 = 1000;

/// The values that are kept from the first number of an entry on, the first entry whose batch reaches the time $1, and the
/// number of entries.
const PLAN: &str = "
SELECT h.size, h.withheld_from,
    (SELECT b.first FROM countersign.log_batches b WHERE b.latest >= $1 ORDER BY b.latest, b.first LIMIT 1)
FROM countersign.log_head h";

const ARE_THERE: &str =
    "SELECT min(w.first) FROM countersign.log_withheld w WHERE w.first >= $1 AND w.first < $2";

/// The marks of some entries of the batches $1, from the octet $2 on.
const ERASE: &str = "
UPDATE countersign.log_batches b SET marks = overlay(b.marks PLACING e.marks FROM e.octet)
FROM unnest($1::bigint[], $2::integer[], $3::bytea[]) AS e (first, octet, marks) WHERE b.first = e.first";

const POSTINGS: &str = "
SELECT p.term, p.places FROM countersign.log_postings p WHERE p.term = ANY ($1::bigint[]) AND p.chunk = $2 ORDER BY p.term";

const REMOVE_POSTINGS: &str = "
DELETE FROM countersign.log_postings p WHERE p.term = ANY ($1::bigint[]) AND p.chunk = $2";

const CHANGE_POSTINGS: &str = "
UPDATE countersign.log_postings p SET places = e.places
FROM unnest($1::bigint[], $2::bytea[]) AS e (term, places) WHERE p.term = e.term AND p.chunk = $3";

const ADVANCE: &str =
    "UPDATE countersign.log_about SET withheld_from = $1 WHERE withheld_from < $1";

const DELETE: &str = "
DELETE FROM countersign.log_withheld w WHERE w.first = ANY (ARRAY(
    SELECT d.first FROM countersign.log_withheld d WHERE d.first >= $1 AND d.first < $2 ORDER BY d.first LIMIT $3
)) RETURNING w.first";

/// What is to be deleted: the values of the entries from one number to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    first: u64,
    until: u64,
}

/// Keeps the promise of [`crate::ledger::AuditLog::remove_personal_values`]. What is as old as that is deleted by whole days.
pub(super) async fn remove(
    store: &PostgresStore,
    before: UnixTime,
    now: UnixTime,
) -> Result<bool, StoreUnavailable> {
    let day = before.millis().div_euclid(DAY).saturating_mul(DAY);
    let planned = store.in_log(move |client, _| async move { planned(client, day).await }.boxed());
    let (plan, left_from_before) = planned.await?;
    delete(store, left_from_before).await?;
    let Some(plan) = plan else {
        return Ok(false);
    };
    let mut at = plan.first;
    while at < plan.until {
        // Up to the next multiple, so that no part is of two chunks.
        let next = (at / ERASED_AT_ONCE + 1) * ERASED_AT_ONCE;
        let part = at..next.min(plan.until);
        let log = store.0.log.clone();
        let erased = store.transact(move |transaction| {
            async move {
                let erased = erase(transaction, part).await;
                match erased {
                    Ok(()) => Ok(((), Vec::new())),
                    Err(Unreadable::Failed(fault)) => Err(fault),
                    Err(Unreadable::Damaged { what, .. }) => {
                        log.fault.keep(what.clone());
                        Err(Fault::Refused(what))
                    }
                }
            }
            .boxed()
        });
        erased.await?;
        at = next;
    }
    let until = plan.until;
    let removed = Happening::PersonalValuesRemoved { until };
    let event = sealed_events([removed], now)?;
    let said = store.transact(move |transaction| {
        async move {
            let statement = transaction.prepare_cached(ADVANCE).await?;
            let advanced = transaction.execute(&statement, &[&signed(until)]).await?;
            // Another instance may have been first.
            let event = if advanced > 0 { event } else { Vec::new() };
            Ok((advanced > 0, event))
        }
        .boxed()
    });
    let (is_ours, _) = said.await?;
    delete(store, until).await?;
    Ok(is_ours)
}

/// What can be deleted, all of it from before the moment `day`; and up to where it was said to be deleted before.
async fn planned(client: &impl GenericClient, day: i64) -> Result<(Option<Plan>, u64), Unreadable> {
    let statement = client.prepare_cached(PLAN).await?;
    let row = client.query_one(&statement, &[&day]).await?;
    let (size, first) = (unsigned(&row, 0)?, unsigned(&row, 1)?);
    let reached: Option<i64> = row.try_get(2)?;
    let until = reached.map_or(size, |first| u64::try_from(first).unwrap_or_default());
    if until <= first {
        return Ok((None, first));
    }
    let statement = client.prepare_cached(ARE_THERE).await?;
    let row = client
        .query_one(&statement, &[&signed(first), &signed(until)])
        .await?;
    let plan = Plan { first, until };
    let is_there = row.try_get::<_, Option<i64>>(0)?.is_some();
    Ok((is_there.then_some(plan), first))
}

/// Deletes the rows of values of batches before `until`, where nobody sees them any more.
async fn delete(store: &PostgresStore, until: u64) -> Result<(), StoreUnavailable> {
    let (mut from, until) = (0_i64, signed(until));
    loop {
        let deleted = store.in_log(move |client, _| {
            async move {
                let statement = client.prepare_cached(DELETE).await?;
                let rows = client
                    .query(&statement, &[&from, &until, &DELETED_AT_ONCE])
                    .await?;
                let mut last = None;
                for row in rows {
                    last = last.max(Some(row.try_get::<_, i64>(0)?));
                }
                Ok(last)
            }
            .boxed()
        });
        match deleted.await? {
            None => return Ok(()),
            Some(last) => from = last + 1,
        }
    }
}

/// Erases the marks of entries of one chunk that come from values that their leaves do not hold.
async fn erase(
    transaction: &Transaction<'_>,
    part: std::ops::Range<u64>,
) -> Result<(), Unreadable> {
    // Whoever packs this chunk meanwhile would keep what is erased.
    await_turn(transaction).await?;
    let packed = end(transaction).await?.packed;
    let found = range(transaction, part).await?;
    let erased = Erased::of(&found);
    if erased.marks.is_empty() {
        return Ok(());
    }
    let chunk = found.first().map_or(0, |found| found.entry.index / CHUNK);
    if chunk * CHUNK < packed {
        erase_postings(transaction, chunk, &erased.postings).await?;
    }
    let (mut firsts, mut octets, mut marks) = (Vec::new(), Vec::new(), Vec::new());
    for (batch, (index, now)) in erased.marks {
        firsts.push(signed(batch));
        let octet = (index - batch) * MARKS as u64 + 1;
        octets.push(i32::try_from(octet).unwrap_or(i32::MAX));
        marks.push(now);
    }
    let statement = transaction.prepare_cached(ERASE).await?;
    transaction
        .execute(&statement, &[&firsts, &octets, &marks])
        .await?;
    Ok(())
}

/// Takes entries out of postings of a chunk, by their places in it.
async fn erase_postings(
    transaction: &Transaction<'_>,
    chunk: u64,
    erased: &BTreeMap<Term, Vec<u16>>,
) -> Result<(), Unreadable> {
    let number = signed(chunk);
    let terms: Vec<Term> = erased.keys().copied().collect();
    let statement = transaction.prepare_cached(POSTINGS).await?;
    let (mut empty, mut rest, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for row in transaction.query(&statement, &[&terms, &number]).await? {
        let term: Term = row.try_get(0)?;
        let places = Places::read(row.try_get(1)?);
        let mut places = places.ok_or_else(|| strange_postings(chunk))?;
        for place in erased.get(&term).into_iter().flatten() {
            places.remove(*place);
        }
        if places.is_empty() {
            empty.push(term);
        } else {
            rest.push(term);
            left.push(places.write());
        }
    }
    let statement = transaction.prepare_cached(REMOVE_POSTINGS).await?;
    transaction.execute(&statement, &[&empty, &number]).await?;
    let statement = transaction.prepare_cached(CHANGE_POSTINGS).await?;
    transaction
        .execute(&statement, &[&rest, &left, &number])
        .await?;
    Ok(())
}

/// What is erased of some entries of one chunk.
#[derive(Default)]
struct Erased {
    /// Of each batch of which something is: the first entry that is looked at, and the marks from that one on as they are now.
    marks: BTreeMap<u64, (u64, Vec<u8>)>,
    /// The terms, and the places in the chunk of the entries that lose them.
    postings: BTreeMap<Term, Vec<u16>>,
}

impl Erased {
    fn of(found: &[Found]) -> Self {
        let mut erased = Self::default();
        for batch in found.chunk_by(|one, next| one.batch == next.batch) {
            let Some(first) = batch.first() else {
                continue;
            };
            let now: Vec<Marks> = batch.iter().map(|found| erased.without(found)).collect();
            if now
                .iter()
                .zip(batch)
                .any(|(now, found)| *now != found.marks)
            {
                let octets = now.iter().flat_map(Marks::write).collect();
                erased
                    .marks
                    .insert(first.batch, (first.entry.index, octets));
            }
        }
        erased
    }

    /// The marks of an entry without those that tell.
    fn without(&mut self, found: &Found) -> Marks {
        let mut marks = found.marks;
        let tells = Telling::of(&found.entry);
        let place = u16::try_from(found.entry.index % CHUNK).unwrap_or_default();
        let mut lose = |term: Option<Term>| {
            if let Some(term) = term {
                self.postings.entry(term).or_default().push(place);
            }
        };
        if tells.subject {
            lose(subject(std::mem::take(&mut marks.subject)));
        }
        if tells.repository {
            lose(repository(std::mem::take(&mut marks.repository)));
        }
        marks
    }
}

/// Which marks of an entry come from values that its leaf does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Telling {
    pub(super) subject: bool,
    pub(super) repository: bool,
}

impl Telling {
    pub(super) fn of(entry: &LoggedEntry) -> Self {
        let Ok(leaf) = serde_json::from_slice::<Leaf>(&entry.leaf) else {
            return Self {
                subject: true,
                repository: true,
            };
        };
        let places = leaf.withheld.unwrap_or_default();
        Self {
            subject: places.subject.is_some(),
            repository: places.repository.is_some(),
        }
    }
}

/// A leaf, as far as it says what it does not hold.
#[derive(Deserialize)]
struct Leaf {
    withheld: Option<Withheld>,
}

/// Those of the places of withheld values that have marks.
#[derive(Default, Deserialize)]
struct Withheld {
    #[serde(rename = "/subject")]
    subject: Option<IgnoredAny>,
    #[serde(rename = "/repository")]
    repository: Option<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(index: u64, batch: u64, leaf: &str) -> Found {
        Found {
            entry: LoggedEntry {
                index,
                leaf: leaf.into(),
                withheld: None,
            },
            marks: Marks {
                subject: 5,
                repository: 6,
                project: 7,
                ..Marks::NONE
            },
            batch,
        }
    }

    #[test]
    fn the_marks_of_what_is_withheld_are_those_that_tell() {
        let of = |leaf: &str| {
            let tells = Telling::of(&found(0, 0, leaf).entry);
            (tells.subject, tells.repository)
        };
        assert_eq!(
            of(r#"{"withheld":{"/subject":"x","/client_address":"y"}}"#),
            (true, false)
        );
        assert_eq!(of(r#"{"withheld":{"/repository":"x"}}"#), (false, true));
        assert_eq!(
            of(r#"{"subject":"/subject","withheld":{"/claims/actor":"x"}}"#),
            (false, false)
        );
        assert_eq!(of(r#"{"kind":"signing-key-retired"}"#), (false, false));
        assert_eq!(of("damaged"), (true, true));
    }

    #[test]
    fn what_tells_is_erased_of_each_batch_and_of_the_postings_and_the_rest_stays() {
        let personal = r#"{"withheld":{"/subject":"x"}}"#;
        let erased = Erased::of(&[
            found(4096, 4090, "{}"),
            found(4097, 4090, personal),
            found(4098, 4098, "{}"),
            found(4099, 4099, personal),
        ]);
        let batches: Vec<u64> = erased.marks.keys().copied().collect();
        assert_eq!(batches, [4090, 4099]);
        let (first, octets) = &erased.marks[&4090];
        let (each, rest) = octets.as_chunks();
        let subjects: Vec<(u32, u32)> = each
            .iter()
            .map(Marks::read)
            .map(|marks| (marks.subject, marks.repository))
            .collect();
        assert_eq!(
            (*first, subjects, rest.len()),
            (4096, vec![(5, 6), (0, 6)], 0)
        );
        assert_eq!(erased.postings, [((6 << 32) + 5, vec![1, 3])].into());
    }
}
