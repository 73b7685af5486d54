//! Names without ids: the first use pins them, and whoever has registered the name since is not let in.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign::audit::{Event, Happening};
use countersign::clock::Seconds;
use countersign::http::admin::AdminServer;
use countersign::store::Options;
use serde_json::{Value, json};

use crate::support::log;
use crate::support::service::{Answer, Settings, TestService};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

const DAY: u32 = 24 * 60 * 60;

/// The repository by its names alone.
const BY_NAME: &str = r#"# Our one pipeline.
[[trust]]
name = "build"          # on every push
issuer = "github"
owner = "octo-org"      # see https://github.com/octo-org
repository = "octo-repo"
scopes = ["read_registry"]

[trust.claims]
ref = "refs/heads/main"
"#;

/// The same names, registered by the same owner again.
fn of_another_repository() -> Vec<(&'static str, Value)> {
    vec![("repository_id", json!("75"))]
}

/// The same names, registered by somebody else.
fn of_another_owner() -> Vec<(&'static str, Value)> {
    vec![
        ("repository_owner_id", json!("66")),
        ("repository_id", json!("75")),
    ]
}

async fn start(policy: &str) -> TestService {
    let service = TestService::start().await;
    service.policy("acme/named", policy).await;
    service
}

async fn push(service: &TestService, changes: &[(&str, Value)]) -> Answer {
    let token = service.token("github-push", changes);
    service.exchange(&token, "acme/named").await
}

#[track_caller]
fn assert_allowed(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text);
}

async fn events(service: &TestService) -> Vec<Event> {
    let log = &*service.parts.service.log;
    let mut found = log::events(log, "pin-made").await;
    found.extend(log::events(log, "pin-reset").await);
    found.sort_by_key(|event| event.event_id);
    found
}

fn command(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(PROGRAM)
        .args(["policy", "pin", "--config"])
        .arg(folder.join("countersign.toml"))
        .args(arguments)
        .output();
    output.unwrap()
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}

#[tokio::test]
async fn the_first_use_of_names_pins_their_ids_on_record() {
    let service = start(BY_NAME).await;
    let first = push(&service, &[]).await;
    assert_allowed(&first);
    assert_allowed(&push(&service, &[]).await);
    let [event] = events(&service).await.try_into().unwrap();
    let Happening::PinMade {
        names,
        ids,
        decision_id,
    } = event.what
    else {
        panic!("{event:?}");
    };
    assert_eq!((&*names.project, &*names.issuer), ("acme/named", "github"));
    let expected = [("owner-id", "65"), ("repository-id", "74")];
    assert!(ids.iter().map(|(field, id)| (&**field, &**id)).eq(expected));
    assert_eq!(first.json()["decision_id"], json!(decision_id));
}

#[tokio::test]
async fn a_denied_exchange_pins_nothing() {
    let service = start(BY_NAME).await;
    let branch = ("ref", json!("refs/heads/topic"));
    let denied = push(&service, &[branch]).await;
    assert_eq!(denied.reason(), "not-trusted");
    assert!(events(&service).await.is_empty());
}

#[tokio::test]
async fn a_name_that_its_owner_registered_again_is_refused_as_another_identity() {
    let service = start(BY_NAME).await;
    assert_allowed(&push(&service, &[]).await);
    let refused = push(&service, &of_another_repository()).await;
    assert_eq!(refused.reason(), "identity-changed", "{}", refused.text);
    let record = service.record(&refused).await;
    let judged = &record.explanation.as_ref().unwrap().relationships[0];
    let failed: Vec<&str> = judged
        .findings
        .iter()
        .filter(|finding| !finding.holds)
        .map(|finding| &*finding.asked)
        .collect();
    assert_eq!(failed, ["repository-id"], "the operator sees which id");
}

#[tokio::test]
async fn a_name_that_somebody_else_registered_learns_nothing() {
    let service = start(BY_NAME).await;
    assert_allowed(&push(&service, &[]).await);
    let refused = push(&service, &of_another_owner()).await;
    assert_eq!(refused.reason(), "not-trusted", "{}", refused.text);
    let token = service.token("github-push", &of_another_owner());
    let nowhere = service.exchange(&token, "acme/nothing").await;
    assert_eq!(refused.description(), nowhere.description());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_first_exchanges_at_once_pin_one_identity() {
    let service = start(BY_NAME).await;
    for round in 0..6 {
        let project = format!("acme/round{round}");
        service.policy(&project, BY_NAME).await;
        let exchanges = (0..8).map(|number| {
            let id = if number % 2 == 0 { "74" } else { "75" };
            let token = service.token("github-push", &[("repository_id", json!(id))]);
            let (service, project) = (&service, &project);
            async move { (id, service.exchange(&token, project).await) }
        });
        let answers = futures_util::future::join_all(exchanges).await;
        let let_in: Vec<&str> = answers
            .iter()
            .filter(|(_, answer)| answer.status == 200)
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(let_in, [let_in[0]; 4], "one identity, and all of it");
        let others = answers.iter().filter(|(_, answer)| answer.status != 200);
        for (_, refused) in others {
            assert_eq!(refused.reason(), "identity-changed", "{}", refused.text);
        }
    }
    assert_eq!(events(&service).await.len(), 6);
}

#[tokio::test]
async fn a_pin_survives_a_restart_and_a_rename_within_the_policy() {
    let service = start(BY_NAME).await;
    assert_allowed(&push(&service, &[]).await);
    let folder = service.stop().await;
    let service = TestService::in_folder(folder, Settings::default()).await;
    let renamed = BY_NAME.replace("\"build\"", "\"images\"");
    let renamed = renamed.replace("\"octo-org\"", "\"Octo-Org\"");
    let renamed = renamed.replace("read_registry", "write_registry");
    for policy in [BY_NAME, &renamed] {
        service.policy("acme/named", policy).await;
        let refused = push(&service, &of_another_repository()).await;
        assert_eq!(refused.reason(), "identity-changed", "{}", refused.text);
        assert_allowed(&push(&service, &[]).await);
    }
    service.policy("acme/other", BY_NAME).await;
    let token = service.token("github-push", &of_another_repository());
    let elsewhere = service.exchange(&token, "acme/other").await;
    assert_allowed(&elsewhere);
}

#[tokio::test]
async fn ids_in_the_file_win_over_a_pin() {
    let service = start(BY_NAME).await;
    assert_allowed(&push(&service, &[]).await);
    let by_id = BY_NAME.replace(
        "repository = ",
        "owner-id = \"66\"\nrepository-id = \"75\"\nrepository = ",
    );
    service.policy("acme/named", &by_id).await;
    assert_allowed(&push(&service, &of_another_owner()).await);
    assert_eq!(push(&service, &[]).await.reason(), "not-trusted");
}

#[tokio::test]
async fn a_reset_lets_another_identity_in_and_is_on_record() {
    let service = start(BY_NAME).await;
    assert_allowed(&push(&service, &[]).await);
    let folder = service.stop().await;
    let reset = [
        "--project",
        "acme/named",
        "--reset",
        "--name",
        "repository=Octo-Repo",
    ];
    let output = command(folder.path(), &reset);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("pinned anew"), "{}", said(&output));
    let wrong = ["--project", "acme/named", "--reset", "--name", "owner=x"];
    let output = command(folder.path(), &wrong);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));

    let service = TestService::in_folder(folder, Settings::default()).await;
    assert_allowed(&push(&service, &of_another_owner()).await);
    assert_eq!(push(&service, &[]).await.reason(), "not-trusted");
    let kinds: Vec<_> = events(&service)
        .await
        .into_iter()
        .map(|event| matches!(event.what, Happening::PinReset { .. }))
        .collect();
    // The reset was made by the machine's clock, the rest by the test's.
    assert_eq!(kinds.iter().filter(|reset| **reset).count(), 1);
    assert_eq!(kinds.len(), 3);
}

#[tokio::test]
async fn names_that_nobody_used_within_thirty_days_expire_and_used_ones_do_not() {
    let service = start(BY_NAME).await;
    service.policy("acme/used", BY_NAME).await;
    let token = service.token("github-push", &[]);
    assert_allowed(&service.exchange(&token, "acme/used").await);
    service.advance(Seconds(30 * DAY - 60));
    // A reload is no new first load.
    let edited = BY_NAME.replace("pipeline", "workflow");
    service.policy("acme/named", &edited).await;
    service.advance(Seconds(61));
    let expired = push(&service, &[]).await;
    assert_eq!(expired.reason(), "relationship-expired", "{}", expired.text);
    let token = service.token("github-push", &[]);
    assert_allowed(&service.exchange(&token, "acme/used").await);

    let by_id = BY_NAME.replace(
        "repository = ",
        "owner-id = \"65\"\nrepository-id = \"74\"\nrepository = ",
    );
    service.policy("acme/named", &by_id).await;
    assert_allowed(&push(&service, &[]).await);
}

#[tokio::test]
async fn the_window_for_names_is_a_setting() {
    let settings = Settings {
        top: "pin-window = \"2d\"".into(),
        ..Settings::default()
    };
    let service = TestService::with(settings).await;
    service.policy("acme/named", BY_NAME).await;
    service.advance(Seconds(2 * DAY + 1));
    let expired = push(&service, &[]).await;
    assert_eq!(expired.reason(), "relationship-expired", "{}", expired.text);
}

#[tokio::test]
async fn a_buildkite_job_that_leaves_a_pinned_id_out_is_told_which_claim_to_ask_for() {
    let policy = "[[trust]]\nname = \"build\"\nissuer = \"buildkite\"\norganization = \"acme-inc\"\npipeline = \"super-duper-app\"\nscopes = [\"read_registry\"]\n";
    let service = start(policy).await;
    let exchange = async |set: &str, changes: &[(&str, Value)]| {
        let token = service.token(set, changes);
        service.exchange(&token, "acme/named").await
    };
    // Before any id was seen, names alone do.
    assert_allowed(&exchange("buildkite-push", &[]).await);
    assert!(events(&service).await.is_empty());
    assert_allowed(&exchange("buildkite-optional-claims", &[]).await);
    assert_eq!(events(&service).await.len(), 1);
    let without = exchange("buildkite-push", &[]).await;
    let other = [("pipeline_id", json!("0184990a-4782-42b5-afc1-16715b10ffff"))];
    let other = exchange("buildkite-optional-claims", &other).await;
    assert_eq!(other.reason(), "identity-changed", "{}", other.text);
    assert_eq!(without.reason(), "identity-changed", "{}", without.text);
    let told = without.description();
    assert!(told.contains("--claim"), "{told}");
}

#[tokio::test]
async fn on_a_full_disk_no_policy_changes_and_nobody_is_let_in_by_the_one_before() {
    let free = Arc::new(AtomicU64::new(1 << 30));
    let settings = Settings {
        store: Options {
            free_space: Some({
                let free = free.clone();
                Arc::new(move || Ok(free.load(Ordering::SeqCst)))
            }),
            ..Options::default()
        },
        ..Settings::default()
    };
    let service = TestService::with(settings).await;
    let push = async || {
        let token = service.token("github-push", &[]);
        service.exchange(&token, "acme/api").await.reason()
    };
    let ledger = &service.parts.service.exchange.ledger;
    assert_eq!(push().await, "");
    free.store(0, Ordering::SeqCst);
    let directory = &service.parts.service.exchange.directory;
    fs::write(
        service.folder.path().join("trust-policies/acme/api.toml"),
        BY_NAME,
    )
    .unwrap();
    assert!(directory.reload().await.is_err());
    assert!(directory.settled().is_err());
    assert_eq!(push().await, "store-unavailable");
    assert!(ledger.pins(None).await.unwrap().is_empty());

    free.store(1 << 30, Ordering::SeqCst);
    assert_eq!(push().await, "store-unavailable", "it is not on record yet");
    directory.reload().await.unwrap();
    assert_eq!(ledger.pins(None).await.unwrap().len(), 1);
    assert_eq!(push().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_are_listed_reset_and_written_while_the_service_runs() {
    let service = start(BY_NAME).await;
    let socket = service.folder.path().join("data/admin.sock");
    let admin = AdminServer::start(&socket, service.parts.service.clone()).unwrap();
    assert_allowed(&push(&service, &[]).await);
    let run = async |arguments: &'static [&'static str]| {
        let folder = service.folder.path().to_owned();
        let output = tokio::task::spawn_blocking(move || command(&folder, arguments));
        let output = output.await.unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let listed = run(&["--project", "acme/named"]).await;
    assert!(listed.contains("owner-id = \"65\""), "{listed}");
    run(&[
        "--project",
        "acme/named",
        "--reset",
        "--name",
        "owner=octo-org",
    ])
    .await;
    assert_allowed(&push(&service, &of_another_owner()).await);
    let written = run(&["--write"]).await;
    assert!(written.contains("+ owner-id = \"66\""), "{written}");
    let directory = &service.parts.service.exchange.directory;
    directory.reload().await.unwrap();
    assert_allowed(&push(&service, &of_another_owner()).await);
    admin.stop().await;
}

#[tokio::test]
async fn pinned_ids_are_listed_and_written_into_the_file_with_its_comments() {
    let service = start(BY_NAME).await;
    service.policy("acme/unused", BY_NAME).await;
    assert_allowed(&push(&service, &[]).await);
    let folder = service.stop().await;
    let listed = command(folder.path(), &[]);
    assert!(listed.status.success(), "{}", said(&listed));
    for part in [
        "acme/named",
        "owner-id = \"65\", repository-id = \"74\"",
        "acme/unused",
        "not used yet; expire",
    ] {
        assert!(said(&listed).contains(part), "{part}:\n{}", said(&listed));
    }
    let written = command(folder.path(), &["--write"]);
    assert!(written.status.success(), "{}", said(&written));
    let policies = folder.path().join("trust-policies");
    let text = std::fs::read_to_string(policies.join("acme/named.toml")).unwrap();
    let expected = BY_NAME
        .replace("octo-org\n", "octo-org\nowner-id = \"65\"\n")
        .replace("\"octo-repo\"\n", "\"octo-repo\"\nrepository-id = \"74\"\n");
    assert_eq!(text, expected);
    assert!(
        said(&written).contains("+ owner-id = \"65\""),
        "{}",
        said(&written)
    );
    let unused = std::fs::read_to_string(policies.join("acme/unused.toml")).unwrap();
    assert_eq!(unused, BY_NAME);
    let again = said(&command(folder.path(), &["--write"]));
    assert!(again.contains("no file was changed"), "{again}");

    let service = TestService::in_folder(folder, Settings::default()).await;
    assert_allowed(&push(&service, &[]).await);
    let refused = push(&service, &of_another_owner()).await;
    assert_eq!(refused.reason(), "not-trusted");
}

/// The blocks of `language` in the section about names of the page about policies.
fn documented(language: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split("\n## Names without ids\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let begin = format!("```{language}\n");
    let blocks = section.split(&begin).skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_the_page_about_policies_shows_of_names_works() {
    let service = TestService::start().await;
    let [policy] = documented("toml").try_into().unwrap();
    service.policy("acme/web", &policy).await;
    let token = service.token("github-push", &[]);
    assert_allowed(&service.exchange(&token, "acme/web").await);
    let folder = service.stop().await;
    let blocks = documented("console");
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let (line, shown) = block.split_once('\n').unwrap();
        let arguments = line.strip_prefix("$ countersign policy pin ").unwrap();
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = command(folder.path(), &arguments);
        assert!(output.status.success(), "{}", said(&output));
        for shown in shown.lines() {
            // What differs each time is cut short, and so are the paths above.
            let shown = shown.split(", since").next().unwrap();
            assert!(said(&output).contains(shown), "{shown}\n{}", said(&output));
        }
    }
}
