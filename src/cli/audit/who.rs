//! `countersign audit who`.

use std::fmt::Write as _;

use clap::Args;

use super::super::{DONE, REFUSED};
use super::shown::seen;
use super::source::{FilterArgs, Format, SourceArgs, ask_once, odd, say, say_json, wish};
use super::table::Table;
use crate::reading::{Answer, Question, Who};

/// Say who got tokens, by which relationship: `--project acme/api --since 30d`.
///
/// Without `--since` the last 30 days count. Each row is one repository (or subject) and one relationship that let it in; a
/// token that several relationships gave stands with each. Exit code 1 says that nobody got one.
#[derive(Debug, Args)]
pub(super) struct WhoArgs {
    /// How many rows at most.
    #[arg(long, value_name = "N")]
    limit: Option<String>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// Says who.
pub(super) async fn run(arguments: &WhoArgs) -> Result<u8, u8> {
    let mut given = arguments.filter.given();
    given.push(("limit", arguments.limit.as_ref()));
    let wish = wish(Question::Who, &given)?;
    let Answer::Who(who) = ask_once(&arguments.source, &wish).await? else {
        return Err(odd());
    };
    match arguments.format {
        Format::Json => say_json(&who),
        Format::Text => say(&in_words(&who)),
    };
    Ok(if who.tokens == 0 { REFUSED } else { DONE })
}

fn in_words(who: &Who) -> String {
    let mut text = format!(
        "{} from {} to {}\n",
        count(who.tokens, "token"),
        who.since.as_deref().unwrap_or("the beginning"),
        who.until
    );
    if who.rows.is_empty() {
        return text;
    }
    let mut table = Table::with_names(&[
        "PROJECT",
        "RELATIONSHIP",
        "ISSUER",
        "WHO",
        "TOKENS",
        "FIRST",
        "LAST",
        "LAST DECISION",
    ]);
    for row in &who.rows {
        let who = row.repository.as_ref().or(row.subject.as_ref());
        table.row(vec![
            row.project.clone(),
            row.relationship.clone(),
            row.issuer.clone(),
            who.cloned().unwrap_or_else(|| "-".to_owned()),
            row.tokens.to_string(),
            row.first_at.clone(),
            row.last_at.clone(),
            row.last_decision_id.clone(),
        ]);
        table.below(format!("scopes: {}", row.scopes.join(" ")));
        if !row.refs.is_empty() {
            table.below(format!("refs: {}", seen(&row.refs)));
        }
    }
    text.push('\n');
    text.push_str(&table.in_lines());
    if who.not_listed > 0 {
        let more = count(who.not_listed, "token");
        let _ = writeln!(text, "\nand {more} in other rows: raise `--limit`");
    }
    text
}

/// "1 token", "2 tokens".
pub(super) fn count(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}
