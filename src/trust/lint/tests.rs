use std::sync::Arc;

use super::*;
use crate::clock::Seconds;
use crate::issuer::{IssuerForm, PROFILES, TrustedIssuer};
use crate::trust::{ProjectPath, Severity, read_guard_rails, read_policy, who};

const LIMITS: Limits = Limits {
    default_lifetime: Seconds(3600),
    maximum_lifetime: Seconds(6 * 3600),
};

/// The five CI systems, under the names of their profiles.
fn registry() -> Registry {
    let named = PROFILES.into_iter().filter_map(|profile| {
        let form = IssuerForm::parse(profile.default_url?, profile.organization_in_issuer, false);
        Some(TrustedIssuer::new(
            profile.name,
            profile,
            form.unwrap(),
            "https://sts.example.com",
        ))
    });
    Registry::new(named)
}

fn policy(text: &str) -> ProjectPolicy {
    named_policy("acme/api", text)
}

fn named_policy(path: &str, text: &str) -> ProjectPolicy {
    let project = ProjectPath::parse(path).unwrap();
    read_policy(project, &format!("{path}.toml"), text, &registry())
        .unwrap_or_else(|fault| panic!("{}", fault.render(false)))
}

fn report(text: &str) -> Report {
    let registry = registry();
    let policy = policy(text);
    Linter::new([&policy], &registry, LIMITS).check(&policy, &|_| None)
}

/// The findings, as (code, severity).
fn found(text: &str) -> Vec<(&'static str, Severity)> {
    let report = report(text);
    let problems = report.problems().iter();
    problems
        .map(|problem| (problem.code(), problem.severity()))
        .collect()
}

fn severity_of(code: &str, text: &str) -> Option<Severity> {
    let found = found(text);
    found
        .iter()
        .find(|(found, _)| *found == code)
        .map(|(_, severity)| *severity)
}

const GITHUB: &str = r#"[[trust]]
name = "build"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
"#;

const GITLAB: &str = r#"[[trust]]
name = "build"
issuer = "gitlab"
project = "my-group/my-project"
project-id = "20"
namespace-id = "72"
"#;

const CIRCLECI: &str = r#"[[trust]]
name = "build"
issuer = "circleci"
organization = "a40f5d1f-d889-42e9-94ea-b9b33585fc6b"
project = "405d8375-3514-403b-8c43-83ae74cfe0e9"
"#;

const BUILDKITE: &str = r#"[[trust]]
name = "build"
issuer = "buildkite"
organization = "acme-inc"
organization-id = "f892efa9-103e-4d28-97a1-3b8616a0994d"
pipeline = "super-duper-app"
pipeline-id = "0184990a-4782-42b5-afc1-16715b10b110"
"#;

const WRITE: &str = "scopes = [\"write_registry\"]\n";
const READ: &str = "scopes = [\"read_registry\"]\n";
const MAIN: &str = "claims = { ref = \"refs/heads/main\" }\n";

/// A GitHub relationship with write scopes that is as narrow as one would wish, and these claims too.
fn on_main(claims: &str) -> String {
    format!(
        "{GITHUB}{WRITE}[trust.claims]\nevent_name = \"push\"\nref = \"refs/heads/main\"\n{claims}\n"
    )
}

/// The same for reading, with these claims alone.
fn reading(claims: &str) -> String {
    format!("{GITHUB}{READ}[trust.claims]\n{claims}\n")
}

fn writing_with(claims: &str) -> String {
    format!("{GITHUB}{WRITE}[trust.claims]\n{claims}\n")
}

fn gitlab(scopes: &str, rest: &str) -> String {
    format!("{GITLAB}{scopes}{rest}\n")
}

/// Each row: the code, a policy, and how much the finding matters, or that there is none.
#[track_caller]
fn table(code: &str, rows: &[(String, Option<Severity>)]) {
    assert!(codes().any(|known| known == code), "{code} is not listed");
    for (text, expected) in rows {
        assert_eq!(
            severity_of(code, text),
            *expected,
            "{code} in\n{text}\n{}",
            report(text).render(false)
        );
    }
}

use Severity::{Error, Note, Warning};

#[test]
fn what_is_as_narrow_as_one_would_wish_is_not_reported() {
    for text in [
        on_main(""),
        format!("{GITHUB}{WRITE}environment = \"production\"\nclaims = {{ event_name = \"push\" }}\n"),
        reading("event_name = [\"pull_request\", \"merge_group\"]"),
        on_main("runner_environment = \"github-hosted\""),
        on_main("actor = { not = [\"dependabot[bot]\"] }"),
        gitlab(WRITE, "ref = \"refs/heads/main\"\nclaims = { pipeline_source = \"push\" }"),
        gitlab(READ, ""),
        format!("{CIRCLECI}vcs-origin = \"github.com/acme/api\"\n{WRITE}claims = {{ \"oidc.circleci.com/vcs-ref\" = \"refs/heads/main\" }}\n"),
        "[[deny]]\nname = \"x\"\nissuer = \"github\"\nclaims = { runner_environment = { not = \"github-hosted\" } }\n".to_owned(),
    ] {
        assert_eq!(found(&text), [], "{text}");
    }
}

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

#[test]
fn a_name_without_its_id() {
    let bare = "[[trust]]\nname = \"x\"\nissuer = \"github\"\nowner = \"octo-org\"\nrepository = \"octo-repo\"\nscopes = [\"read_registry\"]\n";
    table(
        "id-missing",
        &[
            (bare.to_owned(), Some(Warning)),
            (format!("{bare}owner-id = 65\n"), Some(Note)),
            (format!("{bare}owner-id = 65\nrepository-id = 74\n"), None),
            (bare.replace("\"octo-repo\"", "{ glob = \"octo-*\" }") + "owner-id = 65\n", None),
            (format!("{BUILDKITE}{READ}"), None),
            (BUILDKITE.replace("organization-id", "#") + READ, Some(Warning)),
            ("[[trust]]\nname = \"x\"\nissuer = \"rwx\"\nvault-subject = \"org:o:vault:v\"\nscopes = [\"deploy\"]\n".to_owned(), Some(Note)),
            (reading("actor = \"octocat\""), Some(Note)),
            (reading("actor = { not = \"octocat\" }"), None),
            (reading("actor_id = 12"), None),
            (gitlab(READ, "claims = { user_login = \"root\" }"), Some(Note)),
        ],
    );
}

#[test]
fn one_id_with_two_names_is_shown_on_both_sides() {
    let one = named_policy("acme/api", &format!("{GITHUB}{READ}"));
    let renamed = format!("{GITHUB}{READ}").replace("\"octo-repo\"", "\"octo-renamed\"");
    let other = named_policy("acme/web", &renamed);
    let same = named_policy(
        "acme/cli",
        &format!("{GITHUB}{READ}").replace("octo-org", "Octo-Org"),
    );
    let registry = registry();
    let mut linter = Linter::new([&one, &other, &same], &registry, LIMITS);
    assert!(linter.check(&one, &|_| None).problems().is_empty());
    assert!(linter.check(&same, &|_| None).problems().is_empty());
    let report = linter.check(&other, &|_| None);
    let problem = &report.problems()[0];
    assert_eq!(
        (problem.code(), problem.severity()),
        ("label-differs", Warning)
    );
    assert_eq!(problem.other_place().unwrap().0.name(), "acme/api.toml");
    assert_eq!(report.problems().len(), 1);
}

#[test]
fn globs_that_are_wider_than_they_look() {
    table(
        "glob-crosses-segments",
        &[
            (reading("ref = { glob = \"refs/tags/v**\" }"), Some(Warning)),
            (
                reading("ref = { glob = \"refs/heads/**-rc\" }"),
                Some(Warning),
            ),
            (reading("ref = { glob = \"refs/heads/**\" }"), None),
            (reading("ref = { glob = \"refs/heads/**/rc\" }"), None),
            (
                reading("job_workflow_ref = { glob = \"octo-org/x/.github/workflows/f.yml@**\" }"),
                None,
            ),
        ],
    );
    table(
        "glob-other-owners",
        &[
            (
                reading(
                    "job_workflow_ref = { glob = \"octo-*/tools/.github/workflows/f.yml@refs/heads/main\" }",
                ),
                Some(Warning),
            ),
            (
                reading("job_workflow_ref = { glob = \"**/f.yml@refs/heads/main\" }"),
                Some(Warning),
            ),
            (
                reading(
                    "job_workflow_ref = { glob = \"octo-org/*/.github/workflows/f.yml@refs/heads/main\" }",
                ),
                None,
            ),
            (
                format!(
                    "{CIRCLECI}{READ}claims = {{ \"oidc.circleci.com/vcs-origin\" = {{ glob = \"github.com/*/api\" }} }}\n"
                ),
                Some(Warning),
            ),
            (
                format!(
                    "{CIRCLECI}{READ}claims = {{ \"oidc.circleci.com/vcs-origin\" = {{ glob = \"github.com/acme/*\" }} }}\n"
                ),
                None,
            ),
            (
                GITLAB.replace("\"my-group/my-project\"", "{ glob = \"my-*/x\" }") + READ,
                Some(Note),
            ),
            (
                GITLAB.replace("\"my-group/my-project\"", "{ glob = \"my-group/**\" }") + READ,
                None,
            ),
        ],
    );
    table(
        "glob-pull-requests",
        &[
            (writing_with("ref = { glob = \"refs/**\" }"), Some(Warning)),
            (reading("ref = { glob = \"**/merge\" }"), Some(Note)),
            (
                reading("ref = { glob = \"refs/**\" }\nevent_name = \"push\""),
                None,
            ),
            (
                reading("ref = { glob = \"refs/**\" }\nevent_name = [\"push\", \"pull_request\"]"),
                None,
            ),
            (reading("ref = { glob = \"refs/heads/**\" }"), None),
        ],
    );
}

#[test]
fn a_relationship_that_changes_nothing() {
    let second = |text: &str, name: &str| text.replace("\"build\"", &format!("\"{name}\""));
    let wide = format!("{GITHUB}{READ}");
    let narrow = second(&reading("event_name = \"push\""), "narrow");
    table(
        "shadowed",
        &[
            (format!("{wide}{narrow}"), Some(Warning)),
            (format!("{narrow}{wide}"), Some(Warning)),
            (format!("{wide}{}", second(&wide, "again")), Some(Warning)),
            (
                format!(
                    "{wide}{}",
                    narrow.replace("read_registry", "write_registry")
                ),
                None,
            ),
            (
                format!(
                    "{wide}{}",
                    narrow.replace("[trust.claims]", "lifetime = \"5m\"\n[trust.claims]")
                ),
                None,
            ),
            (
                format!(
                    "{wide}{}",
                    narrow.replace(
                        "[trust.claims]",
                        "resources = [\"https://a.example\"]\n[trust.claims]"
                    )
                ),
                None,
            ),
            (
                format!(
                    "{}{narrow}",
                    wide.replace("scopes", "mode = \"shadow\"\nscopes")
                ),
                None,
            ),
            (
                format!(
                    "{}{}",
                    reading("ref = { glob = \"refs/heads/release/*\" }"),
                    second(&reading("ref = \"refs/heads/release/1\""), "one")
                ),
                Some(Warning),
            ),
            (
                format!(
                    "{}{}",
                    reading("ref = { glob = \"refs/heads/release/*\" }"),
                    second(
                        &reading("ref = { glob = \"refs/heads/release/**\" }"),
                        "more"
                    )
                ),
                Some(Warning),
            ),
            (
                format!(
                    "{}{}",
                    reading("ref = { glob = \"refs/heads/release/*\" }"),
                    second(&reading("ref = { glob = \"refs/heads/*/1\" }"), "other")
                ),
                None,
            ),
            (
                format!(
                    "{wide}{}",
                    second(&reading("event_name = \"workflow_run\""), "named")
                ),
                None,
            ),
            (
                format!(
                    "{wide}{}",
                    second(&wide, "elsewhere").replace("\"74\"", "\"75\"")
                ),
                None,
            ),
        ],
    );
    let deny = |asks: &str| format!("{wide}[[deny]]\nname = \"no\"\nissuer = \"github\"\n{asks}\n");
    table(
        "always-denied",
        &[
            (deny(""), Some(Warning)),
            (deny("owner-id = 65"), Some(Warning)),
            (deny("owner = \"octo-org\"\nowner-id = 65"), Some(Warning)),
            (
                deny("claims = { workflow = { glob = \"**\" } }"),
                Some(Warning),
            ),
            (deny("owner-id = 66"), None),
            (deny("mode = \"shadow\"\nowner-id = 65"), None),
            (deny("claims = { event_name = \"push\" }"), None),
        ],
    );
}

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

#[test]
fn a_finding_is_silenced_where_it_stands_and_an_idle_silence_is_told() {
    let silenced = |code: &str| {
        format!(
            "{GITHUB}{WRITE}silence = [{{ code = \"{code}\", because = \"seen\" }}]\n{MAIN}lifetime = \"2h\"\n"
        )
    };
    assert_eq!(found(&silenced("lifetime-long")), []);
    assert_eq!(
        found(&silenced("shadowed")),
        [("silence-unused", Note), ("lifetime-long", Warning)]
    );
    assert_eq!(
        severity_of("silence-unused", &silenced("lifetime-lang")),
        Some(Warning)
    );
    let of_file = format!(
        "silence = [{{ code = \"lifetime-long\", because = \"seen\" }}]\n{GITHUB}{WRITE}lifetime = \"2h\"\n{MAIN}"
    );
    assert_eq!(found(&of_file), []);
}

#[test]
fn guard_rails_are_looked_at_and_a_breach_is_named_on_both_sides() {
    let registry = registry();
    let text = "[[deny]]\nname = \"x\"\nissuer = \"github\"\nclaims = { event_nam = \"push\" }\n\n\
        [[require]]\nissuer = \"github\"\npin = [\"environment\"]\n";
    let rails = read_guard_rails("acme", "acme/_organization.toml", text, &registry).unwrap();
    let rails = Arc::new(rails);
    let policy = policy(&on_main("")).under(Some(rails.clone()));
    let mut linter = Linter::new([&policy], &registry, LIMITS);
    assert_eq!(
        linter.check_guard_rails(&rails).problems()[0].code(),
        "claim-unknown"
    );
    let report = linter.check(&policy, &|_| None);
    let breach = report
        .problems()
        .iter()
        .find(|problem| problem.code() == "guard-rail")
        .unwrap();
    assert_eq!(breach.severity(), Error);
    assert_eq!(
        breach.other_place().unwrap().0.name(),
        "acme/_organization.toml"
    );
}

#[test]
fn a_deny_of_the_organization_that_always_holds_is_shown_in_its_own_file() {
    let registry = registry();
    let text = "[[deny]]\nname = \"no github\"\nissuer = \"github\"\n";
    let rails = read_guard_rails("acme", "acme/_organization.toml", text, &registry).unwrap();
    let policy = policy(&on_main("")).under(Some(Arc::new(rails)));
    let report = Linter::new([&policy], &registry, LIMITS).check(&policy, &|_| None);
    let problem = &report.problems()[0];
    assert_eq!(problem.code(), "always-denied");
    assert_eq!(
        problem.other_place().unwrap().0.name(),
        "acme/_organization.toml"
    );
}

#[test]
fn a_case_whose_claims_are_not_there_is_an_error() {
    let text = format!(
        "{}\n[[case]]\nname = \"c\"\nfrom = \"nowhere\"\nexpect = \"denied\"\n",
        on_main("")
    );
    let policy = policy(&text);
    let registry = registry();
    let mut linter = Linter::new([&policy], &registry, LIMITS);
    let report = linter.check(&policy, &|_| {
        Some("there are no claims called `nowhere`".to_owned())
    });
    assert_eq!(report.problems()[0].code(), "case-not-found");
    assert_eq!(report.problems()[0].severity(), Error);
}

#[test]
fn issuers_whose_address_or_name_misleads() {
    let form = |url: &str| IssuerForm::parse(url, false, false).unwrap();
    let profile = |name: &str| crate::issuer::profile_named(name).unwrap();
    let issuer =
        |name: &str, of: &str, url: &str| TrustedIssuer::new(name, profile(of), form(url), "a");
    let codes = |issuer: TrustedIssuer| {
        let registry = Registry::new([issuer]);
        let linter = Linter::new([], &registry, LIMITS);
        let report = linter.check_issuers(PolicyFile::new("countersign.toml", "[[issuer]]\n"));
        report
            .problems()
            .iter()
            .map(Problem::code)
            .collect::<Vec<_>>()
    };
    let generic = |name, url| codes(issuer(name, "generic", url));
    assert_eq!(
        generic("aks", "https://westeurope.oic.prod-aks.azure.com/t/g/"),
        ["issuer-trailing-slash"]
    );
    assert_eq!(
        generic("gitlab.com", "https://gitlab.example.com"),
        ["issuer-name-misleads"]
    );
    assert_eq!(
        generic("github", "https://ci.example.com"),
        ["issuer-name-misleads"]
    );
    assert_eq!(generic("ci.example.com", "https://ci.example.com"), [""; 0]);
    assert_eq!(
        codes(issuer("gitlab", "gitlab", "https://gitlab.example.com")),
        [""; 0]
    );
    assert_eq!(
        codes(issuer(
            "ghes",
            "github",
            "https://github.example.com/_services/token"
        )),
        [""; 0]
    );
}

#[test]
fn every_finding_says_why_it_matters_and_what_to_write_instead() {
    for text in [
        format!("{GITHUB}{WRITE}"),
        reading("ref = \"main\"\nevnet_name = \"push\"\nsub = \"repo:o/r:x\""),
        format!("{BUILDKITE}{WRITE}"),
        format!("{CIRCLECI}{WRITE}"),
        gitlab(
            WRITE,
            "fork-merge-requests = true\nclaims = { ref = \"main\" }",
        ),
    ] {
        for problem in report(&text).problems() {
            assert!(problem.why().is_some(), "{}", problem.code());
            assert!(problem.help().is_some(), "{}", problem.code());
            assert!(!problem.message().ends_with('.'), "{}", problem.message());
            assert!(
                codes().any(|code| code == problem.code()),
                "{}",
                problem.code()
            );
        }
    }
}

#[test]
fn a_name_that_jobs_no_longer_have_is_told_with_the_decision_that_saw_it() {
    let registry = registry();
    let policy = policy(&on_main(""));
    let mut linter = Linter::new([&policy], &registry, LIMITS);
    linter.compare_with(vec![Renamed {
        project: "acme/api".to_owned(),
        relationship: "build".to_owned(),
        field: "repository".to_owned(),
        name: "octo-org/octo-renamed".to_owned(),
        decision_id: "019aa2f3-1c5e-7b1f-8c8e-0123456789ab".to_owned(),
    }]);
    let report = linter.check(&policy, &|_| None);
    let problem = &report.problems()[0];
    assert_eq!(problem.code(), "label-differs");
    assert!(problem.message().contains("octo-org/octo-renamed"));
    assert!(problem.why().unwrap().contains("019aa2f3"));
}

#[test]
fn who_takes_a_glob_without_a_wildcard_for_a_name() {
    let named = policy(&reading(
        "ref = { glob = [\"refs/heads/main\", \"refs/heads/next\"] }",
    ));
    let answer = &who(&named, &LIMITS)[0];
    assert_eq!(answer.other_branches.inside, Some(false), "{answer:?}");
    assert!(
        answer.sentence.contains("of branch main or branch next in"),
        "{answer:?}"
    );

    let beyond = policy(&reading(
        "ref = { glob = [\"refs/heads/main\", \"refs/heads/release/*\"] }",
    ));
    let answer = &who(&beyond, &LIMITS)[0];
    assert_eq!(answer.other_branches.inside, Some(true), "{answer:?}");
    assert!(
        answer
            .other_branches
            .because
            .contains("refs/heads/release/"),
        "{answer:?}"
    );

    let kite = policy(
        "[[trust]]\nname = \"x\"\nissuer = \"buildkite\"\norganization = \"acme\"\n\
        pipeline = { glob = \"deploy-*\" }\nscopes = [\"read_registry\"]\n",
    );
    let sentence = &who(&kite, &LIMITS)[0].sentence;
    assert!(
        sentence.contains("Buildkite pipeline matching acme/deploy-*"),
        "{sentence}"
    );
}
