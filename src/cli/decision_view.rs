//! A recorded decision, as an operator reads it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::audit::{Outcome, Record};
use crate::clock::UnixTime;
use crate::trust::{Finding, FindingKind, Judgement};

/// The record in lines: what came of it, every deny, and every relationship with every finding, the nearest first.
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
        let _ = writeln!(text, "  {issuer} says: {}", printable(subject));
    }
    for judgement in &record.denies {
        // Who reads this looks for what kept a job out, and a deny that does not apply did not.
        if judgement.holds {
            let _ = writeln!(text, "  deny `{}` holds", judgement.name);
            findings(&mut text, judgement);
        } else {
            let _ = writeln!(text, "  deny `{}` does not apply", judgement.name);
        }
    }
    for judgement in &record.relationships {
        let answer = if judgement.holds {
            "holds"
        } else {
            "does not hold"
        };
        let _ = writeln!(text, "  trust `{}` {answer}", judgement.name);
        findings(&mut text, judgement);
    }
    text
}

/// One line for each finding that does not hold, and one for all that do.
fn findings(text: &mut String, judgement: &Judgement) {
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
        Some(Value::String(found)) => format!("the token has `{}`", printable(found)),
        Some(found) => format!("the token has {}", printable(&found.to_string())),
    };
    format!("{}: wanted {}, {found}", asked(finding), finding.wanted)
}

/// A text of a token, without what would move the cursor of a terminal or turn the direction of its line: a job chooses
/// some of its claims, and the one who reads this has more rights.
fn printable(text: &str) -> String {
    let moves = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
    };
    let show = |c: char| if moves(c) { '\u{FFFD}' } else { c };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_cannot_draw_on_the_terminal_of_who_reads_a_decision() {
        let forged = "main\u{1b}[2K\ndecision allowed\u{9b}1A\u{202e}";
        assert_eq!(
            printable(forged),
            "main\u{fffd}[2K\u{fffd}decision allowed\u{fffd}1A\u{fffd}"
        );
    }
}
