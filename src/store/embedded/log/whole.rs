//! The files of the log together: records, withheld values, rows and tree.

use std::io;
use std::ops::Range;

use super::super::Step;
use super::super::folder::Folder;
use super::super::frame::Commit;
use super::super::reached::LogEnd;
use super::heap::{Heap, Place, Unread, placed};
use super::levels::Levels;
use super::row::{ROW, Row};
use super::rows::Rows;
use crate::audit::LoggedEntry;
#[cfg(test)]
use crate::audit::Sealed;
use crate::audit::tree::Hash;

/// How many octets one file of records may hold.
const RECORDS_FILE: u64 = 256 << 20;

/// How many octets one file of withheld values may hold.
pub(in super::super) const WITHHELD_FILE: u64 = 64 << 20;

/// How far the times of entries may be apart that have their values in one file, in milliseconds: a day. So no value is
/// kept longer than a day because of its neighbours.
const WITHHELD_SPAN: u64 = 24 * 3600 * 1000;

/// The longest withheld values of one entry, in octets of JSON.
pub(in super::super) const LONGEST_WITHHELD: usize = 16 << 20;

/// How many rows are written again in one commit at most.
pub(super) const MOST_ERASED: u64 = 512;

/// An entry in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Added {
    /// Its row.
    pub(in super::super) row: Row,
    /// The hash of its leaf.
    pub(in super::super) hash: Hash,
    /// The leaf.
    pub(in super::super) leaf: Vec<u8>,
    /// What the leaf does not hold.
    pub(in super::super) withheld: Vec<u8>,
}

impl Added {
    /// How many octets of the disk it takes, about.
    pub(in super::super) fn octets(&self) -> usize {
        self.leaf.len() + self.withheld.len() + ROW + 64
    }
}

/// Rows without the marks that are made forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Erased {
    /// The number of the first entry.
    pub(in super::super) first: u64,
    /// Its row and those that follow, whole: what a crash leaves half written is written again from this alone.
    pub(in super::super) rows: Vec<u8>,
}

/// Where a leaf goes if the records end at `end`, and where they end then.
pub(in super::super) fn placed_leaf(end: u64, leaf: &[u8]) -> (Place, u64) {
    placed(end, length(leaf), RECORDS_FILE)
}

/// Where the withheld values of an entry of the time `at` go, and where they end then. Begins a new file when the last one
/// has values of another day.
pub(in super::super) fn placed_withheld(
    log: &mut LogEnd,
    withheld: &[u8],
    at: i64,
) -> (Place, u64) {
    if withheld.is_empty() {
        let nothing = Place {
            start: log.withheld,
            length: 0,
        };
        return (nothing, log.withheld);
    }
    let is_far = at.abs_diff(log.withheld_since) > WITHHELD_SPAN;
    let from = if is_far {
        log.withheld.next_multiple_of(WITHHELD_FILE)
    } else {
        log.withheld
    };
    let (place, end) = placed(from, length(withheld), WITHHELD_FILE);
    if place.start % WITHHELD_FILE == 0 {
        log.withheld_since = at;
    }
    (place, end)
}

/// Lengths are bounded far below by what a leaf and its values may be.
fn length(text: &[u8]) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// The log on disk.
pub(in super::super) struct LogFiles {
    pub(super) records: Heap,
    pub(super) withheld: Heap,
    pub(super) rows: Rows,
    /// None if this store is to be compared with one that has a tree.
    pub(super) tree: Option<Levels>,
}

/// Why something of the log was not read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is not what was written; the sentence says what and where.
    Damaged { index: u64, what: String },
    /// The disk or the system failed.
    Failed(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl LogFiles {
    pub(in super::super) fn open(folder: &Folder, with_tree: bool) -> Self {
        Self {
            records: Heap::new(&folder.records(), RECORDS_FILE),
            withheld: Heap::new(&folder.withheld(), WITHHELD_FILE),
            rows: Rows::new(&folder.rows()),
            tree: with_tree.then(|| Levels::new(&folder.tree())),
        }
    }

    /// Adds entries from the number `first` on, and then erases marks. What was there already is written again as it was.
    /// Not durable yet. Withheld values from before `log.withheld_from` are left out.
    pub(in super::super) fn write(
        &self,
        first: u64,
        entries: &[Added],
        erased: &[Erased],
        log: &LogEnd,
        reach: &dyn Fn(Step) -> io::Result<()>,
    ) -> io::Result<()> {
        if !entries.is_empty() {
            let leaves = entries.iter();
            let leaves = leaves.map(|entry| (entry.row.leaf.start, entry.leaf.as_slice()));
            self.records.write(leaves)?;
            reach(Step::RecordsWritten)?;
            let kept = entries.iter().filter(|entry| {
                entry.row.withheld.length > 0 && entry.row.withheld.start >= log.withheld_from
            });
            let kept = kept.map(|entry| (entry.row.withheld.start, entry.withheld.as_slice()));
            self.withheld.write(kept)?;
            reach(Step::WithheldWritten)?;
            let mut rows = Vec::with_capacity(entries.len() * ROW);
            for (index, entry) in (first..).zip(entries) {
                rows.extend(entry.row.write(index));
            }
            self.rows.write(first, &rows)?;
            reach(Step::RowsWritten)?;
            self.write_tree(first, entries, reach)?;
        }
        for erased in erased {
            self.rows.write(erased.first, &erased.rows)?;
            reach(Step::MarksErased)?;
        }
        Ok(())
    }

    fn write_tree(
        &self,
        first: u64,
        entries: &[Added],
        reach: &dyn Fn(Step) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(tree) = &self.tree else {
            return Ok(());
        };
        let mut first = first;
        let mut hashes: Vec<Hash> = entries.iter().map(|entry| entry.hash).collect();
        let mut level = 0;
        while !hashes.is_empty() {
            (first, hashes) = tree.write(level, first, &hashes)?;
            reach(Step::LevelWritten(level))?;
            level += 1;
        }
        Ok(())
    }

    /// Makes everything durable that was written before.
    pub(in super::super) fn sync(&self) -> io::Result<()> {
        self.records.files.sync()?;
        self.withheld.files.sync()?;
        self.rows.files.sync()?;
        self.tree.as_ref().map_or(Ok(()), |tree| tree.files.sync())
    }

    /// Writes over itself what could not be synced, and syncs it.
    pub(in super::super) fn write_again(&self) -> io::Result<()> {
        self.records.files.write_again()?;
        self.withheld.files.write_again()?;
        self.rows.files.write_again()?;
        let tree = self.tree.as_ref();
        tree.map_or(Ok(()), |tree| tree.files.write_again())
    }

    /// Whether all files end where the log does. If not, they and the index are not of one time, and nothing may be added.
    pub(in super::super) fn check_end(&self, log: &LogEnd) -> io::Result<()> {
        self.records.check_end(0, log.records)?;
        self.withheld.check_end(log.withheld_from, log.withheld)?;
        self.rows.check_end(log.size)?;
        let tree = self.tree.as_ref();
        tree.map_or(Ok(()), |tree| tree.check_end(log.size))
    }

    /// Whether the files reach up to where these commits begin, which are about to be made again in them: what is missing
    /// before that nobody has.
    pub(in super::super) fn check_begin(&self, commits: &[Commit]) -> io::Result<()> {
        let Some(last) = commits.last() else {
            return Ok(());
        };
        let mut each = commits.iter().filter(|commit| !commit.entries.is_empty());
        let Some((first, row)) = each.find_map(|commit| {
            let entry = commit.entries.first()?;
            Some((commit.first(), entry.row))
        }) else {
            return Ok(());
        };
        let from = last.reached.log.withheld_from;
        let missing = if !self.records.reaches(row.leaf.start)? {
            "records"
        } else if row.withheld.start >= from && !self.withheld.reaches(row.withheld.start)? {
            "withheld values"
        } else if !self.rows.reaches(first)? {
            "rows"
        } else if !self
            .tree
            .as_ref()
            .map_or(Ok(true), |tree| tree.reaches(first))?
        {
            "hashes"
        } else {
            return Ok(());
        };
        Err(io::Error::other(format!(
            "the log has lost {missing} of entries before number {first}; restore the whole data folder from one backup"
        )))
    }

    /// Deletes the files of withheld values before the place `from`.
    pub(in super::super) fn remove_withheld(&self, from: u64) -> io::Result<()> {
        self.withheld.files.remove_before(from / WITHHELD_FILE)
    }

    /// Whether files of withheld values before the place `from` are still there.
    pub(in super::super) fn has_withheld_before(&self, from: u64) -> io::Result<bool> {
        let found = self.withheld.files.lengths()?;
        Ok(found.range(..from / WITHHELD_FILE).next().is_some())
    }

    /// The entries of a range, those that there are.
    pub(super) fn entries(
        &self,
        range: Range<u64>,
        log: &LogEnd,
    ) -> Result<Vec<LoggedEntry>, Unreadable> {
        let range = range.start..range.end.min(log.size);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows = Vec::new();
        for (index, row) in self.rows.read(range.clone())?.iter() {
            rows.push(self.whole(index, row)?);
        }
        let leaves: Vec<Place> = rows.iter().map(|row| row.leaf).collect();
        let kept = |row: &&Row| row.withheld.length > 0 && row.withheld.start >= log.withheld_from;
        let withheld: Vec<Place> = rows.iter().filter(kept).map(|row| row.withheld).collect();
        let leaves = self.records.read_all(&leaves);
        let mut withheld = self.withheld.read_all(&withheld).into_iter();
        let mut entries = Vec::with_capacity(rows.len());
        for ((index, row), leaf) in range.zip(&rows).zip(leaves) {
            let leaf = checked(index, "the leaf", &self.records, row.leaf, leaf)?;
            let values = if kept(&row) { withheld.next() } else { None };
            let values = values.map(|values| {
                checked(
                    index,
                    "what is withheld",
                    &self.withheld,
                    row.withheld,
                    values,
                )
            });
            entries.push(LoggedEntry {
                index,
                leaf,
                withheld: values.transpose()?,
            });
        }
        Ok(entries)
    }

    /// How many of the first `size` entries come before all for whose rows `is_before` is false: it must be true up to some
    /// row and false from there on.
    pub(super) fn partition(
        &self,
        size: u64,
        is_before: impl Fn(&Row) -> bool,
    ) -> Result<u64, Unreadable> {
        let (mut low, mut high) = (0, size);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(&self.row(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The row that was read of an entry. If it is not whole its marks may just have been erased, and it is read again.
    pub(super) fn whole(&self, index: u64, read: &[u8; ROW]) -> Result<Row, Unreadable> {
        if Row::is_whole(read, index) {
            Ok(Row::read(read))
        } else {
            self.row(index)
        }
    }

    /// The row of an entry, which is there.
    pub(super) fn row(&self, index: u64) -> Result<Row, Unreadable> {
        self.rows.row(index)?.ok_or_else(|| Unreadable::Damaged {
            index,
            what: format!(
                "the row of entry {index} is not what was written: {}",
                self.rows.name(index)
            ),
        })
    }
}

/// The text that was read of an entry, or why not.
fn checked(
    index: u64,
    what: &str,
    heap: &Heap,
    place: Place,
    read: Result<Vec<u8>, Unread>,
) -> Result<Vec<u8>, Unreadable> {
    read.map_err(|unread| {
        let why = match unread {
            Unread::Damaged => "is not what was written".to_owned(),
            Unread::Failed(error) if will_pass(&error) => return Unreadable::Failed(error),
            Unread::Failed(error) => format!("cannot be read ({error})"),
        };
        let place = heap.name(place);
        Unreadable::Damaged {
            index,
            what: format!("{what} of entry {index} {why}: {place}"),
        }
    })
}

/// Whether an error is of the system and not of the file: it says nothing of the log.
pub(super) fn will_pass(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::INTR,
        Errno::AGAIN,
    ];
    passing.contains(&Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// A leaf without anything else, for tests of other files.
#[cfg(test)]
pub(in super::super) fn sealed(leaf: Vec<u8>) -> Sealed {
    Sealed {
        leaf_hash: crate::audit::tree::leaf_hash(&leaf),
        leaf,
        withheld: Vec::new(),
        marks: crate::audit::Marks::NONE,
    }
}
