//! Reads every entry once, on all processors: its hash, its form, its time, and what was withheld from it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::across::{Across, Says};
use super::leaf::{Moment, Reader};
use super::order::Order;
use super::report::{Fault, Faults, Place, What};
use super::source::{Block, Blocks, Kept, Manner, Slot, Source, Tile, Unavailable, Values};
use super::tiles::tile_width;
use super::tree::{self, Hash, TILE};
use super::withheld;

/// How many tiles with differences are kept for the question who is right.
const KEPT: usize = 64;

/// After how many tiles in a row of which nothing is there the log is taken for cut off: its size may be any number.
const NOTHING: u32 = 16;

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// The hash of each full tile of entries, as computed; `None` where that was not possible.
    pub tiles: Vec<Option<Hash>>,
    /// The hashes of the entries of those tiles that were asked for.
    pub asked: BTreeMap<u64, Vec<Option<Hash>>>,
    /// Tiles whose entries have other hashes than the tree.
    pub differing: BTreeMap<u64, Differing>,
    /// The faults of entries, but for those that need a look at the tree.
    pub faults: Faults,
    /// Entries of kinds that are not known.
    pub unknown_kinds: u64,
    /// Withheld values that were compared.
    pub withheld: u64,
    /// Entries whose withheld values are there, and entries whose are gone, in turn.
    pub stretches: Vec<Stretch>,
    /// What entries say of the log.
    pub across: Across,
    /// The times of the first and the last entry.
    pub span: Option<(i64, i64)>,
    /// Whether entries may stand elsewhere than where they were looked for.
    pub needs_care: bool,
    /// Whether nothing was read from some tile on, since nothing is there.
    pub cut_off: bool,
    /// How many tiles differ, kept or not.
    differing_count: usize,
}

/// Entries one after another whose withheld values are all there, or all gone; those without any do not count.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Whether the values are gone.
    pub gone: bool,
}

/// A tile whose entries have other hashes than it says.
#[derive(Debug)]
pub struct Differing {
    /// As stored.
    pub stored: Vec<Hash>,
    /// As computed; what is missing as stored.
    pub computed: Vec<Hash>,
    /// Where the entries are.
    pub places: Vec<Option<Place>>,
    /// Where the tile is.
    pub tile: Place,
}

/// Walks through the entries of a log. `asked` are tiles whose hashes will be needed one by one.
pub fn walk(
    source: &dyn Source,
    size: u64,
    asked: &[u64],
    manner: Manner,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Walk, Unavailable> {
    let threads = source
        .threads()
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let shared = Shared {
        source,
        blocks: source.blocks(size, manner),
        size,
        asked,
        manner,
        progress,
        done: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        merged: Mutex::default(),
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| shared.work()))
            .collect();
        workers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    for result in results {
        match result {
            Ok(done) => done?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    let merged = shared.merged.into_inner();
    Ok(merged.unwrap_or_else(PoisonError::into_inner).walk)
}

struct Shared<'s> {
    source: &'s dyn Source,
    blocks: Box<dyn Blocks + 's>,
    size: u64,
    asked: &'s [u64],
    manner: Manner,
    progress: &'s (dyn Fn(u64) + Sync),
    done: AtomicU64,
    stop: AtomicBool,
    merged: Mutex<Merged>,
}

/// What is known of all tiles up to some number, and of later ones that came early.
#[derive(Default)]
struct Merged {
    walk: Walk,
    order: Order,
    next: u64,
    /// How many of the last tiles were not there at all.
    nothing: u32,
    early: BTreeMap<u64, Checked>,
}

/// What was found in one tile.
#[derive(Default)]
struct Checked {
    root: Option<Hash>,
    asked: Option<Vec<Option<Hash>>>,
    differing: Option<Differing>,
    moments: Vec<Option<Moment>>,
    faults: Vec<Fault>,
    unknown_kinds: u64,
    withheld: u64,
    stretches: Vec<Stretch>,
    says: Vec<(u64, Says)>,
    needs_care: bool,
    is_nothing: bool,
}

impl Shared<'_> {
    fn work(&self) -> Result<(), Unavailable> {
        let mut block = Block::default();
        let mut scratch = Vec::with_capacity(TILE / 2);
        let mut values = Values::default();
        let result = loop {
            if self.stop.load(Ordering::Relaxed) {
                break Ok(());
            }
            match self.blocks.next(&mut block) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(fault) => break Err(fault),
            }
            match self.check(&block, &mut values, &mut scratch) {
                Ok(checked) => self.merge(block.number, checked),
                Err(fault) => break Err(fault),
            }
            let width = block.slots.len() as u64;
            (self.progress)(self.done.fetch_add(width, Ordering::Relaxed) + width);
        };
        if result.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        result
    }

    fn check(
        &self,
        block: &Block,
        values: &mut Values,
        scratch: &mut Vec<Hash>,
    ) -> Result<Checked, Unavailable> {
        let width = block.slots.len();
        let tile = self.source.tile(0, block.number, width)?;
        values.start();
        self.source
            .withheld(block.number * TILE as u64, width, values)?;
        let mut checked = Checked {
            faults: block.faults.clone(),
            moments: Vec::with_capacity(width),
            // Zeros are what a hole in a file reads as, which can be as large as somebody likes, and no hash.
            is_nothing: tile.hashes.iter().all(|hash| *hash == Hash::default())
                && block.slots.iter().all(Option::is_none),
            ..Checked::default()
        };
        let computed = entries(block, &tile, values, &mut checked);
        if let Some(fault) = &tile.fault {
            let first = block.number * TILE as u64;
            let fault = Fault::of_entry(first, fault.clone());
            checked.faults.push(fault.at(&tile.file, tile.offset));
        }
        // What one side lacks is taken from the other, so that one gap does not hide what else is wrong.
        let stored = tile.hashes.iter().copied().map(Some);
        let stored = stored.chain(std::iter::repeat(None));
        let known = computed.iter().zip(stored);
        let known: Vec<Option<Hash>> = known
            .map(|(computed, stored)| computed.or(stored))
            .collect();
        let all: Option<Vec<Hash>> = known.iter().copied().collect();
        if let Some(all) = &all
            && all.len() == TILE
        {
            checked.root = Some(tree::tile_root(all, scratch));
        }
        let differs =
            |(stored, known): (&Hash, &Option<Hash>)| known.is_some_and(|known| known != *stored);
        if tile.hashes.iter().zip(&known).any(differs) {
            checked.needs_care = true;
            checked.differing = Some(differing(block, tile, &known));
        }
        if self.asked.contains(&block.number) {
            checked.asked = Some(known);
        }
        Ok(checked)
    }

    fn merge(&self, number: u64, checked: Checked) {
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.needs_care {
            merged.walk.needs_care = true;
            if self.manner == Manner::Fast && self.source.may_be_shifted() {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        merged.early.insert(number, checked);
        merged.go_on(self.size);
        if merged.walk.cut_off {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// The hashes of the entries that are there; what else is found in them is noted.
fn entries(
    block: &Block,
    tile: &Tile,
    values: &Values,
    checked: &mut Checked,
) -> Vec<Option<Hash>> {
    let mut reader = Reader::default();
    let mut computed = Vec::with_capacity(block.slots.len());
    for (index, slot) in (block.number * TILE as u64..).zip(&block.slots) {
        let Some(slot) = slot else {
            checked.needs_care = true;
            checked.missing(index);
            computed.push(None);
            continue;
        };
        let hash = tree::leaf(block.prefixed(slot));
        let leaf = block.leaf(slot);
        let place = computed.len();
        let stored = tile.hashes.get(place);
        computed.push(Some(hash));
        if slot
            .checksum
            .is_some_and(|sum| crc32fast::hash(leaf) != sum)
        {
            checked.needs_care = true;
            if stored == Some(&hash) {
                checked.add(block, slot, index, What::Checksum);
            }
        }
        match reader.read(leaf) {
            Ok(leaf) => {
                checked.unknown_kinds += u64::from(!leaf.known);
                checked.says.extend(leaf.says.map(|says| (index, says)));
                checked.moments.push(Some(leaf.moment));
            }
            Err(fault) => {
                checked.add(block, slot, index, What::Schema(fault));
                checked.moments.push(None);
                continue;
            }
        }
        // The values of an entry that is not the one of the tree prove nothing.
        if let Some(kept) = values.slots.get(place)
            && stored.is_none_or(|stored| *stored == hash)
        {
            checked.compare(index, kept, values, &reader);
        }
    }
    computed
}

impl Checked {
    /// Compares what was withheld from an entry.
    fn compare(&mut self, index: u64, kept: &Kept, values: &Values, reader: &Reader<'_>) {
        match withheld::check(kept, values, reader) {
            Ok(Some(0)) => {}
            Ok(compared) => {
                self.withheld += compared.unwrap_or(0);
                let gone = compared.is_none();
                let (first, last) = (index, index);
                add_stretch(&mut self.stretches, Stretch { first, last, gone });
            }
            Err(what) => {
                let mut fault = Fault::of_entry(index, what);
                fault.place = kept.place().cloned();
                self.faults.push(fault);
            }
        }
    }

    fn add(&mut self, block: &Block, slot: &Slot, index: u64, what: What) {
        let fault = Fault::of_entry(index, what);
        self.faults.push(fault.at(block.file(slot), slot.offset));
    }

    fn missing(&mut self, index: u64) {
        self.moments.push(None);
        if let Some(Fault {
            what: What::Missing { last, .. },
            ..
        }) = self.faults.last_mut()
            && *last + 1 == index
        {
            *last = index;
            return;
        }
        let (first, last) = (index, index);
        self.faults
            .push(Fault::of_entry(index, What::Missing { first, last }));
    }
}

impl Merged {
    /// Takes all tiles that are next.
    fn go_on(&mut self, size: u64) {
        while !self.walk.cut_off
            && let Some(checked) = self.early.remove(&self.next)
        {
            let number = self.next;
            self.next += 1;
            let walk = &mut self.walk;
            self.nothing = if checked.is_nothing {
                self.nothing + 1
            } else {
                0
            };
            let further = self.next * TILE as u64;
            if self.nothing == NOTHING && further < size {
                walk.cut_off = true;
                let missing = What::Missing {
                    first: further,
                    last: size - 1,
                };
                walk.faults.add(Fault::of_entry(further, missing));
            }
            walk.faults.extend(checked.faults);
            walk.unknown_kinds += checked.unknown_kinds;
            walk.withheld += checked.withheld;
            for stretch in checked.stretches {
                add_stretch(&mut walk.stretches, stretch);
            }
            walk.across.has_gaps |= checked.moments.contains(&None);
            for (index, says) in checked.says {
                walk.faults.extend(walk.across.next(index, says));
            }
            for (index, moment) in (number * TILE as u64..).zip(checked.moments) {
                walk.faults.extend(self.order.next(index, moment));
                if let Some(Moment { at, .. }) = moment {
                    walk.span = Some((walk.span.map_or(at, |(first, _)| first), at));
                }
            }
            if tile_width(size, number) == Some(TILE) {
                walk.tiles.push(checked.root);
            }
            if let Some(asked) = checked.asked {
                walk.asked.insert(number, asked);
            }
            if let Some(differing) = checked.differing {
                walk.differing_count += 1;
                if walk.differing_count <= KEPT {
                    walk.differing.insert(number, differing);
                }
            }
        }
    }
}

/// Adds a stretch at the end.
fn add_stretch(stretches: &mut Vec<Stretch>, next: Stretch) {
    match stretches.last_mut() {
        Some(last) if last.gone == next.gone => last.last = next.last,
        _ => stretches.push(next),
    }
}

fn differing(block: &Block, tile: Tile, known: &[Option<Hash>]) -> Differing {
    let places = block.slots.iter().map(|slot| {
        let slot = slot.as_ref()?;
        let file = block.file(slot).to_owned();
        let offset = slot.offset;
        Some(Place { file, offset })
    });
    let stored = tile.hashes;
    let pairs = known.iter().zip(&stored);
    Differing {
        computed: pairs
            .map(|(known, stored)| known.unwrap_or(*stored))
            .collect(),
        places: places.collect(),
        stored,
        tile: Place {
            file: tile.file,
            offset: tile.offset,
        },
    }
}
