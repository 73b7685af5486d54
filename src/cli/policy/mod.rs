//! `countersign policy`: what an operator does with trust policies before, and after, the service reads them.

mod case;
mod check;
mod explain;
mod judge;
mod junit;
mod recorded;
mod report;
mod setting;
mod test;

use std::io::Write as _;

use clap::{Args, Subcommand};

pub(super) use recorded::in_words as record_in_words;

/// The arguments of `policy`.
#[derive(Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    verb: PolicyVerb,
}

#[derive(Subcommand)]
enum PolicyVerb {
    Check(check::CheckArgs),
    Test(test::TestArgs),
    Explain(explain::ExplainArgs),
}

/// Writes an answer. Nobody may be reading any more: then there is nobody to tell.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Does what the verb says.
pub(super) async fn run(arguments: &PolicyArgs) -> u8 {
    match &arguments.verb {
        PolicyVerb::Check(arguments) => check::run(arguments),
        PolicyVerb::Test(arguments) => test::run(arguments),
        PolicyVerb::Explain(arguments) => explain::run(arguments).await,
    }
}
