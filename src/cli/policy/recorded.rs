//! A recorded decision, as an operator reads it.

use super::listed;
use crate::audit::{Outcome, Record};
use crate::clock::UnixTime;
use crate::text::for_terminal;
use crate::trust::{Explanation, Recorded, Verdict};

/// The project that a record is about: as it was found, else as the caller wrote it.
pub(super) fn project(record: &Record) -> &str {
    record.project.as_deref().unwrap_or(&record.audience)
}

/// The record's decision, explained with what the record keeps.
pub(super) fn explain(record: &Record) -> Explanation {
    let project = project(record);
    let why = record.explanation.clone().unwrap_or_default();
    let mut explanation = match record.outcome {
        Outcome::Allowed => Explanation {
            trust: record.trust.clone(),
            scopes: record.scopes.clone(),
            relationships: why.relationships,
            denies: why.denies,
            ..Explanation::bare(project, Verdict::Allowed)
        },
        Outcome::Denied => Explanation::recorded(
            project,
            record.reason.as_deref().unwrap_or_default(),
            Some(why.description).filter(|text| !text.is_empty()),
            why.relationships,
            why.denies,
        ),
    };
    let subject = record.issuer.as_ref().zip(record.subject.as_ref());
    explanation.decision = Some(Recorded {
        id: record.decision_id.to_string(),
        at: UnixTime::from_millis(record.at_millis).to_string(),
        subject: subject
            .map(|(issuer, subject)| format!("{issuer} says: {}", for_terminal(subject))),
    });
    explanation.relationships_not_listed = why.relationships_not_listed;
    let shadow = [&record.shadow_trust[..], &record.shadow_denies].concat();
    if !shadow.is_empty() {
        let names = listed(&shadow);
        explanation
            .notes
            .push(format!("in shadow mode, without effect, held: {names}"));
    }
    explanation
}

/// The whole record in lines: what came of it, and every relationship with every condition, the nearest first.
pub(in crate::cli) fn in_words(record: &Record) -> String {
    explain(record).in_words()
}
