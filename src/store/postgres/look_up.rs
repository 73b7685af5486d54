//! What a commit looks up when it was decided with what is outdated.

use tokio_postgres::Client;
use uuid::Uuid;

use super::batch::Job;
use super::fault::Fault;
use super::names::Versions;
use crate::audit::{DecisionId, Entry, InvalidEntry, LoggedEntry, Record};

/// What is remembered of names.
pub(super) async fn names(client: &Client, ids: &[[u8; 32]]) -> Result<Versions, Fault> {
    let asked: Vec<&[u8]> = ids.iter().map(<[u8; 32]>::as_slice).collect();
    let found = client
        .query(
            "SELECT id, version, state FROM countersign.names WHERE id = ANY ($1)",
            &[&asked],
        )
        .await?;
    let mut versions = Versions::new();
    for row in found {
        let id: &[u8] = row.try_get(0)?;
        if let Ok(id) = id.try_into() {
            versions.insert(id, (row.try_get(1)?, row.try_get(2)?));
        }
    }
    Ok(versions)
}

/// The number of the first entry of a job that was committed, which is at `from` or behind it.
pub(super) async fn entry(client: &Client, job: &Job, from: u64) -> Result<Option<u64>, Fault> {
    let Some(first) = job.entries.first() else {
        return Ok(None);
    };
    let from = from.cast_signed();
    let found = client
        .query_opt(
            "SELECT b.first + (position($1 IN b.hashes) - 1) / 32
             FROM countersign.log_batches b
             WHERE b.first >= coalesce((SELECT max(c.first) FROM countersign.log_batches c WHERE c.first <= $2), 0)
                 AND position($1 IN b.hashes) % 32 = 1
             ORDER BY b.first LIMIT 1",
            &[&first.leaf_hash.as_slice(), &from],
        )
        .await?;
    let Some(row) = found else { return Ok(None) };
    let number: i64 = row.try_get(0)?;
    Ok(Some(number.cast_unsigned()))
}

/// The record of a decision. It is in one of the first batches that were committed at its time or later.
pub(super) async fn decision(client: &Client, id: DecisionId) -> Result<Option<Record>, Fault> {
    let (seconds, nanos) = Uuid::from_bytes(*id.as_bytes())
        .get_timestamp()
        .map_or((0, 0), |time| time.to_unix());
    let made = seconds.cast_signed().saturating_mul(1000) + i64::from(nanos / 1_000_000);
    let said = format!("\"decision_id\":\"{id}\"");
    let rows = client
        .query(
            "SELECT b.first, b.leaf_ends, b.withheld_ends, b.leaves, w.withheld
             FROM countersign.log_batches b LEFT JOIN countersign.log_withheld w USING (first)
             WHERE b.latest >= $1 AND position($2 IN b.leaves) > 0
             ORDER BY b.latest, b.first LIMIT 4",
            &[&made, &said.as_bytes()],
        )
        .await?;
    for row in &rows {
        let first: i64 = row.try_get(0)?;
        let (leaf_ends, withheld_ends): (Vec<i32>, Vec<i32>) = (row.try_get(1)?, row.try_get(2)?);
        let (leaves, withheld): (&[u8], Option<&[u8]>) = (row.try_get(3)?, row.try_get(4)?);
        let leaves = pieces(leaves, &leaf_ends);
        let withheld = pieces(withheld.unwrap_or_default(), &withheld_ends);
        for (number, (leaf, withheld)) in leaves.zip(withheld).enumerate() {
            let logged = LoggedEntry {
                index: first.cast_unsigned() + number as u64,
                leaf: leaf.to_vec(),
                withheld: (!withheld.is_empty()).then(|| withheld.to_vec()),
            };
            let is_it = |record: &Record| record.decision_id == id;
            let unreadable = |error: InvalidEntry| Fault::Refused(error.to_string());
            if let Entry::Decision(record) = logged.entry().map_err(unreadable)?
                && is_it(&record)
            {
                return Ok(Some(*record));
            }
        }
    }
    Ok(None)
}

/// The octets of each entry, where `ends` says where each one's end.
fn pieces<'a>(all: &'a [u8], ends: &'a [i32]) -> impl Iterator<Item = &'a [u8]> {
    let place = |end: &i32| usize::try_from(*end).unwrap_or_default();
    let starts = std::iter::once(0).chain(ends.iter().map(place));
    let places = starts.zip(ends.iter().map(place));
    places.map(|(start, end)| all.get(start..end).unwrap_or_default())
}
