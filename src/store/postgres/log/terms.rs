//! What entries are found by in `log_postings`: one number for each fact of an entry.

use crate::audit::Marks;

/// The number of a fact times 2³², and its mark.
pub(super) type Term = i64;

/// The facts that have terms. Their numbers are kept, and never given to another.
const KIND: i64 = 1;
const OUTCOME: i64 = 2;
const PROJECT: i64 = 3;
const ORGANIZATION: i64 = 4;
const ISSUER: i64 = 5;
const SUBJECT: i64 = 6;
const REPOSITORY: i64 = 7;
const REASON: i64 = 8;
/// One of the bits of the relationships; its mark is the number of the bit.
const RELATIONSHIP: i64 = 9;

/// The terms of an entry with these marks, or those that one must have to be wanted. The name and the id of the token have
/// none: each entry has others, and `log_chunks` has their marks.
pub(super) fn terms(marks: &Marks) -> impl Iterator<Item = Term> {
    let bits = marks.relationships;
    let relationships = (0..64_u32).filter(move |bit| bits & (1 << bit) != 0);
    [
        subject(marks.subject),
        term(PROJECT, marks.project),
        repository(marks.repository),
        term(REASON, marks.reason),
        term(ORGANIZATION, marks.organization),
        term(KIND, marks.kind),
        term(ISSUER, marks.issuer),
        term(OUTCOME, marks.outcome.into()),
    ]
    .into_iter()
    .flatten()
    .chain(relationships.map(|bit| RELATIONSHIP << 32 | i64::from(bit)))
}

/// The term of a subject.
pub(super) fn subject(mark: u32) -> Option<Term> {
    term(SUBJECT, mark)
}

/// The term of a repository.
pub(super) fn repository(mark: u32) -> Option<Term> {
    term(REPOSITORY, mark)
}

/// `None` for a fact that an entry lacks.
fn term(fact: i64, mark: u32) -> Option<Term> {
    (mark != 0).then_some(fact << 32 | i64::from(mark))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_entry_has_a_term_for_each_fact_and_none_for_what_it_lacks() {
        assert_eq!(terms(&Marks::NONE).count(), 0);
        let marks = Marks {
            at_millis: 5,
            id: 6,
            token_id: 7,
            kind: 1,
            outcome: 1,
            project: 1,
            organization: 1,
            issuer: 1,
            subject: 1,
            repository: 1,
            reason: u32::MAX,
            relationships: 1 | 1 << 63,
        };
        let found: BTreeSet<Term> = terms(&marks).collect();
        let one = (1..=7).map(|fact| (fact << 32) + 1);
        let others = [(8 << 32) + 0xffff_ffff, 9 << 32, (9 << 32) + 63];
        assert_eq!(found, one.chain(others).collect());
    }
}
