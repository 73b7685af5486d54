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
use crate::audit::{Marks, Wanted};

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

/// Where in a row these stand.
const OUTCOME: usize = 22;
const AT: usize = 24;
const RELATIONSHIPS: usize = 40;
const MARKS: usize = 48;

/// The mark of the subject, of those that are erased.
pub(in super::super) const SUBJECT: u8 = 1;
/// The mark of the repository, of those that are erased.
pub(in super::super) const REPOSITORY: u8 = 2;

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
        for mark in in_order(marks) {
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
            marks: Marks::NONE,
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
        self
    }
}

/// A question to many rows, which looks at no more of a row than it must.
pub(super) struct Probe {
    /// Where a mark stands, and which it must be.
    marks: Vec<(usize, u32)>,
    outcome: u8,
    relationships: u64,
    since: i64,
    until: i64,
}

impl Probe {
    /// The question whether an entry may be wanted.
    pub(super) fn of(wanted: &Wanted) -> Self {
        let marks = &wanted.marks;
        let places = (MARKS..).step_by(4);
        let all = places.zip(in_order(marks));
        Self {
            marks: all.filter(|(_, mark)| *mark != 0).collect(),
            outcome: marks.outcome,
            relationships: marks.relationships,
            since: wanted.since_millis,
            until: wanted.until_millis,
        }
    }

    /// The same as [`Wanted::may_be`].
    pub(super) fn may_be(&self, row: &[u8; ROW]) -> bool {
        let mut marks = self.marks.iter();
        marks.all(|(place, mark)| fixed(row, *place) == Some(mark.to_le_bytes()))
            && (self.outcome == 0 || row.get(OUTCOME) == Some(&self.outcome))
            && (self.relationships == 0 || {
                let found = fixed(row, RELATIONSHIPS).map_or(0, u64::from_le_bytes);
                found & self.relationships == self.relationships
            })
            && fixed(row, AT)
                .is_some_and(|at| (self.since..self.until).contains(&i64::from_le_bytes(at)))
    }
}

fn fixed<const N: usize>(row: &[u8; ROW], place: usize) -> Option<[u8; N]> {
    row.get(place..)?.first_chunk().copied()
}

/// The marks of four octets, in the order in which they stand in a row.
fn in_order(marks: &Marks) -> [u32; 9] {
    [
        marks.id,
        marks.kind,
        marks.project,
        marks.organization,
        marks.issuer,
        marks.subject,
        marks.repository,
        marks.reason,
        marks.token_id,
    ]
}

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
    fn a_probe_answers_as_the_marks_do() {
        let nothing = Wanted {
            marks: Marks::NONE,
            since_millis: i64::MIN,
            until_millis: i64::MAX,
        };
        let mut asked = vec![nothing];
        for value in [1, 2, 3, 4, 5, 6, 7, 8, 9] {
            let changes: [fn(&mut Marks, u32); 11] = [
                |marks, value| marks.id = value,
                |marks, value| marks.kind = value,
                |marks, value| marks.project = value,
                |marks, value| marks.organization = value,
                |marks, value| marks.issuer = value,
                |marks, value| marks.subject = value,
                |marks, value| marks.repository = value,
                |marks, value| marks.reason = value,
                |marks, value| marks.token_id = value,
                |marks, value| marks.outcome = u8::try_from(value).unwrap(),
                |marks, value| marks.relationships = 1 << (value * 9 % 64),
            ];
            asked.extend(changes.map(|change| {
                let mut wanted = nothing;
                change(&mut wanted.marks, value);
                wanted
            }));
        }
        for (since_millis, until_millis) in [(-7, -6), (-6, 0), (-9, -7), (-8, -6)] {
            asked.push(Wanted {
                since_millis,
                until_millis,
                ..nothing
            });
        }
        let octets = row().write(7);
        let answers = asked.iter().map(|wanted| {
            let answer = Probe::of(wanted).may_be(&octets);
            assert_eq!(answer, wanted.may_be(&row().marks), "{wanted:?}");
            answer
        });
        assert_eq!(answers.filter(|answer| *answer).count(), 1 + 11 + 2);
    }

    #[test]
    fn what_is_erased_is_gone_and_the_rest_stays() {
        let erased = row().without(SUBJECT).marks;
        assert_eq!((erased.subject, erased.repository), (0, 7));
        assert_eq!(row().without(REPOSITORY).marks.repository, 0);
    }
}
