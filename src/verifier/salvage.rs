//! Reads the entries of a data folder in which something is wrong: with a look at the hashes of the tree, so that what
//! follows a gap is found at its own index again.

use std::collections::{HashMap, VecDeque};
use std::io::Read as _;
use std::sync::{Mutex, PoisonError};

use super::align::{Alignment, align};
use super::data_folder::{DataFolder, HEADER, header_of};
use super::leaf::LONGEST;
use super::report::{Fault, What};
use super::source::{Block, Blocks, Source as _, Unavailable};
use super::tiles::tile_width;
use super::tree::{self, Hash, TILE};

/// How many entries are looked at together.
const WINDOW: usize = 3 * TILE;

/// How many entries in a row may be unknown around here before they are looked for in the whole tree.
const LOST: usize = 32;

/// After how many searches in vain the rest is taken as it stands.
const SEARCHES: usize = 16;

/// Reads with care, one thread at a time.
pub struct Salvage<'f> {
    folder: &'f DataFolder,
    size: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tile: u64,
    /// The index from which on entries were found again after a long gap.
    again: u64,
    /// How often entries were looked for in the whole tree in vain.
    searches: usize,
    file: u64,
    name: String,
    octets: Vec<u8>,
    at: usize,
    ended: bool,
    /// Octets that were no entry, since the last that was one.
    waste: Vec<Waste>,
    window: VecDeque<Item>,
}

/// An entry, wherever it belongs.
struct Item {
    file: String,
    offset: usize,
    leaf: Vec<u8>,
    hash: Hash,
    checksum: u32,
    /// Octets before it that were no entry.
    waste: Vec<Waste>,
}

struct Waste {
    file: String,
    offset: usize,
    length: usize,
}

impl Waste {
    fn fault(&self, index: u64) -> Fault {
        let length = self.length as u64;
        Fault::of_entry(index, What::Unreadable { length }).at(&self.file, self.offset as u64)
    }
}

impl<'f> Salvage<'f> {
    /// Reads a log of this size.
    pub fn new(folder: &'f DataFolder, size: u64) -> Self {
        Self {
            folder,
            size,
            state: Mutex::default(),
        }
    }

    fn fill(&self, state: &mut State) -> Result<(), Unavailable> {
        while state.window.len() < WINDOW && !state.ended {
            if state.at >= state.octets.len() {
                self.open(state)?;
            } else {
                state.step();
            }
        }
        Ok(())
    }

    fn open(&self, state: &mut State) -> Result<(), Unavailable> {
        let Some(number) = self.folder.next_file(state.file)? else {
            state.ended = true;
            return Ok(());
        };
        state.file = number + 1;
        state.name = DataFolder::records(number);
        state.at = 0;
        state.octets.clear();
        if let Some(mut file) = self.folder.open(&state.name)? {
            let read = file.read_to_end(&mut state.octets);
            read.map_err(|fault| self.folder.fault(&state.name, &fault))?;
        }
        Ok(())
    }

    /// The hashes of this tile and of those behind it.
    fn expected(&self, tile: u64) -> Result<Vec<Hash>, Unavailable> {
        let mut expected = Vec::with_capacity(WINDOW);
        for number in tile..tile + (WINDOW / TILE) as u64 {
            let Some(width) = tile_width(self.size, number) else {
                break;
            };
            let tile = self.folder.tile(0, number, width)?;
            expected.extend(tile.hashes);
        }
        Ok(expected)
    }

    /// The index at which the first of these entries belongs, anywhere from this tile on.
    fn found_again<'i>(
        &self,
        items: impl Iterator<Item = &'i Item>,
        tile: u64,
    ) -> Result<Option<u64>, Unavailable> {
        let wanted: HashMap<Hash, u64> = items.take(LOST).map(|item| item.hash).zip(0..).collect();
        for number in tile.. {
            let Some(width) = tile_width(self.size, number) else {
                break;
            };
            let hashes = self.folder.tile(0, number, width)?.hashes;
            if hashes.is_empty() {
                break;
            }
            for (index, hash) in (number * TILE as u64..).zip(&hashes) {
                if let Some(before) = wanted.get(hash) {
                    return Ok(Some(index.saturating_sub(*before)));
                }
            }
        }
        Ok(None)
    }

    /// Takes the entries that stand at the next `want` places.
    fn take(
        &self,
        state: &mut State,
        block: &mut Block,
        expected: &[Hash],
        want: usize,
    ) -> Result<(), Unavailable> {
        let first = block.number * TILE as u64 + block.slots.len() as u64;
        let found: Vec<Hash> = state.window.iter().map(|item| item.hash).collect();
        let mut alignment = align(&found, expected, expected.len().max(want));
        if let Some((place, next)) = lost(&alignment, &found, expected, want)
            && state.searches < SEARCHES
        {
            match self.found_again(state.window.iter().skip(next), block.number)? {
                Some(again) if again > first + place as u64 => {
                    state.again = again;
                    alignment.slots.truncate(place);
                }
                _ => state.searches += 1,
            }
        }
        alignment.slots.truncate(want);
        let taken = alignment.slots.len();
        alignment.strange.retain(|(_, place)| *place < taken);
        let placed = alignment.slots.iter().flatten();
        let strange = alignment.strange.iter().map(|(item, _)| item);
        let used = placed.chain(strange).max().map_or(0, |last| last + 1);
        let items: Vec<Item> = state.window.drain(..used).collect();
        for (strange, place) in alignment.strange {
            if let Some(item) = items.get(strange) {
                let found = item.hash;
                let fault = Fault::of_entry(first + place as u64, What::Strange { found });
                block.faults.push(fault.at(&item.file, item.offset as u64));
            }
        }
        for slot in alignment.slots {
            put(block, slot.and_then(|at| items.get(at)));
        }
        block.slots.resize(block.slots.len() + want - taken, None);
        Ok(())
    }
}

/// The place from which on no entry is known around here, if it is among the next `want`, and the entry there.
fn lost(
    alignment: &Alignment,
    found: &[Hash],
    expected: &[Hash],
    want: usize,
) -> Option<(usize, usize)> {
    let mut run: Option<(usize, usize)> = None;
    let mut length = 0;
    for (place, slot) in alignment.slots.iter().enumerate() {
        let Some(next) = *slot else {
            continue;
        };
        let hash = found.get(next);
        if hash == expected.get(place) || hash.is_some_and(|hash| expected.contains(hash)) {
            (run, length) = (None, 0);
        } else {
            run = run.or(Some((place, next)));
            length += 1;
        }
        if length >= LOST {
            break;
        }
    }
    // At the end of the log a run is as long as it can be.
    let at_end = found.len() < WINDOW;
    run.filter(|(place, _)| *place < want && (length >= LOST || at_end))
}

impl Blocks for Salvage<'_> {
    fn next(&self, block: &mut Block) -> Result<bool, Unavailable> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(width) = tile_width(self.size, state.tile) else {
            return Ok(false);
        };
        let number = state.tile;
        let first = number * TILE as u64;
        block.start(number);
        state.tile += 1;
        self.fill(&mut state)?;
        let expected = self.expected(number)?;
        let left = state.again.saturating_sub(first);
        let gap = usize::try_from(left).unwrap_or(width).min(width);
        block.slots.resize(gap, None);
        if gap < width {
            let expected = expected.get(gap..).unwrap_or_default();
            self.take(&mut state, block, expected, width - gap)?;
        }
        if state.ended && state.window.is_empty() {
            let missing = block.slots.iter().position(Option::is_none);
            let waste = std::mem::take(&mut state.waste);
            if let Some(missing) = missing {
                let faults = waste
                    .iter()
                    .map(|waste| waste.fault(first + missing as u64));
                block.faults.extend(faults);
            }
        }
        Ok(true)
    }
}

fn put(block: &mut Block, item: Option<&Item>) {
    let Some(item) = item else {
        block.slots.push(None);
        return;
    };
    if block.files.last() != Some(&item.file) {
        block.files.push(item.file.clone());
    }
    // What is no entry was one, as a rule: the first that is missing before this one.
    let before = block
        .slots
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |at| at + 1);
    let index = block.number * TILE as u64 + before as u64;
    block
        .faults
        .extend(item.waste.iter().map(|waste| waste.fault(index)));
    block.push_leaf(&item.leaf, item.offset as u64, Some(item.checksum));
}

impl State {
    /// Takes the next entry of the file into the window, or passes over what is none.
    fn step(&mut self) {
        let entry = self.form(self.at).filter(|(length, checksum)| {
            // A length that was changed leads to what is no entry.
            let after = self.at + HEADER + length;
            self.is_whole(self.at, *length, *checksum)
                || after == self.octets.len()
                || self.form(after).is_some()
        });
        if let Some((length, checksum)) = entry {
            let start = self.at + HEADER;
            let leaf = self.octets.get(start..start + length).unwrap_or_default();
            self.window.push_back(Item {
                file: self.name.clone(),
                offset: self.at,
                hash: tree::leaf(&[&[0], leaf].concat()),
                leaf: leaf.to_vec(),
                checksum,
                waste: std::mem::take(&mut self.waste),
            });
            self.at = start + length;
            return;
        }
        let next = (self.at + 1..self.octets.len()).find(|at| {
            let form = self.form(*at);
            form.is_some_and(|(length, checksum)| self.is_whole(*at, length, checksum))
        });
        let next = next.unwrap_or(self.octets.len());
        self.waste.push(Waste {
            file: self.name.clone(),
            offset: self.at,
            length: next - self.at,
        });
        self.at = next;
    }

    /// Length and checksum, if an entry may begin here.
    fn form(&self, at: usize) -> Option<(usize, u32)> {
        let header = self.octets.get(at..)?.first_chunk()?;
        let (length, checksum) = header_of(*header);
        let leaf = self.octets.get(at + HEADER..at + HEADER + length)?;
        let looks =
            (2..=LONGEST).contains(&length) && leaf.starts_with(b"{") && leaf.ends_with(b"}");
        looks.then_some((length, checksum))
    }

    fn is_whole(&self, at: usize, length: usize, checksum: u32) -> bool {
        let leaf = self.octets.get(at + HEADER..at + HEADER + length);
        leaf.is_some_and(|leaf| crc32fast::hash(leaf) == checksum)
    }
}
