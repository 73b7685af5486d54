//! A service elsewhere: the same answers over its public address, for who has an audit token.

use std::net::TcpListener;
use std::sync::Arc;

use countersign::http::{Service, serve};

use super::stage::{AUDIT_TOKEN, Stage, TODAY};

/// The address of a service that a reviewer reads from elsewhere.
fn elsewhere(service: Arc<Service>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, service).unwrap());
    url
}

#[tokio::test]
async fn a_service_elsewhere_answers_who_shows_an_audit_token() {
    let stage = Stage::with_a_story_and_a_token().await;
    let service = stage.service().parts.service.clone();
    let named = format!("{}\n", service.notary.key());
    let url = elsewhere(service);
    std::fs::write(stage.folder().join("audit-token"), AUDIT_TOKEN).unwrap();
    let there = ["--url", url.as_str(), "--token-file", "audit-token"];
    for (verb, asked) in [
        (
            "list",
            vec!["--organization", "acme", "--limit", "3", "--format", "json"],
        ),
        ("export", vec!["--outcome", "denied"]),
        ("tail", vec!["-n", "3"]),
        (
            "who",
            vec!["--since", TODAY, "--until", "2026-11-20T13:00:00Z"],
        ),
        (
            "use",
            vec!["--since", TODAY, "--until", "2026-11-20T13:00:00Z"],
        ),
        (
            "alarms",
            vec!["--since", TODAY, "--until", "2026-11-20T13:00:00Z"],
        ),
        ("policy", vec!["--project", "acme/api", "--at", TODAY]),
    ] {
        let here = stage.audit(verb, &asked).await;
        let there = stage.audit(verb, &[&asked[..], &there].concat()).await;
        assert_eq!(
            (there.code, &there.out),
            (here.code, &here.out),
            "{verb}: {}",
            there.err
        );
        assert!(here.code != 2 && here.code != 3, "{verb}: {}", here.err);
    }
    let key = stage.audit("key", &there).await;
    assert_eq!(key.out, named);
}

#[tokio::test]
async fn who_shows_no_audit_token_is_told_which_option_to_use() {
    let stage = Stage::with_a_story_and_a_token().await;
    let url = elsewhere(stage.service().parts.service.clone());
    let ran = stage.audit("list", &["--url", &url]).await;
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("--token-file"), "{}", ran.err);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_unavailable() {
    let stage = Stage::quiet().await;
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}");
    let ran = stage.audit("list", &["--url", &url]).await;
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("does not answer"), "{}", ran.err);
}

#[tokio::test]
async fn an_audit_token_does_not_travel_in_the_clear() {
    let stage = Stage::quiet().await;
    std::fs::write(stage.folder().join("audit-token"), "secret\n").unwrap();
    let there = [
        "--url",
        "http://sts.example.com",
        "--token-file",
        "audit-token",
    ];
    let ran = stage.audit("list", &there).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("is not https"), "{}", ran.err);
}
