//! `countersign audit`: what a reviewer does with the audit log.

mod verify;

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
}

/// Does what the verb says.
pub(super) async fn run(arguments: AuditArgs) -> u8 {
    match arguments.verb {
        AuditVerb::Verify(arguments) => verify::run(arguments).await,
    }
}
