//! Shadow mode: judged and recorded, without effect.

use super::*;

const SHADOW: &str = r#"
[[trust]]
name = "release"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["read"]

[[trust]]
name = "tomorrow"
mode = "shadow"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["write"]
lifetime = "1s"
resources = ["https://api.example"]

[[trust]]
name = "another"
mode = "shadow"
issuer = "github"
owner-id = "66"
repository-id = "74"
scopes = ["write"]

[[deny]]
name = "nobody"
mode = "shadow"
issuer = "github"

[[deny]]
name = "no robots"
mode = "shadow"
issuer = "github"
claims = { actor = "robot" }
"#;

fn names(judgements: &[Judgement]) -> Vec<&str> {
    judgements.iter().map(|judged| &*judged.name).collect()
}

#[test]
fn what_is_in_the_shadow_is_judged_and_has_no_effect() {
    let policy = policy(SHADOW);
    let push = with("github-push", &[]);
    let decision = ask(&policy, &push);
    let grant = decision.outcome.unwrap();
    assert_eq!(grant.trust(), [Arc::from("release")]);
    assert_eq!(grant.scopes().to_string(), "read");
    assert_eq!(grant.lifetime(), LIMITS.default_lifetime);
    assert_eq!(names(&decision.relationships), ["release"]);
    assert_eq!(decision.shadow.trust_names(), ["tomorrow"]);
    assert_eq!(decision.shadow.deny_names(), ["nobody"]);
    assert!(decision.denies.is_empty());

    let resource = wish(None, Some("https://api.example"));
    let refused = ask_for(&policy, &push, &resource).outcome.unwrap_err();
    assert_eq!(refused.code(), "resource-not-allowed");
}

#[test]
fn a_relationship_in_the_shadow_lets_nobody_in_and_proves_nobody() {
    let text = SHADOW.replace(
        "owner-id = \"65\"\nrepository-id = \"74\"\nscopes = [\"read\"]",
        "owner-id = \"67\"\nrepository-id = \"74\"\nscopes = [\"read\"]",
    );
    let decision = ask(&policy(&text), &with("github-push", &[]));
    assert!(!decision.proven);
    assert_eq!(decision.description(), no_such_project().description());
    assert_eq!(decision.outcome.unwrap_err(), Refusal::NotTrusted);
    assert_eq!(decision.shadow.trust_names(), ["tomorrow"]);
    assert_eq!(names(&decision.shadow.others), ["another"]);
}
