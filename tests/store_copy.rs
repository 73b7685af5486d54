//! A store copied into another one: everything is there, and nothing serves from less.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use countersign::audit::{Filter, Happening, LoggedEntry, Outcome, Record, RecordedClaims};
use countersign::clock::{FrozenClock, Seconds, UnixTime};
use countersign::directory::{FirstLoads, OnRecord, PolicyChange, PolicyHistory, ProjectIds};
use countersign::discovery::{ArchivedKeys, KeyArchive};
use countersign::issuer::Issuer;
use countersign::ledger::{
    AuditLog, Denial, DenialKey, Kept, Ledger, Spend, Spent, Unrecorded, newest,
};
use countersign::project_token::{SigningKeyStore, StoredKey};
use countersign::store::{
    CopyError, Copying, EmbeddedStore, Options, PostgresSettings, StorePlace, Summary, copy_store,
};
use countersign::subject::SpentKey;
use countersign::trust::{Names, PinWish, ProjectPath, digest_of};
use futures_util::FutureExt as _;
use serde_json::json;

use crate::kills::drive::issuer::Issuer as CiSystem;
use crate::kills::drive::running::{Running, lay_out};
use crate::kills::drive::tokens::PROJECT;
use crate::kills::drive::wire::Connection;
use crate::support::postgres::shared;

const DAY: u32 = 100_000;

fn day(number: u32) -> UnixTime {
    UnixTime::from_seconds(1_795_003_200).plus(Seconds(number * DAY))
}

fn open(path: &Path, at: UnixTime) -> EmbeddedStore {
    let clock = Arc::new(FrozenClock::at(at));
    EmbeddedStore::open(path, clock, Options::default()).unwrap()
}

fn record(at: UnixTime) -> Record {
    let claims = json!({"actor": "octocat", "ref": "refs/heads/main"});
    let claims = Arc::new(claims.as_object().unwrap().clone());
    Record {
        issuer: Some("github".into()),
        subject: Some("repo:acme/api".into()),
        audience: "acme/api".into(),
        project: Some("acme/api".into()),
        trust: vec!["release".into()],
        claims: RecordedClaims::new(claims, vec!["actor"]),
        client_address: Some("192.0.2.7".into()),
        ..Record::new(Outcome::Allowed, at)
    }
}

fn spend(name: &str, max_uses: u32) -> Spend {
    Spend {
        key: SpentKey::of_unverified(name),
        max_uses,
        until: day(90),
        pins: Vec::new(),
    }
}

fn names(repository: &str) -> Names {
    Names {
        project: "acme/api".into(),
        issuer: "github".into(),
        names: [("repository".into(), repository.into())].into(),
    }
}

fn denial(at: UnixTime) -> Denial {
    Denial {
        key: DenialKey::new(
            &SpentKey::of_unverified("denied"),
            "not-trusted",
            "acme/api",
            None,
        ),
        until: day(90),
        record: Record {
            reason: Some("not-trusted".into()),
            ..Record::new(Outcome::Denied, at)
        },
    }
}

/// Fills a store with some of everything that a store keeps.
async fn fill(path: &Path) {
    let early = open(path, day(0));
    let mut forgotten = spend("forgotten", 1);
    forgotten.until = day(1);
    early.spend(forgotten, record(day(0))).await.unwrap();
    early
        .spend(spend("early", 1), record(day(0)))
        .await
        .unwrap();
    early.close();

    let store = open(path, day(3));
    for number in 0..3 {
        let spent = store.spend(spend("several", 10), record(day(3))).await;
        assert_eq!(spent.unwrap().number(), Some(number + 1));
    }
    // The first day's values go; a clock that ran ahead was put back.
    assert!(store.remove_personal_values(day(2), day(3)).await.unwrap());
    store.spend(spend("late", 1), record(day(2))).await.unwrap();
    for number in 0..600 {
        let many = format!("many {number}");
        let spent = store.spend(spend(&many, 1), record(day(2)));
        spent.await.unwrap();
    }
    store.record_denial(denial(day(3))).await.unwrap();
    let unrecorded = Unrecorded {
        issuer: "github".into(),
        reason: "signature-invalid",
    };
    store.count_denial(unrecorded, day(3));
    let mut pinning = spend("pinning", 1);
    pinning.pins = vec![PinWish {
        names: names("api"),
        ids: [("repository-id".into(), "74".into())].into(),
    }];
    store.spend(pinning, record(day(3))).await.unwrap();
    store
        .note_names(vec![names("unused")], day(3))
        .await
        .unwrap();
    let path_of_project = ProjectPath::parse("acme/api").unwrap();
    store.ids_of(vec![path_of_project]).await.unwrap();
    let keys = ArchivedKeys {
        body: vec![b'k'; 9000],
        fetched: day(3),
    };
    store.keep(&issuer(), keys, None, day(3)).await.unwrap();
    let signing_key = StoredKey {
        id: "our key".into(),
        sealed: vec![7; 5000],
    };
    let made = Happening::SigningKeyRetired {
        key_id: "an older one".into(),
    };
    store
        .replace_signing_keys(
            Vec::new(),
            vec![signing_key],
            Vec::new(),
            vec![made.clone()],
            day(3),
        )
        .await
        .unwrap();
    store
        .keep_checkpoint_key(None, vec![9; 40], made, day(3))
        .await
        .unwrap();
    let loaded = Happening::PolicyRemoved {
        file: "acme/gone.toml".into(),
        before: None,
    };
    let change = |file: &str, text: &str| PolicyChange {
        file: file.into(),
        event: loaded.clone(),
        on_record: Some(OnRecord {
            in_force: Some(digest_of(text)),
            refused: None,
        }),
        text: Some((digest_of(text), text.into())),
    };
    let long = "# long\n".repeat(3000);
    let changes = vec![
        change("acme/api.toml", &long),
        change("acme/empty.toml", ""),
    ];
    store.record_policies(changes, day(3)).await.unwrap();
    for (which, note) in [(Kept::Signed, "1"), (Kept::Cosigned, "2")] {
        let note = format!("log\n{note}\nroot\n");
        store.keep_checkpoint(which, note).await.unwrap();
    }
    store.close();
}

fn issuer() -> Issuer {
    Issuer::parse("https://ci.example.com", false).unwrap()
}

async fn entries(store: &EmbeddedStore) -> Vec<LoggedEntry> {
    let size = store.tree().await.unwrap().size;
    let mut all = Vec::new();
    while (all.len() as u64) < size {
        let first = all.len() as u64;
        all.extend(store.entries(first..first + 100).await.unwrap());
    }
    all
}

async fn copy(from: &StorePlace, to: &StorePlace) -> Result<Summary, CopyError> {
    copy_store(from, to, &|_| {}).await
}

fn folder(path: impl AsRef<Path>) -> StorePlace {
    StorePlace::Folder(path.as_ref().to_owned())
}

fn database(url: &str) -> StorePlace {
    StorePlace::Database(Box::new(PostgresSettings::parse(url).unwrap()))
}

/// Asserts that both stores answer everything alike.
async fn assert_same(original: &Path, copied: &Path) {
    let (one, other) = (open(original, day(3)), open(copied, day(3)));
    assert_eq!(one.tree().await.unwrap(), other.tree().await.unwrap());
    assert_eq!(entries(&one).await, entries(&other).await);
    assert_eq!(
        one.pins(None).await.unwrap(),
        other.pins(None).await.unwrap()
    );
    let texts = digest_of("");
    assert_eq!(other.policy_text(texts).await.unwrap(), Some(Vec::new()));
    for file in ["acme/api.toml", "acme/empty.toml"] {
        let (one, other) = (one.policies_on_record(), other.policies_on_record());
        assert_eq!(one.await.unwrap()[file], other.await.unwrap()[file]);
    }
    let known = one.denial_on_record(denial(day(3)).key).await.unwrap();
    assert!(known.is_some());
    let known_there = other.denial_on_record(denial(day(3)).key).await.unwrap();
    assert_eq!(known, known_there);
    let path = ProjectPath::parse("acme/api").unwrap();
    assert_eq!(
        one.ids_of(vec![path.clone()]).await.unwrap(),
        other.ids_of(vec![path]).await.unwrap()
    );
    let (here, there) = (one.last_good(&issuer()), other.last_good(&issuer()));
    assert_eq!(
        here.await.unwrap().unwrap().body,
        there.await.unwrap().unwrap().body
    );
    let (here, there) = (one.signing_keys().await, other.signing_keys().await);
    assert_eq!(here.unwrap()[0].sealed, there.unwrap()[0].sealed);
    assert_eq!(
        one.checkpoint_key().await.unwrap(),
        other.checkpoint_key().await.unwrap()
    );
    for which in [Kept::Signed, Kept::Cosigned] {
        let (here, there) = (one.checkpoint(which), other.checkpoint(which));
        assert_eq!(here.await.unwrap(), there.await.unwrap());
    }
    let of_person = Filter {
        subject: Some("repo:acme/api".into()),
        ..Filter::default()
    };
    let (here, there) = (
        one.search(of_person.clone(), None, 999),
        other.search(of_person, None, 999),
    );
    assert_eq!(here.await.unwrap(), there.await.unwrap());
    for (name, uses) in [("early", 1), ("late", 1), ("many 599", 1), ("several", 3)] {
        let spent = other.spend(spend(name, uses), record(day(3))).await;
        assert_eq!(spent.unwrap(), Spent::Exhausted, "{name}");
    }
    let mut unknown = spend("forgotten", 1);
    unknown.until = day(1);
    assert!(other.spend(unknown, record(day(3))).await.is_err());
    let counted = newest(&other, "denials-counted").await.unwrap();
    assert!(counted.is_none(), "their hour is not over");
    one.close();
    other.close();
    let later = open(copied, day(4));
    later
        .spend(spend("the next", 1), record(day(4)))
        .await
        .unwrap();
    let counted = newest(&later, "denials-counted").await.unwrap();
    assert!(counted.is_some(), "now it is");
    later.close();
}

#[tokio::test]
async fn a_copy_of_a_folder_answers_everything_as_the_folder_does() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    fill(&one).await;
    let summary = copy(&folder(&one), &folder(&other)).await.unwrap();
    let counts: Vec<_> = summary.counts().collect();
    for (what, count) in [
        ("spent tokens", 604),
        ("denials on record", 1),
        ("counts of denials", 1),
        ("names without ids", 2),
        ("ids of projects", 1),
        ("key sets of issuers", 1),
        ("signing keys", 1),
        ("policies on record", 2),
        ("texts of policies", 2),
    ] {
        assert!(counts.contains(&(what, count)), "{what}: {counts:?}");
    }
    assert_same(&one, &other).await;
}

#[tokio::test]
async fn a_store_that_went_through_a_database_and_back_is_the_same() {
    let place = tempfile::tempdir().unwrap();
    let (one, back) = (place.path().join("one"), place.path().join("back"));
    let there = database(&shared().database());
    fill(&one).await;
    let summary = copy(&folder(&one), &there).await.unwrap();
    assert_eq!(copy(&there, &folder(&back)).await.unwrap(), summary);
    assert_same(&one, &back).await;
}

#[tokio::test]
async fn what_is_not_empty_is_not_copied_into() {
    let place = tempfile::tempdir().unwrap();
    let one = place.path().join("one");
    open(&one, day(0)).close();
    let other = place.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("notes"), "mine").unwrap();
    let fault = copy(&folder(&one), &folder(&other)).await.unwrap_err();
    assert_eq!(fault.code(), "copy-target-not-empty", "{fault}");
    let there = database(&shared().database());
    fill(&place.path().join("full")).await;
    copy(&folder(place.path().join("full")), &there)
        .await
        .unwrap();
    let fault = copy(&folder(&one), &there).await.unwrap_err();
    assert_eq!(fault.code(), "copy-target-not-empty", "{fault}");
}

#[tokio::test]
async fn a_store_that_somebody_has_open_is_not_copied() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    let store = open(&one, day(0));
    let fault = copy(&folder(&one), &folder(&other)).await.unwrap_err();
    assert_eq!(fault.code(), "data-in-use");
    assert!(!other.exists());
    store.close();
    let url = shared().database();
    copy(&folder(&one), &database(&url)).await.unwrap();
    let (client, connection) = tokio_postgres::connect(
        &format!("{url}?application_name=countersign"),
        tokio_postgres::NoTls,
    )
    .await
    .unwrap();
    let connection = tokio::spawn(connection);
    let fault = copy(&database(&url), &folder(&other)).await.unwrap_err();
    assert_eq!(fault.code(), "copy-database-in-use", "{fault}");
    drop(client);
    connection.await.unwrap().unwrap();
}

/// A copy that ends in the middle.
async fn cut_short(from: &StorePlace, to: &StorePlace) {
    let stop = |now: Copying| assert!(now.what != "spent tokens", "it ends here");
    let copying = std::panic::AssertUnwindSafe(copy_store(from, to, &stop));
    assert!(copying.catch_unwind().await.is_err());
}

#[tokio::test]
async fn a_copy_that_was_not_finished_serves_nobody() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    fill(&one).await;
    cut_short(&folder(&one), &folder(&other)).await;
    let clock = Arc::new(FrozenClock::at(day(3)));
    let Err(fault) = EmbeddedStore::open(&other, clock, Options::default()) else {
        panic!("a part of a store was opened");
    };
    assert_eq!(fault.code(), "data-unfinished");
    assert!(fault.to_string().contains("copy again"), "{fault}");
    let fault = copy(&folder(&one), &folder(&other)).await.unwrap_err();
    assert_eq!(fault.code(), "data-unfinished");

    // In a database it was never there.
    let there = database(&shared().database());
    cut_short(&folder(&one), &there).await;
    copy(&folder(&one), &there).await.unwrap();
}

#[tokio::test]
async fn a_damaged_store_is_not_copied() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    fill(&one).await;
    let file = one.join("tree/0");
    let mut hashes = std::fs::read(&file).unwrap();
    hashes[40] ^= 1;
    std::fs::write(&file, hashes).unwrap();
    let fault = copy(&folder(&one), &folder(&other)).await.unwrap_err();
    assert_eq!(fault.code(), "copy-source-damaged", "{fault}");
    assert!(fault.to_string().contains("entry 1"), "{fault}");
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["store", "copy"])
        .args(arguments)
        .env_remove("COUNTERSIGN_LOG")
        .output()
        .unwrap()
}

#[test]
fn a_service_on_the_copy_knows_what_was_spent_in_the_first_store() {
    let place = tempfile::tempdir().unwrap();
    let ci = CiSystem::start();
    lay_out(place.path(), &ci.url);
    let running = Running::service(place.path());
    let spent = ci.signer.token();
    let exchanged = |running: &Running, token: &str| {
        let mut connection = Connection::open(&running.base).unwrap();
        let answer = connection.exchange(token, PROJECT, "192.0.2.1").unwrap();
        (answer.status, answer.member("reason").unwrap_or_default())
    };
    assert_eq!(exchanged(&running, &spent).0, 200);
    let from = format!("sled:{}", place.path().join("data").display());
    let to = format!("sled:{}", place.path().join("copied").display());
    let output = program(&["--from", &from, "--to", &to]);
    assert_eq!(output.status.code(), Some(3), "the service runs");
    assert!(running.stop().success());
    let output = program(&["--from", &from, "--to", &to]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("both logs have the tree"), "{said}");
    let output = program(&["--from", &from, "--to", &to]);
    assert_eq!(output.status.code(), Some(1), "there is something now");

    let file = place.path().join("countersign.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{config}\n[store]\nurl = \"sled:copied\"\n")).unwrap();
    let running = Running::service(place.path());
    assert_eq!(exchanged(&running, &spent), (400, "token-spent".into()));
    assert_eq!(exchanged(&running, &ci.signer.token()).0, 200);
    let mut connection = Connection::open(&running.base).unwrap();
    let key = connection.get("/audit/key").unwrap().text;
    assert!(running.stop().success());
    let mut verify = Command::new(env!("CARGO_BIN_EXE_countersign"));
    verify.args(["audit", "verify", "--key", key.trim()]);
    let verified = verify.arg(place.path().join("copied")).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{said}");

    // And on from there into a database.
    let database = shared().database();
    assert!(
        program(&["--from", &to, "--to", &database])
            .status
            .success()
    );
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("sled:copied", &database)).unwrap();
    let running = Running::service(place.path());
    assert_eq!(exchanged(&running, &spent), (400, "token-spent".into()));
    assert_eq!(exchanged(&running, &ci.signer.token()).0, 200);
    let output = program(&["--from", &database, "--to", &from.replace("data", "back")]);
    assert_eq!(output.status.code(), Some(1), "an instance is connected");
    assert!(running.stop().success());
}

#[test]
fn what_names_no_store_is_a_usage_error_that_repeats_no_password() {
    let output = program(&["--from", "mysql://root:secret@db/x", "--to", "sled:data"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--from"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    let output = program(&[
        "--from",
        "sled:/nowhere/at/all",
        "--to",
        "sled:/nowhere/else",
    ]);
    assert_eq!(output.status.code(), Some(3));
}
