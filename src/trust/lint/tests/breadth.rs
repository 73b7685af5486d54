//! Names without ids, globs that are wider than they look, and relationships that change nothing.

use super::*;

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
