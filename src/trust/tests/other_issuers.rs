//! Jobs of Buildkite, of RWX, and of issuers of which nothing is known.

use serde_json::json;

use super::*;

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
