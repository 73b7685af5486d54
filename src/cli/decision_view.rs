//! A recorded decision, as an operator reads it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::audit::{Outcome, Record};
use crate::clock::UnixTime;
use crate::trust::{Finding, FindingKind, Judgement};

/// The whole record in lines: what came of it, and every relationship with every condition, the nearest first.
pub(super) fn render(record: &Record) -> String {
    let mut text = String::new();
    let outcome = match record.outcome {
        Outcome::Allowed => "allowed",
        Outcome::Denied => "denied",
    };
    let project = record.project.as_deref().unwrap_or(&record.audience);
    let _ = writeln!(
        text,
        "decision {} at {}: {outcome}{} for {project}",
        record.decision_id,
        UnixTime::from_millis(record.at_millis),
        record
            .reason
            .as_ref()
            .map(|reason| format!(" ({reason})"))
            .unwrap_or_default(),
    );
    if let (Some(issuer), Some(subject)) = (&record.issuer, &record.subject) {
        let _ = writeln!(text, "  {issuer} says: {subject}");
    }
    for judgement in &record.denies {
        entry(&mut text, "deny", judgement);
    }
    for judgement in &record.relationships {
        entry(&mut text, "trust", judgement);
    }
    text
}

fn entry(text: &mut String, kind: &str, judgement: &Judgement) {
    let name = &judgement.name;
    let _ = match (kind, judgement.holds) {
        (_, true) => writeln!(text, "  {kind} `{name}` holds"),
        ("deny", false) => writeln!(text, "  {kind} `{name}` does not apply"),
        (_, false) => writeln!(text, "  {kind} `{name}` does not hold"),
    };
    if kind == "deny" && !judgement.holds {
        return;
    }
    let (held, failed): (Vec<&Finding>, Vec<&Finding>) =
        judgement.findings.iter().partition(|finding| finding.holds);
    for finding in failed {
        let _ = writeln!(text, "    no  {}", line(finding));
    }
    let held: Vec<String> = held.into_iter().map(asked).collect();
    if !held.is_empty() {
        let _ = writeln!(text, "    ok  {}", held.join(", "));
    }
}

fn asked(finding: &Finding) -> String {
    let note = match finding.kind {
        FindingKind::Profile => " (of every token)",
        _ if finding.renamed => " (renamed)",
        _ => "",
    };
    format!("{}{note}", finding.asked)
}

fn line(finding: &Finding) -> String {
    let found = match &finding.found {
        None => "the token has none".to_owned(),
        Some(Value::String(found)) => format!("the token has `{found}`"),
        Some(found) => format!("the token has {found}"),
    };
    format!("{}: wanted {}, {found}", asked(finding), finding.wanted)
}
