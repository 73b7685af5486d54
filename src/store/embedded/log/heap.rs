//! Octets of any length, one after another, in files that only grow.
//!
//! Each text is its length (4 octets), the CRC-32 (as in zlib) of its octets (4 octets), both little-endian, and its
//! octets. Places count from the first octet of the first file, as if each file were as long as it may be. No text lies
//! in two files.

use std::io;
use std::path::Path;

use super::files::{Files, check_end};

/// The octets in front of each text.
const HEADER: usize = 8;

/// Texts are gathered to about this many octets for one write or one read.
const LARGEST_BLOCK: usize = 1 << 20;

/// Where a text lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Place {
    /// Its first octet, counted over all files.
    pub(in super::super) start: u64,
    /// Its length without its header.
    pub(in super::super) length: u32,
}

impl Place {
    fn end(self) -> u64 {
        self.start + HEADER as u64 + u64::from(self.length)
    }
}

/// Where a text of this length begins if it is added when the heap ends at `end`, and where the heap ends then. Files have
/// at most `file` octets.
pub(super) fn placed(end: u64, length: u32, file: u64) -> (Place, u64) {
    let whole = HEADER as u64 + u64::from(length);
    let left = file - end % file;
    let start = if whole <= left { end } else { end + left };
    let place = Place { start, length };
    (place, place.end())
}

/// The files of one folder.
pub(super) struct Heap {
    pub(super) files: Files,
    /// How many octets one file may hold.
    file: u64,
}

impl Heap {
    /// The heap in `folder`, whose files have at most `file` octets.
    pub(super) fn new(folder: &Path, file: u64) -> Self {
        Self {
            files: Files::new(folder, 20),
            file,
        }
    }

    /// Whether the files from the one of the place `from` on end at `end`.
    pub(super) fn check_end(&self, from: u64, end: u64) -> io::Result<()> {
        let last = (end / self.file, end % self.file);
        check_end(&self.files, from / self.file, last, None)
    }

    /// Whether a file reaches up to `place`.
    pub(super) fn reaches(&self, place: u64) -> io::Result<bool> {
        let offset = place % self.file;
        let lengths = self.files.lengths()?;
        let length = lengths.get(&(place / self.file)).copied();
        Ok(length.unwrap_or(0) >= offset)
    }

    /// Writes texts where they were [`placed`], which is in order. Not durable yet.
    pub(super) fn write<'a>(
        &self,
        texts: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> io::Result<()> {
        let mut block = Vec::new();
        let mut begins = 0;
        for (start, text) in texts {
            let follows = start == begins + block.len() as u64 && start % self.file != 0;
            if !follows || block.len() > LARGEST_BLOCK {
                self.write_block(begins, &block)?;
                block.clear();
                begins = start;
            }
            let length = u32::try_from(text.len()).map_err(io::Error::other)?;
            block.extend(length.to_le_bytes());
            block.extend(crc32fast::hash(text).to_le_bytes());
            block.extend(text);
        }
        self.write_block(begins, &block)
    }

    fn write_block(&self, start: u64, block: &[u8]) -> io::Result<()> {
        self.files
            .write(start / self.file, start % self.file, block)
    }

    /// The texts at these places, each read if it is whole. Those that lie one after another are read at once.
    pub(super) fn read_all(&self, places: &[Place]) -> Vec<Result<Vec<u8>, Unread>> {
        let mut texts = Vec::with_capacity(places.len());
        let mut rest = places;
        while let Some(first) = rest.first() {
            let limit = first.start + LARGEST_BLOCK as u64;
            let mut end = first.end();
            let more = rest.iter().skip(1).take_while(|next| {
                let follows = next.start == end && end % self.file != 0 && next.end() <= limit;
                end = if follows { next.end() } else { end };
                follows
            });
            let count = 1 + more.count();
            let (run, left) = rest.split_at(count);
            self.read_run(run, end, &mut texts);
            rest = left;
        }
        texts
    }

    /// The text at one place.
    pub(super) fn read(&self, place: Place) -> Result<Vec<u8>, Unread> {
        let mut texts = self.read_all(&[place]);
        texts.pop().unwrap_or(Err(Unread::Damaged))
    }

    /// What the place is called in a message.
    pub(super) fn name(&self, place: Place) -> String {
        let name = self.files.name(place.start / self.file);
        format!("`{name}`, from octet {} on", place.start % self.file)
    }

    fn read_run(&self, run: &[Place], end: u64, texts: &mut Vec<Result<Vec<u8>, Unread>>) {
        let start = run.first().map_or(end, |first| first.start);
        let mut octets = vec![0; usize::try_from(end - start).unwrap_or(0)];
        let read = self
            .files
            .read(start / self.file, start % self.file, &mut octets);
        if read.is_err() && run.len() > 1 {
            // One of them is beyond the end of the file; the others are not.
            for place in run {
                texts.push(self.read(*place));
            }
            return;
        }
        let mut rest = octets.as_slice();
        for place in run {
            texts.push(match &read {
                Err(error) => Err(Unread::Failed(again(error))),
                Ok(()) => take(&mut rest, *place).ok_or(Unread::Damaged),
            });
        }
    }
}

/// Why a text was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// Its octets are not those that were written.
    Damaged,
    /// The file cannot be read, or is not there, or is shorter.
    Failed(io::Error),
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The text of `place` from the front of `octets`.
fn take(octets: &mut &[u8], place: Place) -> Option<Vec<u8>> {
    let (whole, rest) = octets.split_at_checked(HEADER + place.length as usize)?;
    *octets = rest;
    let (length, whole) = whole.split_first_chunk()?;
    let (sum, text) = whole.split_first_chunk()?;
    let is_whole = u32::from_le_bytes(*length) == place.length
        && u32::from_le_bytes(*sum) == crc32fast::hash(text);
    is_whole.then(|| text.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u64 = 8 << 20;

    fn heap(folder: &tempfile::TempDir) -> Heap {
        Heap::new(folder.path(), FILE)
    }

    /// Adds texts to a heap that ends at `end`, and answers where they lie and where it ends now.
    fn add(heap: &Heap, mut end: u64, texts: &[&[u8]]) -> (Vec<Place>, u64) {
        let mut places = Vec::new();
        for text in texts {
            let (place, after) = placed(end, u32::try_from(text.len()).unwrap(), FILE);
            places.push(place);
            end = after;
        }
        let starts = places.iter().map(|place| place.start);
        heap.write(starts.zip(texts.iter().copied())).unwrap();
        (places, end)
    }

    #[test]
    fn texts_are_read_back_from_where_they_were_placed() {
        let folder = tempfile::tempdir().unwrap();
        let long = vec![b'x'; 3 << 20];
        let texts = [&b"one"[..], b"", &long, b"last"];
        let (places, end) = add(&heap(&folder), 0, &texts);
        heap(&folder).files.sync().unwrap();
        heap(&folder).check_end(0, end).unwrap();
        let read = heap(&folder).read_all(&places);
        let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
        assert_eq!(read, texts);
    }

    #[test]
    fn no_text_lies_in_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let heap = heap(&folder);
        let texts = [&b"fits"[..], b"fits no more", b"next"];
        let (places, end) = add(&heap, FILE - 20, &texts);
        assert_eq!(places[1].start, FILE);
        let read = heap.read_all(&places);
        let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
        assert_eq!(read, texts);
        assert_eq!(end, FILE + 2 * HEADER as u64 + 16);
        assert_eq!(placed(FILE - 20, 12, FILE).1, FILE);
        assert_eq!(placed(FILE, 12, FILE).0.start, FILE);
    }

    #[test]
    fn files_that_are_not_of_the_time_of_the_index_are_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let heap = heap(&folder);
        assert!(heap.check_end(0, 10).is_err());
        let (_, end) = add(&heap, 0, &[b"one"]);
        heap.check_end(0, end).unwrap();
        let fault = |end| heap.check_end(0, end).unwrap_err().to_string();
        assert!(fault(end + 1).contains("has lost its end"));
        assert!(fault(end - 1).contains("is newer than the index"));
        assert!(fault(0).contains("is newer than the index"));
        let missing = heap.check_end(0, 2 * FILE + 1).unwrap_err().to_string();
        assert!(missing.contains("00001` is missing"), "{missing}");
        heap.check_end(FILE, FILE).unwrap();
    }

    #[test]
    fn a_changed_octet_is_noticed_and_its_neighbours_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let heap = heap(&folder);
        let (places, _) = add(&heap, 0, &[b"one", b"two", b"three"]);
        heap.files.write(0, 11 + 8, b"0").unwrap();
        let whole: Vec<_> = heap.read_all(&places).iter().map(Result::is_ok).collect();
        assert_eq!(whole, [true, false, true]);
    }
}
