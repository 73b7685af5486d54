//! What a reviewer asks of the whole log.

use countersign::audit::PolicyLoaded;
use countersign::clock::Seconds;
use serde_json::{Value, json};

use super::stage::{Stage, TODAY};

#[tokio::test]
async fn who_got_a_token_for_a_project_and_by_which_relationship() {
    let stage = Stage::with_a_story().await;
    let asked = ["--project", "acme/api", "--since", TODAY];
    let ran = stage.audit("who", &asked).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    for said in [
        "2 tokens from 2026-11-20",
        "build",
        "octo-org/octo-repo",
        "refs: refs/heads/main (2)",
    ] {
        assert!(ran.out.contains(said), "{said} in {}", ran.out);
    }
    let json = [&asked[..], &["--format", "json"]].concat();
    let running = stage.audit("who", &json).await.json();
    assert_eq!(running["rows"][0]["tokens"], 2);
    assert_eq!(
        running["rows"][0]["scopes"],
        json!(["read_registry", "write_registry"])
    );
    let nobody = [
        "--project",
        "acme/api",
        "--since",
        "2026-11-20T13:00:00Z",
        "--until",
        "2026-11-20T14:00:00Z",
    ];
    assert_eq!(stage.audit("who", &nobody).await.code, 1);
    let stage = stage.stopped().await;
    let stopped = stage.audit("who", &json).await.json();
    assert_eq!(stopped["rows"], running["rows"]);
}

#[tokio::test]
async fn who_speaks_of_every_ci_system() {
    let stage = Stage::with_a_story().await;
    let ran = stage
        .audit("who", &["--since", TODAY, "--format", "json"])
        .await;
    let rows = ran.json()["rows"].as_array().unwrap().clone();
    let mut issuers: Vec<&str> = rows
        .iter()
        .map(|row| row["issuer"].as_str().unwrap())
        .collect();
    issuers.sort_unstable();
    issuers.dedup();
    assert_eq!(
        issuers,
        ["buildkite", "circleci", "github", "gitlab", "rwx"]
    );
}

const WIDE: &str = r#"
[[trust]]
name = "any job"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
scopes = ["read_registry"]

[[trust]]
name = "never"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
scopes = ["write_registry"]
[trust.claims]
ref = "refs/heads/never"
"#;

#[tokio::test]
async fn relationships_that_are_not_used_or_wider_than_their_use_are_named_with_the_line_to_add() {
    let stage = Stage::quiet().await;
    stage.service().policy("acme/wide", WIDE).await;
    let loaded = PolicyLoaded {
        added: vec!["any job".into(), "never".into()],
        ..PolicyLoaded::default()
    };
    stage.on_record("acme/wide.toml", WIDE, loaded).await;
    for _ in 0..6 {
        assert_eq!(
            stage.exchange("github-push", "acme/wide", &[]).await.status,
            200
        );
    }
    let asked = ["--project", "acme/wide", "--since", TODAY];
    let ran = stage.audit("use", &asked).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    for said in [
        "2 relationships in force",
        "not used:\n  acme/wide `never` (github, line 11): in force since 2026-11-20T12:00:00.000Z",
        "6 uses, the last 2026-11-20T12:00:06.000Z",
        "allows any `ref`; all 6 uses were `refs/heads/main`: add `ref = \"refs/heads/main\"` under `[trust.claims]`",
    ] {
        assert!(ran.out.contains(said), "{said} in {}", ran.out);
    }
    let json = [&asked[..], &["--format", "json"]].concat();
    let running = stage.audit("use", &json).await.json();
    let stage = stage.stopped().await;
    let stopped = stage.audit("use", &json).await.json();
    assert_eq!(stopped["relationships"], running["relationships"]);
}

#[tokio::test]
async fn what_looks_like_an_attack_is_an_alarm_and_an_exit_code() {
    let stage = Stage::with_a_story().await;
    let asked = ["--since", TODAY];
    let ran = stage.audit("alarms", &asked).await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    for said in [
        "1 alarm in 6 exchanges allowed and 2 denials",
        "token-spent (github, token-spent): 1 time",
        "may mean:",
        "look at:",
    ] {
        assert!(ran.out.contains(said), "{said} in {}", ran.out);
    }
    let quiet = [&asked[..], &["--project", "acme/web"]].concat();
    assert_eq!(stage.audit("alarms", &quiet).await.code, 0);
}

#[tokio::test]
async fn strangers_that_come_in_numbers_are_an_alarm() {
    let stage = Stage::quiet().await;
    for number in 0..5 {
        let subject = json!(format!("repo:stranger/x-{number}:ref:refs/heads/main"));
        let changes = [
            ("sub", subject),
            ("repository_owner_id", json!(format!("9{number}"))),
        ];
        let answer = stage.exchange("github-push", "acme/api", &changes).await;
        assert_eq!(answer.reason(), "not-trusted");
    }
    let asked = ["--since", TODAY, "--subjects", "5", "--format", "json"];
    let alarms = stage.audit("alarms", &asked).await.json();
    assert_eq!(alarms["alarms"][0]["kind"], "many-subjects");
    assert_eq!(alarms["alarms"][0]["count"], 5);
    let wider = ["--since", TODAY, "--subjects", "6"];
    assert_eq!(stage.audit("alarms", &wider).await.code, 0);
}

#[tokio::test]
async fn the_policy_that_was_in_force_at_a_moment_is_shown_with_its_text() {
    let stage = Stage::quiet().await;
    let named = |name: &str| vec![name.to_owned()];
    let first = PolicyLoaded {
        added: named("any job"),
        ..PolicyLoaded::default()
    };
    let second = PolicyLoaded {
        changed: named("any job"),
        ..PolicyLoaded::default()
    };
    stage
        .on_record("acme/history.toml", "# the first\n", first)
        .await;
    stage.service().advance(Seconds(10));
    stage
        .on_record("acme/history.toml", "# the second\n", second)
        .await;
    let at = |moment| ["--project", "acme/history", "--at", moment];
    let early = stage.audit("policy", &at("2026-11-20T12:00:05Z")).await;
    assert_eq!(early.code, 0, "{}", early.err);
    assert!(
        early
            .out
            .contains("in force since 2026-11-20T12:00:00.000Z"),
        "{}",
        early.out
    );
    assert!(early.out.contains("# the first"), "{}", early.out);
    assert!(
        early.out.contains("after: 2026-11-20T12:00:10.000Z loaded"),
        "{}",
        early.out
    );
    let before = stage.audit("policy", &at("2026-11-20T11:59:59Z")).await;
    assert_eq!(before.code, 1);
    assert!(
        before
            .out
            .contains("acme/history.toml: nothing was in force"),
        "{}",
        before.out
    );
    let stage = stage.stopped().await;
    let late = [&at("2026-11-20T12:00:10Z")[..], &["--content"]].concat();
    assert_eq!(stage.audit("policy", &late).await.out, "# the second\n");
    let json = [&at("2026-11-20T12:00:10Z")[..], &["--format", "json"]].concat();
    let answer: Value = stage.audit("policy", &json).await.json();
    assert_eq!(answer["policy"]["before"][0]["changed"], json!(["any job"]));
}
