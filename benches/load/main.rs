//! The load command: drives the release build on loopback and prints what it found as Markdown.
//!
//! `cargo bench --bench load -- <run>`; what each run is about, and what it found on which machine, stands in
//! `docs/performance.md`. It needs wrk.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measurement says what it found in figures that people read, and stops at the unexpected"
)]

#[expect(dead_code, reason = "the tests make more things fail")]
mod drive;
mod filling;
mod flat;
mod floods;
mod floor;
mod house;
mod log;
mod measure;
mod outage;
mod pg_log;
mod reference;
mod slices;
mod soak;
mod stage;
mod storeless;
mod target;
mod throughput;
mod wrk;

#[path = "../../tests/support"]
mod support {
    #[expect(dead_code, reason = "the tests make keys of other kinds too")]
    pub mod keys;
    #[expect(dead_code, reason = "the tests fill what is there already")]
    pub mod pg_fill;
    #[expect(dead_code, reason = "the tests share a server too")]
    pub mod postgres;
}

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Drives the release build on loopback and prints what it found.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    run: Option<Run>,
    #[command(flatten)]
    options: Options,
    /// What cargo adds.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

/// How much of everything.
#[derive(Args, Clone, Copy)]
struct Options {
    /// How often each target is measured, one after the other.
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// How long each of these takes.
    #[arg(long, global = true, default_value_t = 5)]
    seconds: u64,
    /// How many connections ask at once.
    #[arg(long, global = true, default_value_t = 32)]
    connections: usize,
}

#[derive(Subcommand)]
enum Run {
    /// The service beside a floor and beside itself without store (the default).
    Throughput,
    /// Many projects beside few, and a full ledger beside an empty one.
    Flat {
        /// How many projects, with ten relationships each.
        #[arg(long, default_value_t = 100_000)]
        projects: usize,
        /// How many records.
        #[arg(long, default_value_t = 1_000_000)]
        records: usize,
    },
    /// Every issuer down beside all of them up.
    Outage,
    /// Names of keys that nobody has, beside legitimate jobs.
    Kids,
    /// Garbage, strangers and repeats, beside legitimate jobs.
    Floods,
    /// Kills under load, and what they lost.
    Kills {
        /// How many.
        #[arg(long, default_value_t = 100)]
        times: usize,
    },
    /// Three instances on PostgreSQL with a standby, and a fault every twenty seconds. Needs root, for a network of its own.
    Soak {
        /// How many minutes.
        #[arg(default_value_t = 10)]
        minutes: u64,
    },
    /// The service beside itself without the tree of the log.
    Tree,
    /// A log of many entries: its start, the first page of each filter, its verification.
    Reading {
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        entries: usize,
    },
    /// The same of a log on PostgreSQL, whose entries are written straight to its tables.
    PgLog {
        /// How many.
        #[arg(long, default_value_t = 10_000_000)]
        entries: u64,
        /// How many claims of the tokens the entries have, so that they fit the disk.
        #[arg(long, default_value_t = 6)]
        claims: usize,
    },
    /// A log of many exchanges, restarts and kills before two verifiers, as it is and changed.
    Audited {
        /// How many exchanges.
        #[arg(long, default_value_t = 100_000)]
        exchanges: usize,
        /// How many kills.
        #[arg(long, default_value_t = 15)]
        kills: usize,
        /// How many restarts.
        #[arg(long, default_value_t = 5)]
        stops: usize,
    },
    /// An issuer, the service, the floor and a file of tokens for another program, until standard input ends.
    Stage {
        /// The folder for the tokens.
        folder: PathBuf,
        /// How many tokens.
        #[arg(long, default_value_t = 100_000)]
        tokens: usize,
    },
    /// The floor, as a child.
    #[command(hide = true)]
    Floor { issuer: String },
    /// The service without store, as a child.
    #[command(hide = true)]
    Storeless { folder: PathBuf },
    /// The service without tree, as a child.
    #[command(hide = true)]
    Treeless { folder: PathBuf },
}

fn main() -> ExitCode {
    let Arguments { run, options, .. } = Arguments::parse();
    match run.unwrap_or(Run::Throughput) {
        Run::Throughput => throughput::run(options),
        Run::Flat { projects, records } => flat::run(options, projects, records),
        Run::Outage => outage::issuers_down(options),
        Run::Kids => outage::unknown_keys(options),
        Run::Floods => floods::run(options),
        Run::Kills { times } => return kills(times),
        Run::Soak { minutes } => return soak::run(minutes),
        Run::Tree => log::tree(options),
        Run::Reading { entries } => log::reading(entries),
        Run::PgLog { entries, claims } => pg_log::run(entries, claims),
        Run::Audited {
            exchanges,
            kills,
            stops,
        } => {
            return log::audited(&drive::audited::Plan {
                exchanges,
                kills,
                stops,
                connections: 16,
            });
        }
        Run::Stage { folder, tokens } => stage::run(&folder, tokens),
        Run::Floor { issuer } => floor::serve(&issuer),
        Run::Storeless { folder } => storeless::serve(&folder, storeless::Lacks::Store),
        Run::Treeless { folder } => storeless::serve(&folder, storeless::Lacks::Tree),
    }
    ExitCode::SUCCESS
}

fn kills(times: usize) -> ExitCode {
    let folder = house::folder();
    let plan = drive::kills::Plan {
        kills: times,
        connections: 8,
        exchanges: 400,
    };
    let found = drive::kills::run(folder.path(), &plan);
    println!("| what | count |\n|---|--:|");
    for (what, count) in [
        ("kills under load", found.kills),
        ("exchanges acknowledged", found.acknowledged),
        ("exchanges left without an answer", found.unanswered),
        ("acknowledged and not on record", found.lost),
        ("tokens let in twice", found.spent_twice),
        ("decisions named twice", found.answered_twice),
        ("other answers", found.unexpected.len()),
    ] {
        println!("| {what} | {count} |");
    }
    if found.all_well() {
        return ExitCode::SUCCESS;
    }
    for what in found.unexpected.iter().take(10) {
        eprintln!("{what}");
    }
    ExitCode::FAILURE
}
