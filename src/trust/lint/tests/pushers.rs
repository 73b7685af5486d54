//! What whoever pushes, or opens a pull request, could bring about.

use super::*;

#[test]
fn write_scopes_that_rest_on_what_a_pusher_chooses() {
    table(
        "pusher-chooses",
        &[
            (writing_with("workflow = \"Release\""), Some(Warning)),
            (writing_with("event_name = \"push\""), Some(Warning)),
            (
                writing_with(
                    "event_name = \"push\"\nworkflow = \"Release\"\nsha = { not = \"0000000000000000000000000000000000000000\" }",
                ),
                Some(Warning),
            ),
            (writing_with("head_ref = \"release\""), Some(Warning)),
            (
                writing_with("ref = { glob = \"refs/heads/**\" }"),
                Some(Warning),
            ),
            (writing_with("ref = { glob = \"refs/**\" }"), Some(Warning)),
            (writing_with("ref_protected = \"false\""), Some(Warning)),
            (
                format!("{GITHUB}{WRITE}workflow = \"release.yml\"\n"),
                Some(Warning),
            ),
            (
                writing_with("event_name = \"push\"\nref = { glob = \"refs/tags/v*\" }"),
                Some(Note),
            ),
            (
                writing_with("ref = { glob = \"refs/heads/release/*\" }"),
                Some(Note),
            ),
            (on_main("workflow = \"Release\""), None),
            (writing_with("ref_protected = \"true\""), None),
            (writing_with("event_name = \"schedule\""), None),
            (writing_with("actor_id = 12"), None),
            (
                format!("{GITHUB}{WRITE}environment = \"production\"\n"),
                None,
            ),
            (reading("workflow = \"Release\""), None),
            (
                gitlab(WRITE, "claims = { pipeline_source = \"push\" }"),
                Some(Warning),
            ),
            (
                gitlab(
                    WRITE,
                    "claims = { pipeline_source = \"push\", ref_protected = \"true\" }",
                ),
                None,
            ),
            (
                format!("{CIRCLECI}{WRITE}vcs-origin = \"github.com/acme/api\"\n"),
                Some(Warning),
            ),
            (
                format!(
                    "{CIRCLECI}{WRITE}pipeline-definition = \"70b80fd1-b928-5fbf-817d-75ab416ccc87\"\n"
                ),
                None,
            ),
        ],
    );
}

#[test]
fn write_scopes_that_are_open_to_pull_requests() {
    table(
        "write-for-pull-requests",
        &[
            (format!("{GITHUB}{WRITE}"), Some(Warning)),
            (
                writing_with("event_name = [\"push\", \"pull_request\"]"),
                Some(Warning),
            ),
            (writing_with("ref = { glob = \"refs/**\" }"), Some(Warning)),
            (
                format!("{GITHUB}{WRITE}environment = \"production\"\n"),
                Some(Note),
            ),
            (writing_with("event_name = \"push\""), None),
            (
                writing_with("event_name = { not = \"pull_request\" }"),
                None,
            ),
            (writing_with("ref = { glob = \"refs/tags/**\" }"), None),
            (writing_with("ref_type = \"tag\""), None),
            (writing_with("base_ref = \"\""), None),
            (format!("{GITHUB}{WRITE}{MAIN}"), None),
            (format!("{GITHUB}{READ}"), None),
            (gitlab(WRITE, ""), Some(Warning)),
            (gitlab(WRITE, "fork-merge-requests = true"), Some(Error)),
            (
                gitlab(WRITE, "claims = { pipeline_source = \"push\" }"),
                None,
            ),
            (gitlab(WRITE, "ref = \"refs/heads/main\""), None),
        ],
    );
}

#[test]
fn a_reusable_workflow_that_is_pinned_guards_against_pull_requests() {
    let path = "octo-org/tools/.github/workflows/f.yml@refs/tags/v1";
    let text = format!("{GITHUB}{WRITE}reusable-workflow = \"{path}\"\n");
    assert_eq!(severity_of("write-for-pull-requests", &text), Some(Note));
}

#[test]
fn events_that_strangers_start() {
    table(
        "pull-request-target",
        &[
            (
                on_main("").replace("\"push\"", "[\"push\", \"pull_request_target\"]"),
                Some(Error),
            ),
            (
                reading("event_name = \"pull_request_target\""),
                Some(Warning),
            ),
            (
                reading("event_name = { not = \"pull_request_target\" }"),
                None,
            ),
            (reading("event_name = \"pull_request\""), None),
        ],
    );
    table(
        "stranger-event",
        &[
            (reading("event_name = \"workflow_run\""), Some(Warning)),
            (reading("event_name = \"issue_comment\""), Some(Warning)),
            (reading("event_name = \"schedule\""), None),
        ],
    );
}

#[test]
fn buildkite_marks_no_pull_request_which_is_a_note_once_all_else_is_given() {
    table(
        "pull-requests-unmarked",
        &[
            (format!("{BUILDKITE}{WRITE}branch = \"main\"\n"), Some(Note)),
            (format!("{BUILDKITE}{WRITE}claims = {{ build_branch = {{ glob = \"release-*\" }} }}\n"), Some(Note)),
            (format!("{BUILDKITE}{WRITE}"), Some(Warning)),
            (format!("{BUILDKITE}{READ}"), Some(Warning)),
            (
                "[[trust]]\nname = \"x\"\nissuer = \"buildkite\"\norganization = \"acme\"\npipeline = \"api\"\nbranch = \"main\"\nscopes = [\"write_registry\"]\n".to_owned(),
                Some(Warning),
            ),
            (format!("{GITHUB}{WRITE}"), None),
        ],
    );
}

#[test]
fn circleci_without_the_origin_lets_in_forks() {
    let origin = "\"oidc.circleci.com/vcs-origin\" = \"github.com/acme/api\"";
    table(
        "vcs-origin-missing",
        &[
            (format!("{CIRCLECI}{READ}"), Some(Warning)),
            (
                format!(
                    "{CIRCLECI}{READ}claims = {{ \"oidc.circleci.com/vcs-origin\" = {{ not = \"github.com/mallory/api\" }} }}\n"
                ),
                Some(Warning),
            ),
            (
                format!("{CIRCLECI}{READ}vcs-origin = \"github.com/acme/api\"\n"),
                None,
            ),
            (format!("{CIRCLECI}{READ}claims = {{ {origin} }}\n"), None),
        ],
    );
    table(
        "ssh-rerun",
        &[
            (
                format!("{CIRCLECI}{READ}claims = {{ \"oidc.circleci.com/ssh-rerun\" = true }}\n"),
                Some(Error),
            ),
            (
                format!("{CIRCLECI}{READ}claims = {{ \"oidc.circleci.com/ssh-rerun\" = false }}\n"),
                None,
            ),
        ],
    );
}
