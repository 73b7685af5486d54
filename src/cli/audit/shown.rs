//! An entry as one row.

use std::fmt::Write as _;

use serde_json::Value;

use super::table::Table;
use crate::clock::UnixTime;
use crate::reading::{NumberedEntry, Seen};

/// The rows of entries.
pub(super) fn rows(entries: &[NumberedEntry]) -> String {
    let mut table = Table::default();
    for numbered in entries {
        table.row(row(numbered));
    }
    table.in_lines()
}

/// Number, time, what, project, who, why, id.
fn row(numbered: &NumberedEntry) -> Vec<String> {
    let entry = &numbered.entry;
    let at = entry.get("at_millis").and_then(Value::as_i64);
    let is_decision = text(entry, "kind") == "decision";
    let id = if is_decision {
        text(entry, "decision_id")
    } else {
        text(entry, "event_id")
    };
    let [what, project, who, why] = if is_decision {
        decision(entry)
    } else {
        event(entry)
    };
    vec![
        numbered.index.to_string(),
        at.map_or_else(String::new, |at| UnixTime::from_millis(at).to_string()),
        what,
        or_dash(project),
        or_dash(who),
        or_dash(why),
        id,
    ]
}

fn decision(entry: &Value) -> [String; 4] {
    let project = first(entry, &["project", "audience"]);
    let who = format!(
        "{} {}",
        first(entry, &["issuer", "unverified_issuer"]),
        first(entry, &["repository", "subject", "client_address"])
    );
    let why = match text(entry, "reason") {
        reason if reason.is_empty() => list(entry, "trust"),
        reason => match first(entry, &["denied_by", "nearest"]) {
            nearest if nearest.is_empty() => reason,
            nearest => format!("{reason} ({nearest})"),
        },
    };
    [text(entry, "outcome"), project, who.trim().to_owned(), why]
}

fn event(entry: &Value) -> [String; 4] {
    let names = entry.get("names").unwrap_or(&Value::Null);
    let project = match first(entry, &["project", "file"]) {
        project if project.is_empty() => text(names, "project"),
        project => project,
    };
    let issuer = match text(entry, "issuer") {
        issuer if issuer.is_empty() => text(names, "issuer"),
        issuer => issuer,
    };
    let kind = text(entry, "kind");
    let why = match kind.as_str() {
        "pin-made" => pairs(entry.get("ids")),
        "pin-reset" => format!("by {}", text(entry, "by")),
        "denials-counted" => format!("{} {}", number(entry, "count"), text(entry, "reason")),
        "policy-loaded" => changes(entry, &["added", "changed", "removed"]),
        "policy-refused" => text(entry, "message"),
        "configuration-loaded" => format!("version {}", text(entry, "program")),
        "signing-key-made" => format!("{} {}", text(entry, "algorithm"), text(entry, "key_id")),
        "signing-key-retired" => text(entry, "key_id"),
        "issuer-keys-changed" => changes(entry, &["added", "removed"]),
        "log-named" => text(entry, "origin"),
        "personal-values-removed" => format!("before entry {}", number(entry, "until")),
        "clock-put-back" => {
            let before = entry.get("before_millis").and_then(Value::as_i64);
            before.map_or_else(String::new, |before| {
                format!("was {}", UnixTime::from_millis(before))
            })
        }
        _ => String::new(),
    };
    [kind, project, issuer, why]
}

fn text(entry: &Value, name: &str) -> String {
    let found = entry.get(name).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

fn number(entry: &Value, name: &str) -> u64 {
    entry.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// The first of these members that says something.
fn first(entry: &Value, names: &[&str]) -> String {
    let texts = names.iter().map(|name| text(entry, name));
    texts
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

fn list(entry: &Value, name: &str) -> String {
    let members = entry.get(name).and_then(Value::as_array);
    let texts = members.into_iter().flatten().filter_map(Value::as_str);
    texts.collect::<Vec<_>>().join(", ")
}

fn pairs(members: Option<&Value>) -> String {
    let members = members.and_then(Value::as_object);
    let pairs = members.into_iter().flatten();
    let pairs = pairs.map(|(name, value)| format!("{name} {}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(", ")
}

/// "added a, b; removed c".
fn changes(entry: &Value, kinds: &[&str]) -> String {
    let said = kinds.iter().filter_map(|kind| {
        let members = entry.get(kind)?.as_array()?;
        let names = members.iter().map(|member| match member.as_str() {
            Some(name) => name.to_owned(),
            None => text(member, "key_id"),
        });
        let names: Vec<String> = names.collect();
        (!names.is_empty()).then(|| format!("{kind} {}", names.join(", ")))
    });
    said.collect::<Vec<_>>().join("; ")
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// "refs/heads/main (12), none (1) and others (3)".
pub(super) fn seen(seen: &Seen) -> String {
    let values = seen.values.iter().map(|value| {
        let shown = match value.value.as_deref() {
            None => "none",
            Some("") => "empty",
            Some(text) => text,
        };
        format!("{shown} ({})", value.count)
    });
    let mut text = values.collect::<Vec<_>>().join(", ");
    if seen.others > 0 {
        let _ = write!(text, " and others ({})", seen.others);
    }
    text
}
