//! The rows of all entries, in files of [`IN_FILE`] each.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::files::{Files, check_end};
use super::row::{ROW, Row};

/// How many rows one file has.
const IN_FILE: u64 = 1 << 20;

/// How often a row that is not whole is read again: its marks may be being erased at this moment.
const LOOKS: usize = 20;

pub(super) struct Rows {
    pub(super) files: Files,
}

/// Rows that were read, in order.
#[derive(Default)]
pub(super) struct Read {
    first: u64,
    octets: Vec<u8>,
}

impl Read {
    /// The rows with the numbers of their entries.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8; ROW])> {
        let (rows, _) = self.octets.as_chunks::<ROW>();
        rows.iter()
            .enumerate()
            .map(|(place, row)| (self.first + place as u64, row))
    }
}

impl Rows {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            files: Files::new(folder, 20),
        }
    }

    /// Whether the files end after so many rows.
    pub(super) fn check_end(&self, size: u64) -> io::Result<()> {
        let last = (size / IN_FILE, size % IN_FILE * ROW as u64);
        check_end(&self.files, 0, last, Some(IN_FILE * ROW as u64))
    }

    /// Whether the files have at least so many rows.
    pub(super) fn reaches(&self, size: u64) -> io::Result<bool> {
        let lengths = self.files.lengths()?;
        let length = lengths.get(&(size / IN_FILE)).copied();
        Ok(length.unwrap_or(0) >= size % IN_FILE * ROW as u64)
    }

    /// Writes whole rows from the entry `first` on. Not durable yet.
    pub(super) fn write(&self, first: u64, octets: &[u8]) -> io::Result<()> {
        let (mut at, mut rest) = (first, octets);
        while !rest.is_empty() {
            let left = usize::try_from(IN_FILE - at % IN_FILE).unwrap_or(0) * ROW;
            let (now, later) = rest.split_at(left.min(rest.len()));
            self.files.write(at / IN_FILE, offset(at), now)?;
            at += (now.len() / ROW) as u64;
            rest = later;
        }
        Ok(())
    }

    /// The rows of a range of entries, which must all be there. They are not checked.
    pub(super) fn read(&self, range: Range<u64>) -> io::Result<Read> {
        let mut read = Read::default();
        self.read_over(&mut read, range)?;
        Ok(read)
    }

    /// The same in place of rows that were read before: many reads need one piece of memory.
    pub(super) fn read_over(&self, read: &mut Read, range: Range<u64>) -> io::Result<()> {
        let count = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        read.first = range.start;
        read.octets.resize(count * ROW, 0);
        let (mut at, mut rest) = (range.start, read.octets.as_mut_slice());
        while !rest.is_empty() {
            let left = usize::try_from(IN_FILE - at % IN_FILE).unwrap_or(0) * ROW;
            let length = left.min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            self.files.read(at / IN_FILE, offset(at), now)?;
            at += (length / ROW) as u64;
            rest = later;
        }
        Ok(())
    }

    /// The row of one entry; `None` if it is not what was written.
    pub(super) fn row(&self, index: u64) -> io::Result<Option<Row>> {
        for _ in 0..LOOKS {
            let read = self.read(index..index + 1)?;
            if let Some((_, row)) = read.iter().next()
                && Row::is_whole(row, index)
            {
                return Ok(Some(Row::read(row)));
            }
            std::thread::yield_now();
        }
        Ok(None)
    }

    /// What the row of an entry is called in a message.
    pub(super) fn name(&self, index: u64) -> String {
        let name = self.files.name(index / IN_FILE);
        format!("`{name}`, from octet {} on", offset(index))
    }
}

/// Where the row of an entry begins in its file.
fn offset(index: u64) -> u64 {
    index % IN_FILE * ROW as u64
}
