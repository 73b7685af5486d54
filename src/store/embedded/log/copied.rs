//! What a copy of the log is made of: entries with their marks and hashes, and where the log ends.

use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::copy::{CopiedEntry, LARGEST_PART};
use super::super::shared::Shared;
use super::whole::{LogFiles, Unreadable};
use crate::audit::tree::Hash;

/// What can be said of the log at once.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct End {
    pub(in super::super) size: u64,
    pub(in super::super) root: Hash,
    pub(in super::super) latest: Option<i64>,
    pub(in super::super) latest_since: Option<i64>,
    pub(in super::super) put_back: u64,
    /// The number of the first entry whose withheld values were not deleted.
    pub(in super::super) withheld_from: u64,
}

/// Where the log ends.
pub(in super::super) fn end(shared: &Shared) -> Result<End, String> {
    shared.in_log(|files, log| {
        let withheld_from =
            files.partition(log.size, |row| row.withheld.start < log.withheld_from)?;
        let tree = files.tree.as_ref();
        let root = tree.map(|tree| tree.hash(0..log.size)).transpose()?;
        let some = |millis: i64| (log.size > 0).then_some(millis);
        Ok(End {
            size: log.size,
            root: root.unwrap_or_default(),
            latest: some(log.latest),
            latest_since: some(log.latest_since),
            put_back: log.put_back,
            withheld_from,
        })
    })
}

/// The entries of a range, fewer if they are long.
pub(in super::super) fn copied(
    shared: &Shared,
    range: Range<u64>,
) -> Result<Vec<CopiedEntry>, String> {
    shared.in_log(|files, log| {
        let range = range.start..range.end.min(log.size);
        let end = fitting_end(files, &range)?;
        let range = range.start..end;
        let entries = files.entries(range.clone(), log)?;
        let hashes = match &files.tree {
            Some(tree) => tree.read(0, range.clone())?,
            None => Vec::new(),
        };
        let mut copied = Vec::with_capacity(entries.len());
        for (entry, hash) in entries.into_iter().zip(hashes) {
            copied.push(CopiedEntry {
                hash,
                marks: files.row(entry.index)?.marks,
                leaf: entry.leaf,
                withheld: entry.withheld.unwrap_or_default(),
            });
        }
        Ok(copied)
    })
}

/// Where a range is to end so that its entries are no longer together than a part may be, or is one entry.
fn fitting_end(files: &LogFiles, range: &Range<u64>) -> Result<u64, Unreadable> {
    let mut octets = 0;
    for (index, row) in files.rows.read(range.clone())?.iter() {
        let row = files.whole(index, row)?;
        octets += row.leaf.length as usize + row.withheld.length as usize;
        if octets > LARGEST_PART && index > range.start {
            return Ok(index);
        }
    }
    Ok(range.end)
}

/// Whether a leaf says that something is withheld from it.
pub(in super::super) fn withholds(leaf: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Leaf {
        withheld: Option<IgnoredAny>,
    }
    let leaf = serde_json::from_slice::<Leaf>(leaf);
    leaf.is_ok_and(|leaf| leaf.withheld.is_some())
}
