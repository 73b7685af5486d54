//! The Merkle tree of RFC 6962, section 2.1.

use crate::digest::sha256;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// How many hashes a full tile has (C2SP tlog-tiles).
pub const TILE: usize = 256;

/// How many leaves stand below one hash of a tile of this level: its binary logarithm.
pub const fn height(level: u8) -> u32 {
    8 * level as u32
}

/// How many hashes a tree of this size has on a level of tiles. There are at most 8 levels, since sizes are 64 bits.
pub const fn hashes(size: u64, level: u8) -> u64 {
    if level > 7 { 0 } else { size >> height(level) }
}

/// The hash of a leaf. `prefixed` is 0x00 and the leaf, so that nobody has to copy it.
pub fn leaf(prefixed: &[u8]) -> Hash {
    debug_assert_eq!(prefixed.first(), Some(&0));
    sha256(prefixed)
}

/// The hash of a node.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut octets = [1; 65];
    let (_, both) = octets.split_at_mut(1);
    let (first, second) = both.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    sha256(&octets)
}

/// The root of a tree, from the hashes of complete subtrees that stand side by side: each with its height, none higher than
/// the one before, as RFC 6962 splits a tree.
pub fn root(subtrees: impl IntoIterator<Item = (Hash, u32)>) -> Hash {
    let mut open: Vec<(Hash, u32)> = Vec::new();
    for (mut hash, mut height) in subtrees {
        while let Some((left, _)) = open.pop_if(|(_, before)| *before == height) {
            hash = node(&left, &hash);
            height += 1;
        }
        open.push((hash, height));
    }
    let folded = open.into_iter().rev().map(|(hash, _)| hash);
    folded
        .reduce(|right, left| node(&left, &right))
        .unwrap_or_else(|| sha256(b""))
}

/// The root of hashes of one level.
pub fn root_of(hashes: &[Hash]) -> Hash {
    root(hashes.iter().map(|hash| (*hash, 0)))
}

/// The hash of a full tile, where it stands on the level above. Only for [`TILE`] hashes; `work` is scratch.
pub fn tile_root(hashes: &[Hash], work: &mut Vec<Hash>) -> Hash {
    work.clear();
    work.extend(pairs(hashes));
    while work.len() > 1 {
        let half = work.len() / 2;
        for at in 0..half {
            if let Some([left, right]) = work.get(2 * at..2 * at + 2) {
                let above = node(left, right);
                if let Some(place) = work.get_mut(at) {
                    *place = above;
                }
            }
        }
        work.truncate(half);
    }
    work.first().copied().unwrap_or_default()
}

fn pairs(hashes: &[Hash]) -> impl Iterator<Item = Hash> {
    let (pairs, _) = hashes.as_chunks::<2>();
    pairs.iter().map(|[left, right]| node(left, right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;

    /// The leaves of the test vectors of Certificate Transparency.
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn the_roots_are_those_of_the_published_vectors() {
        let hashes: Vec<Hash> = LEAVES
            .iter()
            .map(|entry| leaf(&[&[0], *entry].concat()))
            .collect();
        for (size, expected) in ROOTS.iter().enumerate() {
            assert_eq!(hex(&root_of(&hashes[..=size])), *expected);
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&root_of(&[])), empty);
    }

    #[test]
    fn a_tile_has_the_root_of_its_hashes() {
        let hashes: Vec<Hash> = (0..=255).map(|n| sha256(&[n])).collect();
        assert_eq!(tile_root(&hashes, &mut Vec::new()), root_of(&hashes));
    }

    #[test]
    fn subtrees_of_different_heights_give_the_root_of_all_leaves() {
        let hashes: Vec<Hash> = (0u32..700).map(|n| sha256(&n.to_be_bytes())).collect();
        for size in [256, 257, 511, 512, 700] {
            let (tiles, rest) = hashes[..size].as_chunks::<256>();
            let tiles = tiles.iter().map(|tile| (root_of(tile), 8));
            let rest = rest.iter().map(|hash| (*hash, 0));
            assert_eq!(root(tiles.chain(rest)), root_of(&hashes[..size]));
        }
    }
}
