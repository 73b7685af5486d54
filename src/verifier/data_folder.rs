//! The data folder of the embedded store, read as it lies there. The service may be running.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::file::{self, unreadable};
use super::leaf::LONGEST;
use super::report::{Place, What};
use super::salvage::Salvage;
use super::source::{Block, Blocks, Manner, Source, Tile, Unavailable, Values, hashes};
use super::tiles::tile_width;
use super::tree::TILE;
use super::values;

/// What is read from a file of entries at once.
const READ: usize = 1 << 20;

/// Before each entry: its length and its CRC-32, little-endian.
pub const HEADER: usize = 8;

/// A data folder.
#[derive(Debug)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// The data folder at this path.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Whether there is one at this path.
    pub fn is_at(folder: &Path) -> bool {
        folder.join("records").is_dir() && folder.join("tree").is_dir()
    }

    fn small(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        file::read(&self.0.join(name))
    }

    /// The name of file `number` of entries.
    pub fn records(number: u64) -> String {
        format!("records/{number:020}")
    }

    /// Opens a file below the folder, if it is there.
    pub fn open(&self, name: &str) -> Result<Option<File>, Unavailable> {
        file::open(&self.0.join(name))
    }

    /// The number of the first file of entries from `number` on that is there.
    pub fn next_file(&self, number: u64) -> Result<Option<u64>, Unavailable> {
        let path = self.0.join("records");
        let entries = std::fs::read_dir(&path).map_err(|fault| unreadable(&path, &fault))?;
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(numbers.filter(|found| *found >= number).min())
    }

    /// An error in reading `name`.
    pub fn fault(&self, name: &str, fault: &std::io::Error) -> Unavailable {
        unreadable(&self.0.join(name), fault)
    }
}

impl Source for DataFolder {
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        self.small("checkpoint")
    }

    fn cosigned_checkpoint(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        self.small("checkpoint.cosigned")
    }

    fn key(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        self.small("key")
    }

    fn tile(&self, level: u8, number: u64, width: usize) -> Result<Tile, Unavailable> {
        let file = format!("tree/{level}");
        let offset = number.saturating_mul(32 * TILE as u64);
        let expected = 32 * width;
        let mut octets = Vec::with_capacity(expected);
        if let Some(open) = self.open(&file)? {
            let read = read_at(&open, offset, expected, &mut octets);
            read.map_err(|fault| self.fault(&file, &fault))?;
        }
        let found = octets.len();
        Ok(Tile {
            file,
            offset,
            hashes: hashes(&octets),
            fault: (found < expected).then_some(What::TileLength { expected, found }),
        })
    }

    fn blocks(&self, size: u64, manner: Manner) -> Box<dyn Blocks + '_> {
        match manner {
            Manner::Fast => Box::new(Straight {
                folder: self,
                size,
                state: Mutex::default(),
            }),
            Manner::Careful => Box::new(Salvage::new(self, size)),
        }
    }

    fn withheld(&self, first: u64, width: usize, values: &mut Values) -> Result<(), Unavailable> {
        values::find(self, first, width, values)
    }

    fn first_gone(&self, first: u64, last: u64) -> Result<(u64, Place), Unavailable> {
        values::first_with_values(self, first, last)
    }

    fn removed_beyond(&self, size: u64) -> Result<u64, Unavailable> {
        values::removed(self, size, size.saturating_add(self.beyond(size)))
    }

    fn beyond(&self, size: u64) -> u64 {
        let length = std::fs::metadata(self.0.join("tree/0")).map_or(0, |file| file.len());
        (length / 32).saturating_sub(size)
    }

    fn threads(&self) -> Option<usize> {
        None
    }

    fn may_be_shifted(&self) -> bool {
        true
    }
}

/// Adds up to `length` octets of a file from `offset` on, fewer if it ends before.
pub fn read_at(
    file: &File,
    offset: u64,
    length: usize,
    octets: &mut Vec<u8>,
) -> std::io::Result<()> {
    let mut end = octets.len();
    octets.resize(end + length, 0);
    let start = end;
    while let Some(rest) = octets.get_mut(end..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + (end - start) as u64) {
            Ok(0) => break,
            Ok(more) => end += more,
            Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
    octets.truncate(end);
    Ok(())
}

/// Reads one entry after the other, and stops at the first that is none.
struct Straight<'f> {
    folder: &'f DataFolder,
    size: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tile: u64,
    file: u64,
    open: Option<Open>,
    ended: bool,
}

struct Open {
    name: String,
    offset: u64,
    length: u64,
    octets: BufReader<File>,
}

impl Blocks for Straight<'_> {
    fn next(&self, block: &mut Block) -> Result<bool, Unavailable> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(width) = tile_width(self.size, state.tile) else {
            return Ok(false);
        };
        block.start(state.tile);
        state.tile += 1;
        while block.slots.len() < width && !state.ended {
            self.entry(&mut state, block)?;
        }
        block.slots.resize(width, None);
        Ok(true)
    }
}

impl Straight<'_> {
    fn entry(&self, state: &mut State, block: &mut Block) -> Result<(), Unavailable> {
        if state
            .open
            .as_ref()
            .is_some_and(|open| open.offset == open.length)
        {
            state.open = None;
            state.file += 1;
        }
        if state.open.is_none() {
            state.open = self.open(state.file)?;
        }
        let Some(open) = &mut state.open else {
            state.ended = true;
            return Ok(());
        };
        if block.files.last() != Some(&open.name) {
            block.files.push(open.name.clone());
        }
        match open.read(block) {
            Ok(true) => Ok(()),
            Ok(false) => {
                state.ended = true;
                Ok(())
            }
            Err(fault) => Err(self.folder.fault(&open.name, &fault)),
        }
    }

    fn open(&self, number: u64) -> Result<Option<Open>, Unavailable> {
        let name = DataFolder::records(number);
        let Some(file) = self.folder.open(&name)? else {
            return Ok(None);
        };
        let metadata = file
            .metadata()
            .map_err(|fault| self.folder.fault(&name, &fault))?;
        Ok(Some(Open {
            name,
            offset: 0,
            length: metadata.len(),
            octets: BufReader::with_capacity(READ, file),
        }))
    }
}

impl Open {
    /// Reads the next entry; `false` if what follows is none.
    fn read(&mut self, block: &mut Block) -> std::io::Result<bool> {
        let mut header = [0; HEADER];
        let left = self.length - self.offset;
        if left < HEADER as u64 {
            return Ok(false);
        }
        self.octets.read_exact(&mut header)?;
        let (length, checksum) = header_of(header);
        if length > LONGEST || length as u64 > left - HEADER as u64 {
            return Ok(false);
        }
        let read = |place: &mut [u8]| self.octets.read_exact(place);
        block.push(length, self.offset, Some(checksum), read)?;
        self.offset += (HEADER + length) as u64;
        Ok(true)
    }
}

/// Length and checksum.
pub fn header_of(header: [u8; HEADER]) -> (usize, u32) {
    let both = u64::from_le_bytes(header);
    let length = u32::try_from(both & 0xffff_ffff).unwrap_or_default();
    let checksum = u32::try_from(both >> 32).unwrap_or_default();
    (length as usize, checksum)
}
