//! The Merkle tree over the leaves of the log (RFC 6962, section 2.1), as arithmetic.
//!
//! Nothing here holds a tree. Whoever keeps the hashes of whole tiles (C2SP tlog-tiles) can answer for every range that a
//! proof asks for: [`parts`] says which subtrees a range consists of, and [`fold`] puts their hashes together.

use std::ops::Range;

use crate::digest::sha256_of;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// How many hashes a full tile has.
pub const TILE: u64 = 256;

/// The height of a tile: a hash of the level above covers 2⁸ of one level.
pub const TILE_HEIGHT: u32 = 8;

/// The hash of a leaf.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256_of(&[&[0], leaf])
}

/// The hash of a node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256_of(&[&[1], left, right])
}

/// A subtree whose leaves are all there: `index` counts those of its height from the left, so it has the leaves from
/// `index << height` on, 2^`height` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// How many nodes lie above a leaf of it.
    pub height: u32,
    /// Which of its height it is.
    pub index: u64,
}

/// The whole subtrees that a range of leaves consists of, from the left. The range must be one of which a proof asks: a
/// subtree of the tree of all leaves before its end.
pub fn parts(range: Range<u64>) -> Vec<Subtree> {
    let mut parts = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let left = range.end - start;
        let height = left.ilog2().min(start.trailing_zeros());
        parts.push(Subtree {
            height,
            index: start >> height,
        });
        start += 1 << height;
    }
    parts
}

/// The hash of a range of leaves from the hashes of its [`parts`]; of no leaves the one of the empty tree.
pub fn fold(parts: &[Hash]) -> Hash {
    let folded = parts.iter().rev().copied();
    let folded = folded.reduce(|right, left| node_hash(&left, &right));
    folded.unwrap_or_else(|| sha256_of(&[]))
}

/// The root of a whole subtree from all hashes of one of its levels, which are a power of two.
pub fn root_of_level(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        let pairs = level.chunks_exact(2);
        level = pairs
            .filter_map(|pair| match pair {
                [left, right] => Some(node_hash(left, right)),
                _ => None,
            })
            .collect();
    }
    level.first().copied().unwrap_or_else(|| fold(&[]))
}

/// The ranges of leaves whose hashes prove that the leaf `index` is in the tree of `size` leaves, from the leaf's
/// neighbour up (RFC 6962, section 2.1.1). `None` if there is no such leaf.
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size {
        return None;
    }
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    ranges.reverse();
    Some(ranges)
}

/// The ranges of leaves whose hashes prove that the tree of `from` leaves is the beginning of that of `to` leaves (RFC
/// 6962, section 2.1.2). `None` if `from` is more than `to`. Of no leaves, and of as many, nothing needs to be proven.
pub fn consistency(from: u64, to: u64) -> Option<Vec<Range<u64>>> {
    if from > to {
        return None;
    }
    if from == 0 || from == to {
        return Some(Vec::new());
    }
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, to);
    // Whether the subtree that is looked at was the root of the earlier tree, which who verifies has.
    let mut is_known = true;
    while from != end {
        let middle = start + split(end - start);
        if from <= middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
            is_known = false;
        }
    }
    if !is_known {
        ranges.push(start..end);
    }
    ranges.reverse();
    Some(ranges)
}

/// The largest power of two that is less than `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of a range as RFC 6962 defines it.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256_of(&[]),
            [one] => *one,
            _ => {
                let (left, right) =
                    leaves.split_at(usize::try_from(split(leaves.len() as u64)).unwrap());
                node_hash(&mth(left), &mth(right))
            }
        }
    }

    fn leaves(count: u8) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&[number])).collect()
    }

    fn slice(leaves: &[Hash], range: &Range<u64>) -> Hash {
        mth(&leaves[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()])
    }

    #[test]
    fn the_empty_tree_and_a_leaf_hash_as_in_the_standard() {
        let hex = crate::digest::hex;
        assert_eq!(
            hex(&fold(&[])),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            hex(&leaf_hash(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn a_range_is_folded_from_its_parts() {
        let leaves = leaves(70);
        for size in 0..=70 {
            let hashes: Vec<Hash> = parts(0..size)
                .iter()
                .map(|part| {
                    let start = part.index << part.height;
                    slice(&leaves, &(start..start + (1 << part.height)))
                })
                .collect();
            assert_eq!(fold(&hashes), slice(&leaves, &(0..size)), "{size} leaves");
        }
    }

    #[test]
    fn a_level_gives_the_root_of_its_subtree() {
        let leaves = leaves(64);
        assert_eq!(root_of_level(&leaves), mth(&leaves));
        assert_eq!(root_of_level(&leaves[..1]), leaves[0]);
    }

    #[test]
    fn inclusion_proofs_lead_from_every_leaf_to_the_root() {
        let leaves = leaves(40);
        for size in 1..=40 {
            for index in 0..size {
                let proof = inclusion(index, size).unwrap();
                let (mut node, mut last) = (index, size - 1);
                let mut hash = leaves[usize::try_from(index).unwrap()];
                // RFC 9162, section 2.1.3.2, the same tree as that of RFC 6962.
                for range in &proof {
                    let other = slice(&leaves, range);
                    if node & 1 == 1 || node == last {
                        hash = node_hash(&other, &hash);
                        while node & 1 == 0 && node != 0 {
                            node >>= 1;
                            last >>= 1;
                        }
                    } else {
                        hash = node_hash(&hash, &other);
                    }
                    node >>= 1;
                    last >>= 1;
                }
                assert_eq!(
                    (hash, last),
                    (slice(&leaves, &(0..size)), 0),
                    "{index} of {size}"
                );
            }
        }
        assert_eq!(inclusion(3, 3), None);
    }

    #[test]
    fn consistency_proofs_lead_from_every_tree_to_every_later_one() {
        let leaves = leaves(40);
        for to in 1..=40u64 {
            for from in 1..to {
                let mut proof: Vec<Hash> = consistency(from, to)
                    .unwrap()
                    .iter()
                    .map(|range| slice(&leaves, range))
                    .collect();
                // RFC 9162, section 2.1.4.2.
                let first = slice(&leaves, &(0..from));
                if from.is_power_of_two() {
                    proof.insert(0, first);
                }
                let (mut node, mut last) = (from - 1, to - 1);
                while node & 1 == 1 {
                    node >>= 1;
                    last >>= 1;
                }
                let (mut one, mut two) = (proof[0], proof[0]);
                for hash in &proof[1..] {
                    if node & 1 == 1 || node == last {
                        one = node_hash(hash, &one);
                        two = node_hash(hash, &two);
                        while node & 1 == 0 && node != 0 {
                            node >>= 1;
                            last >>= 1;
                        }
                    } else {
                        two = node_hash(&two, hash);
                    }
                    node >>= 1;
                    last >>= 1;
                }
                assert_eq!((one, last), (first, 0), "{from} to {to}");
                assert_eq!(two, slice(&leaves, &(0..to)), "{from} to {to}");
            }
        }
        assert_eq!(consistency(5, 4), None);
        assert_eq!(consistency(4, 4), Some(Vec::new()));
    }
}
