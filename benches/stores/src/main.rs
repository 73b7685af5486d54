//! Embedded stores behind the product's promise [`Ledger`](countersign::ledger::Ledger), side by side.
//!
//! ```text
//! cargo run --release --manifest-path benches/stores/Cargo.toml -- [--records N] [--seconds S] [--only NAME]
//! ```
//!
//! prints one table. Every store gets the same work: to look whether a subject token was spent, and to put on disk in one
//! commit that it is now, when that may be forgotten, and the record of the exchange. All but the product's own have the
//! same single writer in front of them, which commits everything that waits at once. Each opening is a process of its own,
//! and rounds are interleaved, so that a slow minute of the machine is everybody's.
//!
//! Beside the figures it makes sure that they are those of a store: a token that was spent is refused, also after the
//! store was closed and after its process was killed, and the records of what was acknowledged are there.

mod child;
mod group;
mod look;
mod machine;
mod stores;
mod table;
mod trial;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum as _};

use group::Fault;
use stores::StoreName;
use trial::Trial;

/// The product's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Weighs embedded stores against each other and prints one Markdown table.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many records a full store holds.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// How long each round takes, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many rounds each store has, empty and full; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many call at once.
    #[arg(long, default_value_t = 32)]
    callers: usize,
    /// Only this store; may be given several times.
    #[arg(long)]
    only: Vec<StoreName>,
    /// The folder for the data. It must lie on a disk and have room for all full stores, with a million records about 30 GB.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/data"))]
    data: PathBuf,
    /// Carries out one order from standard input.
    #[arg(long, hide = true)]
    child: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.child {
        child::obey()
    } else {
        compare(&arguments)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), Fault> {
    let names = if arguments.only.is_empty() {
        StoreName::value_variants()
    } else {
        &arguments.only
    };
    let round = Duration::try_from_secs_f64(arguments.seconds)?;
    let new = |name: &StoreName| Trial {
        name: *name,
        folder: arguments.data.join(name.as_str()),
        records: arguments.records,
        callers: arguments.callers,
        round,
        found: trial::Found::default(),
    };
    let mut trials: Vec<_> = names.iter().map(new).collect();
    for _ in 0..arguments.rounds {
        for trial in &mut trials {
            trial.empty_round()?;
        }
    }
    for trial in &mut trials {
        trial.fill()?;
    }
    for _ in 0..arguments.rounds {
        for trial in &mut trials {
            trial.full_round()?;
        }
    }
    for trial in &mut trials {
        trial.kill()?;
    }
    println!("{}", table::render(arguments.records, &trials));
    Ok(())
}
