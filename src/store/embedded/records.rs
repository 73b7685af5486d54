//! The records: what is kept for good, one entry after another, in files that only grow.
//!
//! An entry is its length (4 octets), the CRC-32 (as in zlib) of its octets (4 octets), both little-endian, and its
//! octets. Places count from the first octet of the first file. A file holds [`FILE`] of them at most, and no entry
//! lies in two files.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::index::write_again;

/// How many octets one file may hold.
const FILE: u64 = 256 << 20;

/// The longest entry, in octets.
pub(super) const LONGEST_ENTRY: usize = 16 << 20;

/// The octets in front of each entry.
const HEADER: u64 = 8;

/// Entries are gathered to about this many octets for one write.
const LARGEST_BLOCK: usize = 1 << 20;

/// How many files are kept open for reading.
const MOST_OPEN: usize = 64;

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its first octet, counted over all files.
    pub(super) start: u64,
    /// Its length without its header.
    pub(super) length: u32,
}

impl Place {
    /// As a value of the index.
    pub(super) fn write(self) -> Vec<u8> {
        [&self.start.to_be_bytes()[..], &self.length.to_be_bytes()].concat()
    }

    /// Reads it back.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let (start, rest) = value.split_first_chunk()?;
        let start = u64::from_be_bytes(*start);
        let length = u32::from_be_bytes(rest.try_into().ok()?);
        Some(Self { start, length })
    }
}

/// Where `entry` begins if it is added when the records end at `end`, and where they end then.
pub(super) fn placed(end: u64, entry: &[u8]) -> (Place, u64) {
    // A longer one is refused before, and would not be found.
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
    let whole = HEADER + u64::from(length);
    let left = FILE - end % FILE;
    let start = if whole <= left { end } else { end + left };
    (Place { start, length }, start + whole)
}

/// The files of one folder.
pub(super) struct Records {
    folder: PathBuf,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    open: BTreeMap<u64, Arc<File>>,
    /// Those that were written since they were last synced.
    unsynced: BTreeSet<u64>,
}

impl Records {
    /// The records in `folder`.
    pub(super) fn open(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            files: Mutex::default(),
        }
    }

    /// Whether the files end at `end`. If not, they and the index are not of one time, and nothing may be added.
    pub(super) fn check_end(&self, end: u64) -> io::Result<()> {
        let mut last = None;
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(number) = name.and_then(|name| name.parse::<u64>().ok()) {
                last = last.max(Some((number, path.metadata()?.len())));
            }
        }
        let found = last.map_or(0, |(number, length)| number * FILE + length);
        let why = match found.cmp(&end) {
            Ordering::Equal => return Ok(()),
            Ordering::Greater => "the index is older than the records",
            Ordering::Less => "the records have lost their end",
        };
        Err(io::Error::other(format!(
            "{why}; restore the whole data folder from a backup"
        )))
    }

    /// Writes entries where they were [`placed`]. Not durable yet.
    pub(super) fn write<'a>(
        &self,
        entries: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> io::Result<()> {
        let mut block = Vec::new();
        let mut begins = 0;
        for (start, entry) in entries {
            let follows = start == begins + block.len() as u64 && start % FILE != 0;
            if !follows || block.len() > LARGEST_BLOCK {
                self.write_block(begins, &block)?;
                block.clear();
                begins = start;
            }
            let length = u32::try_from(entry.len()).map_err(io::Error::other)?;
            block.extend(length.to_le_bytes());
            block.extend(crc32fast::hash(entry).to_le_bytes());
            block.extend(entry);
        }
        self.write_block(begins, &block)
    }

    /// The entry at `place`.
    pub(super) fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut whole = vec![0; usize::try_from(HEADER).unwrap_or(0) + place.length as usize];
        self.file(place.start / FILE)?
            .read_exact_at(&mut whole, place.start % FILE)?;
        let damaged = || io::Error::other("an entry of the records is damaged");
        let (length, rest) = whole.split_first_chunk().ok_or_else(damaged)?;
        let (sum, entry) = rest.split_first_chunk().ok_or_else(damaged)?;
        let whole = u32::from_le_bytes(*length) == place.length
            && u32::from_le_bytes(*sum) == crc32fast::hash(entry);
        whole.then(|| entry.to_vec()).ok_or_else(damaged)
    }

    /// Makes everything durable that was added before.
    pub(super) fn sync(&self) -> io::Result<()> {
        let unsynced = std::mem::take(&mut self.lock().unsynced);
        let sync = |number: &u64| self.file(*number)?.sync_data();
        // The folder too: one of the files may be new.
        let synced = unsynced.iter().try_for_each(sync);
        let synced = synced.and_then(|()| File::open(&self.folder)?.sync_all());
        if synced.is_err() {
            self.lock().unsynced.extend(&unsynced);
        }
        synced
    }

    /// Writes the files over themselves that could not be synced, and syncs them.
    pub(super) fn write_again(&self) -> io::Result<()> {
        let unsynced = std::mem::take(&mut self.lock().unsynced);
        for number in &unsynced {
            if let Err(error) = write_again(&self.path(*number)) {
                self.lock().unsynced.extend(&unsynced);
                return Err(error);
            }
        }
        Ok(())
    }

    fn write_block(&self, start: u64, block: &[u8]) -> io::Result<()> {
        if block.is_empty() {
            return Ok(());
        }
        let number = start / FILE;
        self.lock().unsynced.insert(number);
        let file = self.opened(number, OpenOptions::new().create(true).mode(0o600))?;
        file.write_all_at(block, start % FILE)
    }

    fn file(&self, number: u64) -> io::Result<Arc<File>> {
        self.opened(number, &mut OpenOptions::new())
    }

    fn opened(&self, number: u64, options: &mut OpenOptions) -> io::Result<Arc<File>> {
        if let Some(file) = self.lock().open.get(&number) {
            return Ok(file.clone());
        }
        let file = options.read(true).write(true).open(self.path(number))?;
        let file = Arc::new(file);
        let mut files = self.lock();
        if files.open.len() >= MOST_OPEN {
            files.open.pop_first();
        }
        files.open.insert(number, file.clone());
        Ok(file)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}"))
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds entries to records that end at `end`, and answers where they lie and where the records end now.
    fn add(records: &Records, mut end: u64, entries: &[&[u8]]) -> (Vec<Place>, u64) {
        let mut places = Vec::new();
        for entry in entries {
            let (place, after) = placed(end, entry);
            places.push(place);
            end = after;
        }
        let starts = places.iter().map(|place| place.start);
        records.write(starts.zip(entries.iter().copied())).unwrap();
        (places, end)
    }

    #[test]
    fn entries_are_read_back_from_where_they_were_placed() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path());
        let long = vec![b'x'; 3 << 20];
        let entries = [&b"one"[..], b"", &long, b"last"];
        let (places, end) = add(&records, 0, &entries);
        records.sync().unwrap();
        let again = Records::open(folder.path());
        again.check_end(end).unwrap();
        for (place, entry) in places.into_iter().zip(entries) {
            assert_eq!(again.read(place).unwrap(), entry);
            assert_eq!(Place::read(&place.write()), Some(place));
        }
    }

    #[test]
    fn no_entry_lies_in_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path());
        let entries = [&b"fits"[..], b"fits no more", b"next"];
        let (places, end) = add(&records, FILE - 20, &entries);
        assert_eq!(places[1].start, FILE);
        for (place, entry) in places.into_iter().zip(entries) {
            assert_eq!(records.read(place).unwrap(), entry);
        }
        assert_eq!(end, FILE + 2 * HEADER + 16);
        let exactly = vec![0; 12];
        assert_eq!(placed(FILE - 20, &exactly).1, FILE);
        assert_eq!(placed(FILE, &exactly).0.start, FILE);
    }

    #[test]
    fn records_that_are_not_of_the_time_of_the_index_are_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path());
        assert!(records.check_end(10).is_err());
        let (_, end) = add(&records, 0, &[b"one"]);
        records.check_end(end).unwrap();
        let fault = |end| records.check_end(end).unwrap_err().to_string();
        assert!(fault(end + 1).contains("have lost their end"));
        assert!(fault(end - 1).contains("is older than the records"));
    }

    #[test]
    fn a_changed_octet_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path());
        let place = add(&records, 0, &[b"one"]).0[0];
        records.file(0).unwrap().write_all_at(b"0", 8).unwrap();
        assert!(records.read(place).is_err());
    }
}
