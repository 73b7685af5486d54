//! What relationships leave open.

use super::*;
use crate::trust::{Breadth, Open, breadth};

fn of(text: &str) -> Vec<Breadth> {
    let path = ProjectPath::parse("acme/api").unwrap();
    let policy = read_policy(path, "acme/api.toml", text, &registry());
    breadth(&policy.unwrap_or_else(|fault| panic!("{fault}")))
}

fn keys(breadth: &Breadth) -> Vec<&str> {
    breadth.open.iter().map(|open| &*open.key).collect()
}

fn open<'b>(breadth: &'b Breadth, key: &str) -> &'b Open {
    breadth.open.iter().find(|open| &*open.key == key).unwrap()
}

const GITHUB: &str = r#"
[[trust]]
name = "x"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
scopes = ["read_registry"]
"#;

#[test]
fn what_differs_from_run_to_run_or_is_about_a_person_is_never_left_open() {
    let bare = of(GITHUB);
    assert_eq!(
        keys(&bare[0]),
        [
            "environment",
            "event_name",
            "ref",
            "ref_protected",
            "runner_environment",
            "workflow"
        ]
    );
    assert_eq!(
        (bare[0].line, bare[0].shadow, bare[0].off),
        (2, false, false)
    );
}

#[test]
fn an_exact_value_closes_a_claim_and_a_list_or_a_glob_leaves_it_wide() {
    let claims = "[trust.claims]\nevent_name = [\"push\", \"release\"]\nref = { glob = \"refs/tags/v*\" }\nrunner_environment = \"github-hosted\"\nactor = { not = [\"dependabot[bot]\"] }\n";
    let narrowed = of(&format!("{GITHUB}environment = \"production\"\n{claims}"));
    let narrowed = &narrowed[0];
    let mut open_keys = keys(narrowed);
    open_keys.sort_unstable();
    assert_eq!(
        open_keys,
        ["event_name", "ref", "ref_protected", "workflow"]
    );
    let event = open(narrowed, "event_name");
    assert_eq!(
        event.allows.as_deref(),
        Some("one of \"push\", \"release\"")
    );
    assert_eq!(event.named, Some(2));
    assert_eq!(open(narrowed, "ref").named, None);
    assert_eq!(open(narrowed, "workflow").allows, None);
}

#[test]
fn a_value_is_read_as_the_policy_would_name_it() {
    let claims = claims_of("github-push");
    let bare = of(GITHUB);
    let value = |key| open(&bare[0], key).value(&claims);
    assert_eq!(value("ref").as_deref(), Some("refs/heads/main"));
    assert_eq!(value("workflow").as_deref(), Some("build.yml"));
    assert_eq!(value("environment"), None);
}

#[test]
fn the_line_that_narrows_loads_and_closes_the_claim() {
    let bare = of(GITHUB);
    for (key, values) in [
        ("ref", vec!["refs/heads/main"]),
        ("event_name", vec!["push"]),
        ("workflow", vec!["build.yml"]),
        ("environment", vec!["a \"quoted\" name"]),
    ] {
        let open = open(&bare[0], key);
        let line = open.narrowed_to(&values);
        let text = if open.place().contains("claims") {
            format!("{GITHUB}[trust.claims]\n{line}\n")
        } else {
            format!("{GITHUB}{line}\n")
        };
        assert!(!keys(&of(&text)[0]).contains(&key), "{line}");
    }
    assert_eq!(
        open(&bare[0], "ref").narrowed_to(&["a", "b"]),
        "ref = [\"a\", \"b\"]"
    );
}

#[test]
fn each_ci_system_has_its_own_words_for_what_is_open() {
    for (file, key, set, value) in [
        (
            "web",
            "oidc.circleci.com/vcs-ref",
            "circleci-v2-push",
            "refs/heads/main",
        ),
        ("images", "branch", "buildkite-optional-claims", "main"),
        ("mobile", "ref", "gitlab-push", "refs/heads/main"),
    ] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("trust-policies/acme/{file}.toml"));
        let text = fs::read_to_string(path).unwrap();
        // The first relationship without its conditions.
        let first = text.split("[[trust]]").nth(1).unwrap();
        let first = first.split("[trust.claims]").next().unwrap();
        let lines = first.lines().filter(|line| {
            !["ref", "branch", "environment", "vcs-origin"]
                .iter()
                .any(|field| line.starts_with(field))
        });
        let bare = format!("[[trust]]\n{}", lines.collect::<Vec<_>>().join("\n"));
        let breadth = &of(&bare)[0];
        let open = breadth.open.iter().find(|open| &*open.key == key);
        let open = open.unwrap_or_else(|| panic!("{file}: {:?}", keys(breadth)));
        assert_eq!(
            open.value(&claims_of(set)).as_deref(),
            Some(value),
            "{file}"
        );
    }
}

#[test]
fn of_an_issuer_whose_claims_are_not_known_only_what_is_asked_can_be_wide() {
    let text = "[[trust]]\nname = \"x\"\nissuer = \"semaphore\"\nscopes = [\"read_registry\"]\n[trust.claims]\norg = \"acme\"\n\"/job/kind\" = [\"a\", \"b\"]\n";
    let breadth = &of(text)[0];
    assert_eq!(keys(breadth), ["/job/kind"]);
    let claims = serde_json::json!({"job": {"kind": "a"}});
    let open = &breadth.open[0];
    assert_eq!(
        open.value(claims.as_object().unwrap()).as_deref(),
        Some("a")
    );
    assert_eq!(open.narrowed_to(&["a"]), "\"/job/kind\" = \"a\"");
}
