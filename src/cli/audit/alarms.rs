//! `countersign audit alarms`.

use std::fmt::Write as _;

use clap::Args;

use super::super::{DONE, REFUSED};
use super::shown::seen;
use super::source::{FilterArgs, Format, SourceArgs, ask_once, odd, say, say_json, wish};
use super::who::count;
use crate::reading::{Alarm, Alarms, Question};
use crate::reading::{AlarmKind, Answer};

/// Say which denials and exchanges look like an attack.
///
/// Without `--since` the last 30 days count. An alarm is a place to look, not a verdict: each says what it may mean and what
/// to compare. Exit code 1 says that there are some.
#[derive(Debug, Args)]
pub(super) struct AlarmsArgs {
    /// How close together denials of many subjects for one reason must be.
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    window: String,
    /// How many subjects are many.
    #[arg(long, value_name = "N", default_value = "10")]
    subjects: String,
    /// How many denials that were counted and not recorded are many.
    #[arg(long, value_name = "N", default_value = "100")]
    counted: String,
    /// How many alarms at most: the gravest kinds, and of each the newest.
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

/// Says which.
pub(super) async fn run(arguments: &AlarmsArgs) -> Result<u8, u8> {
    let mut given = arguments.filter.given();
    given.push(("window", Some(&arguments.window)));
    given.push(("subjects", Some(&arguments.subjects)));
    given.push(("counted", Some(&arguments.counted)));
    given.push(("limit", arguments.limit.as_ref()));
    let wish = wish(Question::Alarms, &given)?;
    let Answer::Alarms(alarms) = ask_once(&arguments.source, &wish).await? else {
        return Err(odd());
    };
    match arguments.format {
        Format::Json => say_json(&alarms),
        Format::Text => say(&in_words(&alarms)),
    };
    Ok(if alarms.alarms.is_empty() && alarms.not_listed == 0 {
        DONE
    } else {
        REFUSED
    })
}

fn in_words(alarms: &Alarms) -> String {
    let mut text = format!(
        "{} in {} allowed and {} ({} more counted) from {} to {}\n",
        count(alarms.alarms.len() as u64, "alarm"),
        count(alarms.allowed, "exchange"),
        count(alarms.denied, "denial"),
        alarms.counted,
        alarms.since.as_deref().unwrap_or("the beginning"),
        alarms.until
    );
    for alarm in &alarms.alarms {
        text.push('\n');
        text.push_str(&one(alarm));
    }
    if alarms.not_listed > 0 {
        let _ = writeln!(
            text,
            "\nand {} more times in alarms that are not listed: raise `--limit`",
            alarms.not_listed
        );
    }
    text
}

fn one(alarm: &Alarm) -> String {
    let issuer = alarm.issuer.as_deref().unwrap_or("no registered issuer");
    let reason = alarm.reason.as_ref();
    let reason = reason.map_or_else(String::new, |reason| format!(", {reason}"));
    let mut text = format!(
        "{} ({issuer}{reason}): {} from {} to {}\n  may mean: {}\n  look at:  {}\n",
        name(alarm.kind),
        count(alarm.count, "time"),
        alarm.first_at,
        alarm.last_at,
        alarm.meaning,
        alarm.look_at
    );
    for (what, values) in [
        ("projects", &alarm.projects),
        ("repositories", &alarm.repositories),
        ("subjects", &alarm.subjects),
        ("addresses", &alarm.addresses),
        ("runs", &alarm.runs),
    ] {
        if !values.is_empty() {
            let _ = writeln!(text, "  {what}: {}", seen(values));
        }
    }
    let _ = writeln!(text, "  examples: {}", alarm.examples.join(" "));
    text
}

/// The word of the answer for programs.
fn name(kind: AlarmKind) -> String {
    let word = serde_json::to_value(kind).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}
