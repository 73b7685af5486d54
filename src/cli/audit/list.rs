//! `countersign audit list`.

use clap::Args;

use super::super::{DONE, REFUSED};
use super::shown::rows;
use super::source::{FilterArgs, Format, Reader, SourceArgs, say, say_json, wish};
use crate::reading::Question;

/// List entries of the log, the newest first.
///
/// Each line has the entry's number, when it was, what, the project, who, by which relationship or for which reason, and the
/// id. With `--format json` entries are whole. Exit code 1 says that there is none.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// How many entries.
    #[arg(long, value_name = "N", default_value = "100")]
    limit: usize,
    /// Go on before the entry of this number, as the end of a list says.
    #[arg(long, value_name = "INDEX")]
    before: Option<String>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// Lists.
pub(super) async fn run(arguments: &ListArgs) -> Result<u8, u8> {
    let mut given = arguments.filter.given();
    given.push(("before", arguments.before.as_ref()));
    let wish = wish(Question::List, &given)?;
    let reader = Reader::open(&arguments.source).await?;
    let listed = reader.gather(wish, arguments.limit.max(1)).await;
    reader.close().await;
    let listed = listed.map_err(|fault| fault.report())?;
    match arguments.format {
        Format::Json => {
            say_json(&listed);
        }
        Format::Text => {
            say(&rows(&listed.entries));
            if let Some(next) = listed.next {
                eprintln!("older entries: --before {next}");
            }
        }
    }
    if listed.entries.is_empty() {
        Ok(REFUSED)
    } else {
        Ok(DONE)
    }
}
