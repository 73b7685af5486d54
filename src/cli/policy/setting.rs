//! What every verb of `policy` begins with: the configuration, the issuers, and a folder of policies.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::super::ledger_access::{AccessError, LedgerAccess};
use super::super::{UNAVAILABLE, USAGE, environment};
use crate::audit::{Filter, Record};
use crate::clock::{Seconds, UnixTime};
use crate::config::Config;
use crate::directory::{FileProblem, ReadPolicies, read_policies};
use crate::issuer::Registry;
use crate::trust::{Limits, ProjectPath, ProjectPolicy};

/// Which configuration. Every verb has this argument.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The configuration, for issuers and times. Without it, the five CI systems are the issuers.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

/// For whom an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// The configuration, and what follows from it.
pub(super) struct Setting {
    pub(super) config: Config,
    pub(super) registry: Arc<Registry>,
}

impl Setting {
    /// Reads the configuration, or says on standard error what is wrong with it.
    pub(super) fn load(arguments: &ConfigArgs) -> Result<Self, u8> {
        let environment = environment();
        let config = Config::load(arguments.config.as_deref(), &environment).map_err(|fault| {
            eprintln!("{}", fault.render(std::io::stderr().is_terminal()));
            USAGE
        })?;
        let registry = Arc::new(Registry::new(config.issuers.iter().cloned()));
        Ok(Self { config, registry })
    }

    /// How long project tokens live.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            default_lifetime: self.config.token.default_lifetime,
            maximum_lifetime: self.config.token.maximum_lifetime,
        }
    }

    /// The folder that is meant if nobody says: that of the configuration.
    pub(super) fn folder<'a>(&'a self, given: Option<&'a Path>) -> &'a Path {
        given.unwrap_or(&self.config.trust_policies)
    }

    /// Reads every policy of a folder, or says on standard error why that cannot be.
    pub(super) fn policies(&self, folder: &Path) -> Result<ReadPolicies, u8> {
        read_policies(folder, &self.registry).map_err(|fault| {
            eprintln!("{fault}");
            USAGE
        })
    }
}

/// The ledger of the configuration, or on standard error why it cannot be had.
pub(super) async fn ledger(setting: &Setting) -> Result<LedgerAccess, u8> {
    let opened = LedgerAccess::open(&setting.config).await;
    opened.map_err(|fault| ledger_fault(&fault))
}

/// Says on standard error why the ledger does not answer.
pub(super) fn ledger_fault(fault: &AccessError) -> u8 {
    eprintln!("{fault}");
    match fault {
        AccessError::NoLedger(_) => USAGE,
        _ => UNAVAILABLE,
    }
}

/// How many records are asked for at once.
const PAGE: usize = 500;

/// Shows `look` every decision that was recorded since then, newest first, or says on standard error why that cannot be.
pub(super) async fn each_decision(
    setting: &Setting,
    since: UnixTime,
    mut look: impl FnMut(&Record),
) -> Result<(), u8> {
    let ledger = ledger(setting).await?;
    let filter = Filter {
        kind: Some("decision".into()),
        since_millis: Some(since.millis()),
        ..Filter::default()
    };
    let mut before = None;
    let done = loop {
        match ledger.search(&filter, before, PAGE).await {
            Ok(page) => {
                for numbered in page.entries {
                    // Whatever a decision can lose when personal values are deleted may be missing in a record.
                    if let Ok(record) = serde_json::from_value(numbered.entry) {
                        look(&record);
                    }
                }
                match page.next {
                    Some(next) => before = Some(next),
                    None => break Ok(()),
                }
            }
            Err(fault) => break Err(ledger_fault(&fault)),
        }
    };
    ledger.close().await;
    done
}

/// Says on standard error which files did not load. Answers whether there were any.
pub(super) fn report_problems(read: &ReadPolicies) -> bool {
    for problem in &read.problems {
        eprintln!("{}: {}", problem.file, problem.message);
    }
    !read.problems.is_empty()
}

/// The policy of one project, or on standard error why there is none.
pub(super) fn policy_of(
    read: &ReadPolicies,
    folder: &Path,
    project: &ProjectPath,
) -> Result<Arc<ProjectPolicy>, u8> {
    let found = read.policies.iter().find(|policy| policy.path() == project);
    if let Some(policy) = found {
        return Ok(policy.clone());
    }
    let file = format!("{project}.toml");
    let above = format!("{}/_organization.toml", project.organization());
    let stops = |problem: &&FileProblem| problem.file == file || problem.file == above;
    match read.problems.iter().find(stops) {
        Some(problem) => eprintln!("{}: {}", problem.file, problem.message),
        None => eprintln!(
            "there is no project `{project}`: `{}` is not there",
            folder.join(file).display()
        ),
    }
    Err(USAGE)
}

/// Reads the name of a project, for an argument.
pub(super) fn project(text: &str) -> Result<ProjectPath, String> {
    ProjectPath::parse(text).map_err(|fault| fault.to_string())
}

/// Reads a span of time, such as `30d`, for an argument.
pub(super) fn span(text: &str) -> Result<Seconds, String> {
    let span = humantime::parse_duration(text).map_err(|fault| fault.to_string())?;
    let seconds = u32::try_from(span.as_secs());
    seconds.map(Seconds).map_err(|_| "is too long".to_owned())
}
