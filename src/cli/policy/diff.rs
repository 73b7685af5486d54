//! `countersign policy diff`: yesterday's jobs against tomorrow's policy.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::super::{DONE, REFUSED};
use super::judge::{judge, suppose};
use super::setting::{ConfigArgs, Format, Setting, each_decision, report_problems, span};
use super::{count, listed, pretty, recorded, say};
use crate::audit::Record;
use crate::clock::{Clock as _, Seconds, SystemClock, UnixTime};
use crate::subject::VerifiedClaims;
use crate::text::for_terminal;
use crate::trust::{Explanation, ProjectPolicy, Refusal, Verdict, Wish};

/// Run the jobs that the ledger remembers through a new folder of policies, and list what it would change.
///
/// Every job is judged by both folders with the judge that the service uses; pinned ids and spent tokens have no part in
/// it. Exit code 1 if a file of either folder does not load.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The folder of the new policies.
    #[arg(value_name = "NEW_DIR")]
    new: PathBuf,
    /// How far back to look.
    #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = span)]
    since: Seconds,
    /// The folder of the policies so far. Without it, that of the configuration.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What changes for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    NewlyAllowed,
    NewlyDenied,
    OtherScopes,
}

impl Change {
    const ALL: [Self; 3] = [Self::NewlyAllowed, Self::NewlyDenied, Self::OtherScopes];

    fn heading(self) -> &'static str {
        match self {
            Self::NewlyAllowed => "newly allowed",
            Self::NewlyDenied => "newly denied",
            Self::OtherScopes => "allowed with other scopes",
        }
    }
}

/// What jobs are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    change: Change,
    project: String,
    /// Those that would let it in; of what is newly denied, those that did so far.
    relationships: Vec<String>,
    job: String,
}

/// One kind of job for which something changes.
#[derive(Debug, Serialize)]
struct Changed {
    change: Change,
    project: String,
    relationships: Vec<String>,
    job: String,
    /// What changes, in one sentence.
    why: String,
    times: usize,
    last: String,
    decision_id: String,
}

/// What was compared, and what came of it.
#[derive(Debug, Default, Serialize)]
struct Differences {
    since: String,
    judged: usize,
    not_judged: usize,
    changes: Vec<Changed>,
}

/// Compares.
pub(super) async fn run(arguments: &DiffArgs) -> u8 {
    match compared(arguments).await {
        Ok(differences) => {
            say(&match arguments.format {
                Format::Text => in_words(&differences),
                Format::Json => pretty(&differences),
            });
            DONE
        }
        Err(code) => code,
    }
}

async fn compared(arguments: &DiffArgs) -> Result<Differences, u8> {
    let setting = Setting::load(&arguments.config)?;
    let old = policies(&setting, setting.folder(arguments.dir.as_deref()))?;
    let new = policies(&setting, &arguments.new)?;
    let since = SystemClock.now().minus(arguments.since);
    let mut comparison = Comparison {
        setting: &setting,
        old,
        new,
        groups: BTreeMap::new(),
        differences: Differences {
            since: since.to_string(),
            ..Differences::default()
        },
    };
    each_decision(&setting, since, |record| comparison.one(record)).await?;
    Ok(comparison.done())
}

type Policies = HashMap<String, Arc<ProjectPolicy>>;

/// Every policy of a folder, by project. What does not load would be compared as something else than it is.
fn policies(setting: &Setting, folder: &Path) -> Result<Policies, u8> {
    let read = setting.policies(folder)?;
    if report_problems(&read) {
        return Err(REFUSED);
    }
    let by_project = |policy: Arc<ProjectPolicy>| (policy.path().to_string(), policy);
    Ok(read.policies.into_iter().map(by_project).collect())
}

struct Comparison<'a> {
    setting: &'a Setting,
    old: Policies,
    new: Policies,
    groups: BTreeMap<Group, Changed>,
    differences: Differences,
}

impl Comparison<'_> {
    fn done(mut self) -> Differences {
        self.differences.changes = self.groups.into_values().collect();
        self.differences
    }

    fn one(&mut self, record: &Record) {
        if !reached_the_policy(record) {
            return;
        }
        let Ok(claims) = suppose(self.setting, (*record.claims).clone()) else {
            self.differences.not_judged += 1;
            return;
        };
        let project = recorded::project(record);
        let wish = Wish {
            scopes: None,
            resource: record.resource.clone(),
        };
        let by = |policies: &Policies| {
            policies.get(project).map(|policy| {
                let decision = judge(policy, &claims, &wish, self.setting.limits());
                Explanation::new(project, &decision)
            })
        };
        let (old, new) = (by(&self.old), by(&self.new));
        self.differences.judged += 1;
        let Some((change, relationships, why)) = change(old.as_ref(), new.as_ref()) else {
            return;
        };
        let group = Group {
            change,
            project: project.to_owned(),
            relationships,
            job: job(&claims),
        };
        let changed = self.groups.entry(group.clone()).or_insert_with(|| Changed {
            change,
            project: group.project,
            relationships: group.relationships,
            job: group.job,
            why: String::new(),
            times: 0,
            last: String::new(),
            decision_id: String::new(),
        });
        changed.times += 1;
        changed.why = why;
        changed.last = UnixTime::from_millis(record.at_millis).to_string();
        changed.decision_id = record.decision_id.to_string();
    }
}

/// Whether the policy was asked: whatever was wrong with other tokens, no policy changes it.
fn reached_the_policy(record: &Record) -> bool {
    let reason = record.reason.as_deref();
    record.verified && reason.is_none_or(|reason| Refusal::CODES.contains(&reason))
}

/// What differs between two answers; a project without a policy lets nobody in.
fn change(
    old: Option<&Explanation>,
    new: Option<&Explanation>,
) -> Option<(Change, Vec<String>, String)> {
    let allowed = |explanation: Option<&Explanation>| {
        explanation
            .filter(|one| one.outcome == Verdict::Allowed)
            .cloned()
    };
    match (allowed(old), allowed(new)) {
        (None, Some(now)) => Some((
            Change::NewlyAllowed,
            now.trust.clone(),
            format!("would get {}", now.scopes.join(" ")),
        )),
        (Some(before), None) => {
            let why = match new {
                None => "the project would have no policy".to_owned(),
                Some(now) => now.summary.clone().unwrap_or_default(),
            };
            Some((Change::NewlyDenied, before.trust, why))
        }
        (Some(before), Some(now)) if before.scopes != now.scopes => {
            let why = format!(
                "would get {} instead of {}",
                now.scopes.join(" "),
                before.scopes.join(" ")
            );
            Some((Change::OtherScopes, now.trust, why))
        }
        (None, None) | (Some(_), Some(_)) => None,
    }
}

/// The kind of job, in words: its issuer, and where known its repository and ref.
fn job(claims: &VerifiedClaims) -> String {
    let trusted = claims.trusted();
    let facts = trusted.profile.facts;
    let known = [facts.repository, facts.reference].into_iter().flatten();
    let known: Vec<&str> = known.filter_map(|claim| claims.text(claim)).collect();
    let what = if known.is_empty() {
        claims.subject().to_owned()
    } else {
        known.join(" ")
    };
    format!("{} {}", trusted.name, for_terminal(&what))
}

fn in_words(differences: &Differences) -> String {
    let mut text = String::new();
    for change in Change::ALL {
        let of_kind = differences
            .changes
            .iter()
            .filter(|one| one.change == change);
        let mut above: Option<(&str, &[String])> = None;
        for one in of_kind {
            if above.is_none() {
                let _ = writeln!(text, "{}", change.heading());
            }
            let here = (one.project.as_str(), one.relationships.as_slice());
            if above != Some(here) {
                let _ = writeln!(text, "  {} by {}", one.project, listed(&one.relationships));
            }
            above = Some(here);
            let times = match one.times {
                1 => "once".to_owned(),
                several => format!("{several} times"),
            };
            let _ = writeln!(
                text,
                "    {}, {times}, last at {} ({}): {}",
                one.job, one.last, one.decision_id, one.why
            );
        }
    }
    if differences.changes.is_empty() {
        text.push_str("nothing changes\n");
    }
    let _ = writeln!(
        text,
        "\njudged by both folders: {}, recorded since {}",
        count(differences.judged, "decision"),
        differences.since
    );
    if differences.not_judged > 0 {
        let _ = writeln!(
            text,
            "not judged, because their issuer is not configured any more: {}",
            count(differences.not_judged, "decision")
        );
    }
    text
}
