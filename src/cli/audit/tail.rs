//! `countersign audit tail`.

use std::time::Duration;

use clap::Args;

use super::super::DONE;
use super::super::ledger_access::{LedgerAccess, ask_service};
use super::shown::rows;
use super::source::{FilterArgs, Format, ReadFault, Reader, SourceArgs, configuration, say, wish};
use crate::client::AdminClient;
use crate::reading::{Answer, LONGEST_PAGE, Listed, NumberedEntry, Question, Wish};

/// How often it is looked for new entries.
const EVERY: Duration = Duration::from_secs(1);

/// Show the last entries of the log, the oldest of them first, and new ones as they come.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// Go on with new entries until interrupted. A restart of the service is waited for.
    #[arg(short, long)]
    follow: bool,
    /// How many entries to begin with.
    #[arg(short = 'n', long, value_name = "N", default_value = "10")]
    lines: usize,
    /// For people, or a JSON object a line.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// Shows the end of the log.
pub(super) async fn run(arguments: &TailArgs) -> Result<u8, u8> {
    let wish = wish(Question::List, &arguments.filter.given())?;
    let reader = Reader::open(&arguments.source).await?;
    let last = last(arguments, &reader, &wish).await;
    let (mut entries, from) = match last {
        Ok(last) => last,
        Err(fault) => {
            reader.close().await;
            return Err(fault.report());
        }
    };
    entries.reverse();
    if !show(arguments, &entries) || !arguments.follow {
        reader.close().await;
        return Ok(DONE);
    }
    let source = Followed::of(arguments, reader).await?;
    let wish = Wish {
        from: Some(from),
        limit: LONGEST_PAGE,
        ..wish
    };
    tokio::select! {
        done = follow(arguments, &source, wish) => done,
        _ = tokio::signal::ctrl_c() => Ok(DONE),
    }
}

/// The last entries, the newest first, and the number of the next one that the log will have.
async fn last(
    arguments: &TailArgs,
    reader: &Reader,
    wish: &Wish,
) -> Result<(Vec<NumberedEntry>, u64), ReadFault> {
    let newest = Wish {
        limit: 1,
        ..Wish::new(Question::List, wish.now)
    };
    let newest = reader.list(&newest).await?;
    let newest = newest.entries.first();
    let next = newest.map_or(0, |newest| newest.index.saturating_add(1));
    if arguments.lines == 0 {
        return Ok((Vec::new(), next));
    }
    let before = Wish {
        before: Some(next),
        ..wish.clone()
    };
    let listed = reader.gather(before, arguments.lines).await?;
    Ok((listed.entries, next))
}

/// Where new entries come from. The store of a stopped service is not held open, and never opened again: the service is to
/// start whenever it wants.
enum Followed {
    Socket(AdminClient),
    There(Reader),
}

impl Followed {
    async fn of(arguments: &TailArgs, reader: Reader) -> Result<Self, u8> {
        match reader {
            Reader::There(_) => Ok(Self::There(reader)),
            Reader::Here(access, registry) => {
                if let LedgerAccess::Service(client) = *access {
                    return Ok(Self::Socket(client));
                }
                let (config, _) = configuration(&arguments.source)?;
                let Some(socket) = config.store.admin_socket() else {
                    // Others may have a database open too, so it is followed itself.
                    return Ok(Self::There(Reader::Here(access, registry)));
                };
                access.close().await;
                eprintln!("the service is stopped; waiting for it");
                let client = AdminClient::new(&socket);
                client
                    .map(Self::Socket)
                    .map_err(|fault| eprintln_unavailable(&fault))
            }
        }
    }

    async fn list(&self, wish: &Wish) -> Result<Listed, ReadFault> {
        match self {
            Self::There(reader) => reader.list(wish).await,
            Self::Socket(client) => match ask_service(client, wish).await? {
                Answer::List(listed) => Ok(listed),
                _ => Err(ReadFault::Odd),
            },
        }
    }
}

fn eprintln_unavailable(fault: &impl std::fmt::Display) -> u8 {
    eprintln!("{fault}");
    super::super::UNAVAILABLE
}

/// Shows new entries as they come, until nobody reads any more.
async fn follow(arguments: &TailArgs, source: &Followed, mut wish: Wish) -> Result<u8, u8> {
    let mut silent = false;
    loop {
        match source.list(&wish).await {
            Ok(page) => {
                silent = false;
                if !show(arguments, &page.entries) {
                    return Ok(DONE);
                }
                let moved = page.next.is_some() && page.next != wish.from;
                wish.from = page.next.or(wish.from);
                if moved {
                    continue;
                }
            }
            Err(fault) if !fault.passes() => return Err(fault.report()),
            Err(fault) => {
                if !silent {
                    eprintln!("{fault}; waiting for it");
                }
                silent = true;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Shows entries. Answers whether somebody still reads.
fn show(arguments: &TailArgs, entries: &[NumberedEntry]) -> bool {
    if entries.is_empty() {
        return true;
    }
    match arguments.format {
        Format::Text => say(&rows(entries)),
        Format::Json => {
            let lines = entries.iter().filter_map(|entry| {
                let line = serde_json::to_string(entry).ok()?;
                Some(format!("{line}\n"))
            });
            say(&lines.collect::<String>())
        }
    }
}
