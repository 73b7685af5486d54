//! The command line: one file a verb. It puts the parts together.

pub mod assemble;
mod demo;
pub mod fake_ci;
pub mod ledger_access;
mod logging;
mod policy;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit codes: what was asked for is done.
pub const DONE: u8 = 0;
/// What was asked for is refused.
pub const REFUSED: u8 = 1;
/// The command or the configuration is wrong.
pub const USAGE: u8 = 2;
/// Something that is needed is not available at this moment.
pub const UNAVAILABLE: u8 = 3;

/// Exchanges the identity tokens of CI jobs for short-lived project tokens.
#[derive(Parser)]
#[command(name = "countersign", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the service.
    Serve(serve::ServeArgs),
    FakeCi(fake_ci::FakeCiArgs),
    /// Check, test and explain trust policies.
    Policy(policy::PolicyArgs),
    /// Show an exchange of each CI system, and a denial, on this machine alone.
    Demo(demo::DemoArgs),
}

/// Reads the arguments of the process and does what they ask for.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let code = match arguments.verb {
        Verb::Serve(arguments) => serve::run(&arguments).await,
        Verb::Policy(arguments) => policy::run(&arguments).await,
        Verb::Demo(arguments) => demo::run(&arguments).await,
        Verb::FakeCi(arguments) => match fake_ci::run(&arguments).await {
            Ok(()) => DONE,
            Err(fault) => {
                eprintln!("{fault}");
                UNAVAILABLE
            }
        },
    };
    ExitCode::from(code)
}
