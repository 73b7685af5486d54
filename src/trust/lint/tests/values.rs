//! What no token satisfies, or only some: values, claims, refs and lifetimes.

use super::*;

#[test]
fn what_no_token_satisfies() {
    table(
        "never-matches",
        &[
            (reading("ref = \"main\""), Some(Warning)),
            (reading("ref = { glob = \"v*\" }"), Some(Warning)),
            (
                reading("ref = { glob = \"v*\", not = { glob = \"v**\" } }"),
                Some(Warning),
            ),
            (reading("event_name = \"pull-request\""), Some(Warning)),
            (
                reading("event_name = { glob = \"pull_request_t*\" }"),
                Some(Warning),
            ),
            (
                reading("event_name = \"push\"\nbase_ref = \"main\""),
                Some(Warning),
            ),
            (
                reading("event_name = \"pull_request\"\nref = \"refs/tags/v1\""),
                Some(Warning),
            ),
            (
                reading("ref_type = \"tag\"\nref = \"refs/heads/main\""),
                Some(Warning),
            ),
            (reading("ref_type = \"tags\""), Some(Warning)),
            (reading("sha = \"2f1a8c9\""), Some(Warning)),
            (reading("ref_protected = \"yes\""), Some(Warning)),
            (reading("job_workflow_ref = \"f.yml\""), Some(Warning)),
            (GITHUB.replace("\"65\"", "\"octo\"") + READ, Some(Warning)),
            (
                gitlab(
                    READ,
                    "claims = { ref = \"refs/heads/main\", ref_type = \"branch\" }",
                ),
                Some(Warning),
            ),
            (
                format!(
                    "{CIRCLECI}{READ}claims = {{ \"oidc.circleci.com/vcs-origin\" = \"https://github.com/acme/api\" }}\n"
                ),
                Some(Warning),
            ),
            (
                format!("{BUILDKITE}{READ}branch = \"refs/heads/main\"\n"),
                Some(Warning),
            ),
            (reading("event_name = \"some_new_event\""), None),
            (
                reading("event_name = \"pull_request\"\nref = \"refs/heads/main\""),
                None,
            ),
            (
                reading("event_name = [\"push\", \"pull_request\"]\nbase_ref = [\"\", \"main\"]"),
                None,
            ),
            (reading("ref = { glob = \"**\" }"), None),
            (reading("ref = \"\""), None),
            (
                reading("ref = { glob = \"refs/tags/v*\", not = \"refs/tags/v1\" }"),
                None,
            ),
        ],
    );
}

#[test]
fn values_in_a_wrong_case_and_claims_that_nobody_sends() {
    table(
        "wrong-case",
        &[
            (reading("event_name = \"Push\""), Some(Warning)),
            (
                reading("runner_environment = \"GitHub-Hosted\""),
                Some(Warning),
            ),
            (reading("ref = \"Refs/heads/main\""), Some(Warning)),
            (
                BUILDKITE
                    .replace("acme-inc", "Acme-Inc")
                    .replace("organization-id", "#")
                    + READ,
                Some(Warning),
            ),
            (
                reading("repository_visibility = { not = \"Public\" }"),
                Some(Warning),
            ),
            (reading("ref = \"refs/heads/Main\""), None),
            (
                format!("{GITHUB}{READ}environment = \"Production\"\n"),
                None,
            ),
        ],
    );
    table(
        "claim-unknown",
        &[
            (reading("evnet_name = \"push\""), Some(Warning)),
            (reading("colour = \"blue\""), Some(Warning)),
            (
                format!(
                    "{CIRCLECI}{READ}claims = {{ \"oidc.circleci.com/vcs_ref\" = \"refs/heads/main\" }}\n"
                ),
                Some(Warning),
            ),
            (
                "[[deny]]\nname = \"x\"\nclaims = { runner_enviroment = \"self-hosted\" }\n"
                    .to_owned(),
                Some(Warning),
            ),
            (reading("repo_property_team = \"payments\""), None),
            (reading("aud = \"https://sts.example.com\""), None),
            (
                format!("{BUILDKITE}{READ}claims = {{ \"agent_tag:queue\" = \"release\" }}\n"),
                None,
            ),
            (
                "[[deny]]\nname = \"x\"\nclaims = { runner_environment = \"self-hosted\" }\n"
                    .to_owned(),
                None,
            ),
        ],
    );
}

#[test]
fn a_condition_on_sub_that_breaks_when_its_form_changes() {
    table(
        "sub-one-form",
        &[
            (reading("sub = \"repo:octo-org/octo-repo:ref:refs/heads/main\""), Some(Warning)),
            (reading("sub = { glob = \"repo:octo-org/octo-repo:*\" }"), Some(Warning)),
            (reading("sub = \"repo:octo-org@65/octo-repo@74:ref:refs/heads/main\""), Some(Warning)),
            (reading("sub = { not = \"repo:octo-org/octo-repo:pull_request\" }"), Some(Warning)),
            (
                "[[deny]]\nname = \"x\"\nissuer = \"github\"\nclaims = { sub = { glob = \"repo:mallory/**\" } }\n".to_owned(),
                Some(Warning),
            ),
            (
                reading("sub = [\"repo:octo-org/octo-repo:pull_request\", \"repo:octo-org@65/octo-repo@74:pull_request\"]"),
                None,
            ),
            (reading("sub = { glob = \"repo:octo-org*/octo-repo*:**\" }"), None),
            (reading("sub = \"repository_id:74\""), None),
        ],
    );
}

#[test]
fn a_bare_ref_without_its_type() {
    table(
        "bare-ref",
        &[
            (gitlab(READ, "claims = { ref = \"main\" }"), Some(Warning)),
            (
                gitlab(READ, "claims = { ref = \"main\", ref_type = \"branch\" }"),
                None,
            ),
            (
                gitlab(
                    READ,
                    "claims = { ref = \"main\", ref_path = \"refs/heads/main\" }",
                ),
                None,
            ),
            (gitlab(READ, "ref = \"refs/heads/main\""), None),
            (format!("{BUILDKITE}{READ}branch = \"main\"\n"), None),
        ],
    );
}

#[test]
fn a_reusable_workflow_at_any_ref() {
    let path = "octo-org/tools/.github/workflows/f.yml";
    table(
        "reusable-workflow-unpinned",
        &[
            (
                format!("{GITHUB}{READ}reusable-workflow = \"{path}\"\n"),
                Some(Warning),
            ),
            (
                reading(&format!("job_workflow_ref = {{ glob = \"{path}@*\" }}")),
                Some(Warning),
            ),
            (
                format!("{GITHUB}{READ}reusable-workflow = \"{path}@refs/heads/main\"\n"),
                None,
            ),
            (
                reading(&format!(
                    "job_workflow_ref = {{ glob = \"{path}@refs/tags/v*\" }}"
                )),
                None,
            ),
        ],
    );
}

#[test]
fn write_scopes_that_live_long() {
    let lives = |span: &str| {
        on_main("").replace(
            "[trust.claims]",
            &format!("lifetime = \"{span}\"\n[trust.claims]"),
        )
    };
    table(
        "lifetime-long",
        &[
            (lives("61m"), Some(Warning)),
            (lives("1h"), None),
            (on_main(""), None),
            (lives("6h").replace("write_registry", "read_registry"), None),
        ],
    );
    let registry = registry();
    let policy = policy(&on_main(""));
    let limits = Limits {
        default_lifetime: Seconds(7200),
        ..LIMITS
    };
    let report = Linter::new([&policy], &registry, limits).check(&policy, &|_| None);
    assert_eq!(report.problems()[0].code(), "lifetime-long");
}

#[test]
fn a_deny_that_is_escaped_by_leaving_the_claim_out() {
    let deny = |claims: &str| {
        format!("[[deny]]\nname = \"x\"\nissuer = \"buildkite\"\nclaims = {{ {claims} }}\n")
    };
    table(
        "deny-optional-claim",
        &[
            (deny("cluster_name = \"old\""), Some(Warning)),
            (deny("queue_key = { glob = \"old-*\" }"), Some(Warning)),
            (deny("cluster_name = { not = \"new\" }"), None),
            (deny("pipeline_slug = \"old\""), None),
            (deny("step_key = \"deploy\""), None),
        ],
    );
}
