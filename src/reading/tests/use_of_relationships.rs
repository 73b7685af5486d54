//! Which relationships are not used, or wider than their use.

use super::*;

const POLICY: &str = r#"
[[trust]]
name = "build"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
scopes = ["read_registry"]

[[trust]]
name = "release"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
scopes = ["read_registry", "write_registry"]

[trust.claims]
event_name = ["push", "release"]
ref = { glob = "refs/tags/v*" }
environment = "production"
"#;

fn told(answer: Answer) -> Usage {
    match answer {
        Answer::Use(usage) => usage,
        other => panic!("{other:?}"),
    }
}

fn loaded() -> MadeUp {
    let mut log = MadeUp::default();
    let first = PolicyLoaded {
        added: vec!["build".into(), "release".into()],
        ..PolicyLoaded::default()
    };
    log.policy("acme/api.toml", "", first, at(0));
    let second = PolicyLoaded {
        changed: vec!["release".into()],
        ..PolicyLoaded::default()
    };
    log.policy("acme/api.toml", POLICY, second, at(5));
    log
}

fn relationship<'u>(usage: &'u Usage, name: &str) -> &'u RelationshipUse {
    let mut all = usage.relationships.iter();
    all.find(|used| used.relationship == name).unwrap()
}

fn open<'u>(used: &'u RelationshipUse, key: &str) -> &'u OpenClaim {
    let found = used.open.iter().find(|open| open.key == key);
    found.unwrap_or_else(|| panic!("`{key}` is not open: {:?}", used.open))
}

#[tokio::test]
async fn a_relationship_that_nobody_used_is_told_with_its_age() {
    let usage = told(
        loaded()
            .ask(Question::Use, &[("project", "acme/api")])
            .await,
    );
    assert_eq!(usage.relationships.len(), 2);
    let release = relationship(&usage, "release");
    assert_eq!((release.finding, release.uses), (UseFinding::Unused, 0));
    assert_eq!(release.in_force_since, Some(at(0).to_string()));
    assert_eq!(release.changed_at, Some(at(5).to_string()));
    assert_eq!(relationship(&usage, "build").changed_at, None);
}

#[tokio::test]
async fn a_claim_that_is_open_and_always_the_same_has_a_line_that_says_so() {
    let mut log = loaded();
    for second in 10..30 {
        let push = job("github-push", &[branch("main")], at(second));
        log.decided(&allowed(push, &["build"]));
    }
    let usage = told(log.ask(Question::Use, &[]).await);
    let build = relationship(&usage, "build");
    assert_eq!((build.finding, build.uses), (UseFinding::Wider, 20));
    assert_eq!(build.last_at, Some(at(29).to_string()));
    assert_eq!(
        open(build, "ref").advice.as_deref(),
        Some(
            "allows any `ref`; all 20 uses were `refs/heads/main`: add `ref = \"refs/heads/main\"` under `[trust.claims]`"
        )
    );
    assert_eq!(
        open(build, "event_name").line.as_deref(),
        Some("event_name = \"push\"")
    );
    let workflow = open(build, "workflow").advice.clone().unwrap();
    assert!(workflow.ends_with("beside `issuer`"), "{workflow}");
    let asked: Vec<&str> = build.open.iter().map(|open| open.key.as_str()).collect();
    for useless in [
        "sha",
        "run_id",
        "actor",
        "jti",
        "ref_type",
        "owner",
        "repository-id",
    ] {
        assert!(!asked.contains(&useless), "{useless} in {asked:?}");
    }
    assert_eq!(
        open(build, "environment").line,
        None,
        "jobs without one are let in"
    );
}

#[tokio::test]
async fn a_list_is_cut_to_what_was_used_and_a_glob_with_many_values_is_left_alone() {
    let mut log = loaded();
    for second in 10..40 {
        let tag = json!(format!("refs/tags/v{second}"));
        let tagged = job(
            "github-tag",
            &[("ref", tag), ("event_name", json!("push"))],
            at(second),
        );
        log.decided(&allowed(tagged, &["release"]));
    }
    let usage = told(log.ask(Question::Use, &[]).await);
    let release = relationship(&usage, "release");
    let events = open(release, "event_name");
    assert_eq!(
        events.allows.as_deref(),
        Some("one of \"push\", \"release\"")
    );
    assert_eq!(events.line.as_deref(), Some("event_name = \"push\""));
    let refs = open(release, "ref");
    assert_eq!(refs.line, None);
    assert_eq!((refs.seen.len(), refs.seen.others), (10, 20));
}

#[tokio::test]
async fn nothing_follows_from_a_few_jobs_that_were_alike() {
    let mut log = loaded();
    for second in 10..14 {
        let push = job("github-push", &[branch("main")], at(second));
        log.decided(&allowed(push, &["build"]));
    }
    let usage = told(log.ask(Question::Use, &[]).await);
    let build = relationship(&usage, "build");
    assert_eq!((build.finding, build.uses), (UseFinding::Fits, 4));
}

#[tokio::test]
async fn a_relationship_that_a_guard_rail_switched_off_is_told_as_off() {
    let mut log = loaded();
    let above = "[[require]]\nissuer = \"github\"\nscopes-at-most = [\"read_registry\"]\n";
    log.policy(
        "acme/_organization.toml",
        above,
        PolicyLoaded::default(),
        at(6),
    );
    let usage = told(log.ask(Question::Use, &[("project", "acme/api")]).await);
    assert!(usage.unread.is_empty(), "{:?}", usage.unread);
    assert!(relationship(&usage, "release").off);
    assert!(!relationship(&usage, "build").off);
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_here_is_named() {
    let mut log = loaded();
    log.policy(
        "acme/web.toml",
        "[[trust]]\n",
        PolicyLoaded::default(),
        at(6),
    );
    let usage = told(log.ask(Question::Use, &[("organization", "acme")]).await);
    assert_eq!(usage.unread[0].file, "acme/web.toml");
    assert_eq!(usage.relationships.len(), 2);
}
