//! Every file of claims under `tests/data/claims`, and the decision that one would want for it under one sensible policy.
//!
//! A new CI system is a profile and a file of claims; this table then asks what becomes of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use countersign::clock::{Seconds, UnixTime};
use countersign::issuer::{IssuerForm, PROFILES, Registry, TrustedIssuer, profile_named};
use countersign::subject::VerifiedClaims;
use countersign::trust::{
    Circumstances, Decision, Limits, ProjectPath, ProjectPolicy, Refusal, Wish, decide, read_policy,
};
use serde_json::{Map, Value};

/// Issuers beside the public ones: name, profile, address, and the claims that separate customers.
const ISSUERS: &[(&str, &str, &str, &[&str])] = &[
    (
        "ghes",
        "github",
        "https://github.example.com/_services/token",
        &[],
    ),
    (
        "ghe-com",
        "github",
        "https://token.actions.octocorp.ghe.com",
        &[],
    ),
    (
        "enterprise",
        "github",
        "https://token.actions.githubusercontent.com/octocat-inc",
        &[],
    ),
    ("gitlab-own", "gitlab", "https://gitlab.example.com", &[]),
    (
        "azure",
        "generic",
        "https://vstoken.dev.azure.com/0ca3ddd9-f0b0-4635-a98c-5866526961b6",
        &[],
    ),
    (
        "bitbucket",
        "generic",
        "https://api.bitbucket.org/2.0/workspaces/my-workspace/pipelines-config/identity/oidc",
        &["repositoryUuid"],
    ),
    (
        "codefresh",
        "generic",
        "https://oidc.codefresh.io",
        &["account_id"],
    ),
    (
        "depot-public",
        "generic",
        "https://actions-public-oidc.depot.dev",
        &["repository_owner_id"],
    ),
    (
        "depot",
        "generic",
        "https://identity.depot.dev",
        &["org_id"],
    ),
    (
        "forgejo",
        "generic",
        "https://forgejo.example.com/api/actions",
        &["repository_owner_id"],
    ),
    ("google", "generic", "https://accounts.google.com", &[]),
    (
        "hcp",
        "generic",
        "https://app.terraform.io",
        &["terraform_organization_id"],
    ),
    (
        "jenkins",
        "generic",
        "https://jenkins.example.com/oidc",
        &[],
    ),
    (
        "kubernetes",
        "generic",
        "https://oidc.eks.us-east-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE",
        &["/kubernetes.io/namespace"],
    ),
    (
        "semaphore",
        "generic",
        "https://acme.semaphoreci.com",
        &["org_id"],
    ),
];

const POLICY: &str = include_str!("data/policies/every-issuer.toml");

/// A file of claims, and what becomes of it: the relationships that hold, or the questions that stop the nearest one; in
/// brackets, if the caller proved no identity.
const WANTED: &[(&str, &str)] = &[
    ("azure-devops-pipeline", "azure"),
    ("bitbucket-push", "bitbucket"),
    ("buildkite-api-build", "stopped by build_source"),
    ("buildkite-aws-session-tags", "kite"),
    ("buildkite-docs-example", "kite"),
    (
        "buildkite-fork-pull-request-prefixed",
        "stopped by build_branch",
    ),
    // No claim of Buildkite tells a fork's branch `main` from the pipeline's own: `policy check` has to say so.
    ("buildkite-fork-pull-request-unprefixed", "kite"),
    ("buildkite-max-lifetime", "kite"),
    ("buildkite-no-jti-no-tag", "kite"),
    ("buildkite-no-step-key", "kite"),
    ("buildkite-observed", "(stopped by organization, pipeline)"),
    ("buildkite-optional-claims", "kite + kite by id"),
    ("buildkite-pull-request", "stopped by build_branch"),
    ("buildkite-push", "kite"),
    ("buildkite-push-default-audience", "kite"),
    ("buildkite-schedule", "kite"),
    ("buildkite-subject-claim", "kite"),
    ("buildkite-tag", "kite"),
    (
        "circleci-audit-log-streaming",
        "(stopped by organization, project, vcs-origin, oidc.circleci.com/org-id, oidc.circleci.com/project-id, oidc.circleci.com/ssh-rerun, oidc.circleci.com/vcs-ref)",
    ),
    ("circleci-v1-push", "circle"),
    ("circleci-v2-custom-audience", "circle"),
    (
        "circleci-v2-custom-webhook",
        "(stopped by vcs-origin, oidc.circleci.com/vcs-ref)",
    ),
    (
        "circleci-v2-feature-branch",
        "stopped by oidc.circleci.com/vcs-ref",
    ),
    // The project is the one it was opened against; only the origin gives it away.
    ("circleci-v2-fork-pull-request", "(stopped by vcs-origin)"),
    ("circleci-v2-org-claims-audience-array-ttl", "circle"),
    (
        "circleci-v2-other-org-same-project",
        "(stopped by organization)",
    ),
    ("circleci-v2-push", "circle"),
    ("circleci-v2-root-issuer", "circle"),
    (
        "circleci-v2-ssh-rerun",
        "stopped by oidc.circleci.com/ssh-rerun",
    ),
    ("circleci-v2-tag", "circle"),
    ("codefresh-push", "codefresh"),
    (
        "depot-actions-public-event-mismatch",
        "(stopped by sub, event_name)",
    ),
    (
        "depot-actions-public-fork-pull_request",
        "public pull requests",
    ),
    ("depot-ci-push", "depot"),
    ("forgejo-push", "forgejo"),
    (
        "github-customised-sub",
        "build + deploy + deploy by the one workflow",
    ),
    ("github-customised-sub-no-repo", "build"),
    ("github-deployment-no-ref", "deploy"),
    ("github-enterprise-default-issuer", "build"),
    ("github-enterprise-slug-push", "enterprise"),
    ("github-environment", "build + deploy"),
    ("github-environment-colon", "build"),
    ("github-ghe-com-push", "data residency"),
    ("github-ghes-push", "enterprise server"),
    (
        "github-immutable-sub-observed-ids",
        "(stopped by owner-id, repository-id, workflow)",
    ),
    ("github-immutable-sub-pull_request", "check a pull request"),
    ("github-immutable-sub-push", "build"),
    ("github-merge_group", "check a pull request"),
    ("github-pull_request", "check a pull request"),
    ("github-pull_request-environment", "check a pull request"),
    (
        "github-pull_request-published",
        "(stopped by owner, repository-id)",
    ),
    (
        "github-pull_request_target",
        "stopped by event_name, event_name",
    ),
    ("github-push", "build"),
    ("github-push-default-audience", "build"),
    ("github-push-feature-branch", "stopped by ref"),
    ("github-repo-property", "build"),
    (
        "github-reusable-workflow",
        "build + deploy by the one workflow",
    ),
    // The same names with other ids: somebody registered them again.
    (
        "github-reused-repository-name",
        "(stopped by owner-id, repository-id)",
    ),
    ("github-schedule", "build"),
    (
        "github-self-hosted-runner",
        "denied by no self-hosted runners of GitHub",
    ),
    ("github-tag", "build"),
    ("github-workflow_dispatch", "build"),
    ("github-workflow_run", "stopped by event_name, event_name"),
    ("gitlab-aud-array", "lab"),
    ("gitlab-customised-sub-project-only", "lab"),
    ("gitlab-default-audience", "lab"),
    ("gitlab-environment", "lab + lab deploys"),
    ("gitlab-feature-branch", "stopped by ref_path"),
    ("gitlab-long-timeout", "lab"),
    (
        "gitlab-merge-request-from-fork",
        "(stopped by project-id, namespace-id, job_project_id)",
    ),
    ("gitlab-merge-request-same-project", "stopped by ref_path"),
    (
        "gitlab-policy-job",
        "denied by no jobs that a security policy adds",
    ),
    ("gitlab-project-id-sub", "lab"),
    ("gitlab-push", "lab"),
    ("gitlab-schedule", "lab"),
    ("gitlab-self-managed-push", "own lab"),
    ("gitlab-tag", "lab"),
    // User logins share the issuer and its keys with jobs.
    (
        "gitlab-user-login-id-token-not-ci",
        "(stopped by project, project-id, namespace-id, job_id, project_id, job_project_id, ref_path, runner_environment)",
    ),
    ("gitlab-web-self-hosted", "stopped by runner_environment"),
    ("google-service-account", "google"),
    ("hcp-terraform-apply", "terraform"),
    ("jenkins-build", "jenkins"),
    ("kubernetes-service-account", "cluster"),
    ("rwx-locked-vault", "(stopped by vault-subject)"),
    ("rwx-vault-subject-org-slug", "vault"),
    ("rwx-vault-subject-org-uuid", "(stopped by vault-subject)"),
    ("semaphore-push", "semaphore"),
];

fn registry() -> Registry {
    let public = PROFILES.into_iter().filter_map(|profile| {
        let form = IssuerForm::parse(profile.default_url?, profile.organization_in_issuer, false);
        Some(TrustedIssuer::new(profile.name, profile, form.unwrap(), ""))
    });
    let others = ISSUERS.iter().map(|(name, profile, url, tenants)| {
        let form = IssuerForm::parse(url, false, false).unwrap();
        let mut issuer = TrustedIssuer::new(name, profile_named(profile).unwrap(), form, "");
        issuer.tenant_claims = tenants.iter().map(ToString::to_string).collect();
        issuer
    });
    Registry::new(public.chain(others))
}

fn policy(registry: &Registry) -> ProjectPolicy {
    let path = ProjectPath::parse("acme/api").unwrap();
    read_policy(path, "every-issuer.toml", POLICY, registry)
        .unwrap_or_else(|fault| panic!("{}", fault.render(false)))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/claims")
}

fn ask(file: &str, registry: &Registry, policy: &ProjectPolicy) -> Decision {
    let text = fs::read_to_string(folder().join(format!("{file}.json"))).unwrap();
    let claims: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let (trusted, matched) = registry
        .find(claims["iss"].as_str().unwrap())
        .unwrap_or_else(|| panic!("{file}: no such issuer"));
    let claims = VerifiedClaims::supposed(trusted, matched, claims).unwrap();
    let limits = Limits {
        default_lifetime: Seconds(3600),
        maximum_lifetime: Seconds(6 * 3600),
    };
    let now = Circumstances::unremembered(UnixTime::from_seconds(0));
    decide(policy, &claims, &Wish::default(), &limits, &now)
}

fn in_words(decision: &Decision) -> String {
    match &decision.outcome {
        Ok(grant) => grant.trust().join(" + "),
        Err(Refusal::NotTrusted) => {
            let stops = decision.relationships[0]
                .findings
                .iter()
                .filter(|finding| !finding.holds);
            let stops: Vec<&str> = stops.map(|finding| &*finding.asked).collect();
            let stops = format!("stopped by {}", stops.join(", "));
            if decision.proven {
                stops
            } else {
                format!("({stops})")
            }
        }
        Err(Refusal::DeniedByRule(name)) => format!("denied by {name}"),
        Err(refusal) => refusal.code().to_owned(),
    }
}

#[test]
fn every_token_that_a_ci_system_sends_meets_the_decision_that_one_would_want() {
    let registry = registry();
    let policy = policy(&registry);
    let mut wrong = Vec::new();
    for (file, wanted) in WANTED {
        let found = in_words(&ask(file, &registry, &policy));
        if found != *wanted {
            wrong.push(format!("{file}: wanted `{wanted}`, found `{found}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_of_claims_is_missing_from_the_table() {
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let listed: BTreeSet<String> = WANTED.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(files, listed);
    assert_eq!(WANTED.len(), listed.len(), "a file stands twice");
}
