//! `countersign policy explain`: why a job is let in, or what keeps it out.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::{DONE, REFUSED, USAGE};
use super::judge::{judge, suppose};
use super::setting::{
    ConfigArgs, Format, Setting, ledger, ledger_fault, policy_of, project, report_problems,
};
use super::{count, pretty, recorded, say};
use crate::audit::{DecisionId, Record};
use crate::clock::{Clock as _, SystemClock};
use crate::directory::read_policies;
use crate::subject::{InvalidToken, SubjectToken, VerifiedClaims, faults_of, parse_strictly};
use crate::trust::{Explanation, ProjectPath, ProjectPolicy, Verdict, Wish};

/// Say why a job is let in, or what keeps it out and the one edit that would let it in.
///
/// The answer shows every relationship with every condition, what was wanted and what was found, the nearest first. Exit
/// code 0 says allowed, 1 denied.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct ExplainArgs {
    /// The project, as organization/project. A decision is about its own unless this says otherwise.
    #[arg(long, value_name = "PROJECT", value_parser = project, required_unless_present_any = ["all", "decision"])]
    project: Option<ProjectPath>,
    /// Every project of the folder; those that let the job in come first.
    #[arg(long, conflicts_with = "project")]
    all: bool,
    /// A file with the claims of a token as JSON; `-` is standard input. Judged as if genuine and in time.
    #[arg(long, value_name = "FILE", group = "what")]
    claims: Option<PathBuf>,
    /// A file with an identity token; `-` is standard input. It may be expired: to explain is not to admit.
    #[arg(long, value_name = "FILE", group = "what")]
    token_file: Option<PathBuf>,
    /// A decision of the service, by the id that its caller was told.
    #[arg(long, value_name = "ID", group = "what", value_parser = decision)]
    decision: Option<DecisionId>,
    /// The folder of the policies. Without it, that of the configuration.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// The job that is asked about: its claims, or why the service would not come as far as the policy.
struct Asked {
    claims: Result<VerifiedClaims, InvalidToken>,
    notes: Vec<String>,
}

fn decision(text: &str) -> Result<DecisionId, String> {
    DecisionId::parse(text).map_err(|fault| fault.to_string())
}

/// Explains.
pub(super) async fn run(arguments: &ExplainArgs) -> u8 {
    match explained(arguments).await {
        Ok(explanations) => answer(arguments, &explanations),
        Err(code) => code,
    }
}

async fn explained(arguments: &ExplainArgs) -> Result<Vec<Explanation>, u8> {
    let setting = Setting::load(&arguments.config)?;
    let folder = setting.folder(arguments.dir.as_deref());
    let asked = match arguments.decision {
        None => asked(arguments, &setting)?,
        Some(id) => {
            let record = record(&setting, id).await?;
            if !arguments.all && is_about(&record, arguments.project.as_ref()) {
                return Ok(vec![of_record(&record, &setting, folder)]);
            }
            of_another_project(&record, &setting)
        }
    };
    let read = setting.policies(folder)?;
    let policies = if let Some(project) = &arguments.project {
        vec![policy_of(&read, folder, project)?]
    } else {
        report_problems(&read);
        read.policies
    };
    let mut explanations: Vec<Explanation> = policies
        .iter()
        .map(|policy| explain_one(policy, &asked, &setting))
        .collect();
    explanations.sort_by_key(|explanation| {
        (
            explanation.outcome == Verdict::Denied,
            !is_near(explanation),
        )
    });
    Ok(explanations)
}

fn explain_one(policy: &ProjectPolicy, asked: &Asked, setting: &Setting) -> Explanation {
    let project = policy.path().as_str();
    let explanation = match &asked.claims {
        Ok(claims) => {
            let decision = judge(policy, claims, &Wish::default(), setting.limits());
            Explanation::new(project, &decision)
        }
        Err(fault) => Explanation::refused(project, fault.code(), fault.to_string()),
    };
    Explanation {
        notes: asked.notes.clone(),
        ..explanation
    }
}

/// Finds the record of a decision.
async fn record(setting: &Setting, id: DecisionId) -> Result<Record, u8> {
    let ledger = ledger(setting).await?;
    let found = ledger.decision(id).await;
    ledger.close().await;
    match found {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(usage(&format!("there is no decision `{id}` in the ledger"))),
        Err(fault) => Err(ledger_fault(&fault)),
    }
}

fn is_about(record: &Record, project: Option<&ProjectPath>) -> bool {
    project.is_none_or(|project| project.as_str() == recorded::project(record))
}

/// What the service decided. A record of an allowed exchange keeps no judgements, so the policy of today is asked for
/// them, and it is said whether that is still the one that decided.
fn of_record(record: &Record, setting: &Setting, folder: &Path) -> Explanation {
    let mut explanation = recorded::explain(record);
    if explanation.outcome == Verdict::Denied || !explanation.relationships.is_empty() {
        return explanation;
    }
    let policy = read_policies(folder, &setting.registry)
        .ok()
        .and_then(|read| {
            let mut policies = read.policies.into_iter();
            policies.find(|policy| policy.path().as_str() == explanation.project)
        });
    let claims = suppose(setting, (*record.claims).clone());
    let (Some(policy), Ok(claims)) = (policy, claims) else {
        return explanation;
    };
    let wish = Wish {
        scopes: None,
        resource: record.resource.clone(),
    };
    let now = Explanation::new(
        &explanation.project,
        &judge(&policy, &claims, &wish, setting.limits()),
    );
    explanation.relationships = now.relationships;
    explanation.denies = now.denies;
    let same = record.policy_digest.as_deref() == Some(policy.digest());
    explanation.notes.push(if same {
        "the policy that decided is still in force; what it says of each condition was judged again"
            .to_owned()
    } else {
        "the policy has changed since; what is said of each condition is by the one of today"
            .to_owned()
    });
    explanation
}

/// The claims of a record, to be judged by another project's policy.
fn of_another_project(record: &Record, setting: &Setting) -> Asked {
    let claims = if record.verified {
        suppose(setting, (*record.claims).clone())
    } else {
        Err(InvalidToken::SignatureInvalid)
    };
    Asked {
        claims,
        notes: vec![format!(
            "the claims are those of decision {} about {}; pinned ids were not judged",
            record.decision_id,
            recorded::project(record)
        )],
    }
}

/// Reads what the arguments name.
fn asked(arguments: &ExplainArgs, setting: &Setting) -> Result<Asked, u8> {
    match (&arguments.claims, &arguments.token_file) {
        (Some(file), _) => {
            let claims = claims_of(file, &read(file)?)?;
            Ok(Asked {
                claims: suppose(setting, claims),
                notes: vec![
                    "the claims were judged by issuer and policy, as if a genuine token had them; its times, whether it was spent, and pinned ids were not"
                        .to_owned(),
                ],
            })
        }
        (None, Some(file)) => Ok(of_token(
            read(file)?.trim(),
            setting,
            arguments.config.config.is_some(),
        )),
        (None, None) => Err(USAGE),
    }
}

/// The job of a token that nobody verified. Its faults are said, and do not keep its claims from being judged.
fn of_token(token: &str, setting: &Setting, audience_known: bool) -> Asked {
    let mut notes = vec![
        "the token was judged by issuer and policy; its signature, whether it was spent, and pinned ids were not"
            .to_owned(),
    ];
    let claims = SubjectToken::read(token.to_owned())
        .map(SubjectToken::into_unverified_claims)
        .and_then(|claims| suppose(setting, claims));
    if let Ok(claims) = &claims {
        let public_url = audience_known.then_some(setting.config.public_url.as_str());
        for fault in faults_of(claims, public_url, SystemClock.now()) {
            notes.push(format!(
                "an exchange would be refused before the policy is asked, as `{}`: {fault}",
                fault.code()
            ));
        }
    }
    Asked { claims, notes }
}

fn claims_of(file: &Path, text: &str) -> Result<Map<String, Value>, u8> {
    match parse_strictly(text.as_bytes()) {
        Ok(Value::Object(claims)) => Ok(claims),
        Ok(_) => Err(usage(&format!(
            "`{}` holds no JSON object of claims",
            file.display()
        ))),
        Err(fault) => Err(usage(&format!("`{}` is not JSON: {fault}", file.display()))),
    }
}

fn read(file: &Path) -> Result<String, u8> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|fault| usage(&format!("`{}` cannot be read: {fault}", file.display())))
}

fn usage(message: &str) -> u8 {
    eprintln!("{message}");
    USAGE
}

/// Whether the job is one that some relationship of the project is about.
fn is_near(explanation: &Explanation) -> bool {
    let judged = &explanation.relationships;
    judged.iter().any(|judged| judged.identity_holds)
}

fn answer(arguments: &ExplainArgs, explanations: &[Explanation]) -> u8 {
    let allowed = explanations
        .iter()
        .any(|explanation| explanation.outcome == Verdict::Allowed);
    let text = match (arguments.format, explanations) {
        (Format::Json, [only]) if !arguments.all => pretty(only),
        (Format::Json, all) => pretty(&EveryProject {
            outcome: if allowed {
                Verdict::Allowed
            } else {
                Verdict::Denied
            },
            projects: all,
        }),
        (Format::Text, [only]) if !arguments.all => only.in_words(),
        (Format::Text, all) => every_project(all),
    };
    say(&text);
    if allowed { DONE } else { REFUSED }
}

/// The answer about every project, for programs.
#[derive(Serialize)]
struct EveryProject<'a> {
    outcome: Verdict,
    projects: &'a [Explanation],
}

/// Those that let the job in and those that are about it in full; of the others there may be thousands.
fn every_project(explanations: &[Explanation]) -> String {
    let (near, far): (Vec<_>, Vec<_>) = explanations
        .iter()
        .partition(|explanation| explanation.outcome == Verdict::Allowed || is_near(explanation));
    let mut text = String::new();
    for explanation in &near {
        let without_notes = Explanation {
            notes: Vec::new(),
            ..(*explanation).clone()
        };
        text.push_str(&without_notes.in_words());
    }
    if let Some(reason) = far.first().and_then(|first| first.reason.as_deref()) {
        let others = if near.is_empty() { "" } else { "other " };
        let _ = writeln!(
            text,
            "no relationship for this job in {} ({reason})",
            count(far.len(), &format!("{others}project"))
        );
    }
    for note in explanations.first().iter().flat_map(|first| &first.notes) {
        let _ = writeln!(text, "note: {note}");
    }
    text
}
