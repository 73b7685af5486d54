//! `countersign policy check`: what would not load, and what loads and is probably not what was meant.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::super::{DONE, REFUSED, USAGE};
use super::case::claims_in;
use super::renamed::renamed;
use super::report::{self, Checked, Findings};
use super::setting::{ConfigArgs, Setting, policy_of, project, span};
use crate::clock::Seconds;
use crate::directory::{FileProblem, ReadPolicies};
use crate::fake_ci::{claim_set, claim_sets};
use crate::trust::{
    CaseStart, GuardRails, Linter, PolicyFile, ProjectPath, ProjectPolicy, Severity, who,
};

/// Check a folder of policies: what would not load, what lets in more than it looks, and what never holds.
///
/// Exit code 1 if something would not load or is an error; warnings and notes do not fail.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The folder of the policies. Without it, that of the configuration.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Say who could get into this project: each relationship as a sentence, and whether pull requests, other branches and
    /// other owners are inside.
    #[arg(long, value_name = "PROJECT", value_parser = project)]
    who: Option<ProjectPath>,
    /// Compare the names beside ids with those of the jobs that the ledger remembers, so far back. This needs the
    /// configuration of the service, on its machine.
    #[arg(long, value_name = "SPAN", value_parser = span, requires = "config")]
    since: Option<Seconds>,
    /// For people, for programs, or for code hosts.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With excerpts of the files.
    Text,
    /// As JSON.
    Json,
    /// As SARIF 2.1.0.
    Sarif,
}

/// Checks the folder.
pub(super) async fn run(arguments: &CheckArgs) -> u8 {
    match checked(arguments).await {
        Ok(code) | Err(code) => code,
    }
}

async fn checked(arguments: &CheckArgs) -> Result<u8, u8> {
    let setting = Setting::load(&arguments.config)?;
    let folder = setting.folder(arguments.dir.as_deref());
    if !folder.is_dir() {
        eprintln!("`{}` is no folder of policies", folder.display());
        return Err(USAGE);
    }
    let read = setting.policies(folder)?;
    let who = match &arguments.who {
        None => None,
        // What is wrong with it is among the findings, and until that is mended nobody gets in.
        Some(project) if is_broken(&read.problems, project) => None,
        Some(project) => {
            let policy = policy_of(&read, folder, project)?;
            Some((project.clone(), who(&policy, &setting.limits())))
        }
    };

    let mut findings = found(arguments, &setting, folder, &read).await?;
    if let Some((project, _)) = &who {
        findings.keep_only(&folder.join(format!("{project}.toml")).display().to_string());
    }
    match arguments.format {
        Format::Text => report::text(&findings, who.as_ref(), read.policies.len()),
        Format::Json => report::json(&findings, who.as_ref()),
        Format::Sarif => report::sarif(&findings),
    }
    Ok(match findings.worst() {
        Some(Severity::Error) => REFUSED,
        Some(Severity::Warning | Severity::Note) | None => DONE,
    })
}

/// Everything that is found: in files that do not load, in policies, in guard rails, and in the configuration.
async fn found(
    arguments: &CheckArgs,
    setting: &Setting,
    folder: &Path,
    read: &ReadPolicies,
) -> Result<Findings, u8> {
    let mut findings = Findings::default();
    for problem in &read.problems {
        findings.add(of_broken_file(problem, &read.policies));
    }
    let policies = read.policies.iter().map(|policy| &**policy);
    let mut linter = Linter::new(policies, &setting.registry, setting.limits());
    if let Some(since) = arguments.since {
        linter.compare_with(renamed(setting, read, since).await?);
    }
    let mut rails: BTreeMap<&str, &Arc<GuardRails>> = BTreeMap::new();
    for policy in &read.policies {
        if let Some(above) = policy.guard_rails() {
            rails.insert(above.organization(), above);
        }
        let missing = |start: &CaseStart| missing(folder, policy, start);
        findings.add(Checked::Report(linter.check(policy, &missing)));
    }
    for above in rails.into_values() {
        findings.add(Checked::Report(linter.check_guard_rails(above)));
    }
    let mut findings = findings.below(&folder.display().to_string());
    if let Some(config) = &arguments.config.config
        && let Ok(text) = fs::read_to_string(config)
    {
        let file = PolicyFile::new(&config.display().to_string(), &text);
        findings.add(Checked::Report(linter.check_issuers(file)));
    }
    Ok(findings)
}

/// Whether the project's file, or its organization's guard rails, would not load.
fn is_broken(problems: &[FileProblem], project: &ProjectPath) -> bool {
    let files = [
        format!("{project}.toml"),
        format!("{}/_organization.toml", project.organization()),
    ];
    problems.iter().any(|problem| files.contains(&problem.file))
}

/// A file that is not in force as it stands: its faults with excerpts where it can be read at all.
fn of_broken_file(problem: &FileProblem, loaded: &[Arc<ProjectPolicy>]) -> Checked {
    if let Some(fault) = &problem.fault {
        return Checked::Report(fault.clone().into_report());
    }
    let is_loaded = loaded
        .iter()
        .any(|policy| policy.file().name() == problem.file);
    Checked::File {
        file: problem.file.clone(),
        message: problem.message.clone(),
        severity: if is_loaded {
            Severity::Warning
        } else {
            Severity::Error
        },
    }
}

/// What is wrong with the claims that a case starts from, if they cannot be had.
fn missing(folder: &Path, policy: &ProjectPolicy, start: &CaseStart) -> Option<String> {
    match start {
        CaseStart::Nothing => None,
        CaseStart::File(name) => {
            let policy_file = folder.join(policy.file().name());
            let file = policy_file.parent().unwrap_or(folder).join(name);
            let claims = claims_in(&file);
            claims.err().map(|fault| format!("`{name}` {fault}"))
        }
        CaseStart::Set(name) if claim_set(name).is_some() => None,
        CaseStart::Set(name) => {
            let known = claim_sets().iter().map(|set| format!("`{}`", set.name));
            let known: Vec<String> = known.collect();
            let known = known.join(", ");
            Some(format!(
                "there are no claims called `{name}`; there are {known}"
            ))
        }
    }
}
