//! What is looked at of an entry before it is read: where it lies, when it was, and its marks, in a fixed number of octets.
//!
//! | octets | what |
//! |---|---|
//! | 8, 2 | where the leaf lies in the records, and its length |
//! | 8, 4 | where the withheld values lie, and their length, 0 if there are none |
//! | 1, 1 | the outcome, and nothing |
//! | 8 | `at_millis` |
//! | 8 | the latest `at_millis` of this entry and all before it |
//! | 8 | two bits for each relationship |
//! | 9 × 4 | the marks of id, kind, project, organization, issuer, subject, repository, reason and token id |
//! | 4 | CRC-32 (as in zlib) of the number of the entry and of all that |
//!
//! Numbers are little-endian.

use super::super::frame::Cursor;
use super::heap::Place;
use crate::audit::Marks;

/// The length of a row, in octets.
pub(in super::super) const ROW: usize = 88;

/// The row of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Row {
    /// Where its leaf lies in the records.
    pub(in super::super) leaf: Place,
    /// Where its withheld values lie. If there are none: where they would begin.
    pub(in super::super) withheld: Place,
    /// The latest time of this entry and all before it.
    pub(in super::super) latest: i64,
    /// Its marks.
    pub(in super::super) marks: Marks,
}

/// The marks that can come from a value that is personal, or too long for a leaf: one bit for each.
pub(in super::super) const SUBJECT: u8 = 1;
pub(in super::super) const REPOSITORY: u8 = 2;
pub(in super::super) const RELATIONSHIPS: u8 = 4;

impl Row {
    /// The row as it is written, of the entry `index`.
    pub(in super::super) fn write(&self, index: u64) -> [u8; ROW] {
        let marks = &self.marks;
        let mut octets = Vec::with_capacity(ROW);
        octets.extend(self.leaf.start.to_le_bytes());
        let length = u16::try_from(self.leaf.length).unwrap_or(u16::MAX);
        octets.extend(length.to_le_bytes());
        octets.extend(self.withheld.start.to_le_bytes());
        octets.extend(self.withheld.length.to_le_bytes());
        octets.extend([marks.outcome, 0]);
        octets.extend(marks.at_millis.to_le_bytes());
        octets.extend(self.latest.to_le_bytes());
        octets.extend(marks.relationships.to_le_bytes());
        for mark in [
            marks.id,
            marks.kind,
            marks.project,
            marks.organization,
            marks.issuer,
            marks.subject,
            marks.repository,
            marks.reason,
            marks.token_id,
        ] {
            octets.extend(mark.to_le_bytes());
        }
        octets.extend(sum(index, &octets).to_le_bytes());
        let mut row = [0; ROW];
        row.copy_from_slice(&octets);
        row
    }

    /// Reads a row, whether it is whole or not.
    pub(in super::super) fn read(row: &[u8; ROW]) -> Self {
        Self::from_front(&mut Cursor(row)).unwrap_or(Self {
            leaf: Place::default(),
            withheld: Place::default(),
            latest: 0,
            marks: NO_MARKS,
        })
    }

    fn from_front(octets: &mut Cursor<'_>) -> Option<Self> {
        let leaf = Place {
            start: octets.number()?,
            length: u32::from(octets.short()?),
        };
        let withheld = Place {
            start: octets.number()?,
            length: octets.count()?,
        };
        let [outcome, _] = octets.fixed()?;
        let at_millis = octets.signed()?;
        let latest = octets.signed()?;
        let relationships = octets.number()?;
        let marks = Marks {
            at_millis,
            id: octets.count()?,
            kind: octets.count()?,
            outcome,
            project: octets.count()?,
            organization: octets.count()?,
            issuer: octets.count()?,
            subject: octets.count()?,
            repository: octets.count()?,
            reason: octets.count()?,
            token_id: octets.count()?,
            relationships,
        };
        Some(Self {
            leaf,
            withheld,
            latest,
            marks,
        })
    }

    /// Whether `row` is what was written for the entry `index`.
    pub(in super::super) fn is_whole(row: &[u8; ROW], index: u64) -> bool {
        let whole = row.split_last_chunk();
        whole.is_some_and(|(octets, found)| *found == sum(index, octets).to_le_bytes())
    }

    /// The same without the marks that `erased` names.
    pub(in super::super) fn without(mut self, erased: u8) -> Self {
        if erased & SUBJECT != 0 {
            self.marks.subject = 0;
        }
        if erased & REPOSITORY != 0 {
            self.marks.repository = 0;
        }
        if erased & RELATIONSHIPS != 0 {
            self.marks.relationships = 0;
        }
        self
    }
}

/// The marks of nothing.
pub(super) const NO_MARKS: Marks = Marks {
    at_millis: 0,
    id: 0,
    kind: 0,
    outcome: 0,
    project: 0,
    organization: 0,
    issuer: 0,
    subject: 0,
    repository: 0,
    reason: 0,
    token_id: 0,
    relationships: 0,
};

fn sum(index: u64, octets: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&index.to_le_bytes());
    sum.update(octets);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            leaf: Place {
                start: 1 << 40,
                length: 65_535,
            },
            withheld: Place {
                start: 3 << 40,
                length: 1 << 20,
            },
            latest: -5,
            marks: Marks {
                at_millis: -7,
                id: 1,
                kind: 2,
                outcome: 1,
                project: 3,
                organization: 4,
                issuer: 5,
                subject: 6,
                repository: 7,
                reason: 8,
                token_id: 9,
                relationships: 1 << 63,
            },
        }
    }

    #[test]
    fn a_row_is_read_back_as_it_was_written() {
        let octets = row().write(7);
        assert_eq!(Row::read(&octets), row());
        assert!(Row::is_whole(&octets, 7));
    }

    #[test]
    fn a_row_in_the_place_of_another_or_with_a_changed_octet_is_not_whole() {
        let octets = row().write(7);
        assert!(!Row::is_whole(&octets, 8));
        for place in 0..ROW {
            let mut changed = octets;
            changed[place] ^= 1;
            assert!(!Row::is_whole(&changed, 7), "octet {place}");
        }
    }

    #[test]
    fn what_is_erased_is_gone_and_the_rest_stays() {
        let erased = row().without(SUBJECT | RELATIONSHIPS).marks;
        assert_eq!(
            (erased.subject, erased.relationships, erased.repository),
            (0, 0, 7)
        );
        assert_eq!(row().without(REPOSITORY).marks.repository, 0);
    }
}
