//! Jobs of GitHub Actions.

use serde_json::json;

use super::*;

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
