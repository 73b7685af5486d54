//! Looking for entries: the rows are asked first, and what may be wanted is read. A row that is not what was written could
//! hide its entry, so each one is checked, which takes some 17 ms for a million.

use std::ops::Range;

use super::super::reached::LogEnd;
use super::super::shared::Shared;
use super::row::{Probe, ROW, Row};
use super::rows::Read;
use super::whole::{LogFiles, Unreadable};
use crate::audit::{DecisionId, Entry, Filter, LoggedEntry, Record, Wanted};
use crate::ledger::{BEHIND_AT_MOST, LARGEST_PAGE, Page};

/// How many rows are read at once at most.
const BLOCK: u64 = 1024;

/// How many rows are read at first: who wants the newest entries of any kind needs no more.
const FIRST_BLOCK: u64 = 128;

/// How many rows one question looks at, about.
const MOST_ROWS: u64 = 4_000_000;

/// How many entries one question reads that turn out not to be wanted.
const MOST_MISSES: usize = 4096;

impl Shared {
    /// What `read` finds in the files of the log. What turns out to be damaged is kept as a fault.
    pub(super) fn in_log<T>(
        &self,
        read: impl Fn(&LogFiles, &LogEnd) -> Result<T, Unreadable>,
    ) -> Result<T, String> {
        loop {
            let log = self.progress.applied().log;
            let unreadable = match read(&self.log, &log) {
                Ok(found) => return Ok(found),
                Err(unreadable) => unreadable,
            };
            if self.progress.applied().log.withheld_from > log.withheld_from {
                // Values were deleted while they were read.
                continue;
            }
            return Err(match unreadable {
                Unreadable::Failed(error) => format!("the log cannot be read: {error}"),
                Unreadable::Damaged { index, what } => {
                    self.fault.found(&self.folder, index, what.clone());
                    what
                }
            });
        }
    }
}

/// At most `limit` entries that `filter` wants, the newest first, from before the entry `before`.
pub(super) fn search(
    shared: &Shared,
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
) -> Result<Page, String> {
    shared.in_log(|files, log| page(files, log, filter, before, limit))
}

fn page(
    files: &LogFiles,
    log: &LogEnd,
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
) -> Result<Page, Unreadable> {
    let wanted = filter.wanted();
    let probe = Probe::of(&wanted);
    let range = narrowed(files, log, &wanted)?;
    let mut rows = Read::default();
    let mut at = before.unwrap_or(u64::MAX).min(range.end);
    let enough = at.saturating_sub(MOST_ROWS);
    let mut block = FIRST_BLOCK;
    let mut entries = Vec::new();
    let (mut octets, mut misses) = (0, 0);
    let mut is_full = limit == 0;
    while at > range.start && at > enough && !is_full {
        let first = at.saturating_sub(block).max(range.start);
        files.rows.read_over(&mut rows, first..at)?;
        for (index, row) in rows.iter().rev() {
            if may_be(files, &wanted, &probe, index, row)? {
                match matching(files, log, filter, index)? {
                    Some(entry) => {
                        octets += entry.octets();
                        entries.push(entry);
                    }
                    None => misses += 1,
                }
            }
            at = index;
            is_full = entries.len() >= limit || octets >= LARGEST_PAGE || misses >= MOST_MISSES;
            if is_full {
                break;
            }
        }
        block = (block * 4).min(BLOCK);
    }
    let next = (at > range.start).then_some(at);
    Ok(Page { entries, next })
}

/// Whether an entry may be wanted, by its row as it was read. One that is not whole may just be having its marks erased,
/// and is read again; if it is damaged, that hides no entry.
fn may_be(
    files: &LogFiles,
    wanted: &Wanted,
    probe: &Probe,
    index: u64,
    row: &[u8; ROW],
) -> Result<bool, Unreadable> {
    if Row::is_whole(row, index) {
        return Ok(probe.may_be(row));
    }
    Ok(wanted.may_be(&files.row(index)?.marks))
}

/// The entry of this number, if `filter` wants it. What is JSON and no entry that this program knows is no damage.
fn matching(
    files: &LogFiles,
    log: &LogEnd,
    filter: &Filter,
    index: u64,
) -> Result<Option<LoggedEntry>, Unreadable> {
    let Some(logged) = files.entries(index..index + 1, log)?.pop() else {
        return Ok(None);
    };
    let entry = read(&logged)?;
    Ok(filter.matches(&entry).then_some(logged))
}

fn read(logged: &LoggedEntry) -> Result<Entry, Unreadable> {
    logged.entry().map_err(|invalid| Unreadable::Damaged {
        index: logged.index,
        what: invalid.to_string(),
    })
}

/// Where the entries are that are of a time that is wanted.
///
/// The latest time of all entries before rises, so the first that can be wanted is found by halving. An entry may be
/// behind the latest one, but no more than [`BEHIND_AT_MOST`], unless the clock was put back after.
fn narrowed(files: &LogFiles, log: &LogEnd, wanted: &Wanted) -> Result<Range<u64>, Unreadable> {
    let start = match wanted.since_millis {
        i64::MIN => 0,
        since => files.partition(log.size, |row| row.latest < since)?,
    };
    let end = match wanted.until_millis.saturating_add(BEHIND_AT_MOST) {
        i64::MAX => log.size,
        until => {
            let end = files.partition(log.size, |row| row.latest < until)?;
            if log.put_back > end { log.size } else { end }
        }
    };
    Ok(start..end)
}

/// The record of a decision.
pub(in super::super) fn decision(
    shared: &Shared,
    id: DecisionId,
) -> Result<Option<Record>, String> {
    let filter = Filter {
        kind: Some("decision".into()),
        id: Some(id.to_string()),
        ..Filter::default()
    };
    shared.in_log(|files, log| {
        let wanted = filter.wanted();
        let probe = Probe::of(&wanted);
        let range = narrowed(files, log, &wanted)?;
        // It is among the first: only what was under way at the same moment can stand before it.
        let (mut at, mut block) = (range.start, FIRST_BLOCK);
        while at < range.end {
            let end = (at + block).min(range.end);
            for (index, row) in files.rows.read(at..end)?.iter() {
                if !may_be(files, &wanted, &probe, index, row)? {
                    continue;
                }
                if let Some(logged) = matching(files, log, &filter, index)?
                    && let Entry::Decision(record) = read(&logged)?
                {
                    return Ok(Some(*record));
                }
            }
            at = end;
            block = (block * 4).min(BLOCK);
        }
        Ok(None)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::super::queue::Share;
    use super::super::super::{EmbeddedStore, Options};
    use super::super::whole::sealed;
    use super::*;
    use crate::audit::{Facts, Happening};
    use crate::clock::{FrozenClock, UnixTime};
    use crate::ledger::{AuditLog as _, Ledger as _};

    const NOON: UnixTime = UnixTime::from_seconds(1_795_003_200);

    #[tokio::test]
    async fn what_only_a_later_version_knows_is_no_damage_and_is_found_by_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FrozenClock::at(NOON));
        let store = EmbeddedStore::open(folder.path(), clock, Options::default()).unwrap();
        let id = DecisionId::new(NOON);
        let mut expected = Vec::new();
        for entry in [
            json!({"kind": "role-given", "event_id": id.to_string(), "at_millis": NOON.millis(), "project": "acme/api"}),
            json!({"kind": "decision", "decision_id": id.to_string(), "at_millis": NOON.millis(), "project": "acme/api", "outcome": "postponed"}),
        ] {
            let mut sealed = sealed(serde_json::to_vec(&entry).unwrap());
            sealed.marks = Facts::of(&Entry::Unknown(entry)).marks();
            expected.push(sealed.leaf.clone());
            let put = store.ask(Share::Whole, |draft| draft.put_entry(sealed));
            put.await.unwrap();
        }
        let known = Happening::SigningKeyRetired {
            key_id: "one".into(),
        };
        store.append(vec![known], NOON).await.unwrap();
        for filter in [
            json!({"project": "acme/api"}),
            json!({"organization": "acme"}),
            json!({"id": id.to_string()}),
        ] {
            let filter: Filter = serde_json::from_value(filter).unwrap();
            let found = store.search(filter, None, 9).await.unwrap().entries;
            let leaves = found.into_iter().rev().map(|logged| logged.leaf);
            assert!(leaves.eq(expected.iter().cloned()));
        }
        let all = store.search(Filter::default(), None, 9).await.unwrap();
        assert_eq!(all.entries.len(), 3);
        assert!(store.decision(id).await.unwrap().is_none());
        assert_eq!(store.fault(), None);
        store.close();
    }
}
