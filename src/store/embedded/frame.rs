//! One commit as it lies in the journal.
//!
//! | octets | what |
//! |---|---|
//! | 8 | `csjrnl\x00\x02` |
//! | 8 | the generation of the segment, so that what an earlier use of the file left behind is not taken for ours |
//! | 8 | the number of the commit, counted from 1 |
//! | 4 | the length of what follows the header |
//! | 4 | CRC-32 (as in zlib) of generation, number, length and what follows |
//! | 72 | what the store has reached with this commit |
//! | 4, then each 88 + 4 + leaf + 4 + withheld | how many entries, then each: its row, its leaf, what the leaf does not hold |
//! | 4, then each 8 + 4 + rows | how many times rows are written again, then each: from which entry on, and the rows |
//! | 4, then each 2 + key + 4 + value | how many writes, then each; a value of length 2³² − 1 removes |
//!
//! Numbers are little-endian. A frame begins at a multiple of [`ALIGNED`], so that writing one never touches a block of
//! the disk that holds another, which was acknowledged.

use super::draft::Writes;
use super::log::{Added, Erased, ROW, Row};
use super::reached::{REACHED, Reached};
use crate::audit::tree::leaf_hash;

/// What the beginning of a frame is a multiple of, in octets: the block of every disk that is about.
pub(super) const ALIGNED: usize = 4096;

const MAGIC: [u8; 8] = *b"csjrnl\x00\x02";

const HEADER: usize = 32;

const REMOVED: u32 = u32::MAX;

/// What one commit writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    /// What the store has reached with it. Its number is counted from 1 and without a gap.
    pub(super) reached: Reached,
    /// What is added to the log.
    pub(super) entries: Vec<Added>,
    /// Rows of entries that are there, without the marks that are made forgotten.
    pub(super) erased: Vec<Erased>,
    /// What changes in the index.
    pub(super) writes: Writes,
}

impl Commit {
    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.reached.number
    }

    /// The number of the first entry that it adds, or would.
    pub(super) fn first(&self) -> u64 {
        self.reached
            .log
            .size
            .saturating_sub(self.entries.len() as u64)
    }
}

/// Writes `commit` into `buffer`, in place of what it holds, up to a multiple of [`ALIGNED`].
pub(super) fn encode(commit: &Commit, generation: u64, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend(MAGIC);
    buffer.extend(generation.to_le_bytes());
    buffer.extend(commit.number().to_le_bytes());
    buffer.extend([0; 8]);
    buffer.extend(commit.reached.write());
    buffer.extend(length(commit.entries.len()).to_le_bytes());
    for (index, entry) in (commit.first()..).zip(&commit.entries) {
        buffer.extend(entry.row.write(index));
        put(buffer, &entry.leaf);
        put(buffer, &entry.withheld);
    }
    buffer.extend(length(commit.erased.len()).to_le_bytes());
    for erased in &commit.erased {
        buffer.extend(erased.first.to_le_bytes());
        put(buffer, &erased.rows);
    }
    buffer.extend(length(commit.writes.len()).to_le_bytes());
    for (key, value) in &commit.writes {
        buffer.extend(u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
        buffer.extend(key);
        match value {
            None => buffer.extend(REMOVED.to_le_bytes()),
            Some(value) => put(buffer, value),
        }
    }
    let size = length(buffer.len() - HEADER).to_le_bytes();
    if let Some(place) = buffer.get_mut(24..28) {
        place.copy_from_slice(&size);
    }
    let sum = checksum(buffer).to_le_bytes();
    if let Some(place) = buffer.get_mut(28..HEADER) {
        place.copy_from_slice(&sum);
    }
    buffer.resize(buffer.len().next_multiple_of(ALIGNED), 0);
}

fn put(buffer: &mut Vec<u8>, octets: &[u8]) {
    buffer.extend(length(octets.len()).to_le_bytes());
    buffer.extend(octets);
}

/// Lengths are bounded far below by what a commit may hold; a larger one would not decode.
fn length(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(REMOVED)
}

/// Of everything but the magic and the checksum itself.
fn checksum(frame: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(frame.get(8..28).unwrap_or_default());
    sum.update(frame.get(HEADER..).unwrap_or_default());
    sum.finalize()
}

/// The commit at the beginning of `octets`, and how many octets of it were used; `None` if no whole frame of
/// `generation` begins there.
pub(super) fn decode(octets: &[u8], generation: u64) -> Option<(Commit, usize)> {
    let mut header = Cursor(octets);
    let ours = header.take(8)? == MAGIC && header.number()? == generation;
    let number = header.number()?;
    let size = usize::try_from(header.count()?).ok()?;
    let sum = header.count()?;
    let whole = octets.get(..HEADER.checked_add(size)?)?;
    if !ours || checksum(whole) != sum {
        return None;
    }
    let mut body = Cursor(whole.get(HEADER..)?);
    let reached = Reached::read(body.take(REACHED)?)?;
    let mut entries = Vec::new();
    for _ in 0..body.count()? {
        let row = Row::read(&body.fixed::<ROW>()?);
        let leaf = body.text()?;
        entries.push(Added {
            row,
            hash: leaf_hash(&leaf),
            leaf,
            withheld: body.text()?,
        });
    }
    let mut erased = Vec::new();
    for _ in 0..body.count()? {
        let (first, rows) = (body.number()?, body.text()?);
        erased.push(Erased { first, rows });
    }
    let mut writes = Writes::new();
    for _ in 0..body.count()? {
        let length = body.short()?;
        let key = body.take(usize::from(length))?.to_vec();
        let value = match body.count()? {
            REMOVED => None,
            length => Some(body.take(usize::try_from(length).ok()?)?.to_vec()),
        };
        writes.insert(key, value);
    }
    let commit = Commit {
        reached,
        entries,
        erased,
        writes,
    };
    let is_whole = body.0.is_empty() && commit.number() == number;
    is_whole.then_some((commit, whole.len()))
}

/// Reads from the front.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    pub(super) fn count(&mut self) -> Option<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        self.fixed().map(i64::from_le_bytes)
    }

    /// Octets with their length before them.
    fn text(&mut self) -> Option<Vec<u8>> {
        let length = self.count()?;
        Some(self.take(usize::try_from(length).ok()?)?.to_vec())
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.fixed().map(u16::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::sealed;
    use super::super::reached::LogEnd;
    use super::*;

    fn commit() -> Commit {
        let mut log = LogEnd::default();
        let octets = [b"{}".to_vec(), Vec::new(), vec![b'x'; 9000]];
        Commit {
            entries: octets.map(|leaf| log.add(sealed(leaf), false)).into(),
            erased: vec![Erased {
                first: 3,
                rows: vec![1; 2 * ROW],
            }],
            reached: Reached { number: 7, log },
            writes: [
                (b"spent".to_vec(), Some(b"1".to_vec())),
                (b"gone".to_vec(), None),
                (b"empty".to_vec(), Some(Vec::new())),
            ]
            .into(),
        }
    }

    fn frame() -> Vec<u8> {
        let mut buffer = vec![1; 3];
        encode(&commit(), 3, &mut buffer);
        buffer
    }

    #[test]
    fn a_commit_is_read_back_as_it_was_written() {
        let frame = frame();
        assert_eq!(frame.len() % ALIGNED, 0);
        let (read, used) = decode(&frame, 3).unwrap();
        assert_eq!(read, commit());
        assert!(used <= frame.len() && used > 9000);
    }

    #[test]
    fn what_an_earlier_use_of_the_file_left_behind_is_not_ours() {
        assert_eq!(decode(&frame(), 4), None);
    }

    #[test]
    fn a_frame_that_is_cut_short_or_changed_in_any_octet_is_none() {
        let frame = frame();
        let (_, used) = decode(&frame, 3).unwrap();
        for length in (0..used).step_by(97) {
            assert_eq!(decode(&frame[..length], 3), None, "{length} octets");
        }
        for place in (0..used).step_by(13).chain(0..HEADER) {
            let mut changed = frame.clone();
            changed[place] ^= 1;
            assert_eq!(decode(&changed, 3), None, "octet {place}");
        }
    }
}
