//! `countersign policy test`: runs the cases that travel with the policies.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::{DONE, REFUSED, UNAVAILABLE};
use super::case::{self, Tried};
use super::junit;
use super::setting::{ConfigArgs, Setting, report_problems};
use super::{count, say};
use crate::trust::{Case, Explanation, ProjectPolicy};

/// Run the cases of every policy with the judge that the service uses.
///
/// Exit code 1 if a case does not get the answer that it expects, or a file does not load.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// The folder of the policies. Without it, that of the configuration.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Write the outcome as JUnit XML too, for a CI system to show.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// One project's cases, and what became of them.
pub(super) struct Suite {
    /// The project's path.
    pub(super) project: String,
    /// Its policy file, below the folder.
    pub(super) file: String,
    /// Its cases, in the order of the file.
    pub(super) cases: Vec<CaseRun>,
}

/// One case, and what became of it.
pub(super) struct CaseRun {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) tried: Tried,
}

impl Suite {
    fn run(setting: &Setting, folder: &Path, policy: &ProjectPolicy) -> Self {
        let try_one = |case: &Case| CaseRun {
            name: case.name.to_string(),
            line: policy.file().position(case.place().start).0,
            tried: case::run(setting, folder, policy, case),
        };
        Self {
            project: policy.path().to_string(),
            file: policy.file().name().to_owned(),
            cases: policy.cases().iter().map(try_one).collect(),
        }
    }

    /// How many cases fail.
    pub(super) fn failures(&self) -> usize {
        let failed = |case: &&CaseRun| case.tried.failure.is_some();
        self.cases.iter().filter(failed).count()
    }

    fn in_words(&self) -> String {
        if self.cases.is_empty() {
            return format!("{}: no cases\n", self.project);
        }
        let mut text = format!("{}\n", self.project);
        for case in &self.cases {
            let Some(failure) = &case.tried.failure else {
                let _ = writeln!(text, "  ok    {}: {}", case.name, case.tried.answer);
                continue;
            };
            let place = format!("{}:{}", self.file, case.line);
            let _ = writeln!(text, "  FAIL  {} ({place}): {failure}", case.name);
            let explained = case.tried.explanation.as_ref();
            let explained = explained.map(Explanation::in_words).unwrap_or_default();
            for line in explained.lines() {
                let _ = writeln!(text, "        {line}");
            }
        }
        text
    }
}

/// Runs every case.
pub(super) fn run(arguments: &TestArgs) -> u8 {
    match tested(arguments) {
        Ok(code) | Err(code) => code,
    }
}

fn tested(arguments: &TestArgs) -> Result<u8, u8> {
    let setting = Setting::load(&arguments.config)?;
    let folder = setting.folder(arguments.dir.as_deref());
    let read = setting.policies(folder)?;
    let broken = report_problems(&read);
    let suites: Vec<Suite> = read
        .policies
        .iter()
        .map(|policy| Suite::run(&setting, folder, policy))
        .collect();

    let text: String = suites.iter().map(Suite::in_words).collect();
    let cases: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    let failures: usize = suites.iter().map(Suite::failures).sum();
    say(&format!(
        "{text}\n{}\n",
        summary(cases, failures, read.problems.len())
    ));
    if let Some(file) = &arguments.junit {
        let report = junit::report(&suites, &read.problems);
        std::fs::write(file, report).map_err(|fault| {
            eprintln!("`{}` cannot be written: {fault}", file.display());
            UNAVAILABLE
        })?;
    }
    Ok(if failures > 0 || broken {
        REFUSED
    } else {
        DONE
    })
}

fn summary(cases: usize, failures: usize, broken: usize) -> String {
    let passed = cases - failures;
    let mut text = format!(
        "{}: {passed} as expected, {failures} not",
        count(cases, "case")
    );
    if broken > 0 {
        let _ = write!(text, "; not loaded: {}", count(broken, "file"));
    }
    text
}
