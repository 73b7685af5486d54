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
    /// A file with the password for the databases.
    #[arg(
        long,
        value_name = "FILE",
        env = "COUNTERSIGN_STORE__PASSWORD_FILE",
        hide_env_values = true
    )]
    password_file: Option<PathBuf>,
    /// A file with the password for the database that there is, if it has one of its own.
    #[arg(long, value_name = "FILE")]
    from_password_file: Option<PathBuf>,
    /// A file with the password for the database of the copy, if it has one of its own.
    #[arg(long, value_name = "FILE")]
    to_password_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of those who may sign the databases'.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_STORE__CA_FILE")]
    ca_file: Option<PathBuf>,
}

/// Does what was asked for.
pub(super) async fn run(arguments: &StoreArgs) -> u8 {
    let StoreVerb::Copy(arguments) = &arguments.verb;
    let (from, to) = (&arguments.from, &arguments.to);
    let places = place(
        "from",
        from,
        arguments.from_password_file.as_ref(),
        arguments,
    )
    .and_then(|from| {
        let to = place("to", to, arguments.to_password_file.as_ref(), arguments)?;
        Ok((from, to))
    });
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
        CopyError::NotEmpty(_)
        | CopyError::InUse(..)
        | CopyError::Damaged(..)
        | CopyError::Differs(..) => REFUSED,
        _ => UNAVAILABLE,
    }
}

fn place(
    flag: &str,
    url: &str,
    password_file: Option<&PathBuf>,
    arguments: &CopyArgs,
) -> Result<StorePlace, String> {
    // Whatever was written may hold a password.
    let no_store = |why: &str| format!("`--{flag}` is no store: {why}");
    if let Some(path) = url.strip_prefix("sled:").filter(|path| !path.is_empty()) {
        return Ok(StorePlace::Folder(path.into()));
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let why = "write `sled:` and a folder, or `postgres://user@host/database`";
        return Err(no_store(why));
    }
    let settings = PostgresSettings::parse(url);
    let mut settings = settings.map_err(|fault| no_store(&fault.to_string()))?;
    if settings.has_password() {
        return Err(format!(
            "`--{flag}` holds a password, which everybody on this machine could read; write it into a file, and give that \
             as `--{flag}-password-file`"
        ));
    }
    let password_file = password_file.or(arguments.password_file.as_ref());
    settings.password_file = password_file.cloned();
    settings.ca_file.clone_from(&arguments.ca_file);
    Ok(StorePlace::Database(Box::new(settings)))
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        copy: CopyArgs,
    }

    fn password_files(more: &[&str]) -> [Option<PathBuf>; 2] {
        let url = "postgres://cs@db.example.com/cs";
        let line = ["copy", "--from", url, "--to", url];
        let line = Line::parse_from(line.iter().chain(more));
        let (both, copy) = (&line.copy.password_file, &line.copy);
        assert!(more.is_empty() || both.is_some());
        [&copy.from_password_file, &copy.to_password_file].map(|own| {
            match place("from", url, own.as_ref(), copy).unwrap() {
                StorePlace::Database(settings) => settings.password_file,
                StorePlace::Folder(_) => None,
            }
        })
    }

    #[test]
    fn both_ends_have_one_password_file_or_each_its_own() {
        let both = ["--password-file", "both"];
        assert_eq!(
            password_files(&both),
            [Some("both".into()), Some("both".into())]
        );
        let own = ["--password-file", "both", "--to-password-file", "to"];
        assert_eq!(
            password_files(&own),
            [Some("both".into()), Some("to".into())]
        );
    }

    #[test]
    fn a_password_in_an_address_is_refused_with_the_flag_that_takes_it() {
        let line = ["copy", "--from", "x", "--to", "y"];
        let copy = Line::parse_from(line).copy;
        for url in [
            "postgres://cs:hunter2@db/cs",
            "postgres://cs@db/cs?password=hunter2",
            "postgre://cs:hunter2@db/cs",
        ] {
            let said = place("to", url, None, &copy).unwrap_err();
            assert!(!said.contains("hunter2"), "{said}");
        }
        let said = place("to", "postgres://cs:hunter2@db/cs", None, &copy).unwrap_err();
        assert!(said.contains("`--to-password-file`"), "{said}");
    }
}
