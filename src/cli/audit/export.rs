//! `countersign audit export`.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};

use super::super::{DONE, REFUSED};
use super::source::{FilterArgs, Reader, SourceArgs, say, wish, write};
use crate::reading::{Export, ExportForm, Question};

/// Write all entries of a filter to standard output, the newest first.
///
/// JSON Lines is the exact form. CSV has a column for what most ask and the rest as JSON; a cell that a spreadsheet would
/// take for a formula begins with an apostrophe. What is written to the log meanwhile is not part of it. Exit code 1 says
/// that there is none.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// How it is written.
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Form,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Jsonl,
    Csv,
}

/// Exports.
pub(super) async fn run(arguments: &ExportArgs) -> Result<u8, u8> {
    let wish = wish(Question::List, &arguments.filter.given())?;
    let form = match arguments.format {
        Form::Jsonl => ExportForm::JsonLines,
        Form::Csv => ExportForm::Csv,
    };
    let mut export = Export::new(form, wish);
    let reader = Reader::open(&arguments.source).await?;
    let done = pages(&mut export, &reader).await;
    reader.close().await;
    done
}

async fn pages(export: &mut Export, reader: &Reader) -> Result<u8, u8> {
    let on_terminal = std::io::stdout().is_terminal();
    let mut code = REFUSED;
    while let Some(wish) = export.asks() {
        let page = reader.list(wish).await;
        let page = page.map_err(|fault| fault.report())?;
        if !page.entries.is_empty() {
            code = DONE;
        }
        let text = export.take(&page);
        let read = if on_terminal {
            say(&String::from_utf8_lossy(&text))
        } else {
            write(&text)
        };
        if !read {
            break;
        }
    }
    Ok(code)
}
