//! Jobs of `CircleCI`.

use serde_json::json;

use super::*;

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
