//! The judgements of policies, each from what passes with one thing changed.

mod circleci;
mod denies;
mod descriptions;
mod github;
mod gitlab;
mod grants;
mod guard_rails;
mod nearness;
mod openness;
mod other_issuers;
mod pins;
mod properties;
mod shadow;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::*;
use crate::clock::{Seconds, UnixTime};
use crate::issuer::{IssuerForm, PROFILES, Registry, TrustedIssuer, profile_named};
use crate::subject::VerifiedClaims;

pub(super) const LIMITS: Limits = Limits {
    default_lifetime: Seconds(3600),
    maximum_lifetime: Seconds(6 * 3600),
};

/// The five profiles at their own addresses, and an issuer of which nothing is known but that `org` separates customers.
pub(super) fn registry() -> Registry {
    let with_url = PROFILES.into_iter().filter_map(|profile| {
        let url = profile.default_url?;
        let form = IssuerForm::parse(url, profile.organization_in_issuer, false).unwrap();
        Some(TrustedIssuer::new(
            profile.name,
            profile,
            form,
            "https://sts.example.com",
        ))
    });
    let form = IssuerForm::parse("https://acme.semaphoreci.com", false, false).unwrap();
    let generic = profile_named("generic").unwrap();
    let mut semaphore = TrustedIssuer::new("semaphore", generic, form, "https://sts.example.com");
    semaphore.tenant_claims = vec!["org".to_owned()];
    Registry::new(with_url.chain([semaphore]))
}

/// The claims of a file in `tests/data/claims`.
fn claims_of(name: &str) -> Map<String, Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/claims")
        .join(format!("{name}.json"));
    let text = fs::read_to_string(file).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn verified(claims: Map<String, Value>) -> VerifiedClaims {
    let iss = claims["iss"].as_str().unwrap();
    let (trusted, matched) = registry().find(iss).unwrap();
    VerifiedClaims::supposed(trusted, matched, claims).unwrap()
}

/// The claims of a file with some of them changed; `null` counts as absent.
fn with(name: &str, changes: &[(&str, Value)]) -> VerifiedClaims {
    let mut claims = claims_of(name);
    for (claim, value) in changes {
        claims.insert((*claim).to_owned(), value.clone());
    }
    verified(claims)
}

fn policy(text: &str) -> ProjectPolicy {
    let path = ProjectPath::parse("acme/api").unwrap();
    match read_policy(path, "acme/api.toml", text, &registry()) {
        Ok(policy) => policy,
        Err(fault) => panic!("{}", fault.render(false)),
    }
}

fn ask(policy: &ProjectPolicy, claims: &VerifiedClaims) -> Decision {
    ask_for(policy, claims, &Wish::default())
}

fn wish(scopes: Option<&str>, resource: Option<&str>) -> Wish {
    Wish {
        scopes: scopes.map(|scopes| Scopes::parse(scopes).unwrap()),
        resource: resource.map(str::to_owned),
    }
}

fn ask_for(policy: &ProjectPolicy, claims: &VerifiedClaims, wish: &Wish) -> Decision {
    let now = Circumstances::unremembered(UnixTime::from_seconds(0));
    decided(policy, claims, wish, &now)
}

/// The decision, which says the same without its reasons, whatever is asked.
fn decided(
    policy: &ProjectPolicy,
    claims: &VerifiedClaims,
    wish: &Wish,
    circumstances: &Circumstances,
) -> Decision {
    let answer = answer(policy, claims, wish, &LIMITS, circumstances);
    let decision = decide(policy, claims, wish, &LIMITS, circumstances);
    let outcomes = [&answer.outcome, &decision.outcome].map(|outcome| format!("{outcome:?}"));
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(answer.proven, decision.proven);
    assert_eq!(answer.renamed, decision.renamed());
    assert_eq!(answer.shadow_trust, decision.shadow.trust_names());
    assert_eq!(answer.shadow_denies, decision.shadow.deny_names());
    decision
}

/// What stopped the first relationship: the keys of the findings that do not hold.
fn stopped_by(decision: &Decision) -> Vec<String> {
    let failed = decision.relationships[0]
        .findings
        .iter()
        .filter(|finding| !finding.holds);
    failed.map(|finding| finding.asked.to_string()).collect()
}

/// Starts from claims that pass, changes one thing at a time, and says which question then stops the token.
fn each_change_is_stopped(text: &str, file: &str, changes: &[(&str, Value, &[&str])]) {
    let policy = policy(text);
    let passing = ask(&policy, &with(file, &[]));
    assert!(
        passing.outcome.is_ok(),
        "{file}: {:?}",
        stopped_by(&passing)
    );
    for (claim, value, stops) in changes {
        let decision = ask(&policy, &with(file, &[(claim, value.clone())]));
        assert_eq!(
            decision.outcome.as_ref().unwrap_err(),
            &Refusal::NotTrusted,
            "{claim} = {value}"
        );
        assert_eq!(stopped_by(&decision), *stops, "{claim} = {value}");
    }
}

const GITHUB: &str = r#"
[[trust]]
name = "release"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = 74
workflow = "build.yml"
reusable-workflow = "octo-org/octo-repo/.github/workflows/build.yml@refs/heads/main"
environment = "prod"
scopes = ["read_registry", "write_registry"]

[trust.claims]
event_name = ["push", "workflow_dispatch"]
ref = { glob = "refs/heads/m*", not = "refs/heads/mob" }
actor = { not = ["dependabot[bot]", { glob = "renovate*" }] }
base_ref = ""
enterprise = { absent = true }
"#;

const CIRCLECI: &str = r#"
[[trust]]
name = "main"
issuer = "circleci"
organization = "A40F5D1F-D889-42E9-94EA-B9B33585FC6B"
project = "405d8375-3514-403b-8c43-83ae74cfe0e9"
pipeline-definition = "70b80fd1-b928-5fbf-817d-75ab416ccc87"
vcs-origin = "github.com/organization-123/repo-1"
scopes = ["s"]

[trust.claims]
"oidc.circleci.com/vcs-ref" = "refs/heads/main"
"oidc.circleci.com/context-ids" = "c2f1b0ee-3d0a-4e5c-9f43-1f4a2b7d9e10"
"#;

fn trust_and(deny: &str) -> ProjectPolicy {
    policy(&format!(
        r#"
{deny}
[[trust]]
name = "r"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["s"]

[[trust]]
name = "b"
issuer = "buildkite"
organization = "acme-inc"
pipeline = "super-duper-app"
scopes = ["s"]
"#
    ))
}
