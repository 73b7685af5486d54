//! What an organization asks of its projects, above their policies.

use serde_json::json;

use super::*;

const POLICY: &str = r#"
[[trust]]
name = "release"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = { glob = "octo-*" }
scopes = ["read_registry", "write_registry"]
lifetime = "2h"

[[trust]]
name = "read"
issuer = "github"
owner = "octo-org"
repository = "octo-repo"
repository-id = "74"
scopes = ["read_registry"]
"#;

fn under(text: &str, rails: &str) -> ProjectPolicy {
    match read_guard_rails("acme", "acme/_organization.toml", rails, &registry()) {
        Ok(rails) => policy(text).under(Some(Arc::new(rails))),
        Err(fault) => panic!("{}", fault.render(false)),
    }
}

fn held(policy: &ProjectPolicy) -> Vec<String> {
    match ask(policy, &with("github-push", &[])).outcome {
        Ok(grant) => grant.trust().iter().map(ToString::to_string).collect(),
        Err(refusal) => vec![refusal.code().to_owned()],
    }
}

#[test]
fn a_relationship_that_breaks_a_guard_rail_is_off_and_the_others_are_not() {
    let both = ["read", "release"].as_slice();
    let cases: &[(&str, &[&str])] = &[
        ("", both),
        ("issuer = 'github'\npin = ['owner-id']", &["release"]),
        ("issuer = 'github'\npin = ['owner']", both),
        (
            "issuer = 'github'\npin = ['owner', 'repository-id']",
            &["read"],
        ),
        // A glob pins nothing.
        ("issuer = 'github'\npin = ['repository']", &["read"]),
        ("issuer = 'github'\npin = ['environment']", &["not-trusted"]),
        ("issuer = 'gitlab'\npin = ['project-id']", both),
        (
            "issuer = 'github'\nscopes-at-most = ['read_registry', 'x']",
            &["read"],
        ),
        ("scopes-at-most = ['read_registry']", &["read"]),
        ("scopes-at-most = ['x']", &["not-trusted"]),
        ("issuer = 'gitlab'\nscopes-at-most = ['x']", both),
        ("lifetime-at-most = '90m'", &["read"]),
        ("lifetime-at-most = '2h'", both),
        ("issuer = 'gitlab'\nlifetime-at-most = '1s'", both),
    ];
    for (rail, expected) in cases {
        let rails = if rail.is_empty() {
            String::new()
        } else {
            format!("[[require]]\n{rail}\n")
        };
        assert_eq!(held(&under(POLICY, &rails)), *expected, "{rail}");
    }
}

#[test]
fn without_a_lifetime_of_its_own_a_relationship_is_cut_and_not_off() {
    let rails = "[[require]]\nlifetime-at-most = '20m'\n[[require]]\nissuer = 'github'\nlifetime-at-most = '10m'\n[[require]]\nissuer = 'gitlab'\nlifetime-at-most = '1m'\n";
    let policy = under(&POLICY.replace("lifetime = \"2h\"", ""), rails);
    assert!(policy.breaches().is_empty());
    let grant = ask(&policy, &with("github-push", &[])).outcome.unwrap();
    assert_eq!(grant.lifetime(), Seconds(600));
}

#[test]
fn what_breaks_is_named_on_both_sides() {
    let rails = "\n[[require]]\nname = \"limits\"\nissuer = \"github\"\npin = [\"repository-id\"]\nscopes-at-most = [\"read_registry\"]\nlifetime-at-most = \"30m\"\n";
    let policy = under(POLICY, rails);
    let said: Vec<&str> = policy
        .breaches()
        .iter()
        .map(|breach| &**breach.relationship())
        .collect();
    assert_eq!(said, ["release"; 3]);
    let problems = policy.breaches().iter().map(Breach::problem).collect();
    let report = Report::new(policy.file().clone(), problems);
    insta::assert_snapshot!(report.render(false), @r#"
    error[guard-rail]: `release` is off: it breaks the guard rail `limits` (acme/_organization.toml:2), which wants `repository-id` to be given, as an exact value
     --> acme/api.toml:2:1
      |
    2 | [[trust]]
      | ^^^^^^^^^ no `repository-id` here
      |
     ::: acme/_organization.toml:5:8
      |
    5 | pin = ["repository-id"]
      |        --------------- the guard rail
      |
      = note: what an organization asks of every project is not left to the project's own file
      = help: add `repository-id = "…"`, or ask whoever keeps the guard rails

    error[guard-rail]: `release` is off: it breaks the guard rail `limits` (acme/_organization.toml:2), which wants `scopes` to be at most `read_registry`
     --> acme/api.toml:8:10
      |
    8 | scopes = ["read_registry", "write_registry"]
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this gives "write_registry"
      |
     ::: acme/_organization.toml:6:18
      |
    6 | scopes-at-most = ["read_registry"]
      |                  ----------------- the guard rail
      |
      = note: what an organization asks of every project is not left to the project's own file
      = help: leave out `write_registry`, or ask whoever keeps the guard rails

    error[guard-rail]: `release` is off: it breaks the guard rail `limits` (acme/_organization.toml:2), which wants `lifetime` to be at most `30m`
     --> acme/api.toml:9:12
      |
    9 | lifetime = "2h"
      |            ^^^^ this gives "2h"
      |
     ::: acme/_organization.toml:7:20
      |
    7 | lifetime-at-most = "30m"
      |                    ----- the guard rail
      |
      = note: what an organization asks of every project is not left to the project's own file
      = help: write `lifetime = "30m"`, or leave it out, or ask whoever keeps the guard rails
    "#);
}

#[test]
fn who_proved_an_identity_hears_of_the_guard_rail_and_not_what_it_says() {
    let rails = "[[require]]\nname = 'limits'\nissuer = 'github'\npin = ['environment']\n";
    let policy = under(POLICY, rails);
    let decision = ask(&policy, &with("github-push", &[]));
    assert!(decision.proven);
    insta::assert_snapshot!(decision.description(), @"the trust relationship `release` comes nearest, and is switched off by a guard rail of the organization");
    assert_eq!(decision.outcome.unwrap_err(), Refusal::NotTrusted);
    let failed: Vec<&Finding> = decision.relationships[0]
        .findings
        .iter()
        .filter(|finding| !finding.holds)
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].kind, FindingKind::GuardRail);
    assert_eq!(
        &*failed[0].wanted,
        "given, as an exact value, by the guard rail `limits` (acme/_organization.toml:1)"
    );

    let stranger = with(
        "github-push",
        &[
            ("repository_owner_id", json!("1")),
            ("repository_id", json!("1")),
        ],
    );
    let decision = ask(&policy, &stranger);
    assert!(!decision.proven);
    assert_eq!(decision.description(), no_such_project().description());
}

#[test]
fn a_deny_of_the_organization_is_judged_with_those_of_the_project() {
    let deny =
        "[[deny]]\nname = \"no pushes\"\nissuer = \"github\"\nclaims = { event_name = \"push\" }\n";
    let policy = under(POLICY, deny);
    let push = with("github-push", &[]);
    assert_eq!(
        ask(&policy, &push).outcome.unwrap_err(),
        Refusal::DeniedByRule("no pushes".into())
    );
    assert!(
        ask(&policy, &with("github-workflow_dispatch", &[]))
            .outcome
            .is_ok()
    );
    let shadow = under(
        POLICY,
        &format!("{deny}mode = \"shadow\"\n")
            .replace("claims", "mode = \"shadow\"\nclaims")
            .replace("}\nmode = \"shadow\"\n", "}\n"),
    );
    let decision = ask(&shadow, &push);
    assert!(decision.outcome.is_ok());
    assert_eq!(decision.shadow.deny_names(), ["no pushes"]);
    // Without its guard rails, the policy is what it was.
    assert!(ask(&policy.under(None), &push).outcome.is_ok());
}
