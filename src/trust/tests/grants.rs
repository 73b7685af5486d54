//! What the relationships that hold give together.

use super::*;

const SEVERAL: &str = r#"
[[trust]]
name = "write"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["write_registry"]
lifetime = "10m"
resources = ["https://api.example"]

[[trust]]
name = "read"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["read_registry"]

[[trust]]
name = "long"
issuer = "github"
owner-id = "65"
repository-id = "74"
scopes = ["admin"]
lifetime = "24h"
"#;

#[test]
fn all_relationships_that_hold_count() {
    let (policy, push) = (policy(SEVERAL), with("github-push", &[]));
    let cases = [
        (None, "admin read_registry write_registry", Seconds(600)),
        (Some(""), "admin read_registry write_registry", Seconds(600)),
        (
            Some("read_registry"),
            "read_registry",
            LIMITS.default_lifetime,
        ),
        (
            Some("read_registry admin"),
            "admin read_registry",
            LIMITS.default_lifetime,
        ),
        (Some("admin"), "admin", LIMITS.maximum_lifetime),
        (
            Some("admin write_registry"),
            "admin write_registry",
            Seconds(600),
        ),
    ];
    for (asked, given, lifetime) in cases {
        let grant = ask_for(&policy, &push, &wish(asked, None)).outcome.unwrap();
        assert_eq!(grant.scopes().to_string(), given, "{asked:?}");
        assert_eq!(grant.lifetime(), lifetime, "{asked:?}");
        let names: Vec<&str> = grant.trust().iter().map(|name| &**name).collect();
        assert_eq!(names, ["long", "read", "write"]);
        assert_eq!(grant.resource(), None);
    }
}

#[test]
fn what_exceeds_the_grant_is_refused_and_named() {
    let (policy, push) = (policy(SEVERAL), with("github-push", &[]));
    let asked = wish(
        Some("read_registry delete_all"),
        Some("https://evil.example"),
    );
    let decision = ask_for(&policy, &push, &asked);
    assert_eq!(
        decision.outcome.as_ref().unwrap_err().code(),
        "scope-exceeds-grant"
    );
    assert_eq!(
        decision.description(),
        "not granted: `delete_all`; granted are: `admin read_registry write_registry`. ask for these alone, or leave out `scope`"
    );
    for (resource, allowed) in [
        ("https://api.example", true),
        ("https://api.example/", false),
        ("https://API.example", false),
    ] {
        let decision = ask_for(&policy, &push, &wish(None, Some(resource)));
        match decision.outcome {
            Ok(grant) => assert!(allowed && grant.resource() == Some(resource)),
            Err(refusal) => {
                assert!(!allowed);
                assert_eq!(refusal.code(), "resource-not-allowed");
            }
        }
    }
}
