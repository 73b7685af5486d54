//! What is read of the log: entries, hashes and marks, out of the batches in which they were committed.
//!
//! Of hashes and marks a statement reads no more than it is asked for; of leaves and of what is withheld, which are packed, the
//! server unpacks what stands before too, and sends what is asked for. Each batch is found by the primary key; `OFFSET 0` keeps the
//! server from another plan where it knows nothing of the numbers that it is asked for.

use std::ops::Range;

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::super::fault::{Fault, in_words};
use crate::audit::tree::{Hash, leaf_hash};
use crate::audit::{LoggedEntry, MARKS, Marks};

/// Where the log ends, and how far it is packed and its withheld values are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// How many entries there are.
    pub(super) size: u64,
    /// How many of them are packed.
    pub(super) packed: u64,
    /// The number of the first whose withheld values were not deleted.
    pub(super) withheld_from: u64,
}

/// One entry as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) entry: LoggedEntry,
    pub(super) marks: Marks,
    /// The first entry of its batch.
    pub(super) batch: u64,
}

/// Why something of the log was not read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is not what was written; the sentence says what and where.
    Damaged { index: u64, what: String },
    /// The database failed, or was not reached.
    Failed(Fault),
}

impl From<Fault> for Unreadable {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl From<tokio_postgres::Error> for Unreadable {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error.into())
    }
}

const END: &str = "SELECT h.size, p.packed, h.withheld_from \
                   FROM countersign.log_head h, countersign.log_progress p";

/// The entries $1 to before $2, as a row for each batch: all that lies between, and where in it each ends.
const RANGE: &str = "
SELECT b.first, p.low,
    b.leaf_ends[p.low + 1 : p.high], coalesce(b.leaf_ends[p.low], 0),
    b.withheld_ends[p.low + 1 : p.high], coalesce(b.withheld_ends[p.low], 0),
    substr(b.leaves, coalesce(b.leaf_ends[p.low], 0) + 1,
        greatest(b.leaf_ends[p.high] - coalesce(b.leaf_ends[p.low], 0), 0)),
    CASE WHEN b.first >= h.withheld_from THEN
        substr(w.withheld, coalesce(b.withheld_ends[p.low], 0) + 1,
            greatest(b.withheld_ends[p.high] - coalesce(b.withheld_ends[p.low], 0), 0)) END,
    b.first >= h.withheld_from,
    substr(b.hashes, p.low * 32 + 1, (p.high - p.low) * 32),
    substr(b.marks, p.low * 56 + 1, (p.high - p.low) * 56)
FROM countersign.log_about h, countersign.log_batches b
CROSS JOIN LATERAL (
    SELECT least(greatest($1 - b.first, 0), b.count)::integer AS low, least($2 - b.first, b.count)::integer AS high OFFSET 0
) p
LEFT JOIN LATERAL (SELECT w.withheld FROM countersign.log_withheld w WHERE w.first = b.first OFFSET 0) w ON true
WHERE b.first >= coalesce((SELECT max(m.first) FROM countersign.log_batches m WHERE m.first <= $1), 0)
    AND b.first < $2
ORDER BY b.first";

/// The entries with the numbers $1, in that order, as a row for each. Those are left out before which there are $2 octets or
/// more of others. A batch is unpacked once, for all that are in it: `e` reads from `b`, so it comes after.
const EACH: &str = "
SELECT g.first, e.low, ARRAY[e.leaf_to], e.leaf_from, ARRAY[e.withheld_to], e.withheld_from,
    e.leaf, e.withheld, g.first >= g.kept_from, e.hash, e.marks
FROM (
    SELECT s.first, h.withheld_from AS kept_from, array_agg(s.place) AS places, array_agg(s.low) AS lows,
        array_agg(s.leaf_from) AS leaf_froms, array_agg(s.leaf_to) AS leaf_tos,
        array_agg(s.withheld_from) AS withheld_froms, array_agg(s.withheld_to) AS withheld_tos
    FROM countersign.log_about h, (
        SELECT f.*, sum(f.leaf_to - f.leaf_from + f.withheld_to - f.withheld_from)
            OVER (ORDER BY f.place) - (f.leaf_to - f.leaf_from + f.withheld_to - f.withheld_from) AS before
        FROM (
            SELECT e.place, b.first, p.low,
                coalesce(b.leaf_ends[p.low], 0) AS leaf_from, b.leaf_ends[p.low + 1] AS leaf_to,
                coalesce(b.withheld_ends[p.low], 0) AS withheld_from, b.withheld_ends[p.low + 1] AS withheld_to
            FROM unnest($1::bigint[]) WITH ORDINALITY AS e (number, place)
            CROSS JOIN LATERAL (
                SELECT b.first, b.leaf_ends, b.withheld_ends FROM countersign.log_batches b
                WHERE b.first <= e.number ORDER BY b.first DESC LIMIT 1
            ) b
            CROSS JOIN LATERAL (SELECT (e.number - b.first)::integer AS low OFFSET 0) p
        ) f
    ) s
    WHERE coalesce(s.before, 0) < $2
    GROUP BY s.first, h.withheld_from
) g
CROSS JOIN LATERAL (
    SELECT b.leaves || ''::bytea AS leaves, b.hashes, b.marks FROM countersign.log_batches b
    WHERE b.first = g.first OFFSET 0
) b
LEFT JOIN LATERAL (
    SELECT w.withheld || ''::bytea AS withheld FROM countersign.log_withheld w
    WHERE w.first = g.first AND g.first >= g.kept_from OFFSET 0
) w ON true
CROSS JOIN LATERAL (
    SELECT e.place, e.low, e.leaf_from, e.leaf_to, e.withheld_from, e.withheld_to,
        substr(b.leaves, e.leaf_from + 1, greatest(e.leaf_to - e.leaf_from, 0)) AS leaf,
        substr(w.withheld, e.withheld_from + 1, greatest(e.withheld_to - e.withheld_from, 0)) AS withheld,
        substr(b.hashes, e.low * 32 + 1, 32) AS hash, substr(b.marks, e.low * 56 + 1, 56) AS marks
    FROM unnest(g.places, g.lows, g.leaf_froms, g.leaf_tos, g.withheld_froms, g.withheld_tos)
        AS e (place, low, leaf_from, leaf_to, withheld_from, withheld_to) OFFSET 0
) e
ORDER BY e.place";

/// The hashes of the leaves of each range $1 to before $2, as rows in order.
const HASHES: &str = "
SELECT r.place, b.first + p.low, substr(b.hashes, p.low * 32 + 1, (p.high - p.low) * 32)
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS r (low, high, place)
CROSS JOIN LATERAL (
    SELECT b.first, b.count, b.hashes FROM countersign.log_batches b
    WHERE b.first >= coalesce((SELECT max(m.first) FROM countersign.log_batches m WHERE m.first <= r.low), 0)
        AND b.first < r.high
    ORDER BY b.first
) b
CROSS JOIN LATERAL (
    SELECT least(greatest(r.low - b.first, 0), b.count)::integer AS low, least(r.high - b.first, b.count)::integer AS high OFFSET 0
) p
ORDER BY r.place, b.first";

/// Hashes and marks of the entries $1 to before $2, as a row for each batch.
const MARKED: &str = "
SELECT b.first + p.low, substr(b.hashes, p.low * 32 + 1, (p.high - p.low) * 32),
    substr(b.marks, p.low * 56 + 1, (p.high - p.low) * 56)
FROM countersign.log_batches b
CROSS JOIN LATERAL (
    SELECT least(greatest($1 - b.first, 0), b.count)::integer AS low, least($2 - b.first, b.count)::integer AS high OFFSET 0
) p
WHERE b.first >= coalesce((SELECT max(m.first) FROM countersign.log_batches m WHERE m.first <= $1), 0)
    AND b.first < $2
ORDER BY b.first";

/// Marks alone.
const MARKS_ALONE: &str = "
SELECT b.first + p.low, substr(b.marks, p.low * 56 + 1, (p.high - p.low) * 56)
FROM countersign.log_batches b
CROSS JOIN LATERAL (
    SELECT least(greatest($1 - b.first, 0), b.count)::integer AS low, least($2 - b.first, b.count)::integer AS high OFFSET 0
) p
WHERE b.first >= coalesce((SELECT max(m.first) FROM countersign.log_batches m WHERE m.first <= $1), 0)
    AND b.first < $2
ORDER BY b.first";

/// Where the log ends at this moment.
pub(super) async fn end(client: &impl GenericClient) -> Result<End, Fault> {
    let statement = client.prepare_cached(END).await?;
    let row = client.query_one(&statement, &[]).await?;
    Ok(End {
        size: unsigned(&row, 0)?,
        packed: unsigned(&row, 1)? * super::places::CHUNK,
        withheld_from: unsigned(&row, 2)?,
    })
}

/// The entries of a range, in order, those that there are. Each leaf is the one that has its hash.
pub(super) async fn range(
    client: &impl GenericClient,
    range: Range<u64>,
) -> Result<Vec<Found>, Unreadable> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let statement = client.prepare_cached(RANGE).await?;
    let (low, high) = (signed(range.start), signed(range.end));
    let rows = client.query(&statement, &[&low, &high]).await;
    let rows = rows.map_err(|error| unpacked(error, &range))?;
    let mut found = Vec::new();
    for row in &rows {
        take_apart(row, &mut found)?;
    }
    let missing = (range.start..).zip(&found);
    match missing
        .into_iter()
        .find(|(number, found)| found.entry.index != *number)
    {
        Some((number, found)) => Err(lost(number, found.entry.index)),
        None => Ok(found),
    }
}

/// The entries with these numbers, in that order: those before which there are fewer than `octets` octets of others. They are
/// all there.
pub(super) async fn each(
    client: &impl GenericClient,
    numbers: &[u64],
    octets: usize,
) -> Result<Vec<Found>, Unreadable> {
    let statement = client.prepare_cached(EACH).await?;
    let asked: Vec<i64> = numbers.iter().copied().map(signed).collect();
    let most = i64::try_from(octets).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&asked, &most]).await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) if is_corrupted(&error) => {
            // Which of them it is, the server does not say; those before it in its batch can be read.
            return one_by_one(client, numbers, octets).await;
        }
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::with_capacity(rows.len());
    for (number, row) in numbers.iter().zip(&rows) {
        let before = found.len();
        take_apart(row, &mut found)?;
        let is_it = found
            .last()
            .is_some_and(|found| found.entry.index == *number);
        if found.len() != before + 1 || !is_it {
            return Err(lost(*number, *number + 1));
        }
    }
    Ok(found)
}

/// The same, each by itself.
async fn one_by_one(
    client: &impl GenericClient,
    numbers: &[u64],
    octets: usize,
) -> Result<Vec<Found>, Unreadable> {
    let (mut all, mut before) = (Vec::new(), 0);
    for number in numbers {
        if before >= octets {
            break;
        }
        let found = range(client, *number..*number + 1).await?;
        let found = found.into_iter().next();
        let found = found.ok_or_else(|| lost(*number, *number + 1))?;
        let withheld = found.entry.withheld.as_ref().map_or(0, Vec::len);
        before += found.entry.leaf.len() + withheld;
        all.push(found);
    }
    Ok(all)
}

/// The hashes of the leaves of ranges, all of which are there.
pub(super) async fn leaf_hashes(
    client: &impl GenericClient,
    ranges: &[Range<u64>],
) -> Result<Vec<Vec<Hash>>, Unreadable> {
    let mut hashes: Vec<Vec<Hash>> = ranges.iter().map(|_| Vec::new()).collect();
    if ranges.iter().all(Range::is_empty) {
        return Ok(hashes);
    }
    let lows: Vec<i64> = ranges.iter().map(|range| signed(range.start)).collect();
    let highs: Vec<i64> = ranges.iter().map(|range| signed(range.end)).collect();
    let statement = client.prepare_cached(HASHES).await?;
    for row in client.query(&statement, &[&lows, &highs]).await? {
        let place = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
        let (first, octets) = (unsigned(&row, 1)?, row.try_get::<_, &[u8]>(2)?);
        let Some((range, hashes)) = place
            .checked_sub(1)
            .and_then(|place| Some((ranges.get(place)?, hashes.get_mut(place)?)))
        else {
            continue;
        };
        let next = range.start + hashes.len() as u64;
        if first != next {
            return Err(lost(next, first));
        }
        hashes.extend(octets.as_chunks().0);
    }
    for (range, hashes) in ranges.iter().zip(&hashes) {
        let next = range.start + hashes.len() as u64;
        if next < range.end {
            return Err(lost(next, range.end));
        }
    }
    Ok(hashes)
}

/// The hashes and marks of a range of entries, all of which are there.
pub(super) async fn marked(
    client: &impl GenericClient,
    range: Range<u64>,
) -> Result<Vec<(Hash, Marks)>, Unreadable> {
    let statement = client.prepare_cached(MARKED).await?;
    let (low, high) = (signed(range.start), signed(range.end));
    let mut all = Vec::new();
    for row in client.query(&statement, &[&low, &high]).await? {
        let next = range.start + all.len() as u64;
        let first = unsigned(&row, 0)?;
        let (hashes, marks) = (row.try_get::<_, &[u8]>(1)?, row.try_get::<_, &[u8]>(2)?);
        let (hashes, marks) = (hashes.as_chunks().0, marks.as_chunks().0);
        if first != next || hashes.len() != marks.len() {
            return Err(lost(next, first));
        }
        let marks = marks.iter().map(Marks::read);
        all.extend(hashes.iter().copied().zip(marks));
    }
    let next = range.start + all.len() as u64;
    if next < range.end {
        return Err(lost(next, range.end));
    }
    Ok(all)
}

/// The marks of a range of entries, all of which are there.
pub(super) async fn marks(
    client: &impl GenericClient,
    range: Range<u64>,
) -> Result<Vec<Marks>, Unreadable> {
    let statement = client.prepare_cached(MARKS_ALONE).await?;
    let (low, high) = (signed(range.start), signed(range.end));
    let mut all = Vec::new();
    for row in client.query(&statement, &[&low, &high]).await? {
        let next = range.start + all.len() as u64;
        let first = unsigned(&row, 0)?;
        if first != next {
            return Err(lost(next, first));
        }
        let marks: &[[u8; MARKS]] = row.try_get::<_, &[u8]>(1)?.as_chunks().0;
        all.extend(marks.iter().map(Marks::read));
    }
    let next = range.start + all.len() as u64;
    if next < range.end {
        return Err(lost(next, range.end));
    }
    Ok(all)
}

/// Where an entry stands, in a message.
pub(super) fn place(index: u64, batch: u64) -> String {
    let number = index - batch + 1;
    format!("table `countersign.log_batches`, row with first = {batch}, its entry number {number}")
}

/// The entries of a row of [`RANGE`] or [`EACH`].
fn take_apart(row: &Row, found: &mut Vec<Found>) -> Result<(), Unreadable> {
    let batch = unsigned(row, 0)?;
    let low = row.try_get::<_, i32>(1)?;
    let first = batch + u64::from(low.unsigned_abs());
    let leaf_ends: Vec<Option<i32>> = row.try_get(2)?;
    let withheld_ends: Vec<Option<i32>> = row.try_get(4)?;
    let leaves = row.try_get::<_, Option<&[u8]>>(6)?.unwrap_or_default();
    let withheld = row.try_get::<_, Option<&[u8]>>(7)?;
    let is_kept: bool = row.try_get(8)?;
    let hashes: &[[u8; 32]] = row.try_get::<_, &[u8]>(9)?.as_chunks().0;
    let marks: &[[u8; MARKS]] = row.try_get::<_, &[u8]>(10)?.as_chunks().0;
    let mut leaves = Cut::new(leaves, row.try_get(3)?);
    let mut withheld = Cut::new(withheld.unwrap_or_default(), row.try_get(5)?);
    let mut marks = marks.iter();
    let mut hashes = hashes.iter();
    for (index, (leaf_end, withheld_end)) in (first..).zip(leaf_ends.into_iter().zip(withheld_ends))
    {
        let damaged = |what: &str| Unreadable::Damaged {
            index,
            what: format!(
                "{what} of entry {index} is not what was written: {}",
                place(index, batch)
            ),
        };
        let leaf = leaves.to(leaf_end).ok_or_else(|| damaged("the leaf"))?;
        let hash = hashes.next().ok_or_else(|| damaged("the hash"))?;
        if leaf_hash(leaf) != *hash {
            return Err(damaged("the leaf or the hash"));
        }
        let marks = marks.next().ok_or_else(|| damaged("what is found"))?;
        let withheld = if is_kept {
            let withheld = withheld.to(withheld_end);
            withheld.ok_or_else(|| Unreadable::Damaged {
                index,
                what: format!(
                    "what is withheld of entry {index} is not what was written: table `countersign.log_withheld`, row with \
                     first = {batch}"
                ),
            })?
        } else {
            &[]
        };
        found.push(Found {
            entry: LoggedEntry {
                index,
                leaf: leaf.to_vec(),
                withheld: (!withheld.is_empty()).then(|| withheld.to_vec()),
            },
            marks: Marks::read(marks),
            batch,
        });
    }
    Ok(())
}

/// Octets that are cut where their parts end.
struct Cut<'a> {
    rest: &'a [u8],
    at: i32,
}

impl<'a> Cut<'a> {
    fn new(octets: &'a [u8], from: i32) -> Self {
        Self {
            rest: octets,
            at: from,
        }
    }

    /// The part up to `end`.
    fn to(&mut self, end: Option<i32>) -> Option<&'a [u8]> {
        let end = end?;
        let length = usize::try_from(end.checked_sub(self.at)?).ok()?;
        let (part, rest) = self.rest.split_at_checked(length)?;
        (self.rest, self.at) = (rest, end);
        Some(part)
    }
}

/// Whether the server finds that what it has is not what it wrote.
fn is_corrupted(error: &tokio_postgres::Error) -> bool {
    let corrupted = [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED];
    error.code().is_some_and(|code| corrupted.contains(code))
}

/// Why entries of a range were not read: the server may find that what it has packed, or an index, is not what it wrote.
fn unpacked(error: tokio_postgres::Error, range: &Range<u64>) -> Unreadable {
    if !is_corrupted(&error) {
        return error.into();
    }
    Unreadable::Damaged {
        index: range.start,
        what: format!(
            "entries from number {} on, before {}, cannot be read: the server says `{}`",
            range.start,
            range.end,
            in_words(&error)
        ),
    }
}

/// Entries that must be there and are not.
fn lost(from: u64, to: u64) -> Unreadable {
    Unreadable::Damaged {
        index: from,
        what: format!(
            "entries from number {from} on, before {to}, are not where they must be: table `countersign.log_batches`"
        ),
    }
}

/// A number of an entry as the database has it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of an entry in a row.
pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64, Fault> {
    let number: i64 = row.try_get(column)?;
    Ok(u64::try_from(number).unwrap_or_default())
}
