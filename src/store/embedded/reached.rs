//! How far the store is: the last commit, and what the log has come to with it.

use super::frame::Cursor;
use super::log::{Added, Row, placed_leaf, placed_withheld};
use crate::audit::Sealed;
use crate::ledger::BEHIND_AT_MOST;

/// How many octets the written form has.
pub(super) const REACHED: usize = 9 * 8;

/// The state after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reached {
    /// The number of the last commit.
    pub(super) number: u64,
    /// What the log has come to with it.
    pub(super) log: LogEnd,
}

/// Where the log ends. What comes next follows from this and from the entry alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogEnd {
    /// How many entries there are.
    pub(super) size: u64,
    /// Where the records end.
    pub(super) records: u64,
    /// Where the withheld values end.
    pub(super) withheld: u64,
    /// Where the withheld values begin that were not deleted: the beginning of a file.
    pub(super) withheld_from: u64,
    /// When the first entry was that has its values in the last of their files, in milliseconds since the epoch.
    pub(super) withheld_since: i64,
    /// The latest time of all entries.
    pub(super) latest: i64,
    /// The latest time since the clock was last put back.
    pub(super) latest_since: i64,
    /// The number of the entry that says so; 0 if there is none, which the first entry never is.
    pub(super) put_back: u64,
}

impl Default for LogEnd {
    fn default() -> Self {
        Self {
            size: 0,
            records: 0,
            withheld: 0,
            withheld_from: 0,
            withheld_since: 0,
            latest: i64::MIN,
            latest_since: i64::MIN,
            put_back: 0,
        }
    }
}

impl LogEnd {
    /// The latest time before, if an entry of the time `at_millis` must be announced by one that says that the clock was put
    /// back.
    pub(super) fn put_back_from(&self, at_millis: i64) -> Option<i64> {
        let allowed = self.latest_since.saturating_sub(BEHIND_AT_MOST);
        (self.size > 0 && at_millis < allowed).then_some(self.latest_since)
    }

    /// Places an entry behind the last one.
    pub(super) fn add(&mut self, sealed: Sealed, is_put_back: bool) -> Added {
        let at = sealed.marks.at_millis;
        let (leaf, records) = placed_leaf(self.records, &sealed.leaf);
        let (withheld, end) = placed_withheld(self, &sealed.withheld, at);
        self.records = records;
        self.withheld = end;
        self.latest = self.latest.max(at);
        self.latest_since = self.latest_since.max(at);
        if is_put_back {
            self.latest_since = at;
            self.put_back = self.size;
        }
        self.size += 1;
        Added {
            row: Row {
                leaf,
                withheld,
                latest: self.latest,
                marks: sealed.marks,
            },
            hash: sealed.leaf_hash,
            leaf: sealed.leaf,
            withheld: sealed.withheld,
        }
    }
}

impl Reached {
    /// As it is kept.
    pub(super) fn write(&self) -> [u8; REACHED] {
        let log = &self.log;
        let numbers = [
            self.number.to_be_bytes(),
            log.size.to_be_bytes(),
            log.records.to_be_bytes(),
            log.withheld.to_be_bytes(),
            log.withheld_from.to_be_bytes(),
            log.withheld_since.to_be_bytes(),
            log.latest.to_be_bytes(),
            log.latest_since.to_be_bytes(),
            log.put_back.to_be_bytes(),
        ];
        let mut octets = [0; REACHED];
        octets.copy_from_slice(numbers.as_flattened());
        octets
    }

    /// Reads it back.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let mut octets = Cursor(octets);
        let mut number = || octets.fixed().map(u64::from_be_bytes);
        let (commit, size, records) = (number()?, number()?, number()?);
        let (withheld, withheld_from) = (number()?, number()?);
        let mut signed = || number().map(u64::cast_signed);
        let log = LogEnd {
            size,
            records,
            withheld,
            withheld_from,
            withheld_since: signed()?,
            latest: signed()?,
            latest_since: signed()?,
            put_back: number()?,
        };
        let whole = Self {
            number: commit,
            log,
        };
        octets.0.is_empty().then_some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_is_read_back_as_it_was_written() {
        let reached = Reached {
            number: 1,
            log: LogEnd {
                size: 2,
                records: 3,
                withheld: 4,
                withheld_from: 5,
                withheld_since: -6,
                latest: i64::MIN,
                latest_since: 8,
                put_back: 9,
            },
        };
        let octets = reached.write();
        assert_eq!(Reached::read(&octets), Some(reached));
        assert_eq!(Reached::read(&octets[1..]), None);
    }

    #[test]
    fn an_entry_may_be_a_minute_behind_and_no_more() {
        let mut log = LogEnd::default();
        assert_eq!(log.put_back_from(i64::MIN), None);
        (log.size, log.latest_since) = (1, 100_000);
        assert_eq!(log.put_back_from(40_000), None);
        assert_eq!(log.put_back_from(39_999), Some(100_000));
    }
}
