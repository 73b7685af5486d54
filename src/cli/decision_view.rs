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
        record.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
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
    let verdict = match (kind, judgement.holds) {
        (_, true) => "holds",
        ("deny", false) => "does not apply",
        (_, false) => "does not hold",
    };
    let _ = writeln!(text, "  {kind} `{}` {verdict}", judgement.name);
    for finding in &judgement.findings {
        let _ = writeln!(text, "    {}", line(finding));
    }
}

fn line(finding: &Finding) -> String {
    let mark = if finding.holds { "ok  " } else { "no  " };
    let found = match &finding.found {
        None => "the token has none".to_owned(),
        Some(Value::String(found)) => format!("the token has `{found}`"),
        Some(found) => format!("the token has {found}"),
    };
    let asked = match finding.kind {
        FindingKind::Profile => format!("{} (asked of every token)", finding.asked),
        _ => finding.asked.to_string(),
    };
    let renamed = if finding.renamed { ", renamed" } else { "" };
    format!("{mark}{asked}: wanted {}, {found}{renamed}", finding.wanted)
}
