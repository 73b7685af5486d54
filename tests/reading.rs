//! `countersign audit`, as a reviewer runs it: of a service that runs, one that is stopped, and one elsewhere.

mod elsewhere;
mod page;
mod questions;
mod stage;
mod tail;

use serde_json::{Value, json};

use crate::support::service::TestService;
use stage::Stage;

/// The numbers of the entries in an answer.
fn indices(listed: &Value) -> Vec<u64> {
    let entries = listed["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["index"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn each_filter_finds_its_entries_whether_the_service_runs_or_not() {
    let stage = Stage::with_a_story().await;
    let told = stage.story.clone();
    let cases: Vec<(Vec<&str>, usize)> = vec![
        (vec!["--kind", "decision"], 8),
        (vec!["--project", "acme/api", "--kind", "decision"], 4),
        (vec!["--project", "acme/api"], 5),
        (vec!["--kind", "policy-loaded", "--project", "acme/api"], 1),
        (vec!["--organization", "acme", "--kind", "decision"], 8),
        (vec!["--organization", "bolt"], 0),
        (vec!["--issuer", "gitlab"], 1),
        (
            vec![
                "--subject",
                "repo:octo-org/octo-repo:ref:refs/heads/feature",
            ],
            1,
        ),
        (vec!["--subject", &told.subject], 3),
        (vec!["--repository", "octo-org/octo-repo"], 4),
        (vec!["--relationship", "build", "--project", "acme/api"], 4),
        (vec!["--outcome", "allowed"], 6),
        (vec!["--outcome", "denied"], 2),
        (vec!["--reason", "token-spent"], 1),
        (vec!["--id", &told.decision], 1),
        (vec!["--decision", &told.decision], 1),
        (vec!["--token", &told.token], 1),
        (
            vec!["--since", "2026-11-20T12:00:06Z", "--kind", "decision"],
            3,
        ),
        (
            vec!["--until", "2026-11-20T12:00:03Z", "--kind", "decision"],
            2,
        ),
        (vec!["--outcome", "denied", "--limit", "1"], 1),
    ];
    let mut answers = Vec::new();
    for (filter, count) in &cases {
        let ran = stage.audit("list", &json_of(filter)).await;
        let listed = ran.json();
        assert_eq!(indices(&listed).len(), *count, "{filter:?}: {}", ran.err);
        assert_eq!(ran.code, i32::from(*count == 0), "{filter:?}");
        answers.push(listed);
    }
    let stage = stage.stopped().await;
    for ((filter, _), answer) in cases.iter().zip(answers) {
        let ran = stage.audit("list", &json_of(filter)).await;
        assert_eq!(ran.json(), answer, "{filter:?}");
    }
}

fn json_of<'a>(filter: &[&'a str]) -> Vec<&'a str> {
    [filter, &["--format", "json"]].concat()
}

#[tokio::test]
async fn a_list_for_people_has_a_line_for_each_entry_and_says_how_to_go_on() {
    let stage = Stage::with_a_story().await;
    let ran = stage
        .audit("list", &["--project", "acme/api", "--limit", "3"])
        .await;
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.out);
    assert!(lines[0].contains("denied"), "{}", ran.out);
    assert!(lines[0].contains("token-spent"), "{}", ran.out);
    assert!(lines[2].contains("2026-11-20T12:00:02.000Z"), "{}", ran.out);
    assert!(
        lines[2].contains("github octo-org/octo-repo"),
        "{}",
        ran.out
    );
    let before = ran.err.trim().rsplit(' ').next().unwrap().to_owned();
    let rest = stage
        .audit("list", &["--project", "acme/api", "--before", &before])
        .await;
    assert_eq!(rest.out.lines().count(), 2, "{}", rest.out);
    assert!(rest.out.contains("policy-loaded"), "{}", rest.out);
}

#[tokio::test]
async fn what_a_token_says_does_not_steer_the_terminal() {
    let stage = Stage::quiet().await;
    let subject = json!("repo:octo-org/octo-repo:\u{9b}31m\u{202e}x");
    stage
        .exchange("rwx-locked-vault", "acme/site", &[("sub", subject)])
        .await;
    let ran = stage.audit("list", &["--kind", "decision"]).await;
    assert!(!ran.out.contains(['\u{9b}', '\u{202e}']), "{:?}", ran.out);
}

#[tokio::test]
async fn an_export_has_the_entries_of_the_list_in_either_form() {
    let stage = Stage::with_a_story().await;
    let listed = stage.audit("list", &["--format", "json"]).await.json();
    let exported = stage.audit("export", &[]).await;
    let lines: Vec<Value> = exported
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json!(lines), listed["entries"]);
    let table = stage.audit("export", &["--format", "csv"]).await;
    let mut reader = csv::Reader::from_reader(table.out.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let numbers: Vec<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, indices(&listed));
    let nothing = stage.audit("export", &["--issuer", "nobody"]).await;
    assert_eq!((nothing.code, nothing.out.as_str()), (1, ""));
}

#[tokio::test]
async fn no_cell_of_an_export_is_a_formula() {
    let stage = Stage::quiet().await;
    let subject = json!("=HYPERLINK(\"http://evil.example\",\"x\")");
    stage
        .exchange("github-push", "acme/api", &[("sub", subject)])
        .await;
    let table = stage
        .audit("export", &["--format", "csv", "--kind", "decision"])
        .await;
    let mut reader = csv::Reader::from_reader(table.out.as_bytes());
    let names = reader.headers().unwrap().clone();
    let row = reader.records().next().unwrap().unwrap();
    let at = names.iter().position(|name| name == "subject").unwrap();
    assert!(row[at].starts_with("'=HYPERLINK("), "{}", &row[at]);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_before_anything_is_opened() {
    let stage = Stage::quiet().await;
    for (verb, arguments, complaint) in [
        (
            "list",
            vec!["--since", "yesterday"],
            "`since` cannot be `yesterday`",
        ),
        ("list", vec!["--project", "acme"], "organization/project"),
        ("list", vec!["--outcome", "maybe"], "allowed or denied"),
        ("who", vec!["--limit", "0"], "at least 1"),
        ("alarms", vec!["--window", "soon"], "a span of time"),
        (
            "policy",
            vec!["--project", "acme/api", "--at", "then"],
            "RFC 3339",
        ),
        ("list", vec!["--token-file", "x"], "--url"),
    ] {
        let ran = stage.audit(verb, &arguments).await;
        assert_eq!(ran.code, 2, "{verb} {arguments:?}");
        assert!(ran.err.contains(complaint), "{}", ran.err);
    }
}

#[tokio::test]
async fn where_no_service_has_run_there_is_no_log() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("countersign.toml"), "").unwrap();
    let ran = stage::audit_in(folder.path(), "list", &[]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("no ledger"), "{}", ran.err);
}

#[tokio::test]
async fn the_key_of_the_log_is_printed() {
    use countersign::audit::Happening;

    let stage = Stage::quiet().await;
    let key = "sts.example.com/audit+1234abcd+AQIDBA==";
    let named = Happening::LogNamed {
        origin: "sts.example.com/audit".into(),
        key: key.into(),
    };
    let service: &TestService = stage.service();
    let store = service.parts.store.clone();
    store.append(vec![named], stage.now()).await.unwrap();
    let ran = stage.audit("key", &[]).await;
    assert_eq!((ran.code, ran.out.trim()), (0, key));
}
