//! Commands beside the service: asked over its socket while it runs, of the store while it does not.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use countersign::audit::{DecisionId, Filter, Happening};
use countersign::cli::ledger_access::LedgerAccess;
use countersign::clock::{Seconds, UnixTime};
use countersign::config::Config;
use countersign::http::admin::AdminServer;
use countersign::reading::Listed;
use countersign::trust::Names;

use crate::support::service::{Answer, NOON, TestService};

fn config(folder: &Path) -> Config {
    let file = folder.join("countersign.toml");
    Config::load(Some(&file), &std::collections::BTreeMap::new()).unwrap()
}

fn id(answer: &Answer) -> DecisionId {
    DecisionId::parse(answer.json()["decision_id"].as_str().unwrap()).unwrap()
}

fn names() -> Names {
    Names {
        project: "acme/api".into(),
        issuer: "github".into(),
        names: [("owner".to_owned(), "octo & org".to_owned())].into(),
    }
}

fn ids(page: &Listed) -> Vec<DecisionId> {
    let entries = page.entries.iter();
    let ids = entries.map(|numbered| numbered.entry["decision_id"].as_str().unwrap());
    ids.map(|id| DecisionId::parse(id).unwrap()).collect()
}

#[tokio::test]
async fn the_ledger_answers_commands_alike_whether_the_service_runs_or_not() {
    let service = TestService::start().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        service.advance(Seconds(1));
        let token = service.token("github-push", &[]);
        made.push(id(&service.exchange(&token, "acme/api").await));
    }
    let noon = UnixTime::from_seconds(NOON);
    let store = service.parts.store.clone();
    store.note_names(vec![names()], noon).await.unwrap();
    let config = config(service.folder.path());
    let socket = config.store.admin_socket().unwrap();
    let admin = AdminServer::start(&socket, service.parts.service.clone()).unwrap();

    let asked = LedgerAccess::open(&config).await.unwrap();
    assert!(matches!(asked, LedgerAccess::Service(_)));
    answers(&asked, &made).await;
    let event = asked.reset_pin(names()).await.unwrap().unwrap();
    assert!(matches!(&event.what, Happening::PinReset { by, .. } if by.starts_with("uid ")));
    admin.stop().await;
    assert!(!socket.exists());
    drop(store);
    let _folder = service.stop().await;

    let opened = LedgerAccess::open(&config).await.unwrap();
    assert!(matches!(opened, LedgerAccess::Store(_)));
    answers(&opened, &made).await;
    assert!(opened.reset_pin(names()).await.unwrap().is_some());
    opened.close().await;
}

async fn answers(ledger: &LedgerAccess, made: &[DecisionId]) {
    let noon = UnixTime::from_seconds(NOON);
    let record = ledger.decision(made[2]).await.unwrap().unwrap();
    assert_eq!(record.decision_id, made[2]);
    let unknown = DecisionId::new(noon);
    assert!(ledger.decision(unknown).await.unwrap().is_none());

    let newest_first: Vec<DecisionId> = made.iter().rev().copied().collect();
    let mut filter = Filter {
        kind: Some("decision".into()),
        since_millis: Some(noon.millis()),
        ..Filter::default()
    };
    let page = ledger.search(&filter, None, 2).await.unwrap();
    assert_eq!(ids(&page), newest_first[..2]);
    let page = ledger.search(&filter, page.next, 9).await.unwrap();
    assert_eq!(ids(&page), newest_first[2..]);
    filter.since_millis = Some(noon.plus(Seconds(4)).millis());
    let page = ledger.search(&filter, None, 9).await.unwrap();
    assert_eq!(ids(&page), newest_first[..2]);

    for (project, count) in [(None, 1), (Some("acme/api"), 1), (Some("acme/web"), 0)] {
        let pins = ledger.pins(project).await.unwrap();
        assert_eq!(pins.len(), count, "{project:?}");
        assert!(pins.iter().all(|pin| pin.names == names()));
    }
    let mut others = names();
    others.issuer = "gitlab".into();
    assert_eq!(ledger.reset_pin(others).await.unwrap(), None);
}

#[tokio::test]
async fn a_command_makes_no_data_folder_where_no_service_has_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("countersign.toml"), "").unwrap();
    let missing = LedgerAccess::open(&config(folder.path())).await;
    let missing = missing.err().unwrap().to_string();
    assert!(missing.contains("no ledger"), "{missing}");
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn a_service_without_a_socket_is_named_as_the_reason() {
    let service = TestService::start().await;
    let ledger = LedgerAccess::open(&config(service.folder.path())).await;
    let silent = ledger.unwrap().pins(None).await.unwrap_err().to_string();
    assert!(
        silent.contains("admin.sock") && silent.contains("does not answer"),
        "{silent}"
    );
}

#[tokio::test]
async fn the_socket_is_for_its_user_only_and_a_stale_one_is_replaced() {
    let service = TestService::start().await;
    let socket = config(service.folder.path()).store.admin_socket().unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "as a killed service leaves it");
    let admin = AdminServer::start(&socket, service.parts.service.clone()).unwrap();
    let metadata = socket.metadata().unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let ledger = LedgerAccess::open(&config(service.folder.path())).await;
    assert!(ledger.unwrap().pins(None).await.unwrap().is_empty());
    let left = std::fs::read_dir(socket.parent().unwrap()).unwrap();
    let hidden = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0);
    admin.stop().await;
}
