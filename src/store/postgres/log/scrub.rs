//! Whether the log is as it was written: looked at when the store is opened, at its end, and all the time after, everywhere.
//! Instances begin at places of their own.

use deadpool_postgres::{GenericClient, Object};
use tokio_postgres::IsolationLevel;

use super::Log;
use super::batches::{End, Found, Unreadable, end, marked, place, range, signed};
use super::fault;
use super::pack::Packed;
use super::places::{CHUNK, Places};
use super::retention::Telling;
use super::search::{strange_chunk, strange_postings};
use super::terms::Term;
use super::tree::{Remembered, count, levels, strange};
use crate::audit::tree::{Hash, TILE, leaf_hash, root_of_level};
use crate::audit::{Entry, Facts, Marks};

const CHUNK_OF: &str = "SELECT c.ids, c.token_ids FROM countersign.log_chunks c WHERE c.chunk = $1";

const POSTINGS: &str = "
SELECT p.term, p.places FROM countersign.log_postings p WHERE p.term = ANY ($1::bigint[]) AND p.chunk = $2";

impl Log {
    /// Looks at what comes next to what is added, on which that is built: the last entries, and the last full tile of each
    /// level. Looks at the place of a fault that was noted earlier too, and forgets it if that is whole again.
    pub(super) async fn look_at_end(&self, client: &mut Object) -> Result<(), super::Fault> {
        if let Some(noted) = fault::noted(&*client).await? {
            self.fault.learn(Some(noted.fault.clone()));
            self.look_at(client, noted.index / TILE).await?;
            if !self.fault.is_own() {
                fault::forget(&*client, &noted).await?;
                self.fault.learn(None);
                tracing::info!(
                    was = noted.fault.what,
                    "the log is whole again in that place"
                );
            }
        }
        let size = end(&*client).await?.size;
        let Some(last) = size.checked_sub(1) else {
            return Ok(());
        };
        self.look_at(client, last / TILE).await?;
        // The block that filled the last full tile of a level is looked at together with that tile.
        for level in 1.. {
            match count(level, size) {
                0 => break,
                tiles => {
                    let block = (tiles << (8 * (level - 1))) - 1;
                    self.look_at(client, block).await?;
                }
            }
        }
        Ok(())
    }

    /// Looks at one block of 256 entries, at the tiles that it filled, and at what is packed of it. Damage is kept as a fault;
    /// an error says that the database was not reached.
    pub(super) async fn look_at(
        &self,
        client: &mut Object,
        block: u64,
    ) -> Result<(), super::Fault> {
        // One moment for all statements: marks are erased and values deleted meanwhile.
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        let looked = inspect(&transaction, block).await;
        transaction.rollback().await?;
        match self.looked(&*client, looked).await {
            Err(super::Fault::Refused(what)) => {
                tracing::debug!(what, block, "a block of the log is not whole");
                Ok(())
            }
            looked => looked,
        }
    }
}

async fn inspect(client: &impl GenericClient, block: u64) -> Result<(), Unreadable> {
    let end = end(client).await?;
    let of_block = block * TILE..((block + 1) * TILE).min(end.size);
    let found = range(client, of_block.clone()).await?;
    let missing = of_block.end.saturating_sub(of_block.start) - found.len() as u64;
    if missing > 0 {
        let index = of_block.end - missing;
        return Err(Unreadable::Damaged {
            index,
            what: format!("entry {index} is missing: table `countersign.log_batches`"),
        });
    }
    for found in &found {
        look_at_entry(found)?;
    }
    if (found.len() as u64) < TILE || of_block.end > end.packed {
        return Ok(());
    }
    let leaves: Vec<Hash> = found
        .iter()
        .map(|found| leaf_hash(&found.entry.leaf))
        .collect();
    look_at_nodes(client, &end, block, root_of_level(&leaves)).await?;
    if of_block.end % CHUNK == 0 {
        look_at_packed(client, block * TILE / CHUNK).await?;
    }
    Ok(())
}

/// Whether values are those of their leaf, and marks those of the entry. That the leaf has its hash was looked at when it was
/// read.
fn look_at_entry(found: &Found) -> Result<(), Unreadable> {
    let (index, batch) = (found.entry.index, found.batch);
    let damaged = |what: String| Unreadable::Damaged { index, what };
    found.entry.values().map_err(|fault| {
        damaged(format!(
            "{fault}: table `countersign.log_withheld`, row with first = {batch}"
        ))
    })?;
    let read = found.entry.entry();
    let entry = read.map_err(|fault| damaged(format!("{fault}: {}", place(index, batch))))?;
    if is_found_by(found, &entry) {
        return Ok(());
    }
    Err(damaged(format!(
        "the marks by which entry {index} is found are not its own: {}",
        place(index, batch)
    )))
}

/// Whether the marks of an entry are its own. Those of what is deleted, or about to be, may be there or not; of what this
/// program does not know, a later one may know more.
fn is_found_by(found: &Found, entry: &Entry) -> bool {
    if matches!(entry, Entry::Unknown(_)) {
        return true;
    }
    let (marks, own) = (&found.marks, Facts::of(entry).marks());
    let tells = Telling::of(&found.entry);
    let lacks_values = found.entry.withheld.is_none();
    let is = |tells: bool, marked: u32, own: u32| {
        marked == own || (tells && (marked == 0 || (lacks_values && own == 0)))
    };
    let rest = |marks: &Marks| Marks {
        subject: 0,
        repository: 0,
        relationships: 0,
        ..*marks
    };
    rest(marks) == rest(&own)
        && is(tells.subject, marks.subject, own.subject)
        && is(tells.repository, marks.repository, own.repository)
        && marks.relationships & own.relationships == own.relationships
        && (lacks_values || marks.relationships == own.relationships)
}

/// Whether the hashes above a block are those of the tiles below them.
async fn look_at_nodes(
    client: &impl GenericClient,
    end: &End,
    block: u64,
    root: Hash,
) -> Result<(), Unreadable> {
    let (mut level, mut number, mut root) = (1, block, root);
    loop {
        if node(client, end, level, number).await? != root {
            return Err(blamed(client, end, level, number).await?);
        }
        if (number + 1) % TILE != 0 || count(level + 1, end.packed) <= number / TILE {
            return Ok(());
        }
        number /= TILE;
        root = root_of_level(&tile(client, end, level, number).await?);
        level += 1;
    }
}

/// Which hash it is that is damaged, if this one is not that of the tile below it. Those of level 0 agree with the leaves.
async fn blamed(
    client: &impl GenericClient,
    end: &End,
    level: u8,
    number: u64,
) -> Result<Unreadable, Unreadable> {
    if level > 1 {
        for below in number * TILE..(number + 1) * TILE {
            let root = root_of_level(&tile(client, end, level - 2, below).await?);
            if node(client, end, level - 1, below).await? != root {
                return Ok(strange(level - 1, below, NOT_THEIRS));
            }
        }
    }
    Ok(strange(level, number, NOT_THEIRS))
}

const NOT_THEIRS: &str = "is not theirs";

async fn node(
    client: &impl GenericClient,
    end: &End,
    level: u8,
    number: u64,
) -> Result<Hash, Unreadable> {
    let wanted = [(level, number..number + 1)];
    let found = levels(client, &Remembered::default(), end, &wanted).await?;
    let found = found.into_iter().flatten().next();
    found.ok_or_else(|| strange(level, number, "is missing"))
}

/// The hashes of a level that one of the next level is made of.
async fn tile(
    client: &impl GenericClient,
    end: &End,
    level: u8,
    number: u64,
) -> Result<Vec<Hash>, Unreadable> {
    let wanted = [(level, number * TILE..(number + 1) * TILE)];
    let found = levels(client, &Remembered::default(), end, &wanted).await?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether what is packed of a chunk follows from its marks. What is packed beside that leads to entries that turn out not to
/// be wanted, and hides none.
async fn look_at_packed(client: &impl GenericClient, chunk: u64) -> Result<(), Unreadable> {
    let found = marked(client, chunk * CHUNK..(chunk + 1) * CHUNK).await?;
    let packed = Packed::of(found.iter().map(|(_, marks)| marks));
    let number = signed(chunk);
    let row = client.query_opt(CHUNK_OF, &[&number]).await?;
    let row = row.ok_or_else(|| strange_chunk(chunk))?;
    let (ids, token_ids): (&[u8], &[u8]) = (row.try_get(0)?, row.try_get(1)?);
    if ids != packed.ids || token_ids != packed.token_ids {
        return Err(strange_chunk(chunk));
    }
    let terms: Vec<Term> = packed.postings.keys().copied().collect();
    let rows = client.query(POSTINGS, &[&terms, &number]).await?;
    let mut left = packed.postings;
    for row in rows {
        let places = Places::read(row.try_get(1)?).ok_or_else(|| strange_postings(chunk))?;
        if left.remove(&row.try_get(0)?) != Some(places) {
            return Err(strange_postings(chunk));
        }
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(strange_postings(chunk))
    }
}
