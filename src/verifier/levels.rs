//! The levels of the tree against each other and against the root: what was changed, the entry or the hash?
//!
//! What the signed root fits is right. From there the question goes down: of a tile and of what was computed from below it,
//! that one is right which fits the hash above.

use std::collections::BTreeMap;

use super::report::{Fault, Faults, What};
use super::source::{Source, Unavailable};
use super::tiles::tile_width;
use super::tree::{self, Hash, TILE, height};
use super::walk::{Differing, Walk};

/// The hashes of one level of tiles: as stored, and as computed from the level below.
struct Level {
    stored: Vec<Option<Hash>>,
    computed: Vec<Option<Hash>>,
    /// Where hash 0 of each tile stands.
    tiles: Vec<(String, u64)>,
}

/// The tree above the entries.
pub struct Levels<'w> {
    walk: &'w Walk,
    size: u64,
    /// From level 1.
    above: Vec<Level>,
    root: Option<Hash>,
}

impl<'w> Levels<'w> {
    /// Reads all levels of tiles but the lowest, which the walk has read.
    pub fn read(
        source: &dyn Source,
        size: u64,
        walk: &'w Walk,
        faults: &mut Faults,
    ) -> Result<Self, Unavailable> {
        let mut levels = Self {
            walk,
            size,
            above: Vec::new(),
            root: None,
        };
        let mut below = walk.tiles.clone();
        for level in 1.. {
            let count = tree::hashes(size, level);
            if count == 0 {
                break;
            }
            let mut read = Level {
                stored: Vec::with_capacity(below.len()),
                computed: below,
                tiles: Vec::new(),
            };
            for number in 0.. {
                let Some(width) = tile_width(count, number) else {
                    break;
                };
                let tile = source.tile(level, number, width)?;
                if let Some(fault) = tile.fault {
                    faults.add(Fault::of_log(fault).at(&tile.file, tile.offset));
                }
                read.tiles.push((tile.file, tile.offset));
                let stored = tile.hashes.into_iter().map(Some);
                read.stored
                    .extend(stored.chain(std::iter::repeat(None)).take(width));
            }
            let pairs = read.computed.iter_mut().zip(&read.stored);
            // What one side lacks is taken from the other.
            pairs.for_each(|(computed, stored)| *computed = computed.or(*stored));
            let (full, _) = read.computed.as_chunks::<TILE>();
            below = full
                .iter()
                .map(|tile| whole(tile).map(|tile| tree::root_of(&tile)))
                .collect();
            levels.above.push(read);
        }
        levels.root = levels.root_at(size);
        Ok(levels)
    }

    /// The root of the first `size` entries, from the entries. Only for sizes whose last tile the walk was asked for.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        let full = usize::try_from(size / TILE as u64).ok()?;
        let width = usize::try_from(size % TILE as u64).ok()?;
        let ones = self.above.first().map_or(&[][..], |level| &level.computed);
        let ones = whole(ones.get(..full)?)?;
        let rest = match width {
            0 => Vec::new(),
            width => whole(self.walk.asked.get(&(size / TILE as u64))?.get(..width)?)?,
        };
        let ones = ones.into_iter().map(|hash| (hash, height(1)));
        Some(tree::root(
            ones.chain(rest.into_iter().map(|hash| (hash, 0))),
        ))
    }

    /// Says what was changed, if `signed` is the root that is right.
    pub fn compare(&self, signed: Hash, faults: &mut Faults) {
        match self.root {
            Some(root) if root == signed => return self.trust_entries(faults),
            Some(found) => {
                let (size, expected) = (self.size, signed);
                faults.add(Fault::of_log(What::Root {
                    size,
                    expected,
                    found,
                }));
            }
            None => faults.add(Fault::of_log(What::RootUnknown)),
        }
        self.descend(signed, faults);
    }

    /// The entries are right, and so is every hash that was computed from them.
    fn trust_entries(&self, faults: &mut Faults) {
        for (level, above) in (1..).zip(&self.above) {
            let known = above.computed.iter().enumerate();
            known.for_each(|(at, computed)| above.judge(level, at, *computed, faults));
        }
        for (number, tile) in &self.walk.differing {
            tile.judge(*number, &tile.computed, faults);
        }
    }

    /// From the root down, each tile is asked whether it fits.
    fn descend(&self, signed: Hash, faults: &mut Faults) {
        let mut right = self.edges(signed);
        let mut above: Vec<Option<Hash>> = Vec::new();
        for (level, here) in (1u8..)
            .zip(&self.above)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let mut known = Vec::with_capacity(here.stored.len());
            for (number, (stored, computed)) in here
                .stored
                .chunks(TILE)
                .zip(here.computed.chunks(TILE))
                .enumerate()
            {
                let edge = right.remove(&level).filter(|_| stored.len() < TILE);
                let tile = match (edge, above.get(number).copied().flatten()) {
                    (Some(edge), _) => edge.into_iter().map(Some).collect(),
                    (None, Some(above)) => fitting(stored, computed, &above),
                    (None, None) => vec![None; stored.len()],
                };
                known.extend(tile);
            }
            for (at, known) in known.iter().enumerate() {
                here.judge(level, at, *known, faults);
            }
            above = known;
        }
        self.entries(right.remove(&0), &above, faults);
    }

    /// The lowest level: entries, or their hashes?
    fn entries(&self, mut edge: Option<Vec<Hash>>, above: &[Option<Hash>], faults: &mut Faults) {
        let last = self.size / TILE as u64;
        for (number, tile) in &self.walk.differing {
            let above = usize::try_from(*number)
                .ok()
                .and_then(|at| above.get(at).copied().flatten());
            let right = match above {
                Some(above) => tile.fitting(&above),
                None => edge.take_if(|_| *number == last),
            };
            match right {
                Some(right) => tile.judge(*number, &right, faults),
                None => tile.leave_open(*number, faults),
            }
        }
        let computed = self.above.first().map_or(&[][..], |level| &level.computed);
        for (number, (computed, above)) in (0..).zip(computed.iter().zip(above)) {
            if above.is_some() && computed != above && !self.walk.differing.contains_key(&number) {
                let first = number * TILE as u64;
                let last = first + TILE as u64 - 1;
                faults.add(Fault::of_entry(first, What::Together { first, last }));
            }
        }
    }

    /// The hashes at the right edge of each level that give `signed` together: of each level as stored, or as computed.
    fn edges(&self, signed: Hash) -> BTreeMap<u8, Vec<Hash>> {
        let mut choices: Vec<(u8, [Option<Vec<Hash>>; 2])> = Vec::new();
        for (level, here) in (1u8..)
            .zip(&self.above)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let from = here.stored.len() / TILE * TILE;
            let edge = |hashes: &[Option<Hash>]| hashes.get(from..).and_then(whole);
            choices.push((level, [edge(&here.stored), edge(&here.computed)]));
        }
        let last = self.size / TILE as u64;
        let stored = self
            .walk
            .differing
            .get(&last)
            .map(|tile| tile.stored.clone());
        let computed = self.walk.asked.get(&last).and_then(|tile| whole(tile));
        let computed = computed.or_else(|| self.size.is_multiple_of(TILE as u64).then(Vec::new));
        let stored = stored.or_else(|| computed.clone());
        choices.push((0, [stored, computed]));
        for choice in 0u32..1 << choices.len() {
            let chosen: Option<Vec<(u8, &Vec<Hash>)>> = (0..)
                .zip(&choices)
                .map(|(bit, (level, [stored, computed]))| {
                    let one = if choice >> bit & 1 == 0 {
                        stored
                    } else {
                        computed
                    };
                    Some((*level, one.as_ref()?))
                })
                .collect();
            let Some(chosen) = chosen else {
                continue;
            };
            let subtrees = chosen
                .iter()
                .flat_map(|(level, hashes)| hashes.iter().map(|hash| (*hash, height(*level))));
            if tree::root(subtrees) == signed {
                return chosen
                    .into_iter()
                    .map(|(level, hashes)| (level, hashes.clone()))
                    .collect();
            }
        }
        BTreeMap::new()
    }
}

/// The hashes of a tile that is right if `above` is: as stored, or as computed.
fn fitting(stored: &[Option<Hash>], computed: &[Option<Hash>], above: &Hash) -> Vec<Option<Hash>> {
    for tile in [stored, computed] {
        if whole(tile).is_some_and(|tile| tree::root_of(&tile) == *above) {
            return tile.to_vec();
        }
    }
    vec![None; stored.len()]
}

/// All of them, if none is missing.
fn whole(hashes: &[Option<Hash>]) -> Option<Vec<Hash>> {
    hashes.iter().copied().collect()
}

impl Level {
    /// Compares what is stored at `at` with what is known to be right, or, if nothing is known, with what was computed.
    fn judge(&self, level: u8, at: usize, right: Option<Hash>, faults: &mut Faults) {
        let pair = self
            .stored
            .get(at)
            .copied()
            .flatten()
            .zip(self.computed.get(at).copied().flatten());
        let Some((stored, computed)) = pair else {
            return;
        };
        let hash = at as u64;
        let what = match right {
            Some(expected) if expected != stored => {
                let found = stored;
                What::HashChanged {
                    level,
                    at: hash,
                    expected,
                    found,
                }
            }
            None if stored != computed => What::Disagree {
                level,
                at: hash,
                stored,
                computed,
            },
            _ => return,
        };
        let mut fault = Fault::of_log(what);
        if let Some((file, offset)) = self.tiles.get(at / TILE) {
            fault = fault.at(file, offset + 32 * (at % TILE) as u64);
        }
        faults.add(fault);
    }
}

impl Differing {
    /// The hashes that are right if `above` is.
    fn fitting(&self, above: &Hash) -> Option<Vec<Hash>> {
        let mut tiles = [&self.stored, &self.computed].into_iter();
        tiles.find(|tile| tree::root_of(tile) == *above).cloned()
    }

    fn judge(&self, number: u64, right: &[Hash], faults: &mut Faults) {
        let first = number * TILE as u64;
        let both = self
            .stored
            .iter()
            .zip(&self.computed)
            .zip(right)
            .zip(&self.places);
        for (at, (((stored, computed), right), place)) in both.enumerate() {
            let index = first + at as u64;
            if stored != right {
                let (expected, found) = (*right, *stored);
                let what = What::HashChanged {
                    level: 0,
                    at: index,
                    expected,
                    found,
                };
                faults.add(
                    Fault::of_entry(index, what)
                        .at(&self.tile.file, self.tile.offset + 32 * at as u64),
                );
            }
            if computed != right {
                let is = self.stored.iter().position(|other| other == computed);
                let what = What::EntryChanged {
                    expected: *right,
                    found: *computed,
                    is: is.map(|at| first + at as u64),
                };
                let place = place.clone();
                faults.add(Fault {
                    place,
                    ..Fault::of_entry(index, what)
                });
            }
        }
    }

    fn leave_open(&self, number: u64, faults: &mut Faults) {
        let both = self.stored.iter().zip(&self.computed).zip(&self.places);
        for (index, ((stored, computed), place)) in (number * TILE as u64..).zip(both) {
            if stored != computed {
                let (stored, computed) = (*stored, *computed);
                let what = What::Disagree {
                    level: 0,
                    at: index,
                    stored,
                    computed,
                };
                let place = place.clone();
                faults.add(Fault {
                    place,
                    ..Fault::of_entry(index, what)
                });
            }
        }
    }
}
