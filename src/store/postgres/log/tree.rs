//! The hashes of the tree: those of leaves stand in the batches, those of whole subtrees in `log_nodes` once their chunk is
//! packed, and until then they are computed.
//!
//! Level 0 has the hashes of the leaves, each further one the root of every 256 of the level below (C2SP tlog-tiles). A hash
//! of a level above 0 never changes, so whoever has read it may keep it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::GenericClient;

use super::batches::{End, Unreadable, leaf_hashes, signed, unsigned};
use crate::audit::tree::{Hash, TILE, TILE_HEIGHT, fold, parts, root_of_level};

/// How many hashes are remembered: those of a log of 16 million entries, in about 6 MiB.
const MOST_REMEMBERED: usize = 1 << 16;

/// How many nodes of level 1 are computed at once, from 2 MiB of hashes.
const TILES_AT_ONCE: usize = 256;

/// A hash above the leaves: its level, and its number in that.
pub(super) type Node = (u8, u64);

/// Hashes that were read or computed.
#[derive(Default)]
pub(super) struct Remembered(Mutex<HashMap<Node, Hash>>);

/// The nodes of each level $1, from number $2 to before $3.
const NODES: &str = "
SELECT n.level, n.number, n.hash
FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (level, low, high)
CROSS JOIN LATERAL (
    SELECT n.level, n.number, n.hash FROM countersign.log_nodes n
    WHERE n.level = r.level AND n.number >= r.low AND n.number < r.high OFFSET 0
) n";

impl Remembered {
    fn get(&self, node: Node) -> Option<Hash> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&node).copied()
    }

    fn keep(&self, nodes: impl IntoIterator<Item = (Node, Hash)>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, hash) in nodes {
            if kept.len() >= MOST_REMEMBERED {
                // What is asked for again is read again; nearly all questions are about the same few.
                kept.clear();
            }
            kept.insert(node, hash);
        }
    }
}

/// How many hashes a level has over `size` leaves.
pub(super) fn count(level: u8, size: u64) -> u64 {
    let height = u32::from(level) * TILE_HEIGHT;
    size.checked_shr(height).unwrap_or(0)
}

/// The Merkle tree hash of each range of leaves, see [`crate::audit::tree`]; all of them are there.
pub(super) async fn hashes(
    client: &impl GenericClient,
    remembered: &Remembered,
    end: &End,
    ranges: &[Range<u64>],
) -> Result<Vec<Hash>, Unreadable> {
    let parts: Vec<Vec<(u8, Range<u64>)>> = ranges.iter().cloned().map(runs).collect();
    let all: Vec<(u8, Range<u64>)> = parts.iter().flatten().cloned().collect();
    let mut read = levels(client, remembered, end, &all).await?.into_iter();
    let folded = parts.iter().map(|parts| {
        let each = read.by_ref().take(parts.len());
        let roots: Vec<Hash> = each.map(|hashes| root_of_level(&hashes)).collect();
        fold(&roots)
    });
    Ok(folded.collect())
}

/// The subtrees that a range of leaves consists of, each as hashes of one level.
fn runs(range: Range<u64>) -> Vec<(u8, Range<u64>)> {
    let run = |part: crate::audit::tree::Subtree| {
        let level = u8::try_from(part.height / TILE_HEIGHT).unwrap_or(u8::MAX);
        let within = part.height % TILE_HEIGHT;
        (level, part.index << within..(part.index + 1) << within)
    };
    parts(range).into_iter().map(run).collect()
}

/// The hashes of ranges of levels; all of them are there.
pub(super) async fn levels(
    client: &impl GenericClient,
    remembered: &Remembered,
    end: &End,
    wanted: &[(u8, Range<u64>)],
) -> Result<Vec<Vec<Hash>>, Unreadable> {
    let mut plan = Plan::default();
    for (level, range) in wanted {
        plan.want(remembered, end, *level, range.clone());
    }
    let mut nodes = plan.remembered;
    read_nodes(client, &plan.packed, &mut nodes).await?;
    let ranges = as_ranges(&plan.leaves);
    let mut leaves = BTreeMap::new();
    for (range, hashes) in ranges.iter().zip(leaf_hashes(client, &ranges).await?) {
        leaves.extend(range.clone().zip(hashes));
    }
    compute_lowest(client, remembered, &plan.computed, &mut nodes).await?;
    // From the lowest up: what a level needs of the one below is there by then.
    for (level, number) in plan.computed.iter().filter(|(level, _)| *level > 1) {
        let below = number * TILE..(number + 1) * TILE;
        let tile = below.map(|node| nodes.get(&(level - 1, node)).copied());
        if let Some(tile) = tile.collect::<Option<Vec<Hash>>>() {
            nodes.insert((*level, *number), root_of_level(&tile));
        }
    }
    let each = wanted.iter().map(|(level, range)| {
        let found = range.clone().map(|number| match level {
            0 => leaves.get(&number).copied(),
            level => nodes.get(&(*level, number)).copied(),
        });
        let found: Option<Vec<Hash>> = found.collect();
        found.ok_or_else(|| missing(&nodes, *level, range.clone()))
    });
    let each: Result<Vec<_>, _> = each.collect();
    if each.is_ok() {
        remembered.keep(nodes);
    }
    each
}

/// What must be read or computed.
#[derive(Default)]
struct Plan {
    leaves: BTreeSet<u64>,
    remembered: BTreeMap<Node, Hash>,
    /// Those that stand in `log_nodes`.
    packed: BTreeSet<Node>,
    /// Those that do not yet; lower levels first.
    computed: BTreeSet<Node>,
}

impl Plan {
    fn want(&mut self, remembered: &Remembered, end: &End, level: u8, range: Range<u64>) {
        if level == 0 {
            self.leaves.extend(range);
            return;
        }
        for number in range {
            let node = (level, number);
            if let Some(hash) = remembered.get(node) {
                self.remembered.insert(node, hash);
            } else if number < count(level, end.packed) {
                self.packed.insert(node);
            } else if self.computed.insert(node) && level > 1 {
                let below = number * TILE..(number + 1) * TILE;
                self.want(remembered, end, level - 1, below);
            }
        }
    }
}

/// Computes nodes of level 1 that are not packed. Each block of them is remembered by itself: where packing is far behind,
/// whoever is given up before all of them were computed goes on there.
async fn compute_lowest(
    client: &impl GenericClient,
    remembered: &Remembered,
    computed: &BTreeSet<Node>,
    nodes: &mut BTreeMap<Node, Hash>,
) -> Result<(), Unreadable> {
    let lowest: Vec<u64> = computed
        .range((1, 0)..=(1, u64::MAX))
        .map(|(_, number)| *number)
        .collect();
    for block in lowest.chunks(TILES_AT_ONCE) {
        let ranges: Vec<Range<u64>> = block
            .iter()
            .map(|number| number * TILE..(number + 1) * TILE)
            .collect();
        let hashes = leaf_hashes(client, &ranges).await?;
        let roots = hashes.iter().map(|tile| root_of_level(tile));
        let done: Vec<(Node, Hash)> = block.iter().map(|number| (1, *number)).zip(roots).collect();
        remembered.keep(done.iter().copied());
        nodes.extend(done);
    }
    Ok(())
}

/// Reads nodes that are packed.
async fn read_nodes(
    client: &impl GenericClient,
    wanted: &BTreeSet<Node>,
    nodes: &mut BTreeMap<Node, Hash>,
) -> Result<(), Unreadable> {
    if wanted.is_empty() {
        return Ok(());
    }
    let (mut of, mut lows, mut highs) = (Vec::new(), Vec::new(), Vec::new());
    let levels: BTreeSet<u8> = wanted.iter().map(|(level, _)| *level).collect();
    for level in levels {
        let range = (level, 0)..=(level, u64::MAX);
        let numbers = wanted.range(range).map(|(_, number)| *number).collect();
        for range in as_ranges(&numbers) {
            of.push(i16::from(level));
            lows.push(signed(range.start));
            highs.push(signed(range.end));
        }
    }
    let statement = client.prepare_cached(NODES).await?;
    for row in client.query(&statement, &[&of, &lows, &highs]).await? {
        let level = u8::try_from(row.try_get::<_, i16>(0)?).unwrap_or(u8::MAX);
        let number = unsigned(&row, 1)?;
        let hash: Result<Hash, _> = row.try_get::<_, &[u8]>(2)?.try_into();
        let hash = hash.map_err(|_| strange(level, number, "is no hash"))?;
        nodes.insert((level, number), hash);
    }
    match wanted.iter().find(|node| !nodes.contains_key(*node)) {
        Some((level, number)) => Err(strange(*level, *number, "is missing")),
        None => Ok(()),
    }
}

/// Numbers as ranges of those that follow each other.
fn as_ranges(numbers: &BTreeSet<u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == *number => last.end += 1,
            _ => ranges.push(*number..number + 1),
        }
    }
    ranges
}

fn missing(nodes: &BTreeMap<Node, Hash>, level: u8, mut range: Range<u64>) -> Unreadable {
    let number = range.find(|number| !nodes.contains_key(&(level, *number)));
    strange(level, number.unwrap_or_default(), "is missing")
}

/// A node that is not as it was written.
pub(super) fn strange(level: u8, number: u64, how: &str) -> Unreadable {
    let height = u32::from(level) * TILE_HEIGHT;
    let (first, last) = (number << height, ((number + 1) << height) - 1);
    Unreadable::Damaged {
        index: last,
        what: format!(
            "hash {number} of level {level} of the tree, that of entries {first} to {last}, {how}: table \
             `countersign.log_nodes`, row with level = {level} and number = {number}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: End = End {
        size: 70_000,
        packed: 65_536,
        withheld_from: 0,
    };

    #[test]
    fn what_is_packed_is_read_and_what_is_not_is_computed_from_what_is_below() {
        let mut plan = Plan::default();
        plan.want(&Remembered::default(), &END, 2, 0..1);
        assert!(plan.packed.iter().eq(&[(2, 0)]));
        assert!(plan.computed.is_empty());

        let early = End {
            packed: 61_440,
            ..END
        };
        let mut plan = Plan::default();
        plan.want(&Remembered::default(), &early, 2, 0..1);
        assert!(
            plan.packed
                .iter()
                .copied()
                .eq((0..240).map(|number| (1, number)))
        );
        let computed = (240..256).map(|number| (1, number)).chain([(2, 0)]);
        assert!(plan.computed.iter().copied().eq(computed));
        assert!(plan.leaves.is_empty());
    }

    #[test]
    fn what_was_read_is_not_read_again_and_what_is_remembered_is_bounded() {
        let remembered = Remembered::default();
        remembered.keep([((1, 7), [7; 32])]);
        let mut plan = Plan::default();
        plan.want(&remembered, &END, 1, 6..8);
        assert!(plan.packed.iter().eq(&[(1, 6)]));
        assert_eq!(plan.remembered[&(1, 7)], [7; 32]);
        remembered.keep((0..100_000).map(|number| ((1, number), [0; 32])));
        assert!(remembered.0.lock().unwrap().len() <= MOST_REMEMBERED);
    }

    #[test]
    fn numbers_that_follow_each_other_are_one_range() {
        let numbers = [1, 2, 3, 7, 9, 10].into();
        assert_eq!(as_ranges(&numbers), [1..4, 7..8, 9..11]);
    }

    #[test]
    fn the_root_of_all_leaves_is_made_of_whole_subtrees() {
        assert_eq!(
            runs(0..65_536 + 512 + 3),
            [
                (2, 0..1),
                (1, 256..258),
                (0, 66_048..66_050),
                (0, 66_050..66_051)
            ]
        );
    }
}
