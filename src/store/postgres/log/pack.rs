//! Packing: what follows from the entries alone is written beside them, a chunk of 4096 at a time, by whichever instance comes
//! first. Nobody waits for it, and it locks nothing that a commit needs.

use std::collections::BTreeMap;

use deadpool_postgres::{GenericClient, Object};

use super::super::fault::Fault;
use super::batches::{End, Unreadable, end, marked, signed, unsigned};
use super::places::{CHUNK, Places};
use super::terms::{Term, terms};
use super::tree::{count, strange};
use crate::audit::Marks;
use crate::audit::tree::{Hash, TILE, root_of_level};

/// What instances agree on to take turns in packing and in erasing what was packed: the octets of `ctrspack`.
const TURN: i64 = 0x63_74_72_73_70_61_63_6b;

/// Takes the turn for this transaction, if nobody has it.
const TRY_TURN: &str = "SELECT pg_try_advisory_xact_lock($1)";
/// Waits for the turn.
const AWAIT_TURN: &str = "SELECT pg_advisory_xact_lock($1)";

const BELOW: &str = "
SELECT n.number, n.hash FROM countersign.log_nodes n
WHERE n.level = $1 AND n.number >= $2 AND n.number < $3 ORDER BY n.number";

const ADD_NODES: &str = "
INSERT INTO countersign.log_nodes (level, number, hash)
SELECT n.level, n.number, n.hash FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]) AS n (level, number, hash)";

const ADD_CHUNK: &str =
    "INSERT INTO countersign.log_chunks (chunk, ids, token_ids) VALUES ($1, $2, $3)";

const ADD_POSTINGS: &str = "
INSERT INTO countersign.log_postings (term, chunk, places)
SELECT p.term, $1, p.places FROM unnest($2::bigint[], $3::bytea[]) AS p (term, places)";

const ADVANCE: &str = "UPDATE countersign.log_progress SET packed = $1";

/// The part of the log behind the one in which it ends, if that is not there.
const NEXT_PART: &str = "
SELECT n.number FROM (SELECT (h.size >> 27) + 1 AS number FROM countersign.log_head h OFFSET 0) n
WHERE to_regclass('countersign.log_batches_' || n.number) IS NULL";

const ADD_PART: &str = "SELECT countersign.add_partition($1)";

/// What is kept of a chunk beside its hashes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// Four octets for each name.
    pub(super) ids: Vec<u8>,
    /// Four octets for each id of a token.
    pub(super) token_ids: Vec<u8>,
    /// The entries that have each term.
    pub(super) postings: BTreeMap<Term, Places>,
}

impl Packed {
    /// What follows from the marks of the entries of a chunk.
    pub(super) fn of<'a>(marks: impl IntoIterator<Item = &'a Marks>) -> Self {
        let mut packed = Self {
            ids: Vec::new(),
            token_ids: Vec::new(),
            postings: BTreeMap::new(),
        };
        for (place, marks) in (0..).zip(marks) {
            packed.ids.extend(marks.id.to_le_bytes());
            packed.token_ids.extend(marks.token_id.to_le_bytes());
            for term in terms(marks) {
                let places = packed.postings.entry(term).or_insert(Places::NONE);
                places.insert(place);
            }
        }
        packed
    }
}

/// Waits until nobody packs or erases, for the rest of the transaction.
pub(super) async fn await_turn(client: &impl GenericClient) -> Result<(), Unreadable> {
    client.query(AWAIT_TURN, &[&TURN]).await?;
    Ok(())
}

/// Packs the next chunk, if there is one and nobody else is at it. Answers whether it did.
pub(super) async fn pack_next(client: &mut Object) -> Result<bool, Unreadable> {
    let End { size, packed, .. } = end(&*client).await?;
    if size < packed + CHUNK {
        return Ok(false);
    }
    let transaction = client.transaction().await?;
    let turn = transaction.query_one(TRY_TURN, &[&TURN]).await?;
    if !turn.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    // Another one may have packed it since.
    let packed = end(&transaction).await?.packed;
    if size < packed + CHUNK {
        return Ok(false);
    }
    let chunk = packed / CHUNK;
    let found = marked(&transaction, packed..packed + CHUNK).await?;
    let hashes: Vec<Hash> = found.iter().map(|(hash, _)| *hash).collect();
    add_nodes(&transaction, chunk, &hashes).await?;
    let packed = Packed::of(found.iter().map(|(_, marks)| marks));
    let number = signed(chunk);
    let statement = transaction.prepare_cached(ADD_CHUNK).await?;
    transaction
        .execute(&statement, &[&number, &packed.ids, &packed.token_ids])
        .await?;
    let (terms, places): (Vec<Term>, Vec<Vec<u8>>) = packed
        .postings
        .iter()
        .map(|(term, places)| (*term, places.write()))
        .unzip();
    let statement = transaction.prepare_cached(ADD_POSTINGS).await?;
    transaction
        .execute(&statement, &[&number, &terms, &places])
        .await?;
    let statement = transaction.prepare_cached(ADVANCE).await?;
    transaction.execute(&statement, &[&(number + 1)]).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Makes the part of the log behind the one in which it ends, if that is not there and nobody packs or makes it. So there is
/// always one in which the next 2^27 entries have room: a commit needs no other.
pub(super) async fn make_room(client: &mut Object) -> Result<(), Fault> {
    let statement = client.prepare_cached(NEXT_PART).await?;
    let Some(next) = client.query_opt(&statement, &[]).await? else {
        return Ok(());
    };
    let number: i64 = next.try_get(0)?;
    let transaction = client.transaction().await?;
    let turn = transaction.query_one(TRY_TURN, &[&TURN]).await?;
    if turn.try_get(0)? {
        transaction.execute(ADD_PART, &[&number]).await?;
        transaction.commit().await?;
        tracing::info!(number, "the log has another part to go on in");
    }
    Ok(())
}

/// Adds the hashes of the subtrees that a chunk completes.
async fn add_nodes(
    client: &impl GenericClient,
    chunk: u64,
    leaves: &[Hash],
) -> Result<(), Unreadable> {
    let size = (chunk + 1) * CHUNK;
    let tile = usize::try_from(TILE).unwrap_or(1);
    let mut hashes: Vec<Hash> = leaves.chunks_exact(tile).map(root_of_level).collect();
    let mut first = chunk * CHUNK / TILE;
    let mut level = 1;
    let (mut levels, mut numbers, mut all) = (Vec::new(), Vec::new(), Vec::new());
    while !hashes.is_empty() {
        levels.extend(hashes.iter().map(|_| i16::from(level)));
        numbers.extend((first..).map(signed).take(hashes.len()));
        all.extend(hashes.iter().map(|hash| hash.to_vec()));
        let last = first + hashes.len() as u64 - 1;
        if last != count(level, size) - 1 || !(last + 1).is_multiple_of(TILE) {
            break;
        }
        let begins = last / TILE * TILE;
        let mut whole = below(client, level, begins..first).await?;
        whole.append(&mut hashes);
        hashes = vec![root_of_level(&whole)];
        first = last / TILE;
        level += 1;
    }
    let statement = client.prepare_cached(ADD_NODES).await?;
    client
        .execute(&statement, &[&levels, &numbers, &all])
        .await?;
    Ok(())
}

/// The hashes of a level that were packed before.
async fn below(
    client: &impl GenericClient,
    level: u8,
    range: std::ops::Range<u64>,
) -> Result<Vec<Hash>, Unreadable> {
    let mut hashes = Vec::new();
    let statement = client.prepare_cached(BELOW).await?;
    let (low, high) = (signed(range.start), signed(range.end));
    let rows = client
        .query(&statement, &[&i16::from(level), &low, &high])
        .await?;
    for (number, row) in range.clone().zip(&rows) {
        let hash: Result<Hash, _> = row.try_get::<_, &[u8]>(1)?.try_into();
        if unsigned(row, 0)? != number {
            return Err(strange(level, number, "is missing"));
        }
        hashes.push(hash.map_err(|_| strange(level, number, "is no hash"))?);
    }
    let next = range.start + hashes.len() as u64;
    if next < range.end {
        return Err(strange(level, next, "is missing"));
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_packed_by_what_its_entries_are_found_by() {
        let marks = |number: u32| Marks {
            id: number + 1,
            token_id: if number == 2 { 7 } else { 0 },
            project: 5,
            subject: number % 2,
            ..Marks::NONE
        };
        let all: Vec<Marks> = (0..4096).map(marks).collect();
        let packed = Packed::of(&all);
        assert_eq!(packed.ids.len(), 4 * 4096);
        assert_eq!(packed.ids[4..8], [2, 0, 0, 0]);
        assert_eq!(packed.token_ids[4..12], [0, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(packed.postings.len(), 2);
        assert!(packed.postings[&((3 << 32) + 5)].iter().eq(0..4096));
        assert!(
            packed.postings[&((6 << 32) + 1)]
                .iter()
                .eq((1..4096).step_by(2))
        );
    }
}
