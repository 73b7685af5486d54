//! `countersign audit use`.

use std::fmt::Write as _;

use clap::Args;

use super::super::DONE;
use super::shown::seen;
use super::source::{Format, PeriodArgs, SourceArgs, ask_once, odd, say, say_json, wish};
use super::who::count;
use crate::reading::{Answer, Question, RelationshipUse, Usage, UseFinding};

/// Say which relationships in force are not used, or let in more than their use needs.
///
/// Without `--since` the last 90 days count. A narrower line is offered only where enough jobs were alike: at least five for
/// each value. What it would keep out, `countersign policy diff` shows before it is written.
#[derive(Debug, Args)]
pub(super) struct UseArgs {
    /// Of this project alone, as organization/project.
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
    /// Of this organization alone.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// How many relationships at most.
    #[arg(long, value_name = "N")]
    limit: Option<String>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    period: PeriodArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// Says which.
pub(super) async fn run(arguments: &UseArgs) -> Result<u8, u8> {
    let mut given = arguments.period.given();
    given.push(("project", arguments.project.as_ref()));
    given.push(("organization", arguments.organization.as_ref()));
    given.push(("limit", arguments.limit.as_ref()));
    let wish = wish(Question::Use, &given)?;
    let Answer::Use(usage) = ask_once(&arguments.source, &wish).await? else {
        return Err(odd());
    };
    match arguments.format {
        Format::Json => say_json(&usage),
        Format::Text => say(&in_words(&usage)),
    };
    Ok(DONE)
}

fn in_words(usage: &Usage) -> String {
    let mut text = format!(
        "{} in force; use from {} to {}\n",
        count(usage.relationships.len() as u64, "relationship"),
        usage.since.as_deref().unwrap_or("the beginning"),
        usage.until
    );
    let sections = [
        (UseFinding::Unused, "not used"),
        (UseFinding::Wider, "wider than their use"),
        (UseFinding::Fits, "nothing to say"),
    ];
    for (finding, title) in sections {
        let all = usage.relationships.iter();
        let mut of_kind = all.filter(|used| used.finding == finding).peekable();
        if of_kind.peek().is_some() {
            let _ = writeln!(text, "\n{title}:");
        }
        for used in of_kind {
            text.push_str(&one(used));
        }
    }
    for unread in &usage.unread {
        let _ = writeln!(text, "\n{}: not read: {}", unread.file, unread.why);
    }
    if usage.not_listed > 0 {
        let more = count(usage.not_listed, "relationship");
        let _ = writeln!(text, "\nand {more} more: raise `--limit`");
    }
    text
}

fn one(used: &RelationshipUse) -> String {
    let mut notes = Vec::new();
    if used.shadow {
        notes.push("in shadow mode".to_owned());
    }
    if used.off {
        notes.push("off by a guard rail".to_owned());
    }
    if let Some(since) = &used.in_force_since {
        notes.push(format!("in force since {since}"));
    }
    if let Some(at) = &used.changed_at {
        notes.push(format!("changed {at}"));
    }
    if let Some(at) = &used.last_at {
        notes.push(format!("{}, the last {at}", count(used.uses, "use")));
    }
    let mut text = format!(
        "  {} `{}` ({}, line {})",
        used.project, used.relationship, used.issuer, used.line
    );
    if !notes.is_empty() {
        text.push_str(": ");
        text.push_str(&notes.join("; "));
    }
    text.push('\n');
    if used.uses == 0 {
        return text;
    }
    for open in &used.open {
        let said = match (&open.advice, &open.allows) {
            (Some(advice), _) => advice.clone(),
            (None, Some(allows)) => {
                format!(
                    "`{}` may be {allows}; it was {}",
                    open.key,
                    seen(&open.seen)
                )
            }
            (None, None) => format!(
                "`{}` may be anything; it was {}",
                open.key,
                seen(&open.seen)
            ),
        };
        let _ = writeln!(text, "    {said}");
    }
    text
}
