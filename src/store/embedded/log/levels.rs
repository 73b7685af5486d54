//! The hashes of the tree: one file for each level of tiles (C2SP tlog-tiles), 32 octets a hash, in order.
//!
//! Level 0 has the hashes of the leaves. Each further one has the root of every full tile of the level below, so a hash is
//! written once and is the same whenever it is written again.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::files::{Files, check_end};
use crate::audit::tree::{Hash, TILE, TILE_HEIGHT, fold, parts, root_of_level};

/// The length of a hash, in octets.
pub(super) const HASH: usize = 32;

pub(super) struct Levels {
    pub(super) files: Files,
}

/// How many hashes a level has over `size` leaves.
pub(super) fn count(level: u64, size: u64) -> u64 {
    u32::try_from(level * u64::from(TILE_HEIGHT))
        .ok()
        .and_then(|height| size.checked_shr(height))
        .unwrap_or(0)
}

/// How many levels have hashes over `size` leaves.
pub(super) fn height(size: u64) -> u64 {
    (0..).find(|level| count(*level, size) == 0).unwrap_or(0)
}

impl Levels {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            files: Files::new(folder, 1),
        }
    }

    /// Whether the files end where those of a tree over `size` leaves do.
    pub(super) fn check_end(&self, size: u64) -> io::Result<()> {
        let found = self.files.lengths()?;
        for level in 0..height(size) {
            let end = count(level, size) * HASH as u64;
            // Each level is a file of its own, so each is looked at as if it were the last.
            let alone = found
                .range(level..=level)
                .map(|(number, length)| (*number, *length));
            self.check_level(level, end, alone.collect::<Vec<_>>().first().copied())?;
        }
        check_end(&self.files, height(size), (height(size), 0), None)
    }

    fn check_level(&self, level: u64, end: u64, found: Option<(u64, u64)>) -> io::Result<()> {
        let what = match found {
            None => "is missing",
            Some((_, length)) if length < end => "has lost its end",
            Some((_, length)) if length > end => "is newer than the index",
            Some(_) => return Ok(()),
        };
        let name = self.files.name(level);
        Err(io::Error::other(format!(
            "`{name}` {what}; restore the whole data folder from one backup, or let nothing else write to it"
        )))
    }

    /// Whether the files have at least what a tree over `size` leaves has.
    pub(super) fn reaches(&self, size: u64) -> io::Result<bool> {
        let found = self.files.lengths()?;
        Ok((0..height(size)).all(|level| {
            let length = found.get(&level).copied().unwrap_or(0);
            length >= count(level, size) * HASH as u64
        }))
    }

    /// Writes hashes of a level from the one with the number `first` on. Not durable yet. Answers the hashes that are to
    /// be written to the next level, and the number of the first of them.
    pub(super) fn write(
        &self,
        level: u64,
        first: u64,
        hashes: &[Hash],
    ) -> io::Result<(u64, Vec<Hash>)> {
        self.files
            .write(level, first * HASH as u64, hashes.as_flattened())?;
        let (from, to) = (first / TILE, (first + hashes.len() as u64) / TILE);
        if from == to {
            return Ok((from, Vec::new()));
        }
        let mut tiles = self.read(level, from * TILE..first)?;
        tiles.extend(hashes);
        let full = tiles.chunks_exact(usize::try_from(TILE).unwrap_or(1));
        Ok((from, full.map(root_of_level).collect()))
    }

    /// Hashes of a level, which must be there.
    pub(super) fn read(&self, level: u64, range: Range<u64>) -> io::Result<Vec<Hash>> {
        let count = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut hashes = vec![[0; HASH]; count];
        if count > 0 {
            let octets = hashes.as_flattened_mut();
            self.files.read(level, range.start * HASH as u64, octets)?;
        }
        Ok(hashes)
    }

    /// The Merkle tree hash of a range of leaves, see [`crate::audit::tree`].
    pub(super) fn hash(&self, range: Range<u64>) -> io::Result<Hash> {
        let mut hashes = Vec::new();
        for part in parts(range) {
            let level = part.height / TILE_HEIGHT;
            let within = part.height % TILE_HEIGHT;
            let covered = part.index << within..(part.index + 1) << within;
            hashes.push(root_of_level(&self.read(level.into(), covered)?));
        }
        Ok(fold(&hashes))
    }

    /// What a hash is called in a message.
    pub(super) fn name(&self, level: u64, index: u64) -> String {
        let name = self.files.name(level);
        format!("`{name}`, from octet {} on", index * HASH as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tree::leaf_hash;

    /// Writes hashes and what follows from them, as the log does.
    fn add(levels: &Levels, first: u64, hashes: &[Hash]) {
        let (mut level, mut next) = (0, (first, hashes.to_vec()));
        while !next.1.is_empty() {
            next = levels.write(level, next.0, &next.1).unwrap();
            level += 1;
        }
    }

    fn leaves(range: Range<u64>) -> Vec<Hash> {
        range
            .map(|number| leaf_hash(&number.to_le_bytes()))
            .collect()
    }

    /// The tree hash as RFC 6962 defines it.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => fold(&[]),
            [one] => *one,
            _ => {
                let middle = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(middle);
                crate::audit::tree::node_hash(&mth(left), &mth(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_standard_however_the_leaves_arrived() {
        let all = leaves(0..65_800);
        for step in [1, 7, 256, 1000, 65_800] {
            let folder = tempfile::tempdir().unwrap();
            let levels = Levels::new(folder.path());
            let end = if step == 1 { 600 } else { all.len() };
            for start in (0..end).step_by(step) {
                add(&levels, start as u64, &all[start..(start + step).min(end)]);
            }
            for size in [
                0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 600, 65_535, 65_536, 65_537, 65_800,
            ] {
                if size <= end {
                    assert_eq!(
                        levels.hash(0..size as u64).unwrap(),
                        mth(&all[..size]),
                        "{size}"
                    );
                }
            }
            levels.check_end(end as u64).unwrap();
        }
    }

    #[test]
    fn hashes_that_are_written_again_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let levels = Levels::new(folder.path());
        add(&levels, 0, &leaves(0..700));
        let root = levels.hash(0..700).unwrap();
        add(&levels, 200, &leaves(200..600));
        add(&levels, 256, &leaves(256..257));
        assert_eq!(levels.hash(0..700).unwrap(), root);
        levels.check_end(700).unwrap();
    }

    #[test]
    fn a_level_that_is_too_short_too_long_or_one_too_many_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let levels = Levels::new(folder.path());
        add(&levels, 0, &leaves(0..600));
        let fault = |size| levels.check_end(size).unwrap_err().to_string();
        assert!(
            fault(601).contains("`0` has lost its end")
                || fault(601).contains("/0` has lost its end")
        );
        assert!(fault(599).contains("/0` is newer"));
        add(&levels, 600, &leaves(600..601));
        levels.files.write(2, 0, &[0; HASH]).unwrap();
        assert!(fault(601).contains("/2` is newer"), "{}", fault(601));
    }
}
