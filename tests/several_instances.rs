//! Several instances of the service on one PostgreSQL: what they share, and what they hear of each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::audit::Happening;
use countersign::clock::{Clock as _, Seconds, SystemClock, UnixTime};
use countersign::ledger::{
    AuditLog as _, Changes as _, Following, Instances as _, Kept, Presence, Topic,
};
use countersign::notary::{Checkpoint, KeptIn, Notary, Note, Settings, VerifierKey};
use countersign::project_token::{KeyEncryptionKey, KeyRing, TokenAlgorithm};
use countersign::store::{PostgresOptions, PostgresSettings, PostgresStore};
use futures_util::future::join_all;

use crate::support::postgres::{Cluster, shared};
use crate::support::service::{NOON, Settings as TestSettings, TestService};

/// How long a test waits for what must come. It ends a test that hangs, and none that passes.
const LIMIT: Duration = Duration::from_secs(60);

/// A database of its own, on the server that tests share.
struct Database {
    url: String,
    name: String,
}

impl Database {
    fn new() -> Self {
        let url = shared().database();
        let name = url.rsplit('/').next().unwrap().to_owned();
        Self { url, name }
    }

    /// One more instance's store.
    async fn open(&self) -> PostgresStore {
        self.open_with(PostgresOptions::default()).await
    }

    async fn open_with(&self, options: PostgresOptions) -> PostgresStore {
        let settings = PostgresSettings::parse(&self.url).unwrap();
        let opening = tokio::task::spawn_blocking(|| {
            PostgresStore::open(settings, Arc::new(SystemClock), options)
        });
        opening.await.unwrap().unwrap()
    }

    async fn sql(&self, statements: &str) -> String {
        let (name, statements) = (self.name.clone(), statements.to_owned());
        let running = tokio::task::spawn_blocking(move || shared().sql(&name, &statements));
        running.await.unwrap()
    }

    /// Lets the time of the database stand still.
    async fn hold_time(&self, millis: i64) {
        let held = format!(
            "CREATE OR REPLACE FUNCTION countersign.now_millis() RETURNS bigint LANGUAGE sql VOLATILE
             AS $$ SELECT {millis}::bigint $$"
        );
        self.sql(&held).await;
    }
}

async fn close(stores: impl IntoIterator<Item = PostgresStore>) {
    for store in stores {
        tokio::task::spawn_blocking(move || store.close())
            .await
            .unwrap();
    }
}

fn presence(name: &str) -> Presence {
    Presence {
        name: name.to_owned(),
        program: "1.2.3".to_owned(),
        policies: format!("policies of {name}"),
        settings: format!("settings of {name}"),
    }
}

async fn heard(following: &mut Following) {
    let hearing = tokio::time::timeout(LIMIT, following.changed());
    assert!(hearing.await.is_ok(), "it was never heard");
}

#[tokio::test]
async fn instances_count_as_running_for_thirty_seconds_of_the_time_of_the_database() {
    let database = Database::new();
    let (one, other) = (database.open().await, database.open().await);
    database.hold_time(1_000_000).await;
    assert_eq!(one.meet(presence("one")).await.unwrap(), []);
    let met = other.meet(presence("other")).await.unwrap();
    assert_eq!(met, [presence("one")]);
    let met = one.meet(presence("renamed")).await.unwrap();
    assert_eq!(met, [presence("other")]);

    database.hold_time(1_029_999).await;
    let met = other.meet(presence("other")).await.unwrap();
    assert_eq!(met, [presence("renamed")]);
    database.hold_time(1_030_000).await;
    assert_eq!(other.meet(presence("other")).await.unwrap(), []);
    assert_eq!(
        one.meet(presence("one")).await.unwrap(),
        [presence("other")]
    );

    other.leave().await.unwrap();
    assert_eq!(one.meet(presence("one")).await.unwrap(), []);
    other.meet(presence("other")).await.unwrap();
    database.hold_time(1_030_000 + 3_600_001).await;
    one.meet(presence("one")).await.unwrap();
    let rows = database
        .sql("SELECT count(*) FROM countersign.instances")
        .await;
    assert_eq!(rows, "1", "who was not seen for an hour is forgotten");
    close([one, other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_meet_also_while_no_standby_confirms_a_commit() {
    let cluster = Cluster::new("fsync = off");
    let server = cluster.start();
    let url = cluster.database();
    let settings = || PostgresSettings::parse(&url).unwrap();
    let open = || {
        PostgresStore::open(
            settings(),
            Arc::new(SystemClock),
            PostgresOptions::default(),
        )
    };
    let (one, other) = tokio::task::block_in_place(|| (open().unwrap(), open().unwrap()));
    cluster.sql(
        "postgres",
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
    );
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    let shown = || cluster.sql("postgres", "SHOW synchronous_standby_names");
    let began = Instant::now();
    while shown() != "nobody" {
        assert!(began.elapsed() < LIMIT, "the server keeps its settings");
    }
    let meeting = async {
        one.meet(presence("one")).await.unwrap();
        other.meet(presence("other")).await.unwrap()
    };
    let met = tokio::time::timeout(LIMIT, meeting).await;
    assert_eq!(met.unwrap(), [presence("one")]);
    tokio::task::block_in_place(|| server.kill());
    close([one, other]).await;
}

/// Notes a change as an instance does, whose connection is cut before it can tell of it.
const UNTOLD: &str =
    "INSERT INTO countersign.changes AS c (kind, version) VALUES ('signing-keys', 1)
    ON CONFLICT (kind) DO UPDATE SET version = c.version + 1";

#[tokio::test]
async fn a_change_that_nobody_told_of_is_found() {
    let database = Database::new();
    let store = database.open().await;
    let mut following = store.following(Topic::SigningKeys);
    for _ in 0..2 {
        database.sql(UNTOLD).await;
        heard(&mut following).await;
    }
    close([store]).await;
}

#[tokio::test]
async fn a_change_is_heard_again_after_the_connection_that_hears_was_cut() {
    let database = Database::new();
    let store = database.open().await;
    let mut following = store.following(Topic::SigningKeys);
    let cut = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = '{}' AND query = 'LISTEN countersign'",
        database.name
    );
    let began = Instant::now();
    while database.sql(&cut).await == "0" {
        assert!(began.elapsed() < LIMIT, "it never listens");
    }
    database
        .sql(&format!("{UNTOLD}; NOTIFY countersign, 'signing-keys'"))
        .await;
    heard(&mut following).await;
    while database.sql(&cut).await == "0" {
        assert!(began.elapsed() < LIMIT, "it does not listen again");
    }
    close([store]).await;
}

const START: UnixTime = UnixTime::from_seconds(1_795_003_200);

/// How long one key signs.
const MONTH: Seconds = Seconds(30 * 24 * 60 * 60);

async fn ring(store: &PostgresStore) -> KeyRing {
    let encryption = KeyEncryptionKey::derive(&[7; 32]).unwrap();
    let (store, day) = (Arc::new(store.clone()), Seconds(86_400));
    let algorithm = TokenAlgorithm::ES256;
    let opening = KeyRing::open(store, Some(encryption), algorithm, day, START);
    opening.await.unwrap()
}

/// The published keys, in the order in which they sign.
fn kids(ring: &KeyRing) -> Vec<String> {
    let set = ring.public_set();
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn of_first_starts_at_once_one_makes_the_keys_and_all_have_them() {
    let database = Database::new();
    let stores = join_all((0..4).map(|_| database.open())).await;
    let rings = join_all(stores.iter().chain(&stores).map(ring)).await;
    for other in &rings {
        assert_eq!(kids(other), kids(&rings[0]));
    }
    assert_eq!(kids(&rings[0]).len(), 2);
    let entries = "SELECT size FROM countersign.log_head";
    assert_eq!(database.sql(entries).await, "2", "each was made once");
    let clear = "SELECT count(*) FROM countersign.signing_keys WHERE position('A256GCM' IN encode(sealed, 'escape')) = 0";
    assert_eq!(database.sql(clear).await, "0", "none lies in the clear");
    close(stores).await;
}

#[tokio::test]
async fn a_key_that_one_instance_makes_is_published_by_the_other_long_before_it_signs() {
    let database = Database::new();
    // It looks once in an hour, so what it hears it was told.
    let listens = PostgresOptions {
        look_every: Duration::from_secs(3600),
        ..PostgresOptions::default()
    };
    let (here, there) = (database.open().await, database.open_with(listens).await);
    let (one, other) = (ring(&here).await, ring(&there).await);
    let mut following = there.following(Topic::SigningKeys);
    let mut now = START;
    for _ in 0..8 {
        now = now.plus(MONTH);
        let before = kids(&one);
        one.renew(now).await.unwrap();
        heard(&mut following).await;
        other.follow().await.unwrap();
        assert_eq!(kids(&other), kids(&one));
        let made = kids(&other).pop().unwrap();
        assert!(!before.contains(&made), "the last of them signs in a month");
    }
    close([here, there]).await;
}

#[tokio::test]
async fn of_instances_that_renew_at_once_one_makes_the_next_key() {
    let database = Database::new();
    let stores = join_all((0..3).map(|_| database.open())).await;
    let rings = join_all(stores.iter().map(ring)).await;
    let now = START.plus(MONTH);
    for renewed in join_all(rings.iter().map(|ring| ring.renew(now))).await {
        renewed.unwrap();
    }
    join_all(rings.iter().map(KeyRing::follow)).await;
    for other in &rings {
        assert_eq!(kids(other), kids(&rings[0]));
    }
    assert_eq!(kids(&rings[0]).len(), 3);
    close(stores).await;
}

async fn notary(store: &PostgresStore) -> Arc<Notary> {
    let settings = Settings {
        kept_in: KeptIn::Database,
        public_url: "https://sts.example.com".into(),
        encryption: Some(KeyEncryptionKey::derive(&[7; 32]).unwrap()),
        copy: None,
        witnesses: Vec::new(),
    };
    let opening = Notary::open(Arc::new(store.clone()), &SystemClock, settings);
    opening.await.unwrap()
}

/// What a checkpoint says, once its signature is checked.
fn read(note: &str, key: &str) -> Checkpoint {
    let note = Note::parse(note).unwrap();
    assert!(VerifierKey::parse(key).unwrap().has_signed(&note));
    Checkpoint::parse(&note.text).unwrap()
}

/// Adds an entry, and answers how many there are with it.
async fn grow(store: &PostgresStore) -> u64 {
    let event = Happening::SigningKeyRetired {
        key_id: "key".into(),
    };
    store.append(vec![event], SystemClock.now()).await.unwrap() + 1
}

#[tokio::test]
async fn notaries_of_several_instances_sign_one_log_with_one_key_and_none_goes_back() {
    let database = Database::new();
    let stores = join_all((0..3).map(|_| database.open())).await;
    let notaries = join_all(stores.iter().map(notary)).await;
    let key = notaries[0].key();
    assert!(notaries.iter().all(|notary| notary.key() == key));
    let named = database.sql("SELECT size FROM countersign.log_head").await;
    assert_eq!(named, "1", "one made the key, and said so");
    for turn in 0..2 {
        for (store, notary) in stores.iter().zip(&notaries) {
            let size = grow(store).await;
            let signed = read(&notary.checkpoint().await.unwrap(), key);
            assert_eq!(signed.size, size, "turn {turn}");
            let whole = std::iter::once(0..size).collect();
            assert_eq!(store.hashes(whole).await.unwrap(), [signed.root]);
        }
    }
    // All at once, while the log grows.
    let signing = async |number: usize| {
        let size = grow(&stores[number % 3]).await;
        let note = notaries[(number + 1) % 3].checkpoint().await.unwrap();
        assert!(read(&note, key).size >= size);
    };
    join_all((0..12).map(signing)).await;
    let kept = stores[0].checkpoint(Kept::Signed).await.unwrap().unwrap();
    for notary in &notaries {
        let last = notary.checkpoint().await.unwrap();
        assert_eq!(read(&last, key), read(&kept, key));
    }
    drop(notaries);
    close(stores).await;
}

/// Instances of the service, each with a folder of its own and the shipped policies.
struct Services {
    database: Database,
}

impl Services {
    /// On a new database, where it is noon.
    async fn new() -> Self {
        let database = Database::new();
        let store = database.open().await;
        database.hold_time(NOON * 1000).await;
        close([store]).await;
        Self { database }
    }

    async fn start(&self) -> TestService {
        let tables = format!("[store]\nurl = \"{}\"\n", self.database.url);
        let settings = TestSettings {
            tables,
            ..TestSettings::default()
        };
        TestService::with(settings).await
    }
}

/// Each says what it has in force, and then hears what the others said.
async fn meet(services: &[&TestService]) {
    for service in services.iter().chain(services) {
        service.parts.service.peers.meet().await;
    }
}

/// How many `/readyz` tells to have other policies.
async fn differing(service: &TestService) -> u64 {
    let answer = service.get("/readyz").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    let Some(instances) = body["instances"].as_object() else {
        assert_eq!(body["status"], "ok", "{body}");
        return 0;
    };
    assert_eq!(body["status"], "degraded", "{body}");
    assert_eq!(instances["other_settings"], 0, "{body}");
    assert!(!answer.text.contains("127.0.0.1"), "{}", answer.text);
    instances["other_policies"].as_u64().unwrap()
}

const MORE: &str = "[[trust]]\nname = \"more\"\nissuer = \"github\"\nowner-id = 65\nrepository-id = 75\nscopes = [\"read\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn instances_whose_policies_differ_say_so_until_they_agree_or_are_gone() {
    let services = Services::new().await;
    let (one, other) = (services.start().await, services.start().await);
    meet(&[&one, &other]).await;
    assert_eq!(differing(&one).await, 0);

    one.policy("acme/more", MORE).await;
    meet(&[&one, &other]).await;
    for service in [&one, &other] {
        assert_eq!(differing(service).await, 1);
        let metrics = service.get("/metrics").await.text;
        assert!(
            metrics.contains("countersign_instances_disagreeing 1"),
            "{metrics}"
        );
    }
    other.policy("acme/more", MORE).await;
    meet(&[&one, &other]).await;
    assert_eq!(differing(&one).await, 0);
    assert_eq!(differing(&other).await, 0);

    one.policy("acme/more", "").await;
    meet(&[&one, &other]).await;
    assert_eq!(differing(&one).await, 1);
    other.stop().await;
    services.database.hold_time(NOON * 1000 + 29_999).await;
    meet(&[&one]).await;
    assert_eq!(differing(&one).await, 1, "it may come back");
    services.database.hold_time(NOON * 1000 + 30_000).await;
    meet(&[&one]).await;
    assert_eq!(differing(&one).await, 0);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_several_instances_load_is_on_record_once() {
    let services = Services::new().await;
    let (one, other) = (services.start().await, services.start().await);
    one.policy("acme/more", MORE).await;
    other.policy("acme/more", MORE).await;
    let loaded = async |service: &TestService| {
        let log = &service.parts.service.log;
        let events = crate::support::log::events(&**log, "policy-loaded").await;
        let files = events.into_iter().filter(|event| match &event.what {
            Happening::PolicyLoaded(loaded) => loaded.file == "acme/more.toml",
            _ => false,
        });
        files.count()
    };
    assert_eq!(loaded(&one).await, 1);
    assert_eq!(loaded(&other).await, 1);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_one_instance_spent_is_spent_for_all_and_their_keys_are_the_same() {
    let services = Services::new().await;
    let (one, other) = (services.start().await, services.start().await);
    let token = one.token("github-push", &[]);
    one.exchange(&token, "acme/api").await.access_token();
    assert_eq!(other.refusal(&token, "acme/api").await, "token-spent");
    let keys = async |service: &TestService| service.get("/.well-known/jwks.json").await.text;
    assert_eq!(keys(&one).await, keys(&other).await);
    let key = async |service: &TestService| service.get("/audit/key").await.text;
    assert_eq!(key(&one).await, key(&other).await);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_the_database_themselves_while_the_service_runs() {
    let services = Services::new().await;
    let service = services.start().await;
    let token = service.token("github-push", &[]);
    let id = service.exchange(&token, "acme/api").await.json()["decision_id"].clone();
    let folder = service.folder.path().to_owned();
    let asking = tokio::task::spawn_blocking(move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
            .current_dir(folder)
            .args(["audit", "list", "--format", "json"])
            .args(["--config", "countersign.toml", "--outcome", "allowed"])
            .output()
            .unwrap()
    });
    let output = asking.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(id.as_str().unwrap()), "{output:?}");
    service.stop().await;
}
