//! The command line: one file a verb. It puts the parts together.

pub mod assemble;
mod audit;
mod demo;
mod descriptors;
mod fake_ci;
mod healthcheck;
pub mod ledger_access;
mod logging;
mod policy;
pub mod record_configuration;
mod serve;
mod store;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The exit code if what was asked for is done.
const DONE: u8 = 0;
/// The exit code if what was asked for is refused.
const REFUSED: u8 = 1;
/// The exit code if the command or the configuration is wrong.
const USAGE: u8 = 2;
/// The exit code if something that is needed is not available at this moment.
const UNAVAILABLE: u8 = 3;

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
    /// Ask the service that runs on this machine how it is.
    Healthcheck(healthcheck::HealthcheckArgs),
    // What it is stands at its arguments, since it takes a paragraph.
    FakeCi(fake_ci::FakeCiArgs),
    /// Check, test and explain trust policies.
    Policy(policy::PolicyArgs),
    /// Verify the audit log, read it, and ask what a reviewer asks.
    Audit(Box<audit::AuditArgs>),
    /// Copy what a service keeps into another store.
    Store(store::StoreArgs),
    /// Show an exchange of each CI system, and a denial, on this machine alone.
    Demo(demo::DemoArgs),
}

/// The variables, with what is no text in them made visible: `std::env::vars` would panic at one, whoever set it.
fn environment() -> BTreeMap<String, String> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// Reads the arguments of the process and does what they ask for.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let code = match arguments.verb {
        Verb::Serve(arguments) => serve::run(&arguments).await,
        Verb::Healthcheck(arguments) => healthcheck::run(&arguments).await,
        Verb::Policy(arguments) => policy::run(&arguments).await,
        Verb::Audit(arguments) => audit::run(*arguments).await,
        Verb::Store(arguments) => store::run(&arguments).await,
        Verb::Demo(arguments) => demo::run(&arguments).await,
        Verb::FakeCi(arguments) => fake_ci::run(&arguments).await,
    };
    ExitCode::from(code)
}
