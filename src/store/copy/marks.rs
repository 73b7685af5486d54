//! Marks as 56 octets, in the form in which the tables have them.

use crate::audit::Marks;

/// How many octets they are.
pub(in super::super) const MARKS: usize = 56;

/// `at_millis`, the bits of the relationships, the nine marks of four octets, the outcome, and three octets of nothing.
/// Numbers are little-endian.
pub(in super::super) fn octets_of(marks: &Marks) -> [u8; MARKS] {
    let mut octets = Vec::with_capacity(MARKS);
    octets.extend(marks.at_millis.to_le_bytes());
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
    octets.push(marks.outcome);
    octets.resize(MARKS, 0);
    let mut all = [0; MARKS];
    all.copy_from_slice(&octets);
    all
}

/// Reads them back; `None` if there are not enough.
pub(in super::super) fn read(octets: &[u8]) -> Option<Marks> {
    let (at_millis, rest) = octets.split_first_chunk()?;
    let (relationships, rest) = rest.split_first_chunk()?;
    let (marks, rest) = rest.split_at_checked(9 * 4)?;
    let mut marks = marks.as_chunks().0.iter().copied().map(u32::from_le_bytes);
    Some(Marks {
        at_millis: i64::from_le_bytes(*at_millis),
        id: marks.next()?,
        kind: marks.next()?,
        project: marks.next()?,
        organization: marks.next()?,
        issuer: marks.next()?,
        subject: marks.next()?,
        repository: marks.next()?,
        reason: marks.next()?,
        token_id: marks.next()?,
        outcome: *rest.first()?,
        relationships: u64::from_le_bytes(*relationships),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_back_as_they_were_written() {
        let marks = Marks {
            at_millis: -7,
            id: 1,
            kind: 2,
            outcome: 2,
            project: 3,
            organization: 4,
            issuer: 5,
            subject: 6,
            repository: 7,
            reason: 8,
            token_id: 9,
            relationships: 1 << 63,
        };
        assert_eq!(read(&octets_of(&marks)), Some(marks));
        assert_eq!(
            read(&octets_of(&marks)[1..]).map(|read| read.outcome),
            Some(0)
        );
    }
}
