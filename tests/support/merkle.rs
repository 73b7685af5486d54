//! The tree of RFC 6962, and how proofs are checked (RFC 9162, section 2.1), from the standards alone.

use aws_lc_rs::digest::{SHA256, digest};

pub type Hash = [u8; 32];

pub fn sha256(octets: &[u8]) -> Hash {
    digest(&SHA256, octets).as_ref().try_into().unwrap()
}

pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf].concat())
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left[..], right].concat())
}

/// RFC 6962, section 2.1.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(b""),
        [one] => *one,
        _ => {
            let mut half = 1;
            while half * 2 < leaves.len() {
                half *= 2;
            }
            node_hash(&root(&leaves[..half]), &root(&leaves[half..]))
        }
    }
}

/// RFC 9162, section 2.1.3.2: the root to which a leaf leads, if the proof has the right length.
pub fn root_of_inclusion(index: u64, size: u64, leaf: Hash, proof: &[Hash]) -> Option<Hash> {
    let (mut first, mut second) = (index, size.checked_sub(1)?);
    if first > second {
        return None;
    }
    let mut hash = leaf;
    for other in proof {
        if second == 0 {
            return None;
        }
        if first & 1 == 1 || first == second {
            hash = node_hash(other, &hash);
            while first & 1 == 0 && first != 0 {
                first >>= 1;
                second >>= 1;
            }
        } else {
            hash = node_hash(&hash, other);
        }
        first >>= 1;
        second >>= 1;
    }
    (second == 0).then_some(hash)
}

/// RFC 9162, section 2.1.4.2: whether the proof leads from the one root to the other.
pub fn is_consistent(from: u64, to: u64, roots: (Hash, Hash), proof: &[Hash]) -> bool {
    if from == 0 || from == to {
        return proof.is_empty() && (from == 0 || roots.0 == roots.1);
    }
    let mut path = proof.to_vec();
    if from.is_power_of_two() {
        path.insert(0, roots.0);
    }
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    let (mut node, mut last) = (from - 1, to - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut one, mut two) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return false;
        }
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
    last == 0 && (one, two) == roots
}
