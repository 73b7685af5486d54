//! What the caller is told.

use serde_json::json;

use super::*;

#[test]
fn an_unknown_project_and_one_that_does_not_trust_the_caller_sound_alike() {
    let stranger = with("github-push", &[("repository_id", json!("1"))]);
    let denied = trust_and("[[deny]]\nname = \"secret\"\nissuer = \"github\"\n");
    let answers = [
        ask(&policy(GITHUB), &stranger),
        ask(&policy(""), &stranger),
        ask(&denied, &stranger),
        ask(
            &policy(CIRCLECI),
            &with("circleci-audit-log-streaming", &[]),
        ),
    ];
    for decision in answers {
        assert!(!decision.proven);
        assert_eq!(decision.description(), no_such_project().description());
        assert_eq!(decision.outcome.unwrap_err().code(), "not-trusted");
    }
}

#[test]
fn who_proved_an_identity_hears_what_failed_and_the_own_values_and_never_the_wanted_ones() {
    let text = GITHUB.replace("environment = \"prod\"\n", "");
    let claims = with(
        "github-push",
        &[
            ("ref", json!("refs/heads/\"x\"\\é")),
            ("base_ref", json!(null)),
            ("actor", json!("renovate-bot")),
        ],
    );
    let decision = ask(&policy(&text), &claims);
    assert!(decision.proven);
    insta::assert_snapshot!(decision.description(), @"the trust relationship `release` comes nearest, and does not hold because of the token's `ref` (has `refs/heads/?x???`), `actor` (has `renovate-bot`), `base_ref` (has none)");
}

#[test]
fn a_description_is_short_whatever_the_token_holds() {
    let long = "x".repeat(10_000);
    let claims = with(
        "github-environment",
        &[("ref", json!(long)), ("actor", json!([[long]]))],
    );
    let decision = ask(&policy(GITHUB), &claims);
    assert!(decision.proven);
    assert!(decision.description().chars().count() <= 600);
    let record = serde_json::to_string(&decision.relationships).unwrap();
    assert!(record.len() < 10_000, "{}", record.len());
}
