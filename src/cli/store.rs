//! `countersign store`: what is kept, as a whole.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Mutex;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::{DONE, REFUSED, UNAVAILABLE, USAGE};
use crate::store::{CopyError, Copying, PostgresError, PostgresSettings, StorePlace, copy_store};
use crate::text::for_terminal;

#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    verb: StoreVerb,
}

#[derive(Debug, Subcommand)]
enum StoreVerb {
    /// Copy everything that a service keeps into another store, and compare both.
    Copy(CopyArgs),
}

/// Copy everything that a service keeps into another store, and compare both.
///
/// The log, spent tokens, pins, ids of projects and keys come over as they are: the same tree, the same checkpoints. Every
/// service on either store must be stopped meanwhile. Afterwards nothing may serve from the first store any more: it does
/// not hear of tokens that are spent in the second.
///
/// Exit code 0 if the copy is there and the same, 1 if it is refused, 2 if the command is wrong, 3 if a store cannot be had.
/// Unless it is 0, nothing serves from the second store.
#[derive(Debug, Args)]
struct CopyArgs {
    /// The store that there is: `sled:` and a folder, or `postgres://user@host/database`.
    #[arg(long, value_name = "URL")]
    from: String,
    /// Where the copy is to be: a folder or a database that holds nothing yet.
    #[arg(long, value_name = "URL")]
    to: String,
    /// A file with the password for the database.
    #[arg(
        long,
        value_name = "FILE",
        env = "COUNTERSIGN_STORE__PASSWORD_FILE",
        hide_env_values = true
    )]
    password_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of those who may sign the database's.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_STORE__CA_FILE")]
    ca_file: Option<PathBuf>,
}

/// Does what was asked for.
pub(super) async fn run(arguments: &StoreArgs) -> u8 {
    let StoreVerb::Copy(arguments) = &arguments.verb;
    let places = place("--from", &arguments.from, arguments)
        .and_then(|from| Ok((from, place("--to", &arguments.to, arguments)?)));
    let (from, to) = match places {
        Ok(places) => places,
        Err(message) => {
            eprintln!("{}", for_terminal(&message));
            return USAGE;
        }
    };
    copy(&from, &to).await
}

async fn copy(from: &StorePlace, to: &StorePlace) -> u8 {
    let bar = Bar::new();
    let copied = copy_store(from, to, &|now| bar.show(now)).await;
    bar.end();
    match copied {
        Ok(summary) => {
            println!("{} is now in {}", from.shown(), to.shown());
            for (what, count) in summary.counts().filter(|(_, count)| *count > 0) {
                println!("{count:>12} {what}");
            }
            println!("both logs have the tree {}", summary.root());
            println!(
                "let nothing serve from {} any more: it does not hear of tokens that are spent from here on",
                from.shown()
            );
            DONE
        }
        Err(fault) => {
            eprintln!("{}", for_terminal(&fault.to_string()));
            code(&fault)
        }
    }
}

fn code(fault: &CopyError) -> u8 {
    match fault {
        CopyError::Same(_) | CopyError::Database(PostgresError::Settings(_)) => USAGE,
        CopyError::NotEmpty(_) | CopyError::Damaged(..) | CopyError::Differs(..) => REFUSED,
        _ => UNAVAILABLE,
    }
}

fn place(flag: &str, url: &str, arguments: &CopyArgs) -> Result<StorePlace, String> {
    if let Some(path) = url.strip_prefix("sled:").filter(|path| !path.is_empty()) {
        return Ok(StorePlace::Folder(path.into()));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let settings = PostgresSettings::parse(url);
        let mut settings = settings.map_err(|fault| format!("`{flag}` is no store: {fault}"))?;
        settings.password_file.clone_from(&arguments.password_file);
        settings.ca_file.clone_from(&arguments.ca_file);
        return Ok(StorePlace::Database(Box::new(settings)));
    }
    // Whatever was written may hold a password.
    Err(format!(
        "`{flag}` is no store: write `sled:` and a folder, or `postgres://user@host/database`"
    ))
}

/// How far it is, on a terminal.
struct Bar(Option<Mutex<ProgressBar>>);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{msg}: {human_pos}{prefix}, {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self(std::io::stderr().is_terminal().then_some(Mutex::new(bar)))
    }

    fn show(&self, now: Copying) {
        let Some(Ok(bar)) = self.0.as_ref().map(Mutex::lock) else {
            return;
        };
        let verb = if now.compares { "comparing" } else { "copying" };
        bar.set_message(format!("{verb} {}", now.what));
        bar.set_prefix(now.of.map(|all| format!(" of {all}")).unwrap_or_default());
        bar.set_position(now.done);
    }

    fn end(&self) {
        if let Some(Ok(bar)) = self.0.as_ref().map(Mutex::lock) {
            bar.finish_and_clear();
        }
    }
}
