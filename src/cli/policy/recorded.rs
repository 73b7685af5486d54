//! A recorded decision, as an operator reads it.

use crate::audit::{Outcome, Record};
use crate::clock::UnixTime;
use crate::trust::{Explanation, Verdict};

/// The record's decision, explained with what the record keeps.
pub(super) fn explain(record: &Record) -> Explanation {
    let project = record.project.as_deref().unwrap_or(&record.audience);
    let mut explanation = match record.outcome {
        Outcome::Allowed => Explanation {
            trust: record.trust.clone(),
            scopes: record.scopes.clone(),
            relationships: record.relationships.clone(),
            denies: record.denies.clone(),
            ..Explanation::bare(project, Verdict::Allowed)
        },
        Outcome::Denied => Explanation::recorded(
            project,
            record.reason.as_deref().unwrap_or_default(),
            record.description.clone(),
            record.relationships.clone(),
            record.denies.clone(),
        ),
    };
    explanation.relationships_not_listed = record.relationships_not_listed;
    let shadow: Vec<String> = record
        .shadow_trust
        .iter()
        .chain(&record.shadow_denies)
        .map(|name| format!("`{name}`"))
        .collect();
    if !shadow.is_empty() {
        let names = shadow.join(", ");
        explanation
            .notes
            .push(format!("in shadow mode, without effect, held: {names}"));
    }
    explanation
}

/// Which decision it is: its id, its moment, and whose token it was about.
pub(super) fn heading(record: &Record) -> String {
    let moment = UnixTime::from_millis(record.at_millis);
    let who = match (&record.issuer, &record.subject) {
        (Some(issuer), Some(subject)) => format!("\n  {issuer} says: {subject}"),
        _ => String::new(),
    };
    format!("decision {} at {moment}{who}\n", record.decision_id)
}

/// The whole record in lines: what came of it, and every relationship with every condition, the nearest first.
pub(in crate::cli) fn in_words(record: &Record) -> String {
    heading(record) + &explain(record).in_words()
}
