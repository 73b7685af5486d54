//! Jobs of GitLab.

use serde_json::json;

use super::*;

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
