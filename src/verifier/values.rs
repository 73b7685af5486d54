//! Where a data folder keeps what leaves do not hold: `rows/` says where the values of each entry lie in `withheld/`.
//!
//! A row has 88 octets, numbers in it are little-endian: from octet 0 on where the leaf lies (8 octets) and its length (2),
//! from octet 10 on where the withheld values lie (8) and their length (4), 0 if there are none. A file has 2²⁰ rows. Places
//! count from the first octet of the first file, as if each file of values had 64 MiB and each of leaves 256 MiB. In front of
//! each text stand its length and its CRC-32, as in the files of leaves.

use std::fs::File;
use std::ops::Range;

use super::across::Says;
use super::data_folder::{DataFolder, HEADER, header_of};
use super::leaf::{LONGEST, Reader};
use super::report::Place;
use super::source::{Kept, Unavailable, Values};
use super::tree::TILE;

/// The length of a row.
const ROW: usize = 88;

/// How many rows a file has.
const ROWS: u64 = 1 << 20;

/// How far the beginnings of two files of values are apart in places.
const WITHHELD_FILE: u64 = 64 << 20;

/// How far those of two files of leaves are.
const RECORDS_FILE: u64 = 256 << 20;

/// The longest values of one entry.
const LONGEST_VALUES: u64 = 16 << 20;

/// Values of several entries are read at once up to about this many octets.
const READ: u64 = 1 << 20;

/// Where the row of an entry is.
fn place_of_row(index: u64) -> Place {
    Place {
        file: format!("rows/{:020}", index / ROWS),
        offset: index % ROWS * ROW as u64,
    }
}

/// What the row of one entry says.
#[derive(Debug, Clone, Copy)]
struct Row {
    leaf: u64,
    leaf_length: usize,
    values: u64,
    length: u64,
}

impl Row {
    fn read(row: &[u8; ROW]) -> Self {
        let number = |range: Range<usize>| {
            let octets = row.get(range).unwrap_or_default();
            let octets = octets.iter().rev();
            octets.fold(0, |sum, octet| sum << 8 | u64::from(*octet))
        };
        Self {
            leaf: number(0..8),
            leaf_length: usize::try_from(number(8..10)).unwrap_or(0),
            values: number(10..18),
            length: number(18..22),
        }
    }

    /// Where the values are.
    fn place(self) -> Place {
        Place {
            file: format!("withheld/{:020}", self.values / WITHHELD_FILE),
            offset: self.values % WITHHELD_FILE,
        }
    }

    /// Where they end in their file.
    fn end(self) -> u64 {
        self.values % WITHHELD_FILE + HEADER as u64 + self.length
    }

    /// Whether `next` follows these values in the same file, and both can be read at once.
    fn goes_on_with(self, next: Self, begin: u64) -> bool {
        let (file, other) = (self.values / WITHHELD_FILE, next.values / WITHHELD_FILE);
        file == other && self.end() == next.values % WITHHELD_FILE && next.end() - begin <= READ
    }
}

/// Finds the values that were withheld from `width` entries, from the entry `first` on.
pub fn find(
    folder: &DataFolder,
    first: u64,
    width: usize,
    values: &mut Values,
) -> Result<(), Unavailable> {
    let rows = rows(folder, first, width)?;
    let mut at = 0;
    while values.slots.len() < width {
        let Some(row) = rows.get(at).copied() else {
            let row = place_of_row(first + values.slots.len() as u64);
            values
                .slots
                .push(Kept::Damaged("it has no row".to_owned(), row));
            continue;
        };
        if row.length == 0 {
            values
                .slots
                .push(Kept::Nothing(place_of_row(first + at as u64)));
            at += 1;
            continue;
        }
        if row.length > LONGEST_VALUES || row.end() > WITHHELD_FILE {
            let fault = "its row says that they lie where none can".to_owned();
            let row = place_of_row(first + at as u64);
            values.slots.push(Kept::Damaged(fault, row));
            at += 1;
            continue;
        }
        let mut last = row;
        let mut count = 1;
        while let Some(next) = rows.get(at + count).copied()
            && (1..=LONGEST_VALUES).contains(&next.length)
            && last.goes_on_with(next, row.values % WITHHELD_FILE)
        {
            last = next;
            count += 1;
        }
        let run = rows.get(at..at + count).unwrap_or_default();
        read_run(folder, run, values)?;
        at += count;
    }
    Ok(())
}

/// Reads values that lie one after another.
fn read_run(folder: &DataFolder, run: &[Row], values: &mut Values) -> Result<(), Unavailable> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return Ok(());
    };
    let Place { file, offset } = first.place();
    let Some(open) = folder.open(&file)? else {
        values
            .slots
            .extend(run.iter().map(|row| Kept::Gone(row.place())));
        return Ok(());
    };
    let length = usize::try_from(last.end() - offset).unwrap_or(0);
    let start = values.octets.len();
    read_at(folder, &file, &open, offset, length, &mut values.octets)?;
    for row in run {
        let place = row.place();
        let at = start + usize::try_from(place.offset - offset).unwrap_or(0);
        let end = at + HEADER + usize::try_from(row.length).unwrap_or(0);
        let octets = values.octets.get(at..end);
        let header = octets.and_then(|octets| octets.first_chunk().copied().map(header_of));
        values.slots.push(match header {
            Some((length, checksum)) if at + HEADER + length == end => {
                let range = at + HEADER..end;
                Kept::There(range, Some(checksum), place)
            }
            Some(_) => {
                let fault = "they have not the length that its row says".to_owned();
                Kept::Damaged(fault, place)
            }
            None => Kept::Damaged("the file ends before them".to_owned(), place),
        });
    }
    Ok(())
}

/// The rows of entries, as far as they are there.
fn rows(folder: &DataFolder, first: u64, width: usize) -> Result<Vec<Row>, Unavailable> {
    let Place { file, offset } = place_of_row(first);
    let Some(open) = folder.open(&file)? else {
        return Ok(Vec::new());
    };
    let mut octets = Vec::new();
    read_at(folder, &file, &open, offset, width * ROW, &mut octets)?;
    let (rows, _) = octets.as_chunks();
    Ok(rows.iter().map(Row::read).collect())
}

/// Adds up to `length` octets of a file, fewer if it ends before.
fn read_at(
    folder: &DataFolder,
    name: &str,
    file: &File,
    offset: u64,
    length: usize,
    octets: &mut Vec<u8>,
) -> Result<(), Unavailable> {
    let read = super::data_folder::read_at(file, offset, length, octets);
    read.map_err(|fault| folder.fault(name, &fault))
}

/// The first of these entries that has withheld values by its row, and where they should be.
pub fn first_with_values(
    folder: &DataFolder,
    first: u64,
    last: u64,
) -> Result<(u64, Place), Unavailable> {
    let mut at = first;
    while at <= last {
        let width = (TILE as u64 - at % TILE as u64).min(last - at + 1);
        let rows = rows(folder, at, usize::try_from(width).unwrap_or(TILE))?;
        let found = (at..).zip(rows).find(|(_, row)| row.length > 0);
        if let Some((index, row)) = found {
            return Ok((index, row.place()));
        }
        at += width;
    }
    Ok((last, place_of_row(last)))
}

/// Up to which entry the entries from `from` to before `until` say that values were deleted.
pub fn removed(folder: &DataFolder, from: u64, until: u64) -> Result<u64, Unavailable> {
    let mut removed = 0;
    for index in from..until {
        let Some(row) = rows(folder, index, 1)?.pop() else {
            break;
        };
        let name = DataFolder::records(row.leaf / RECORDS_FILE);
        let Some(open) = folder.open(&name)? else {
            break;
        };
        let (offset, mut leaf) = (row.leaf % RECORDS_FILE + HEADER as u64, Vec::new());
        let length = row.leaf_length.min(LONGEST);
        read_at(folder, &name, &open, offset, length, &mut leaf)?;
        let says = Reader::default()
            .read(&leaf)
            .ok()
            .and_then(|leaf| leaf.says);
        if let Some(Says::Removed { until }) = says
            && until <= index
        {
            removed = removed.max(until);
        }
    }
    Ok(removed)
}
