//! `countersign audit`: what a reviewer does with the log.

mod alarms;
mod export;
mod key;
mod list;
mod policy;
mod shown;
mod source;
mod table;
mod tail;
mod usage;
mod verify;
mod who;

use clap::{Args, Subcommand};

/// The arguments of `audit`.
#[derive(Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Subcommand)]
enum AuditVerb {
    Verify(verify::VerifyArgs),
    List(list::ListArgs),
    Export(export::ExportArgs),
    Tail(tail::TailArgs),
    Key(key::KeyArgs),
    Who(who::WhoArgs),
    Use(usage::UseArgs),
    Alarms(alarms::AlarmsArgs),
    Policy(policy::PolicyAtArgs),
}

/// Does what the verb says.
pub(super) async fn run(arguments: AuditArgs) -> u8 {
    let done = match arguments.verb {
        AuditVerb::Verify(arguments) => return verify::run(arguments).await,
        AuditVerb::List(arguments) => list::run(&arguments).await,
        AuditVerb::Export(arguments) => export::run(&arguments).await,
        AuditVerb::Tail(arguments) => tail::run(&arguments).await,
        AuditVerb::Key(arguments) => key::run(&arguments).await,
        AuditVerb::Who(arguments) => who::run(&arguments).await,
        AuditVerb::Use(arguments) => usage::run(&arguments).await,
        AuditVerb::Alarms(arguments) => alarms::run(&arguments).await,
        AuditVerb::Policy(arguments) => policy::run(&arguments).await,
    };
    done.unwrap_or_else(|code| code)
}
