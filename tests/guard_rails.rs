//! Guard rails and policies that are written, broken, mended and deleted while the service runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use countersign::clock::Seconds;
use serde_json::{Value, json};

use crate::support::service::{Settings, TestService};

const NO_PUSHES: &str =
    "[[deny]]\nname = \"no pushes\"\nissuer = \"github\"\nclaims = { event_name = \"push\" }\n";

fn file(service: &TestService, path: &str) -> PathBuf {
    service.folder.path().join("trust-policies").join(path)
}

async fn reload(service: &TestService) {
    let directory = &service.parts.service.exchange.directory;
    directory.reload().await.unwrap();
}

/// What a fresh job of `acme/api` gets: `allowed`, or the reason why not.
async fn asks(service: &TestService) -> String {
    let token = service.token("github-push", &[]);
    let answer = service.exchange(&token, "acme/api").await;
    if answer.status == 200 {
        return "allowed".to_owned();
    }
    answer.reason()
}

async fn ready(service: &TestService) -> Value {
    let answer = service.get("/readyz").await;
    assert_eq!(answer.status, 200);
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_rail_acts_at_once_when_it_is_written_tightened_or_deleted() {
    let service = TestService::start().await;
    assert_eq!(asks(&service).await, "allowed");
    service.policy("acme/_organization", NO_PUSHES).await;
    let token = service.token("github-push", &[]);
    let answer = service.exchange(&token, "acme/api").await;
    assert_eq!(answer.reason(), "denied-by-rule");
    assert!(service.record(&answer).await.guard_rails_digest.is_some());
    let loose = NO_PUSHES.replace("\"push\"", "\"schedule\"");
    service.policy("acme/_organization", &loose).await;
    assert_eq!(asks(&service).await, "allowed");
    let nothing_given = "[[require]]\nscopes-at-most = [\"nothing\"]\n";
    service.policy("acme/_organization", nothing_given).await;
    assert_eq!(asks(&service).await, "not-trusted");
    fs::remove_file(file(&service, "acme/_organization.toml")).unwrap();
    reload(&service).await;
    assert_eq!(asks(&service).await, "allowed");
    assert_eq!(ready(&service).await["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guard_rail_switched_off_is_named_with_both_files() {
    let service = TestService::start().await;
    let text = "[[require]]\nname = \"short\"\nissuer = \"github\"\nlifetime-at-most = \"1s\"\nscopes-at-most = [\"read_registry\"]\n";
    service.policy("acme/_organization", text).await;
    let seen = ready(&service).await;
    assert_eq!(seen["status"], "degraded");
    let release = json!({
        "file": "acme/api.toml", "relationship": "release", "by": "acme/_organization.toml",
    });
    let breaches = seen["breaches"].as_array().unwrap();
    let named = breaches.iter().filter(|breach| **breach == release);
    assert_eq!(named.count(), 1, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lives_no_longer_than_the_guard_rails_allow() {
    let service = TestService::start().await;
    let build = |lifetime: &str| {
        format!(
            "[[trust]]\nname = \"build\"\nissuer = \"github\"\nowner-id = \"65\"\nrepository-id = \"74\"\nscopes = [\"s\"]\n{lifetime}"
        )
    };
    service.policy("acme/api", &build("")).await;
    let rails = "[[require]]\nlifetime-at-most = \"5m\"\n";
    service.policy("acme/_organization", rails).await;
    let answer = service
        .exchange(&service.token("github-push", &[]), "acme/api")
        .await;
    assert_eq!(answer.json()["expires_in"], 300, "{}", answer.text);
    service
        .policy("acme/api", &build("lifetime = \"6m\"\n"))
        .await;
    assert_eq!(asks(&service).await, "not-trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_guard_rails_keep_their_last_good_version() {
    let service = TestService::start().await;
    service.policy("acme/_organization", NO_PUSHES).await;
    service
        .policy("acme/_organization", "[[deny]]\nname =")
        .await;
    assert_eq!(asks(&service).await, "denied-by-rule");
    let seen = ready(&service).await;
    assert_eq!(seen["status"], "degraded");
    assert_eq!(
        seen["policies"][0],
        json!({"file": "acme/_organization.toml", "in_force": "the last good version of this file"})
    );
    // The projects' own files go on being read meanwhile.
    service.policy("acme/api", "").await;
    assert_eq!(asks(&service).await, "not-trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_guard_rails_disable_their_organization_at_start_and_no_other() {
    let service = TestService::start().await;
    let policy = fs::read_to_string(file(&service, "acme/api.toml")).unwrap();
    service.policy("other/api", &policy).await;
    // Where there were none, half a file of guard rails does not stop an organization that runs …
    service
        .policy("acme/_organization", "[[deny]]\nname =")
        .await;
    assert_eq!(asks(&service).await, "allowed");

    // … but after a restart nobody knows what it was to keep out.
    let service = TestService::in_folder(service.stop().await, Settings::default()).await;
    service.advance(Seconds(1));
    assert_eq!(asks(&service).await, "not-trusted");
    let token = service.token("github-push", &[]);
    assert_eq!(service.exchange(&token, "other/api").await.status, 200);
    assert_eq!(ready(&service).await["status"], "degraded");

    service.policy("acme/_organization", "").await;
    assert_eq!(asks(&service).await, "allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read_are_named_and_disable_nothing_else() {
    let service = TestService::start().await;
    let folder = file(&service, "acme");
    fs::write(folder.join("latin.toml"), b"# caf\xe9\n").unwrap();
    fs::write(folder.join("API.toml"), "").unwrap();
    fs::write(folder.join("big.toml"), vec![b'#'; 5 << 20]).unwrap();
    fs::create_dir(folder.join("folder.toml")).unwrap();
    symlink("circle.toml", folder.join("circle.toml")).unwrap();
    symlink("nowhere", folder.join("nowhere.toml")).unwrap();
    symlink("round", file(&service, "round")).unwrap();
    reload(&service).await;
    let directory = &service.parts.service.exchange.directory;
    let said: Vec<String> = directory
        .problems()
        .iter()
        .map(|problem| {
            format!(
                "{}: {} [{}]",
                problem.file, problem.message, problem.in_force
            )
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    acme/API.toml: the name of the file is no project: a project is written `organization/project`, each of 1 to 63 characters of `a-z`, `0-9`, `.`, `_` and `-`, beginning with a letter or digit; `api.toml` is there too, and counts [nothing]
    round: too many levels of symbolic links [nothing]
    acme/big.toml: the file is larger than 4 MiB [nothing: the project is disabled]
    acme/circle.toml: too many levels of symbolic links [nothing: the project is disabled]
    acme/folder.toml: this is no file [nothing: the project is disabled]
    acme/latin.toml: line 1: the file is not UTF-8 [nothing: the project is disabled]
    acme/nowhere.toml: this link leads nowhere [nothing: the project is disabled]
    ");
    assert_eq!(asks(&service).await, "allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_becomes_unreadable_keeps_its_last_good_version() {
    let service = TestService::start().await;
    let api = file(&service, "acme/api.toml");
    fs::remove_file(&api).unwrap();
    symlink("gone-for-a-moment.toml", &api).unwrap();
    reload(&service).await;
    assert_eq!(asks(&service).await, "allowed");
    fs::remove_file(&api).unwrap();
    reload(&service).await;
    assert_eq!(asks(&service).await, "not-trusted");
}
