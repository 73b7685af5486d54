//! `countersign policy schema`: JSON Schemas of the policy files, for editors.

use clap::Args;

use super::super::DONE;
use super::say;
use super::setting::{ConfigArgs, Setting};
use crate::fake_ci::claim_sets;
use crate::trust::{guard_rails_schema, policy_schema};

/// Print a JSON Schema (draft 2020-12), with which an editor completes and checks policy files.
///
/// It knows the issuers of the configuration. What it lets through, `policy check` may still refuse.
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// That of an organization's guard rails, `_organization.toml`.
    #[arg(long)]
    guard_rails: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints it.
pub(super) fn run(arguments: &SchemaArgs) -> u8 {
    let setting = match Setting::load(&arguments.config) {
        Ok(setting) => setting,
        Err(code) => return code,
    };
    let schema = if arguments.guard_rails {
        guard_rails_schema(&setting.registry)
    } else {
        let sets: Vec<&str> = claim_sets().iter().map(|set| set.name).collect();
        policy_schema(&setting.registry, &sets)
    };
    say(&format!("{schema:#}\n"));
    DONE
}
