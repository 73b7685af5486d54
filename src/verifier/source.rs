//! What a log is read from, and the blocks of entries that come out of it.

use std::ops::Range;

use super::report::{Fault, Place, What};
use super::tree::Hash;

/// A log, wherever it is.
pub trait Source: Sync {
    /// The last checkpoint.
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, Unavailable>;

    /// The last checkpoint that a witness cosigned.
    fn cosigned_checkpoint(&self) -> Result<Option<Vec<u8>>, Unavailable>;

    /// The verifier key, as the source has it.
    fn key(&self) -> Result<Option<Vec<u8>>, Unavailable>;

    /// The first `width` hashes of a tile, as they are stored.
    fn tile(&self, level: u8, number: u64, width: usize) -> Result<Tile, Unavailable>;

    /// The entries of a log of this size, in their order.
    fn blocks(&self, size: u64, manner: Manner) -> Box<dyn Blocks + '_>;

    /// Finds the values that were withheld from `width` entries, from the entry `first` on, each as a JSON object.
    fn withheld(&self, first: u64, width: usize, values: &mut Values) -> Result<(), Unavailable>;

    /// The first of these entries whose values are gone, and where they should be.
    fn first_gone(&self, first: u64, last: u64) -> Result<(u64, Place), Unavailable>;

    /// Up to which entry withheld values were deleted, by what entries beyond `size` say.
    fn removed_beyond(&self, size: u64) -> Result<u64, Unavailable>;

    /// How many entries are there beyond `size`, where the source can tell.
    fn beyond(&self, size: u64) -> u64;

    /// How many threads may ask at once; `None` for as many as there are processors.
    fn threads(&self) -> Option<usize>;

    /// Whether entries are found by those before them, so that after a gap [`Manner::Careful`] finds more.
    fn may_be_shifted(&self) -> bool;
}

/// How entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// One after the other, as if none were missing.
    Fast,
    /// With a look at the hashes, so that after a gap each entry is found at its index again.
    Careful,
}

/// Entries, tile by tile. Any number of threads may ask.
pub trait Blocks: Sync {
    /// Reads the next tile's entries into `block`; `false` if there are no more.
    fn next(&self, block: &mut Block) -> Result<bool, Unavailable>;
}

/// The source cannot be read at the moment, or at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// A tile as it is stored.
#[derive(Debug, Default)]
pub struct Tile {
    /// Its name below the source.
    pub file: String,
    /// Where in that file it begins.
    pub offset: u64,
    /// Its hashes; fewer than asked for if some are missing.
    pub hashes: Vec<Hash>,
    /// What is wrong with its form.
    pub fault: Option<What>,
}

/// The entries of one tile.
#[derive(Debug, Default)]
pub struct Block {
    /// The number of the tile.
    pub number: u64,
    /// By place in the tile; `None` where an entry is missing.
    pub slots: Vec<Option<Slot>>,
    /// The files that slots name.
    pub files: Vec<String>,
    /// What was wrong with the form of what was read.
    pub faults: Vec<Fault>,
    octets: Vec<u8>,
}

/// One entry in a block.
#[derive(Debug, Clone)]
pub struct Slot {
    start: usize,
    end: usize,
    /// Which of the block's files it is from.
    pub file: usize,
    /// Where in that file.
    pub offset: u64,
    /// Its CRC-32, where one was stored.
    pub checksum: Option<u32>,
}

impl Block {
    /// Empties it, for the entries of another tile.
    pub fn start(&mut self, number: u64) {
        self.number = number;
        self.slots.clear();
        self.files.clear();
        self.faults.clear();
        self.octets.clear();
    }

    /// Puts an entry in, read by `read` into exactly `length` octets.
    pub fn push<E>(
        &mut self,
        length: usize,
        offset: u64,
        checksum: Option<u32>,
        read: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.octets.len();
        // What is hashed begins with a zero (RFC 6962, section 2.1).
        self.octets.resize(start + 1 + length, 0);
        let (_, place) = self.octets.split_at_mut(start + 1);
        if let Err(fault) = read(place) {
            self.octets.truncate(start);
            return Err(fault);
        }
        self.slots.push(Some(Slot {
            start,
            end: self.octets.len(),
            file: self.files.len().saturating_sub(1),
            offset,
            checksum,
        }));
        Ok(())
    }

    /// Puts an entry in that was read before.
    pub fn push_leaf(&mut self, leaf: &[u8], offset: u64, checksum: Option<u32>) {
        let copied: Result<(), std::convert::Infallible> =
            self.push(leaf.len(), offset, checksum, |place| {
                place.copy_from_slice(leaf);
                Ok(())
            });
        let Ok(()) = copied;
    }

    /// The entry, behind the zero that is hashed with it.
    pub fn prefixed(&self, slot: &Slot) -> &[u8] {
        self.octets.get(slot.start..slot.end).unwrap_or(&[0])
    }

    /// The entry.
    pub fn leaf(&self, slot: &Slot) -> &[u8] {
        self.octets.get(slot.start + 1..slot.end).unwrap_or(&[])
    }

    /// The name of the file of a slot.
    pub fn file(&self, slot: &Slot) -> &str {
        self.files.get(slot.file).map_or("", String::as_str)
    }
}

/// What was withheld from entries one after another.
#[derive(Debug, Default)]
pub struct Values {
    /// Of each entry.
    pub slots: Vec<Kept>,
    /// The octets that [`Kept::There`] means.
    pub octets: Vec<u8>,
}

/// What a source has of the values of one entry.
#[derive(Debug)]
pub enum Kept {
    /// The source does not say whether there are any.
    Unknown,
    /// None were withheld, as stands here.
    Nothing(Place),
    /// They were here, and the file is gone.
    Gone(Place),
    /// They cannot be read.
    Damaged(String, Place),
    /// Which octets they are, with their CRC-32 where one was stored.
    There(Range<usize>, Option<u32>, Place),
}

impl Kept {
    /// Where that stands.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Unknown => None,
            Self::Nothing(place)
            | Self::Gone(place)
            | Self::Damaged(_, place)
            | Self::There(_, _, place) => Some(place),
        }
    }
}

impl Values {
    /// Empties it, for other entries.
    pub fn start(&mut self) {
        self.slots.clear();
        self.octets.clear();
    }
}

/// Octets as hashes; what is left over at the end is dropped.
pub fn hashes(octets: &[u8]) -> Vec<Hash> {
    let (hashes, _) = octets.as_chunks::<32>();
    hashes.to_vec()
}
