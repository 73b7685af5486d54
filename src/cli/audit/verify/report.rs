//! What came of a verification, for people and for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::text::without_controls;
use crate::verifier::{Fault, Report};

/// The key with which the log was verified.
pub(super) struct Key {
    pub(super) text: String,
    /// Whether it was given, and not taken from the log.
    pub(super) given: bool,
}

/// In sentences.
pub(super) fn text(report: &Report, key: &Key) {
    say(&in_words(report, key));
}

/// As JSON.
pub(super) fn json(report: &Report, key: &Key) {
    say(&format!("{:#}\n", as_json(report, key)));
}

fn in_words(report: &Report, key: &Key) -> String {
    let mut said = String::new();
    // Writing to a text does not fail.
    let mut line = |text: String| {
        let _ = writeln!(said, "{text}");
    };
    if report.is_whole() {
        line(format!(
            "whole: {} of `{}`",
            entries(report.size),
            report.origin
        ));
    } else {
        let ending = if report.fault_count == 1 { "" } else { "s" };
        let count = report.fault_count;
        line(format!(
            "refused: {count} fault{ending} in {} of `{}`",
            entries(report.size),
            report.origin
        ));
    }
    line(format!("  root  {}", STANDARD.encode(report.root)));
    let from = if key.given {
        ""
    } else {
        " (taken from the log itself)"
    };
    line(format!("  key   {}{from}", key.text));
    if let Some((first, last)) = report.span {
        line(format!("  time  {} to {}", time(first), time(last)));
    }
    if let (Some(size), true) = (report.since, report.is_whole()) {
        line(format!(
            "  it continues the earlier checkpoint of {}",
            entries(size)
        ));
    }
    for cosigned in &report.cosigned {
        let at = time(
            i64::try_from(cosigned.at)
                .unwrap_or(i64::MAX)
                .saturating_mul(1000),
        );
        line(format!(
            "  `{}` cosigned {} at {at}",
            cosigned.witness,
            entries(cosigned.size)
        ));
    }
    if report.withheld > 0 {
        line(format!(
            "  {} withheld values have the digests of their entries",
            report.withheld
        ));
    }
    if report.unknown_kinds > 0 {
        let count = entries(report.unknown_kinds);
        line(format!(
            "  {count} of kinds that this program does not know: of these only the common members were checked"
        ));
    }
    if report.beyond > 0 {
        line(format!(
            "  {} more are there that no checkpoint covers yet",
            entries(report.beyond)
        ));
    }
    for fault in &report.faults {
        line(one(fault));
    }
    let untold = report
        .fault_count
        .saturating_sub(report.faults.len() as u64);
    if untold > 0 {
        line(format!("and {untold} more"));
    }
    said
}

fn one(fault: &Fault) -> String {
    let mut said = fault.what.code().to_owned();
    if let Some(index) = fault.index {
        let _ = write!(said, ", entry {index}");
    }
    if let Some(place) = &fault.place {
        let _ = write!(said, ", {} at {}", place.file, place.offset);
    }
    format!("{said}: {}", fault.what)
}

fn as_json(report: &Report, key: &Key) -> Value {
    let fault = |fault: &Fault| {
        let place = fault.place.as_ref();
        json!({
            "code": fault.what.code(),
            "index": fault.index,
            "file": place.map(|place| &place.file),
            "offset": place.map(|place| place.offset),
            "message": fault.what.to_string(),
        })
    };
    let cosigned = report.cosigned.iter().map(
        |cosigned| json!({"witness": cosigned.witness, "size": cosigned.size, "at": cosigned.at}),
    );
    json!({
        "outcome": if report.is_whole() { "whole" } else { "refused" },
        "origin": report.origin,
        "size": report.size,
        "root": STANDARD.encode(report.root),
        "key": key.text,
        "key_from": if key.given { "argument" } else { "source" },
        "since": report.since,
        "cosigned": cosigned.collect::<Vec<_>>(),
        "first_at_millis": report.span.map(|(first, _)| first),
        "last_at_millis": report.span.map(|(_, last)| last),
        "withheld_checked": report.withheld,
        "unknown_kinds": report.unknown_kinds,
        "beyond_checkpoint": report.beyond,
        "fault_count": report.fault_count,
        "faults": report.faults.iter().map(fault).collect::<Vec<_>>(),
    })
}

fn entries(count: u64) -> String {
    let count_text = grouped(count);
    if count == 1 {
        "1 entry".to_owned()
    } else {
        format!("{count_text} entries")
    }
}

/// The number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(millis: i64) -> String {
    let millis = u64::try_from(millis).unwrap_or_default();
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(millis));
    // What is later than the year 9999 has no form.
    let latest = 253_402_300_800_000;
    match time.filter(|_| millis < latest) {
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => format!("{millis} ms"),
    }
}

/// Writes an answer, in which nothing that others chose steers the terminal.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading any more: then there is nobody to tell.
    let _ = out
        .write_all(without_controls(text).as_bytes())
        .and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_can_be_read() {
        assert_eq!(entries(1_234_567), "1,234,567 entries");
        assert_eq!(entries(100), "100 entries");
        assert_eq!(entries(1), "1 entry");
    }

    #[test]
    fn a_time_is_told_however_large() {
        assert_eq!(time(1_763_000_000_123), "2025-11-13T02:13:20.123Z");
        assert_eq!(time(i64::MAX), "9223372036854775807 ms");
    }
}
