//! The judgements of policies, each from what passes with one thing changed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::*;
use crate::clock::{Seconds, UnixTime};
use crate::issuer::{IssuerForm, PROFILES, Registry, TrustedIssuer, profile_named};
use crate::subject::VerifiedClaims;

mod guard_rails;
mod pins;
mod shadow;

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

fn ask_for(policy: &ProjectPolicy, claims: &VerifiedClaims, wish: &Wish) -> Decision {
    let now = Circumstances::unremembered(UnixTime::from_seconds(0));
    decide(policy, claims, wish, &LIMITS, &now)
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

#[test]
fn a_github_job_passes_only_as_the_very_job_that_the_policy_names() {
    let elsewhere = "mallory/tools/.github/workflows/build.yml@refs/heads/main";
    each_change_is_stopped(
        GITHUB,
        "github-environment",
        &[
            ("repository_owner_id", json!("66"), &["owner-id"]),
            ("repository_owner_id", json!(65), &["owner-id"]),
            ("repository_owner_id", json!(null), &["owner-id"]),
            ("repository_owner_id", json!(["65"]), &["owner-id"]),
            ("repository_owner_id", json!("065"), &["owner-id"]),
            ("repository_id", json!("75"), &["repository-id"]),
            ("repository_owner", json!(null), &["owner", "repository"]),
            ("repository_owner", json!(""), &["owner", "repository"]),
            (
                "repository",
                json!("mallory/octo-repo"),
                &["repository", "workflow"],
            ),
            ("repository", json!(null), &["repository", "workflow"]),
            (
                "workflow_ref",
                json!("octo-org/octo-repo/.github/workflows/build.yml@evil.yml@refs/heads/main"),
                &["workflow"],
            ),
            ("workflow_ref", json!(elsewhere), &["workflow"]),
            ("workflow_ref", json!(null), &["workflow"]),
            ("job_workflow_ref", json!(elsewhere), &["reusable-workflow"]),
            ("environment", json!("production"), &["environment"]),
            ("environment", json!("prod "), &["environment"]),
            ("environment", json!(""), &["environment"]),
            ("environment", json!(null), &["environment"]),
            ("event_name", json!("pull_request"), &["event_name"]),
            (
                "event_name",
                json!("pull_request_target"),
                &["event_name", "event_name"],
            ),
            ("event_name", json!(null), &["event_name", "event_name"]),
            ("ref", json!("refs/heads/main/x"), &["ref"]),
            ("ref", json!("refs/heads/mob"), &["ref"]),
            ("ref", json!("refs/tags/refs/heads/main"), &["ref"]),
            ("ref", json!(["refs/heads/main"]), &["ref"]),
            ("actor", json!("dependabot[bot]"), &["actor"]),
            ("actor", json!("renovate-x"), &["actor"]),
            ("actor", json!(null), &["actor"]),
            ("base_ref", json!("main"), &["base_ref"]),
            ("base_ref", json!(null), &["base_ref"]),
            ("enterprise", json!("octocat-inc"), &["enterprise"]),
        ],
    );
}

#[test]
fn github_names_fold_ascii_case_and_nothing_else() {
    let policy = policy(&GITHUB.replace("owner-id = \"65\"", ""));
    let folded = with(
        "github-environment",
        &[
            ("repository_owner", json!("OCTO-Org")),
            ("repository", json!("OCTO-Org/Octo-Repo")),
            ("environment", json!("PROD")),
        ],
    );
    assert!(ask(&policy, &folded).outcome.is_ok());
    // U+212A and U+017F fold to `k` and `s` in Unicode.
    for owner in ["octo-or\u{ff47}", "\u{14c}cto-org"] {
        let claims = with(
            "github-environment",
            &[
                ("repository_owner", json!(owner)),
                ("repository", json!(format!("{owner}/octo-repo"))),
            ],
        );
        assert!(ask(&policy, &claims).outcome.is_err(), "{owner}");
    }
}

#[test]
fn an_event_that_forks_can_cause_holds_only_if_the_policy_names_it_literally() {
    let text = |event: &str| {
        format!(
            r#"
[[trust]]
name = "r"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["s"]
claims = {{ event_name = {event} }}
"#
        )
    };
    let target = with("github-pull_request_target", &[]);
    for (event, holds) in [
        (r#""pull_request_target""#, true),
        (r#"["push", "pull_request_target"]"#, true),
        (r#"{ glob = "pull_request_*" }"#, false),
        (r#"{ glob = "**" }"#, false),
        (r#"{ not = "push" }"#, false),
    ] {
        let decision = ask(&policy(&text(event)), &target);
        assert_eq!(decision.outcome.is_ok(), holds, "{event}");
    }
}

#[test]
fn a_differing_name_beside_its_id_is_a_rename_that_is_let_in_and_recorded() {
    let renamed = with(
        "github-environment",
        &[
            ("repository", json!("octo-org/new-name")),
            (
                "workflow_ref",
                json!("octo-org/new-name/.github/workflows/build.yml@refs/heads/main"),
            ),
        ],
    );
    let decision = ask(&policy(GITHUB), &renamed);
    assert!(decision.outcome.is_ok(), "{:?}", stopped_by(&decision));
    assert_eq!(decision.renamed(), ["repository"]);
    let same = ask(&policy(GITHUB), &with("github-environment", &[]));
    assert!(same.renamed().is_empty());
}

#[test]
fn a_list_or_glob_of_names_stays_a_condition_beside_an_id() {
    let text = |names: &str| {
        format!(
            r#"
[[trust]]
name = "r"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = {names}
scopes = ["s"]
"#
        )
    };
    for (names, holds) in [
        (r#"["octo-repo", "other"]"#, true),
        (r#"["other", "third"]"#, false),
        (r#"{ glob = "OCTO-*" }"#, true),
        (r#"{ glob = ["x", "*-repo"] }"#, true),
        (r#"{ glob = "x*" }"#, false),
    ] {
        let decision = ask(&policy(&text(names)), &with("github-push", &[]));
        assert_eq!(decision.outcome.is_ok(), holds, "{names}");
    }
}

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

#[test]
fn a_circleci_job_passes_only_for_its_organization_project_and_origin() {
    let other = "00000000-0000-4000-8000-000000000001";
    each_change_is_stopped(
        CIRCLECI,
        "circleci-v2-push",
        &[
            (
                "oidc.circleci.com/org-id",
                json!(other),
                &["organization", "oidc.circleci.com/org-id"],
            ),
            (
                "iss",
                json!(format!("https://oidc.circleci.com/org/{other}")),
                &["oidc.circleci.com/org-id"],
            ),
            ("oidc.circleci.com/project-id", json!(other), &["project"]),
            (
                "oidc.circleci.com/project-id",
                json!(null),
                &["project", "oidc.circleci.com/project-id"],
            ),
            (
                "oidc.circleci.com/vcs-origin",
                json!("github.com/mallory/repo-1"),
                &["vcs-origin"],
            ),
            ("oidc.circleci.com/vcs-origin", json!(null), &["vcs-origin"]),
            (
                "oidc.circleci.com/ssh-rerun",
                json!(true),
                &["oidc.circleci.com/ssh-rerun"],
            ),
            (
                "oidc.circleci.com/ssh-rerun",
                json!(null),
                &["oidc.circleci.com/ssh-rerun"],
            ),
            (
                "oidc.circleci.com/ssh-rerun",
                json!("false"),
                &["oidc.circleci.com/ssh-rerun"],
            ),
            (
                "oidc.circleci.com/context-ids",
                json!([]),
                &["oidc.circleci.com/context-ids"],
            ),
            (
                "oidc.circleci.com/context-ids",
                json!("c2f1b0ee-3d0a-4e5c-9f43-1f4a2b7d9e10"),
                &["oidc.circleci.com/context-ids"],
            ),
        ],
    );
    assert!(
        ask(&policy(CIRCLECI), &with("circleci-v2-root-issuer", &[]))
            .outcome
            .is_ok()
    );
}

#[test]
fn a_rerun_with_ssh_is_let_in_only_by_a_policy_that_says_so() {
    let text = format!("{CIRCLECI}\n\"oidc.circleci.com/ssh-rerun\" = true\n");
    let rerun = with("circleci-v2-ssh-rerun", &[]);
    assert!(ask(&policy(&text), &rerun).outcome.is_ok());
    assert!(ask(&policy(CIRCLECI), &rerun).outcome.is_err());
}

#[test]
fn the_organizations_that_a_policy_names_are_known_without_asking_anyone() {
    let text = format!("{CIRCLECI}\n{}", GITHUB.replace("release", "other"));
    let policy = policy(&text);
    let named: Vec<(&str, &str)> = policy.organizations_named().collect();
    assert_eq!(
        named,
        [("circleci", "a40f5d1f-d889-42e9-94ea-b9b33585fc6b")]
    );
}

const BUILDKITE: &str = r#"
[[trust]]
name = "main"
issuer = "buildkite"
organization = "acme-inc"
organization-id = "f892efa9-103e-4d28-97a1-3b8616a0994d"
pipeline = { glob = "super-*" }
branch = "main"
scopes = ["s"]
claims = { build_number = 1, build_tag = { absent = true } }
"#;

#[test]
fn a_buildkite_job_passes_only_for_its_organization_pipeline_and_branch() {
    each_change_is_stopped(
        BUILDKITE,
        "buildkite-optional-claims",
        &[
            ("organization_id", json!("x"), &["organization-id"]),
            ("organization_id", json!(null), &["organization-id"]),
            ("organization_slug", json!(null), &["organization"]),
            ("organization_slug", json!(""), &["organization"]),
            ("pipeline_slug", json!("duper"), &["pipeline"]),
            ("build_branch", json!("some-user:main"), &["branch"]),
            ("build_number", json!("1"), &["build_number"]),
            ("build_number", json!(2), &["build_number"]),
            ("build_tag", json!("v1"), &["build_tag"]),
        ],
    );
}

#[test]
fn an_rwx_job_passes_only_with_the_exact_vault_subject() {
    each_change_is_stopped(
        r#"
[[trust]]
name = "main"
issuer = "rwx"
vault-subject = "org:my-org:vault:my-vault"
scopes = ["s"]
"#,
        "rwx-vault-subject-org-slug",
        &[
            (
                "sub",
                json!("org:my-org:vault:my-vault2"),
                &["vault-subject"],
            ),
            (
                "sub",
                json!("org:my-org:vault:My-vault"),
                &["vault-subject"],
            ),
        ],
    );
}

const GITLAB: &str = r#"
[[trust]]
name = "main"
issuer = "gitlab"
project = "my-group/my-project"
project-id = 20
namespace-id = ["71", 72]
ref = "refs/heads/main"
environment = "production"
scopes = ["s"]

[trust.claims]
environment_protected = "true"
runner_id = 47561171
groups_direct = "mygroup/mysubgroup"
"/user_identities/0/provider" = "github"
"#;

#[test]
fn a_gitlab_job_passes_only_for_its_project_and_full_ref() {
    each_change_is_stopped(
        GITLAB,
        "gitlab-environment",
        &[
            ("project_id", json!("21"), &["project-id", "job_project_id"]),
            (
                "project_id",
                json!(null),
                &["project-id", "project_id", "job_project_id"],
            ),
            ("namespace_id", json!("73"), &["namespace-id"]),
            ("project_path", json!(null), &["project"]),
            ("ref_path", json!("refs/tags/main"), &["ref"]),
            ("ref_path", json!(["refs/heads/main"]), &["ref"]),
            ("job_id", json!(null), &["job_id"]),
            ("job_project_id", json!("4242"), &["job_project_id"]),
            ("job_project_id", json!(20), &["job_project_id"]),
            ("environment", json!("Production"), &["environment"]),
            (
                "environment_protected",
                json!(true),
                &["environment_protected"],
            ),
            ("runner_id", json!("47561171"), &["runner_id"]),
            ("groups_direct", json!([]), &["groups_direct"]),
            (
                "user_identities",
                json!([]),
                &["/user_identities/0/provider"],
            ),
        ],
    );
}

#[test]
fn a_gitlab_ref_is_built_from_its_type_where_the_token_has_no_full_one() {
    let policy = policy(GITLAB);
    for (kind, holds) in [("branch", true), ("tag", false), ("commit", false)] {
        let changes = [("ref_path", json!(null)), ("ref_type", json!(kind))];
        let decision = ask(&policy, &with("gitlab-environment", &changes));
        assert_eq!(decision.outcome.is_ok(), holds, "{kind}");
    }
}

#[test]
fn a_merge_request_that_does_not_say_where_it_runs_is_refused_unless_forks_are_let_in() {
    let text = r#"
[[trust]]
name = "mr"
issuer = "gitlab"
project = "my-group/my-project"
project-id = 20
scopes = ["s"]
"#;
    let lifted = text.replace("scopes", "fork-merge-requests = true\nscopes");
    let silent = with(
        "gitlab-merge-request-same-project",
        &[("job_project_id", json!(null))],
    );
    let fork = with(
        "gitlab-merge-request-same-project",
        &[("job_project_id", json!("4242"))],
    );
    for claims in [&silent, &fork] {
        assert_eq!(stopped_by(&ask(&policy(text), claims)), ["job_project_id"]);
        assert!(ask(&policy(&lifted), claims).outcome.is_ok());
    }
    let push = with("gitlab-push", &[("job_project_id", json!(null))]);
    assert!(ask(&policy(text), &push).outcome.is_ok());
}

#[test]
fn an_issuer_of_which_nothing_is_known_is_trusted_by_its_subject_or_by_a_tenant_claim() {
    for claims in [
        r#"sub = "org:acme:project:936a5312-a3b8-4921-8b3f-2cec8baac574:repo:web:ref_type:branch:ref:refs/heads/main""#,
        r#"claims = { org = "acme", ref = "refs/heads/main" }"#,
        r#"claims = { org = ["x", "acme"], pr = "" }"#,
    ] {
        let text = format!(
            "[[trust]]\nname = \"r\"\nissuer = \"semaphore\"\nscopes = [\"s\"]\n{claims}\n"
        );
        let policy = policy(&text);
        assert!(ask(&policy, &with("semaphore-push", &[])).outcome.is_ok());
        let changes = [("org", json!("mallory")), ("sub", json!("mallory"))];
        let stranger = ask(&policy, &with("semaphore-push", &changes));
        assert!(stranger.outcome.is_err());
        assert!(!stranger.proven);
    }
}

#[test]
fn a_token_of_one_issuer_proves_nothing_to_a_relationship_for_another() {
    let decision = ask(&policy(GITHUB), &with("gitlab-push", &[]));
    assert!(!decision.proven);
    assert_eq!(stopped_by(&decision), ["issuer"]);
    assert_eq!(decision.relationships[0].findings.len(), 1);
}

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

#[test]
fn a_deny_wins_and_does_not_fail_open() {
    let push = |changes: &[(&str, Value)]| with("github-push", changes);
    let build = |changes: &[(&str, Value)]| with("buildkite-optional-claims", changes);
    let runner = "runner_environment";
    let not_hosted = r#"claims = { runner_environment = { not = "github-hosted" } }"#;
    let self_hosted = r#"claims = { runner_environment = "self-hosted" }"#;
    let of_github = format!("issuer = \"github\"\n{not_hosted}");
    let by_id =
        "issuer = \"buildkite\"\norganization-id = \"f892efa9-103e-4d28-97a1-3b8616a0994d\"";
    let by_both = format!("{by_id}\norganization = \"acme-inc\"");
    let owner = "issuer = \"github\"\nowner = \"OCTO-ORG\"\nowner-id = \"65\"";
    let cases: &[(&str, VerifiedClaims, bool)] = &[
        (&of_github, push(&[]), false),
        (&of_github, push(&[(runner, json!("self-hosted"))]), true),
        (&of_github, push(&[(runner, json!(null))]), true),
        (&of_github, push(&[(runner, json!(1))]), true),
        (
            &of_github,
            push(&[(runner, json!(["github-hosted"]))]),
            true,
        ),
        (&of_github, build(&[]), false),
        (not_hosted, build(&[]), true),
        (self_hosted, push(&[]), false),
        (self_hosted, push(&[(runner, json!(null))]), false),
        (self_hosted, push(&[(runner, json!("self-hosted"))]), true),
        (self_hosted, build(&[(runner, json!("self-hosted"))]), true),
        ("issuer = \"github\"", push(&[]), true),
        ("issuer = \"github\"", build(&[]), false),
        // An id that the caller may leave out cannot be left out to escape a deny …
        (by_id, build(&[]), true),
        (by_id, build(&[("organization_id", json!("x"))]), false),
        (by_id, build(&[("organization_id", json!(null))]), true),
        // … where a name stands beside it, it decides then, and only then.
        (&by_both, build(&[("organization_id", json!(null))]), true),
        (
            &by_both,
            build(&[("organization_slug", json!("new-name"))]),
            true,
        ),
        (&by_both, build(&[("organization_id", json!("x"))]), false),
        (owner, push(&[]), true),
        (
            owner,
            push(&[("repository_owner", json!("new-name"))]),
            true,
        ),
        (owner, push(&[("repository_owner_id", json!(65))]), true),
        ("issuer = \"github\"\nenvironment = \"x\"", push(&[]), false),
        (
            "issuer = \"github\"\nenvironment = \"x\"",
            push(&[("environment", json!("X"))]),
            true,
        ),
        (
            "issuer = \"github\"\nenvironment = \"x\"",
            push(&[("environment", json!(7))]),
            true,
        ),
        // Without an issuer, claims compare the way they do for the token's own.
        (
            "claims = { repository = \"OCTO-ORG/octo-repo\" }",
            push(&[]),
            true,
        ),
        ("claims = { repository_id = 74 }", push(&[]), true),
        ("claims = { repository_id = 75 }", push(&[]), false),
        ("claims = { build_branch = \"MAIN\" }", build(&[]), false),
    ];
    for (deny, claims, denied) in cases {
        let policy = trust_and(&format!("[[deny]]\nname = \"no\"\n{deny}\n"));
        let decision = ask(&policy, claims);
        // Changing who the token is from may also break the trust; what matters is whether the deny holds.
        let holds = decision.denies.iter().any(|deny| deny.holds);
        assert_eq!(holds, *denied, "{deny} on {:?}", claims.all());
        if let Ok(_) | Err(Refusal::DeniedByRule(_)) = &decision.outcome {
            let by_rule = decision.outcome.err() == Some(Refusal::DeniedByRule("no".into()));
            assert_eq!(by_rule, *denied, "{deny}");
        }
    }
}

#[test]
fn a_deny_is_named_only_if_a_relationship_holds() {
    let policy = trust_and("[[deny]]\nname = \"no\"\nissuer = \"github\"\n");
    let stranger = ask(
        &policy,
        &with("github-push", &[("repository_id", json!("1"))]),
    );
    assert_eq!(stranger.outcome.unwrap_err(), Refusal::NotTrusted);
}

const SEVERAL: &str = r#"
[[trust]]
name = "write"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["write_registry"]
lifetime = "10m"
resources = ["https://api.example"]

[[trust]]
name = "read"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["read_registry"]

[[trust]]
name = "long"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["admin"]
lifetime = "24h"
"#;

fn wish(scopes: Option<&str>, resource: Option<&str>) -> Wish {
    Wish {
        scopes: scopes.map(|scopes| Scopes::parse(scopes).unwrap()),
        resource: resource.map(str::to_owned),
    }
}

#[test]
fn all_relationships_that_hold_count() {
    let (policy, push) = (policy(SEVERAL), with("github-push", &[]));
    let cases = [
        (None, "admin read_registry write_registry", Seconds(600)),
        (Some(""), "admin read_registry write_registry", Seconds(600)),
        (
            Some("read_registry"),
            "read_registry",
            LIMITS.default_lifetime,
        ),
        (
            Some("read_registry admin"),
            "admin read_registry",
            LIMITS.default_lifetime,
        ),
        (Some("admin"), "admin", LIMITS.maximum_lifetime),
        (
            Some("admin write_registry"),
            "admin write_registry",
            Seconds(600),
        ),
    ];
    for (asked, given, lifetime) in cases {
        let grant = ask_for(&policy, &push, &wish(asked, None)).outcome.unwrap();
        assert_eq!(grant.scopes().to_string(), given, "{asked:?}");
        assert_eq!(grant.lifetime(), lifetime, "{asked:?}");
        let names: Vec<&str> = grant.trust().iter().map(|name| &**name).collect();
        assert_eq!(names, ["long", "read", "write"]);
        assert_eq!(grant.resource(), None);
    }
}

#[test]
fn what_exceeds_the_grant_is_refused_and_named() {
    let (policy, push) = (policy(SEVERAL), with("github-push", &[]));
    let asked = wish(
        Some("read_registry delete_all"),
        Some("https://evil.example"),
    );
    let decision = ask_for(&policy, &push, &asked);
    assert_eq!(
        decision.outcome.as_ref().unwrap_err().code(),
        "scope-exceeds-grant"
    );
    assert_eq!(
        decision.description(),
        "not granted: `delete_all`; granted are: `admin read_registry write_registry`. ask for these alone, or leave out `scope`"
    );
    for (resource, allowed) in [
        ("https://api.example", true),
        ("https://api.example/", false),
        ("https://API.example", false),
    ] {
        let decision = ask_for(&policy, &push, &wish(None, Some(resource)));
        match decision.outcome {
            Ok(grant) => assert!(allowed && grant.resource() == Some(resource)),
            Err(refusal) => {
                assert!(!allowed);
                assert_eq!(refusal.code(), "resource-not-allowed");
            }
        }
    }
}

#[test]
fn an_unknown_project_and_one_that_does_not_trust_the_caller_sound_alike() {
    let stranger = with("github-push", &[("repository_id", json!("1"))]);
    let denied = trust_and("[[deny]]\nname = \"secret\"\nissuer = \"github\"\n");
    let answers = [
        ask(&policy(GITHUB), &stranger),
        ask(&policy(""), &stranger),
        ask(&denied, &stranger),
        ask(
            &policy(CIRCLECI),
            &with("circleci-audit-log-streaming", &[]),
        ),
    ];
    for decision in answers {
        assert!(!decision.proven);
        assert_eq!(decision.description(), no_such_project().description());
        assert_eq!(decision.outcome.unwrap_err().code(), "not-trusted");
    }
}

#[test]
fn who_proved_an_identity_hears_what_failed_and_the_own_values_and_never_the_wanted_ones() {
    let text = GITHUB.replace("environment = \"prod\"\n", "");
    let claims = with(
        "github-push",
        &[
            ("ref", json!("refs/heads/\"x\"\\é")),
            ("base_ref", json!(null)),
            ("actor", json!("renovate-bot")),
        ],
    );
    let decision = ask(&policy(&text), &claims);
    assert!(decision.proven);
    insta::assert_snapshot!(decision.description(), @"the trust relationship `release` comes nearest, and does not hold because of the token's `ref` (has `refs/heads/?x???`), `actor` (has `renovate-bot`), `base_ref` (has none)");
}

#[test]
fn a_description_is_short_whatever_the_token_holds() {
    let long = "x".repeat(10_000);
    let claims = with(
        "github-environment",
        &[("ref", json!(long)), ("actor", json!([[long]]))],
    );
    let decision = ask(&policy(GITHUB), &claims);
    assert!(decision.proven);
    assert!(decision.description().chars().count() <= 600);
    let record = serde_json::to_string(&decision.relationships).unwrap();
    assert!(record.len() < 10_000, "{}", record.len());
}

#[test]
fn among_twenty_thousand_relationships_only_those_that_could_hold_are_judged() {
    use std::fmt::Write;

    let mut text = String::new();
    for id in 0..20_000 {
        writeln!(
            text,
            "[[trust]]\nname = \"r{id}\"\nissuer = \"github\"\nowner-id = \"65\"\nrepository-id = {id}\nscopes = [\"s\"]"
        )
        .unwrap();
    }
    text.push_str("[[trust]]\nname = \"all\"\nissuer = \"github\"\nowner = \"octo-org\"\nowner-id = \"65\"\nrepository = { glob = \"*\" }\nscopes = [\"s\"]\n");
    let policy = policy(&text);
    let held = ask(&policy, &with("github-push", &[]));
    let grant = held.outcome.unwrap();
    assert_eq!(grant.trust(), [Arc::from("all"), Arc::from("r74")]);
    // The glob is filed under the owner, and so is nothing else: every other has a rarer id.
    assert_eq!(held.relationships.len(), 2);

    let stranger = ask(
        &policy,
        &with("github-push", &[("repository_owner_id", json!("1"))]),
    );
    assert!(stranger.outcome.is_err());
    assert_eq!(stranger.relationships.len(), 64);
    assert_eq!(stranger.not_listed, 20_001 - 64);
    // The nearest first: only the owner's id fails.
    assert_eq!(stopped_by(&stranger), ["owner-id"]);
}

#[test]
fn the_nearest_relationship_comes_first() {
    let text = format!(
        "{}\n{}\n{GITHUB}",
        CIRCLECI.replace("\"main\"", "\"far\""),
        GITHUB
            .replace("\"release\"", "\"stranger\"")
            .replace("\"65\"", "\"66\"")
    );
    let decision = ask(
        &policy(&text),
        &with("github-environment", &[("actor", json!("renovate"))]),
    );
    let names: Vec<&str> = decision
        .relationships
        .iter()
        .map(|judged| &*judged.name)
        .collect();
    assert_eq!(names, ["release", "stranger", "far"]);
}
