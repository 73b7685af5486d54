//! Names without ids, and what is remembered of them.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use super::*;

const NAMES: &str = r#"
[[trust]]
name = "release"
issuer = "github"
owner = "Octo-Org"
repository = "octo-repo"
scopes = ["s"]
"#;

/// The day on which everything is decided, and the one on which every policy was first loaded.
const TODAY: i64 = 100 * 24 * 60 * 60;

fn names_of(issuer: &str, names: &[(&str, &str)]) -> Names {
    let owned = names
        .iter()
        .map(|(field, name)| ((*field).to_owned(), (*name).to_owned()));
    Names {
        project: "acme/api".to_owned(),
        issuer: issuer.to_owned(),
        names: owned.collect(),
    }
}

fn octo() -> Names {
    names_of(
        "github",
        &[("owner", "octo-org"), ("repository", "octo-repo")],
    )
}

fn ids(ids: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = ids
        .iter()
        .map(|(field, id)| ((*field).to_owned(), (*id).to_owned()));
    owned.collect()
}

/// What is remembered of names that were first loaded so many days ago.
fn loaded(days_ago: i64, pin: Option<&[(&str, &str)]>) -> NameState {
    NameState {
        first_loaded_millis: (TODAY - days_ago * 24 * 60 * 60) * 1000,
        pin: pin.map(|pinned| Pin {
            ids: ids(pinned),
            since_millis: 0,
            decision_id: "d".to_owned(),
        }),
    }
}

fn remembering(
    policy: &ProjectPolicy,
    claims: &VerifiedClaims,
    remembered: &[(Names, NameState)],
) -> Decision {
    let circumstances = Circumstances {
        now: UnixTime::from_seconds(TODAY),
        names: remembered.iter().cloned().collect::<HashMap<_, _>>(),
        pin_window: PIN_WINDOW,
    };
    decided(policy, claims, &Wish::default(), &circumstances)
}

fn outcome(decision: &Decision) -> &'static str {
    decision
        .outcome
        .as_ref()
        .map_or_else(Refusal::code, |_| "allowed")
}

#[test]
fn names_without_ids_are_let_in_and_their_ids_are_to_be_pinned() {
    let policy = policy(NAMES);
    let push = with("github-push", &[]);
    assert_eq!(policy.names_used(&push), [octo()]);
    assert_eq!(policy.names_without_ids(), [octo()]);
    for state in [vec![], vec![(octo(), loaded(29, None))]] {
        let decision = remembering(&policy, &push, &state);
        let grant = decision.outcome.unwrap();
        let wish = PinWish {
            names: octo(),
            ids: ids(&[("owner-id", "65"), ("repository-id", "74")]),
        };
        assert_eq!(grant.pins(), [wish]);
    }
}

#[test]
fn names_used_by_nobody_in_thirty_days_expire_and_say_so_only_if_all_else_holds() {
    let policy = policy(&NAMES.replace("scopes", "claims = { environment = \"prod\" }\nscopes"));
    let prod = with("github-environment", &[]);
    let push = with("github-push", &[]);
    let expired = [(octo(), loaded(31, None))];
    let decision = remembering(&policy, &prod, &expired);
    assert_eq!(
        decision.outcome.as_ref().unwrap_err(),
        &Refusal::RelationshipExpired("release".into())
    );
    assert!(decision.proven);
    insta::assert_snapshot!(decision.description(), @"the trust relationship `release` gives names without ids, and expired because they were not used in time: ask the project's operator to give the ids, or to reset the pin");

    let near_miss = remembering(&policy, &push, &expired);
    assert_eq!(outcome(&near_miss), "not-trusted");
    insta::assert_snapshot!(near_miss.description(), @"the trust relationship `release` comes nearest, and expired because its names were not used in time, and does not hold because of the token's `environment` (has none)");
    let failed: Vec<(FindingKind, &str)> = near_miss.relationships[0]
        .findings
        .iter()
        .filter(|finding| !finding.holds)
        .map(|finding| (finding.kind, &*finding.wanted))
        .collect();
    insta::assert_debug_snapshot!(failed, @r#"
    [
        (
            Condition,
            "\"prod\"",
        ),
        (
            Expired,
            "given in the file, or pinned by a first use until 1970-04-10T00:00:00.000Z",
        ),
    ]
    "#);

    // Names that were used do not expire, even if no id was pinned.
    let used = [(octo(), loaded(31, Some(&[])))];
    assert_eq!(outcome(&remembering(&policy, &prod, &used)), "allowed");
    // The last second still counts.
    let last = [(octo(), loaded(30, None))];
    assert_eq!(outcome(&remembering(&policy, &prod, &last)), "allowed");
}

#[test]
fn a_token_with_other_ids_than_the_pinned_ones_is_refused_and_told_so_by_its_owner_only() {
    let policy = policy(NAMES);
    let pinned = [(
        octo(),
        loaded(40, Some(&[("owner-id", "65"), ("repository-id", "74")])),
    )];
    let cases: &[(&[(&str, Value)], &str)] = &[
        (&[], "allowed"),
        (&[("repository_id", json!("75"))], "identity-changed"),
        (&[("repository_id", json!(74))], "identity-changed"),
        (&[("repository_owner_id", json!("66"))], "not-trusted"),
        (
            &[
                ("repository_owner_id", json!("66")),
                ("repository_id", json!("75")),
            ],
            "not-trusted",
        ),
        (
            &[
                ("repository_id", json!("75")),
                ("event_name", json!("watch")),
            ],
            "not-trusted",
        ),
        (&[("repository", json!("octo-org/other"))], "not-trusted"),
    ];
    for (changes, expected) in cases {
        let decision = remembering(&policy, &with("github-push", changes), &pinned);
        assert_eq!(outcome(&decision), *expected, "{changes:?}");
        if *expected == "not-trusted" {
            assert!(!decision.proven, "{changes:?}");
            assert_eq!(decision.description(), no_such_project().description());
        }
    }
    let again = with("github-push", &[("repository_id", json!("75"))]);
    let decision = remembering(&policy, &again, &pinned);
    assert!(!decision.proven);
    insta::assert_snapshot!(decision.description(), @"the names of the trust relationship `release` belong to the ids that used them first, and this token has another `repository_id`: either somebody registered them again, or the project's operator has to reset the pin");
    let pins: Vec<(&str, &str, bool)> = decision.relationships[0]
        .findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::Pin)
        .map(|finding| (&*finding.asked, &*finding.wanted, finding.holds))
        .collect();
    insta::assert_debug_snapshot!(pins, @r#"
    [
        (
            "owner-id",
            "\"65\", pinned at 1970-01-01T00:00:00.000Z",
            true,
        ),
        (
            "repository-id",
            "\"74\", pinned at 1970-01-01T00:00:00.000Z",
            false,
        ),
    ]
    "#);
}

#[test]
fn a_pin_is_kept_by_names_and_not_by_rule_or_case() {
    let pinned = [(
        octo(),
        loaded(0, Some(&[("owner-id", "65"), ("repository-id", "75")])),
    )];
    let push = with("github-push", &[]);
    for text in [
        NAMES.to_owned(),
        NAMES.replace("release", "another name"),
        NAMES.replace("Octo-Org", "OCTO-ORG"),
        NAMES.replace("\"octo-repo\"", "[\"x\", \"Octo-Repo\"]"),
    ] {
        let decision = remembering(&policy(&text), &push, &pinned);
        assert_eq!(outcome(&decision), "identity-changed", "{text}");
    }
}

#[test]
fn an_id_in_the_file_wins_over_a_pin() {
    let with_owner = policy(&NAMES.replace("repository", "owner-id = \"65\"\nrepository"));
    let push = with("github-push", &[]);
    let pinned = [(
        octo(),
        loaded(40, Some(&[("owner-id", "1"), ("repository-id", "74")])),
    )];
    let decision = remembering(&with_owner, &push, &pinned);
    // The pinned id of the owner is repeated, so that the commit does not find it changed.
    let wish = PinWish {
        names: octo(),
        ids: ids(&[("owner-id", "1"), ("repository-id", "74")]),
    };
    assert_eq!(decision.outcome.unwrap().pins(), [wish]);

    let with_both = policy(&NAMES.replace("scopes", "owner-id = 65\nrepository-id = 74\nscopes"));
    assert!(with_both.names_used(&push).is_empty());
    assert!(with_both.names_without_ids().is_empty());
    assert!(ask(&with_both, &push).outcome.unwrap().pins().is_empty());
}

#[test]
fn a_list_pins_the_member_that_matched_and_a_glob_never_pins() {
    let list = policy(&NAMES.replace("\"octo-repo\"", "[\"other\", \"octo-repo\"]"));
    let push = with("github-push", &[]);
    assert_eq!(list.names_used(&push), [octo()]);
    let other = names_of("github", &[("owner", "octo-org"), ("repository", "other")]);
    assert_eq!(list.names_without_ids(), [octo(), other]);

    let glob = policy(
        &NAMES
            .replace("\"octo-repo\"", "{ glob = \"octo-*\" }")
            .replace("scopes", "owner-id = \"65\"\nscopes"),
    );
    assert!(glob.names_used(&push).is_empty());
    assert!(ask(&glob, &push).outcome.unwrap().pins().is_empty());
}

#[test]
fn only_what_can_be_used_has_its_time_running() {
    let shadow = policy(&NAMES.replace("scopes", "mode = \"shadow\"\nscopes"));
    let push = with("github-push", &[]);
    assert!(shadow.names_without_ids().is_empty());
    assert_eq!(shadow.names_used(&push), [octo()]);
    let changed = [(octo(), loaded(0, Some(&[("repository-id", "75")])))];
    let decision = remembering(&shadow, &push, &changed);
    assert!(decision.shadow.trust.is_empty());
    assert_eq!(decision.outcome.unwrap_err(), Refusal::NotTrusted);
    assert_eq!(decision.shadow.others.len(), 1);

    let rails = "[[require]]\nissuer = 'github'\npin = ['owner-id']\n";
    let rails = read_guard_rails("acme", "acme/_organization.toml", rails, &registry()).unwrap();
    let off = policy(NAMES).under(Some(Arc::new(rails)));
    assert!(off.names_without_ids().is_empty());
}

#[test]
fn several_relationships_with_the_same_names_make_one_wish() {
    let twice = policy(&format!(
        "{NAMES}{}",
        NAMES
            .replace("release", "second")
            .replace("scopes", "owner-id = \"65\"\nscopes")
    ));
    let grant = ask(&twice, &with("github-push", &[])).outcome.unwrap();
    assert_eq!(grant.trust().len(), 2);
    let [wish] = grant.pins() else {
        panic!("{:?}", grant.pins());
    };
    assert_eq!(
        wish.ids,
        ids(&[("owner-id", "65"), ("repository-id", "74")])
    );
}

const KITE: &str = r#"
[[trust]]
name = "kite"
issuer = "buildkite"
organization = "acme-inc"
pipeline = "super-duper-app"
scopes = ["s"]
"#;

#[test]
fn a_token_that_leaves_out_a_pinned_id_is_told_which_claim_to_ask_for() {
    let policy = policy(KITE);
    let full = with("buildkite-optional-claims", &[]);
    let names = names_of(
        "buildkite",
        &[
            ("organization", "acme-inc"),
            ("pipeline", "super-duper-app"),
        ],
    );
    assert_eq!(policy.names_used(&full), std::slice::from_ref(&names));
    let (organization, pipeline) = (
        full.text("organization_id").unwrap().to_owned(),
        full.text("pipeline_id").unwrap().to_owned(),
    );
    let pinned = [(
        names.clone(),
        loaded(
            0,
            Some(&[
                ("organization-id", &organization),
                ("pipeline-id", &pipeline),
            ]),
        ),
    )];
    assert_eq!(outcome(&remembering(&policy, &full, &pinned)), "allowed");

    let without = |claims: &[&str]| {
        let changes: Vec<(&str, Value)> =
            claims.iter().map(|claim| (*claim, json!(null))).collect();
        with("buildkite-optional-claims", &changes)
    };
    let decision = remembering(&policy, &without(&["pipeline_id"]), &pinned);
    assert_eq!(outcome(&decision), "identity-changed");
    insta::assert_snapshot!(decision.description(), @"the names of the trust relationship `kite` belong to the ids that used them first, and this token leaves out `pipeline_id`: ask for it with `--claim pipeline_id`");
    let neither = without(&["pipeline_id", "organization_id"]);
    let decision = remembering(&policy, &neither, &pinned);
    assert_eq!(outcome(&decision), "identity-changed");
    insta::assert_snapshot!(decision.description(), @"the names of the trust relationship `kite` belong to the ids that used them first, and this token leaves out `organization_id`, `pipeline_id`: ask for it with `--claim organization_id,pipeline_id`");
    // Who has another pipeline and does not say of which organization it is hears nothing.
    let other = with(
        "buildkite-optional-claims",
        &[
            ("pipeline_id", json!("x")),
            ("organization_id", json!(null)),
        ],
    );
    assert_eq!(
        outcome(&remembering(&policy, &other, &pinned)),
        "not-trusted"
    );

    // Where nothing is pinned yet, a token without ids is let in, and there is nothing to pin.
    let first = ask(&policy, &neither).outcome.unwrap();
    let nothing = PinWish {
        names,
        ids: BTreeMap::new(),
    };
    assert_eq!(first.pins(), [nothing]);
}

#[test]
fn the_owner_of_a_gitlab_project_is_its_namespace() {
    let text = "[[trust]]\nname = 'lab'\nissuer = 'gitlab'\nproject = 'my-group/My-Project'\nscopes = ['s']\n";
    let policy = policy(text);
    let push = with("gitlab-push", &[]);
    let names = names_of("gitlab", &[("project", "my-group/my-project")]);
    let grant = ask(&policy, &push).outcome.unwrap();
    assert_eq!(grant.pins().len(), 1);
    assert_eq!(grant.pins()[0].names, names);
    let pinned = [(
        names,
        NameState {
            first_loaded_millis: 0,
            pin: Some(Pin {
                ids: grant.pins()[0].ids.clone(),
                since_millis: 0,
                decision_id: "d".to_owned(),
            }),
        },
    )];
    for (changes, expected) in [
        (vec![], "allowed"),
        (
            vec![("project_id", json!("9")), ("job_project_id", json!("9"))],
            "identity-changed",
        ),
        (vec![("namespace_id", json!("9"))], "not-trusted"),
    ] {
        let decision = remembering(&policy, &with("gitlab-push", &changes), &pinned);
        assert_eq!(outcome(&decision), expected, "{changes:?}");
    }
}
