//! One case of a policy: its claims, put together, and whether the judge's answer is the expected one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::judge::{judge, suppose};
use super::listed;
use super::setting::Setting;
use crate::fake_ci::{claim_set, claim_sets};
use crate::issuer::{IssuerForm, Profile, TrustedIssuer};
use crate::subject::parse_strictly;
use crate::trust::{
    Case, CaseStart, Expectation, Explanation, Finding, FindingKind, Judgement, ProjectPolicy,
    Verdict, Wish,
};

/// The largest file of claims that is read, in bytes.
const LARGEST_CLAIMS: u64 = 1024 * 1024;

/// What became of a case.
pub(super) struct Tried {
    /// The answer of the judge, in one sentence; or why it could not be asked.
    pub(super) answer: String,
    /// What is wrong with it; none if it is as expected.
    pub(super) failure: Option<String>,
    /// The answer in full, to be shown beside a failure.
    pub(super) explanation: Option<Explanation>,
}

/// Tries a case of `policy`, whose file lies below `folder`.
pub(super) fn run(setting: &Setting, folder: &Path, policy: &ProjectPolicy, case: &Case) -> Tried {
    let claims = match claims(setting, folder, policy, case) {
        Ok(claims) => claims,
        Err(fault) => {
            return Tried {
                answer: fault.clone(),
                failure: Some(fault),
                explanation: None,
            };
        }
    };
    let project = policy.path().as_str();
    let explanation = match suppose(setting, claims) {
        Ok(claims) => {
            let decision = judge(policy, &claims, &Wish::default(), setting.limits());
            Explanation::new(project, &decision)
        }
        // What the service refuses before it asks a policy is denied as well.
        Err(fault) => Explanation::refused(project, fault.code(), fault.to_string()),
    };
    Tried {
        answer: answer(&explanation),
        failure: mismatch(&case.expect, &explanation),
        explanation: Some(explanation),
    }
}

fn answer(explanation: &Explanation) -> String {
    match explanation.outcome {
        Verdict::Allowed => format!("allowed by {}", listed(&explanation.trust)),
        Verdict::Denied => {
            let reason = explanation.reason.as_deref().unwrap_or_default();
            let summary = explanation.summary.as_deref().unwrap_or_default();
            format!("denied ({reason}): {summary}")
        }
    }
}

/// What differs from the expectation.
fn mismatch(expect: &Expectation, found: &Explanation) -> Option<String> {
    match (expect, found.outcome) {
        (Expectation::Trust(names), Verdict::Allowed) => {
            let (wanted, held): (BTreeSet<&String>, BTreeSet<&String>) =
                (names.iter().collect(), found.trust.iter().collect());
            (wanted != held).then(|| {
                format!(
                    "expected {}, and {} would let it in",
                    listed(names),
                    listed(&found.trust)
                )
            })
        }
        (Expectation::Trust(names), Verdict::Denied) => {
            Some(format!("expected {}, and it is denied", listed(names)))
        }
        (Expectation::Denied { .. }, Verdict::Allowed) => Some(format!(
            "expected it to be denied, and {} would let it in",
            listed(&found.trust)
        )),
        (Expectation::Denied { because }, Verdict::Denied) => {
            let explained = because.is_empty() || stops(found).any(|one| covers(&one, because));
            (!explained).then(|| {
                format!(
                    "it is denied, but nowhere because of {} together",
                    listed(because)
                )
            })
        }
    }
}

/// What stops the job, each as the words by which a case may name it: every relationship that does not hold, and all denies
/// that do. (Where one relationship holds, only the denies stop it.)
fn stops(found: &Explanation) -> impl Iterator<Item = BTreeSet<String>> {
    let lets_in = found.relationships.iter().any(|judged| judged.holds);
    let failing = found
        .relationships
        .iter()
        .filter(move |_| !lets_in)
        .map(|judged| words(judged, |finding| !finding.holds));
    let mut denies = BTreeSet::new();
    for deny in found.denies.iter().filter(|deny| deny.holds) {
        denies.insert(deny.name.to_string());
        denies.extend(words(deny, |finding| finding.kind != FindingKind::Issuer));
    }
    let reason: BTreeSet<String> = found.reason.iter().cloned().collect();
    failing
        .chain([denies])
        .map(move |words| words.union(&reason).cloned().collect())
}

fn words(judged: &Judgement, of: impl Fn(&Finding) -> bool) -> BTreeSet<String> {
    let findings = judged.findings.iter().filter(|finding| of(finding));
    findings
        .flat_map(|finding| [finding.asked.to_string(), finding.claim.to_string()])
        .collect()
}

fn covers(words: &BTreeSet<String>, because: &[String]) -> bool {
    because.iter().all(|word| words.contains(word))
}

/// The claims of a case: where it starts, with its changes laid over it.
fn claims(
    setting: &Setting,
    folder: &Path,
    policy: &ProjectPolicy,
    case: &Case,
) -> Result<Map<String, Value>, String> {
    let (mut claims, set) = match &case.start {
        CaseStart::Nothing => (Map::new(), None),
        CaseStart::File(name) => (read(folder, policy, name)?, None),
        CaseStart::Set(name) => {
            let set = claim_set(name).ok_or_else(|| unknown_set(name))?;
            (set.claims.clone(), Some(set))
        }
    };
    claims.extend(case.claims.clone());
    if case.claims.contains_key("iss") {
        return Ok(claims);
    }
    if let Some(set) = set {
        let issuer = only_issuer(setting, policy, set.profile)?;
        let iss = iss(&issuer, &set.claims, &claims);
        claims.insert("iss".to_owned(), Value::String(iss));
    } else if !claims.contains_key("iss") {
        let issuer = only_named(setting, policy)?;
        let iss = iss(&issuer, &Map::new(), &claims);
        claims.insert("iss".to_owned(), Value::String(iss));
        claims
            .entry("sub")
            .or_insert_with(|| Value::String("a case that gives no subject".to_owned()));
    }
    Ok(claims)
}

fn read(folder: &Path, policy: &ProjectPolicy, name: &str) -> Result<Map<String, Value>, String> {
    let beside = folder.join(policy.path().organization());
    let file = beside.join(name);
    claims_in(&file).map_err(|fault| format!("`{}` {fault}", file.display()))
}

/// The claims that stand in `file`; or what is wrong with it, in words that follow its name. Only a plain file is opened: a
/// policy may be somebody else's, and a pipe or a device would never end.
pub(super) fn claims_in(file: &Path) -> Result<Map<String, Value>, String> {
    let unreadable = |fault: std::io::Error| format!("cannot be read: {fault}");
    let metadata = std::fs::metadata(file).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("cannot be read: it is no plain file".to_owned());
    }
    if metadata.len() > LARGEST_CLAIMS {
        return Err("cannot be read: it is larger than 1 MiB".to_owned());
    }
    let text = std::fs::read(file).map_err(unreadable)?;
    match parse_strictly(&text) {
        Ok(Value::Object(claims)) => Ok(claims),
        Ok(_) => Err("holds no claims, one JSON object".to_owned()),
        Err(fault) => Err(format!("holds no claims, one JSON object: {fault}")),
    }
}

fn unknown_set(name: &str) -> String {
    let profile = name.split('-').next().unwrap_or_default();
    let of_profile = claim_sets()
        .iter()
        .filter(|set| set.profile.name == profile);
    let mut known: Vec<String> = of_profile.map(|set| format!("`{}`", set.name)).collect();
    if known.is_empty() {
        known = claim_sets()
            .iter()
            .map(|set| format!("`{}`", set.name))
            .collect();
    }
    format!(
        "there are no claims called `{name}`; there are {}",
        known.join(", ")
    )
}

/// The issuer whose tokens a set of claims of `profile` stands for: of those configured, the one that the policy names.
fn only_issuer(
    setting: &Setting,
    policy: &ProjectPolicy,
    profile: &Profile,
) -> Result<Arc<TrustedIssuer>, String> {
    let of_profile = |issuer: &&Arc<TrustedIssuer>| issuer.profile.name == profile.name;
    let all: Vec<&Arc<TrustedIssuer>> = setting.registry.all().filter(of_profile).collect();
    let named: Vec<&Arc<TrustedIssuer>> = all
        .iter()
        .copied()
        .filter(|issuer| policy.issuers_named().contains(&*issuer.name))
        .collect();
    match (all.as_slice(), named.as_slice()) {
        ([only], _) | (_, [only]) => Ok((*only).clone()),
        ([], _) => Err(format!(
            "the configuration lists no issuer of the profile `{}`",
            profile.name
        )),
        _ => Err(format!(
            "the configuration lists several issuers of the profile `{}`: say which one is meant with `claims = {{ iss = \"…\" }}`",
            profile.name
        )),
    }
}

/// The issuer that the policy names, if it is one.
fn only_named(setting: &Setting, policy: &ProjectPolicy) -> Result<Arc<TrustedIssuer>, String> {
    let names = policy.issuers_named();
    let mut issuers = names.iter().filter_map(|name| setting.registry.named(name));
    match (issuers.next(), issuers.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Err("the claims have no `iss`, and the policy does not name one issuer".to_owned()),
    }
}

/// The text of `iss` for claims that end up as `claims`: with their organization where the issuer's text names one.
fn iss(issuer: &TrustedIssuer, start: &Map<String, Value>, claims: &Map<String, Value>) -> String {
    let organization = issuer
        .profile
        .audience_claim
        .and_then(|claim| claims.get(claim))
        .and_then(Value::as_str);
    let of_set = start.get("iss").and_then(Value::as_str);
    match &issuer.form {
        IssuerForm::PerOrganization { root, .. }
            if of_set.is_some_and(|iss| !iss.contains("/org/")) =>
        {
            root.as_str().to_owned()
        }
        form => form
            .of_organization(organization.unwrap_or_default())
            .as_str()
            .to_owned(),
    }
}
