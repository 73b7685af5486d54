//! All entries of a filter, in a form for other programs, page by page.
//!
//! JSON Lines is the exact form. CSV is for spreadsheets: it has columns for what most ask, the rest as JSON in the last two,
//! and a mark before what a spreadsheet would take for a formula.

use serde_json::{Map, Value};

use super::list::list;
use super::{LONGEST_PAGE, Listed, NumberedEntry, ReadingError, Wish};
use crate::clock::UnixTime;
use crate::ledger::AuditLog;

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportForm {
    /// One JSON object a line, `{"index", "entry"}`: the entry as it was written, with its withheld values.
    JsonLines,
    /// RFC 4180, with a line of names first.
    Csv,
}

/// The columns of a CSV export. More may come at the end of a later version, before `claims`; none changes its name.
pub const COLUMNS: [&str; 29] = [
    "index",
    "at",
    "kind",
    "id",
    "outcome",
    "reason",
    "project",
    "project_id",
    "issuer",
    "verified",
    "subject",
    "repository",
    "run_id",
    "audience",
    "trust",
    "nearest",
    "denied_by",
    "scopes",
    "resource",
    "token_id",
    "token_expires",
    "use_number",
    "client_address",
    "user_agent",
    "policy_digest",
    "guard_rails_digest",
    "shadow",
    "claims",
    "more",
];

/// An export under way. It holds one page at a time.
#[derive(Debug)]
pub struct Export {
    form: ExportForm,
    wish: Wish,
    begun: bool,
    done: bool,
}

impl Export {
    /// An export of everything that `wish` is about, the newest first. What is written to the log meanwhile is not part
    /// of it.
    pub fn new(form: ExportForm, wish: Wish) -> Self {
        Self {
            form,
            wish: Wish {
                limit: LONGEST_PAGE,
                from: None,
                ..wish
            },
            begun: false,
            done: false,
        }
    }

    /// The next part of the text; none at its end. A part may be empty.
    pub async fn next_chunk(
        &mut self,
        log: &dyn AuditLog,
    ) -> Result<Option<Vec<u8>>, ReadingError> {
        let Some(wish) = self.asks() else {
            return Ok(None);
        };
        let page = list(log, wish).await?;
        Ok(Some(self.take(&page)))
    }

    /// What is to be asked for next, if anything: for who asks another way.
    pub fn asks(&self) -> Option<&Wish> {
        (!self.done).then_some(&self.wish)
    }

    /// The text of the page that was asked for.
    pub fn take(&mut self, page: &Listed) -> Vec<u8> {
        self.wish.before = page.next;
        self.done = page.next.is_none();
        let first = !std::mem::replace(&mut self.begun, true);
        match self.form {
            ExportForm::JsonLines => json_lines(&page.entries),
            ExportForm::Csv => csv(&page.entries, first),
        }
    }
}

fn json_lines(entries: &[NumberedEntry]) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in entries {
        // A value that was read as JSON can be written as JSON.
        let _ = serde_json::to_writer(&mut text, entry);
        text.push(b'\n');
    }
    text
}

fn csv(entries: &[NumberedEntry], with_names: bool) -> Vec<u8> {
    let mut writer = ::csv::WriterBuilder::new()
        .terminator(::csv::Terminator::CRLF)
        .from_writer(Vec::new());
    // Writing into memory does not fail, and every row has as many cells.
    if with_names {
        let _ = writer.write_record(COLUMNS);
    }
    for entry in entries {
        let _ = writer.write_record(row(entry).map(harmless));
    }
    writer.into_inner().unwrap_or_default()
}

/// A cell that no spreadsheet takes for a formula: what begins like one stands behind an apostrophe.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{cell}")
    } else {
        cell
    }
}

/// The cells of an entry, in the order of [`COLUMNS`].
fn row(numbered: &NumberedEntry) -> [String; COLUMNS.len()] {
    let nothing = Map::new();
    let entry = numbered.entry.as_object().unwrap_or(&nothing);
    let names = entry.get("names").and_then(Value::as_object);
    COLUMNS.map(|column| match column {
        "index" => numbered.index.to_string(),
        "at" => {
            let at = entry.get("at_millis").and_then(Value::as_i64);
            at.map_or_else(String::new, |at| UnixTime::from_millis(at).to_string())
        }
        "id" => cell(entry.get("event_id").or(entry.get("decision_id"))),
        "project" | "issuer" => {
            let own = entry.get(column);
            cell(own.or_else(|| names?.get(column)))
        }
        "shadow" => {
            let both = ["shadow_trust", "shadow_denies"].map(|name| cell(entry.get(name)));
            both.into_iter()
                .filter(|cell| !cell.is_empty())
                .collect::<Vec<_>>()
                .join("; ")
        }
        "claims" => entry
            .get("claims")
            .map_or_else(String::new, Value::to_string),
        "more" => {
            let more: Map<String, Value> = entry
                .iter()
                .filter(|(name, _)| !has_column(name, entry))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if more.is_empty() {
                String::new()
            } else {
                Value::Object(more).to_string()
            }
        }
        column => cell(entry.get(column)),
    })
}

/// Whether a member of an entry stands in a column, or is only for who checks the log, and not in `more`.
fn has_column(member: &str, entry: &Map<String, Value>) -> bool {
    let elsewhere = [
        "version",
        "withheld",
        "at_millis",
        "decision_id",
        "event_id",
        "shadow_trust",
        "shadow_denies",
    ];
    let is_event = entry.contains_key("event_id") && member == "decision_id";
    !is_event && (COLUMNS.contains(&member) || elsewhere.contains(&member))
}

/// A value as one cell: the members of a list with `; ` between.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(members)) => {
            let members = members.iter().map(|member| cell(Some(member)));
            members.collect::<Vec<_>>().join("; ")
        }
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn numbered(index: u64, entry: Value) -> NumberedEntry {
        NumberedEntry { index, entry }
    }

    #[test]
    fn a_cell_that_begins_like_a_formula_is_none() {
        for (cell, shown) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum", "'@sum"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("refs/heads/main", "refs/heads/main"),
        ] {
            assert_eq!(harmless(cell.to_owned()), shown);
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_column_and_the_rest_in_the_last() {
        let entry = json!({
            "version": 1,
            "kind": "pin-made",
            "event_id": "e",
            "decision_id": "d",
            "at_millis": 1000,
            "names": {"project": "acme/api", "issuer": "github", "names": {"owner": "o"}},
            "ids": {"owner-id": "65"},
        });
        let row = row(&numbered(7, entry));
        let of = |name| &row[COLUMNS.iter().position(|column| *column == name).unwrap()];
        assert_eq!(of("index"), "7");
        assert_eq!(of("at"), "1970-01-01T00:00:01.000Z");
        assert_eq!((of("kind"), of("id")), (&"pin-made".into(), &"e".into()));
        assert_eq!(
            (of("project"), of("issuer")),
            (&"acme/api".into(), &"github".into())
        );
        let more: Value = serde_json::from_str(of("more")).unwrap();
        assert_eq!(more["ids"], json!({"owner-id": "65"}));
    }

    #[test]
    fn a_name_with_quotes_commas_and_line_ends_stays_one_cell() {
        let entry = json!({"kind": "decision", "subject": "a,\"b\"\r\nc", "trust": ["x", "y"]});
        let text = csv(&[numbered(0, entry)], true);
        let mut reader = ::csv::Reader::from_reader(&*text);
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 1);
        let cells: Vec<&str> = rows[0].iter().collect();
        assert!(cells.contains(&"a,\"b\"\r\nc") && cells.contains(&"x; y"));
    }
}
