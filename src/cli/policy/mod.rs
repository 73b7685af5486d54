//! `countersign policy`: what an operator does with trust policies before, and after, the service reads them.

mod case;
mod check;
mod diff;
mod explain;
mod judge;
mod junit;
mod pin;
mod pin_write;
mod recorded;
mod renamed;
mod report;
mod schema;
mod setting;
mod test;

use std::io::Write as _;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::text::without_controls;

pub(super) use recorded::in_words as record_in_words;

/// The arguments of `policy`.
#[derive(Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    verb: PolicyVerb,
}

#[derive(Subcommand)]
enum PolicyVerb {
    Check(check::CheckArgs),
    Test(test::TestArgs),
    Explain(explain::ExplainArgs),
    Diff(diff::DiffArgs),
    Schema(schema::SchemaArgs),
    Pin(pin::PinArgs),
}

/// Writes an answer, in which nothing that others chose steers the terminal. Nobody may be reading any more: then there is nobody to tell.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out
        .write_all(without_controls(text).as_bytes())
        .and_then(|()| out.flush());
}

/// "1 case", "2 cases".
fn count(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

/// The names in backticks, with commas between.
fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// The answer for programs.
fn pretty(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    format!("{text}\n")
}

/// Does what the verb says.
pub(super) async fn run(arguments: &PolicyArgs) -> u8 {
    match &arguments.verb {
        PolicyVerb::Check(arguments) => check::run(arguments).await,
        PolicyVerb::Test(arguments) => test::run(arguments),
        PolicyVerb::Diff(arguments) => diff::run(arguments).await,
        PolicyVerb::Schema(arguments) => schema::run(arguments),
        PolicyVerb::Explain(arguments) => explain::run(arguments).await,
        PolicyVerb::Pin(arguments) => pin::run(arguments).await,
    }
}
