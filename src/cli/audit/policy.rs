//! `countersign audit policy`.

use std::fmt::Write as _;

use clap::Args;

use super::super::{DONE, REFUSED};
use super::source::{Format, SourceArgs, ask_once, odd, say, say_json, wish};
use crate::reading::{Answer, FileHistory, PolicyAnswer, PolicyChange, Question};

/// Show the policy, and the guard rails, that were in force for a project at a moment.
///
/// The text is the one that the service had read, found by its digest. Exit code 1 says that no policy was in force.
#[derive(Debug, Args)]
pub(super) struct PolicyAtArgs {
    /// The project, as organization/project.
    #[arg(long, value_name = "PROJECT")]
    project: String,
    /// The moment: RFC 3339, or a span such as `30d`, which is so long ago. Without it, now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Print the text of the policy and nothing else.
    #[arg(long)]
    content: bool,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "text", conflicts_with = "content")]
    format: Format,
    #[command(flatten)]
    source: SourceArgs,
}

/// Shows it.
pub(super) async fn run(arguments: &PolicyAtArgs) -> Result<u8, u8> {
    let given = vec![
        ("project", Some(&arguments.project)),
        ("at", arguments.at.as_ref()),
    ];
    let wish = wish(Question::Policy, &given)?;
    let Answer::Policy(answer) = ask_once(&arguments.source, &wish).await? else {
        return Err(odd());
    };
    let in_force = answer.policy.in_force.as_ref();
    if arguments.content {
        let text = in_force.and_then(|in_force| in_force.text.as_deref());
        say(text.unwrap_or_default());
    } else if arguments.format == Format::Json {
        say_json(&answer);
    } else {
        say(&in_words(&answer));
    }
    Ok(if in_force.is_some() { DONE } else { REFUSED })
}

fn in_words(answer: &PolicyAnswer) -> String {
    let mut text = format!("{} at {}\n", answer.project, answer.at);
    for file in [&answer.policy, &answer.guard_rails] {
        text.push('\n');
        text.push_str(&one(file));
    }
    for file in [&answer.policy, &answer.guard_rails] {
        let in_force = file.in_force.as_ref();
        if let Some(content) = in_force.and_then(|in_force| in_force.text.as_deref()) {
            let _ = writeln!(text, "\n# {}\n{}", file.file, content.trim_end());
        }
    }
    text
}

fn one(file: &FileHistory) -> String {
    let mut text = match &file.in_force {
        Some(in_force) => format!(
            "{}: {} in force since {}\n",
            file.file, in_force.digest, in_force.since
        ),
        None => format!("{}: nothing was in force\n", file.file),
    };
    for (when, changes) in [("before", &file.before), ("after", &file.after)] {
        for change in changes {
            let _ = writeln!(text, "  {when}: {}", said(change));
        }
    }
    text
}

/// "2026-11-20T12:00:00.000Z loaded sha256:… (added release): entry 7".
fn said(change: &PolicyChange) -> String {
    let verb = change.kind.strip_prefix("policy-").unwrap_or(&change.kind);
    let digest = change.digest.as_deref().unwrap_or("");
    let lists = [
        ("added", &change.added),
        ("changed", &change.changed),
        ("removed", &change.removed),
    ];
    let mut what: Vec<String> = lists
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(how, names)| format!("{how} {}", names.join(", ")))
        .collect();
    what.extend(change.message.clone());
    let what = if what.is_empty() {
        String::new()
    } else {
        format!(" ({})", what.join("; "))
    };
    format!(
        "{} {verb} {digest}{what}: entry {}",
        change.at, change.index
    )
}
