//! What a deny keeps out.

use serde_json::json;

use super::*;

#[test]
fn a_deny_wins_and_does_not_fail_open() {
    let push = |changes: &[(&str, Value)]| with("github-push", changes);
    let build = |changes: &[(&str, Value)]| with("buildkite-optional-claims", changes);
    let runner = "runner_environment";
    let not_hosted = r#"claims = { runner_environment = { not = "github-hosted" } }"#;
    let self_hosted = r#"claims = { runner_environment = "self-hosted" }"#;
    let of_github = format!("issuer = \"github\"\n{not_hosted}");
    let by_id =
        "issuer = \"buildkite\"\norganization-id = \"f892efa9-103e-4d28-97a1-3b8616a0994d\"";
    let by_both = format!("{by_id}\norganization = \"acme-inc\"");
    let owner = "issuer = \"github\"\nowner = \"OCTO-ORG\"\nowner-id = \"65\"";
    let cases: &[(&str, VerifiedClaims, bool)] = &[
        (&of_github, push(&[]), false),
        (&of_github, push(&[(runner, json!("self-hosted"))]), true),
        (&of_github, push(&[(runner, json!(null))]), true),
        (&of_github, push(&[(runner, json!(1))]), true),
        (
            &of_github,
            push(&[(runner, json!(["github-hosted"]))]),
            true,
        ),
        (&of_github, build(&[]), false),
        (not_hosted, build(&[]), true),
        (self_hosted, push(&[]), false),
        (self_hosted, push(&[(runner, json!(null))]), false),
        (self_hosted, push(&[(runner, json!("self-hosted"))]), true),
        (self_hosted, build(&[(runner, json!("self-hosted"))]), true),
        ("issuer = \"github\"", push(&[]), true),
        ("issuer = \"github\"", build(&[]), false),
        // An id that the caller may leave out cannot be left out to escape a deny …
        (by_id, build(&[]), true),
        (by_id, build(&[("organization_id", json!("x"))]), false),
        (by_id, build(&[("organization_id", json!(null))]), true),
        // … where a name stands beside it, it decides then, and only then.
        (&by_both, build(&[("organization_id", json!(null))]), true),
        (
            &by_both,
            build(&[("organization_slug", json!("new-name"))]),
            true,
        ),
        (&by_both, build(&[("organization_id", json!("x"))]), false),
        (owner, push(&[]), true),
        (
            owner,
            push(&[("repository_owner", json!("new-name"))]),
            true,
        ),
        (owner, push(&[("repository_owner_id", json!(65))]), true),
        ("issuer = \"github\"\nenvironment = \"x\"", push(&[]), false),
        (
            "issuer = \"github\"\nenvironment = \"x\"",
            push(&[("environment", json!("X"))]),
            true,
        ),
        (
            "issuer = \"github\"\nenvironment = \"x\"",
            push(&[("environment", json!(7))]),
            true,
        ),
        // Without an issuer, claims compare the way they do for the token's own.
        (
            "claims = { repository = \"OCTO-ORG/octo-repo\" }",
            push(&[]),
            true,
        ),
        // What stands where a member should be is odd, not absent.
        (
            "claims = { \"/made_up/member\" = \"x\" }",
            push(&[("made_up", json!("y"))]),
            true,
        ),
        (
            "claims = { \"/made_up/member\" = \"x\" }",
            push(&[("made_up", json!({}))]),
            false,
        ),
        ("claims = { repository_id = 74 }", push(&[]), true),
        ("claims = { repository_id = 75 }", push(&[]), false),
        ("claims = { build_branch = \"MAIN\" }", build(&[]), false),
    ];
    for (deny, claims, denied) in cases {
        let policy = trust_and(&format!("[[deny]]\nname = \"no\"\n{deny}\n"));
        let decision = ask(&policy, claims);
        // Changing who the token is from may also break the trust; what matters is whether the deny holds.
        let holds = decision.denies.iter().any(|deny| deny.holds);
        assert_eq!(holds, *denied, "{deny} on {:?}", claims.all());
        if let Ok(_) | Err(Refusal::DeniedByRule(_)) = &decision.outcome {
            let by_rule = decision.outcome.err() == Some(Refusal::DeniedByRule("no".into()));
            assert_eq!(by_rule, *denied, "{deny}");
        }
    }
}

#[test]
fn a_deny_is_named_only_if_a_relationship_holds() {
    let policy = trust_and("[[deny]]\nname = \"no\"\nissuer = \"github\"\n");
    let stranger = ask(
        &policy,
        &with("github-push", &[("repository_id", json!("1"))]),
    );
    assert_eq!(stranger.outcome.unwrap_err(), Refusal::NotTrusted);
}
