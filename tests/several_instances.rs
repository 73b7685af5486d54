//! Several instances of the service on one PostgreSQL: what they share, and what they hear of each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::clock::SystemClock;
use countersign::ledger::{Changes as _, Following, Instances as _, Presence, Topic};
use countersign::store::{PostgresOptions, PostgresSettings, PostgresStore};

use crate::support::postgres::shared;

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
        let settings = PostgresSettings::parse(&self.url).unwrap();
        let opening = tokio::task::spawn_blocking(|| {
            PostgresStore::open(settings, Arc::new(SystemClock), PostgresOptions::default())
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
    }
}

async fn heard(following: &mut Following) {
    let hearing = tokio::time::timeout(LIMIT, following.changed());
    hearing.await.expect("it was never heard");
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

/// Notes a change as an instance does, whose connection is cut before it can tell of it.
const UNTOLD: &str =
    "INSERT INTO countersign.changes AS c (kind, version) VALUES ('revocations', 1)
    ON CONFLICT (kind) DO UPDATE SET version = c.version + 1";

#[tokio::test]
async fn a_change_that_nobody_told_of_is_found() {
    let database = Database::new();
    let store = database.open().await;
    let mut following = store.following(Topic::Revocations);
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
    let mut following = store.following(Topic::Revocations);
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
        .sql(&format!("{UNTOLD}; NOTIFY countersign, 'revocations'"))
        .await;
    heard(&mut following).await;
    while database.sql(&cut).await == "0" {
        assert!(began.elapsed() < LIMIT, "it does not listen again");
    }
    close([store]).await;
}
