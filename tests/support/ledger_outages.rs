//! What becomes of those who wait while a database is away, silent, or takes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign::audit::Record;
use countersign::clock::FrozenClock;
use countersign::ledger::{Ledger as _, Spent};
use countersign::metrics::Metrics;
use countersign::store::{Mishap, PostgresOptions, PostgresSettings, PostgresStore};
use futures_util::future::join_all;

use super::fixture::*;
use super::metrics::told;
use super::on_postgres::Holder;
use crate::support::postgres::{Cluster, Server};

/// How long anybody may wait, on a machine that is busy with other tests.
const AT_MOST: Duration = Duration::from_secs(8);

/// Spends a token as soon as the store can.
pub fn until_spent(store: &PostgresStore, name: &str) {
    let began = Instant::now();
    while let Err(why) = wait(store.spend(once(name), record())) {
        assert!(began.elapsed() < Duration::from_secs(30), "{why}");
        std::thread::yield_now();
    }
}

fn open_at(cluster: &Cluster) -> PostgresStore {
    open_with(cluster, PostgresOptions::default())
}

fn open_with(cluster: &Cluster, options: PostgresOptions) -> PostgresStore {
    let settings = PostgresSettings::parse(&cluster.database()).unwrap();
    let clock = Arc::new(FrozenClock::at(noon()));
    // By the time of this server, which is today's, what is spent at noon has long expired.
    let idle = Duration::from_secs(3600);
    PostgresStore::open(settings, clock, PostgresOptions { idle, ..options }).unwrap()
}

#[test]
fn while_the_server_is_stopped_everybody_is_told_soon_and_then_served_again() {
    let cluster = Cluster::new("fsync = off");
    let server = cluster.start();
    let store = open_at(&cluster);
    wait(store.spend(once("before"), record())).unwrap();
    server.stop();
    for number in 0..20 {
        let began = Instant::now();
        let name = format!("meanwhile {number}");
        assert!(wait(store.spend(once(&name), record())).is_err());
        assert!(wait(store.name_states(vec![names("api")])).is_err());
        assert!(wait(store.check()).is_err());
        assert!(began.elapsed() < AT_MOST);
    }
    let _server = cluster.start();
    until_spent(&store, "after");
    let spent = wait(store.spend(once("before"), record())).unwrap();
    assert_eq!(spent, Spent::Exhausted);
}

#[test]
fn a_server_that_does_not_answer_keeps_nobody_waiting() {
    let cluster = Cluster::new("fsync = off");
    let server = cluster.start();
    let metrics = Metrics::new([]);
    let options = PostgresOptions {
        metrics: metrics.store.clone(),
        ..PostgresOptions::default()
    };
    let store = open_with(&cluster, options);
    wait(store.spend(once("before"), record())).unwrap();
    let backends = cluster.sql(
        "postgres",
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'countersign'",
    );
    let signal = |name: &str| {
        for id in backends.lines() {
            let mut kill = std::process::Command::new("kill");
            crate::support::postgres::run(kill.args([&format!("-{name}"), id]));
        }
        server.signal(name);
    };
    signal("STOP");
    let uses = (0..50).map(|number| store.spend(once(&format!("late {number}")), record()));
    let began = Instant::now();
    let spent = wait(join_all(uses));
    assert!(spent.iter().all(Result::is_err));
    assert!(began.elapsed() < AT_MOST, "{:?}", began.elapsed());
    let too_slow = || {
        told(
            &metrics,
            "countersign_store_errors_total{kind=\"too-slow\"}",
        )
    };
    let waited = too_slow();
    assert!(waited > 0);
    assert!(wait(store.spend(once("later"), record())).is_err());
    assert_eq!(too_slow(), waited, "nobody is let wait in vain");
    signal("CONT");
    until_spent(&store, "after");
}

#[test]
fn a_commit_that_may_not_be_on_the_standby_is_not_acknowledged() {
    let cluster = Cluster::new("fsync = off");
    let server = cluster.start();
    let store = open_at(&cluster);
    wait(store.spend(once("before"), record())).unwrap();
    let restart = |server: Server, names: &str| {
        server.stop();
        cluster.set(&format!("synchronous_standby_names = '{names}'"));
        cluster.start()
    };
    let server = restart(server, "nobody");
    // It waits for a standby that is not there, and somebody ends the wait: on this server it is done.
    let spent = std::thread::scope(|scope| {
        let spending = scope.spawn(|| wait(store.spend(once("unconfirmed"), record())));
        while !spending.is_finished() {
            cluster.sql(
                "postgres",
                "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
                 WHERE wait_event = 'SyncRep' AND application_name = 'countersign'",
            );
        }
        spending.join().unwrap()
    });
    assert!(spent.is_err(), "{spent:?}");
    let _server = restart(server, "");
    until_spent(&store, "after");
    let spent = wait(store.spend(once("unconfirmed"), record())).unwrap();
    assert_eq!(
        spent,
        Spent::Exhausted,
        "it was done, and nobody has its token"
    );
}

/// While the database refuses every commit with an error of this state, so many uses are told so in time; then they go on.
fn all_are_told_that_commits_are_refused(state: &str, count: usize) {
    let fixture = Postgres::with(PostgresOptions::default());
    let store = fixture.open();
    wait(store.spend(once("before"), record())).unwrap();
    fixture.sql(&format!(
        "CREATE FUNCTION countersign.fails() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE 'on purpose' USING ERRCODE = '{state}'; END $$;
         CREATE TRIGGER fails BEFORE INSERT ON countersign.log_batches
         FOR EACH ROW EXECUTE FUNCTION countersign.fails()"
    ));
    let uses = (0..count).map(|number| store.spend(once(&format!("late {number}")), record()));
    let began = Instant::now();
    let spent = wait(join_all(uses));
    assert!(spent.iter().all(Result::is_err));
    assert!(began.elapsed() < AT_MOST, "{:?}", began.elapsed());
    fixture.sql("DROP FUNCTION countersign.fails CASCADE");
    until_spent(&store, "late 7");
}

#[test]
fn commits_that_the_server_aborts_again_and_again_keep_nobody_waiting() {
    all_are_told_that_commits_are_refused("40001", 50);
}

#[test]
fn what_the_database_refuses_for_good_is_told_to_everybody_and_stops_nobody() {
    all_are_told_that_commits_are_refused("23514", 200);
}

#[test]
fn what_was_refused_while_the_server_was_away_is_not_done_when_it_is_back() {
    let cluster = Cluster::new("fsync = off");
    let server = cluster.start();
    let store = open_at(&cluster);
    wait(store.spend(once("before"), record())).unwrap();
    server.stop();
    let refused = ["one", "two", "three"];
    for name in refused {
        assert!(wait(store.spend(once(name), record())).is_err());
    }
    let _server = cluster.start();
    until_spent(&store, "after");
    for name in refused {
        let spent = wait(store.spend(once(name), record())).unwrap();
        assert!(
            matches!(spent, Spent::Nth { number: 1, .. }),
            "{name}: {spent:?}"
        );
    }
}

/// A record of so many seconds after noon.
fn at(seconds: i64) -> Record {
    let mut record = record();
    record.at_millis = noon().millis() + seconds * 1000;
    record
}

#[test]
fn a_clock_that_is_put_back_is_announced_once_also_if_the_answer_is_lost() {
    let number = AtomicUsize::new(0);
    // The first, the one that is refused as it is behind, and the one that says so.
    let mishap = move || match number.fetch_add(1, Ordering::SeqCst) {
        2 => Some(Mishap::LostAfter),
        _ => None,
    };
    let fixture = Postgres::new();
    let store = fixture.open_with(PostgresOptions {
        mishap: Some(Arc::new(mishap)),
        ..PostgresOptions::default()
    });
    wait(store.spend(once("first"), at(3600))).unwrap();
    let spent = wait(store.spend(once("second"), at(0))).unwrap();
    assert_eq!(spent.number(), Some(1));
    let head = "SELECT size, put_back FROM countersign.log_head";
    assert_eq!(fixture.sql(head), "3|1");
}

#[test]
fn a_clock_that_is_put_back_is_announced_once_by_all_instances_together() {
    let fixture = Postgres::new();
    let stores = [fixture.open(), fixture.open(), fixture.open()];
    for round in 1..=10 {
        wait(stores[0].spend(once(&format!("before {round}")), at(round * 3600))).unwrap();
        let uses = stores.iter().zip(0..).map(|(store, number)| {
            let spend = once(&format!("late {round} {number}"));
            store.spend(spend, at(round * 3600 - 1800))
        });
        let spent = wait(join_all(uses.collect::<Vec<_>>()));
        assert!(spent.iter().all(Result::is_ok), "{spent:?}");
        let size = "SELECT size FROM countersign.log_head";
        assert_eq!(fixture.sql(size), (round * 5).to_string());
    }
}

#[test]
fn who_comes_while_a_commit_hangs_is_told_in_time_too() {
    let metrics = Metrics::new([]);
    let fixture = Postgres::with(PostgresOptions {
        metrics: metrics.store.clone(),
        ..PostgresOptions::default()
    });
    let store = fixture.open();
    wait(store.spend(once("before"), record())).unwrap();
    let holder = Holder::of(
        &fixture,
        "BEGIN; SELECT pg_advisory_xact_lock(x'637472737461696c'::bigint)",
    );
    let began = Instant::now();
    let first = store.spend(once("first"), record());
    let others = async {
        while fixture.sql(WAITS) != "1" {
            assert!(began.elapsed() < AT_MOST, "nobody waits for the lock");
        }
        let others = (0..50).map(|number| store.spend(once(&format!("late {number}")), record()));
        join_all(others).await
    };
    let (first, others) = wait(async { futures_util::join!(first, others) });
    assert!(first.is_err());
    assert!(others.iter().all(Result::is_err));
    assert!(began.elapsed() < AT_MOST, "{:?}", began.elapsed());
    drop(holder);
    until_spent(&store, "late 7");
    store.close();
    assert_eq!(told(&metrics, "countersign_store_waiting_changes"), 0);
}

/// How many wait for the end of the log.
const WAITS: &str = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                     WHERE l.locktype = 'advisory' AND d.datname = current_database() AND NOT l.granted";

#[test]
fn a_start_whose_turn_does_not_come_ends_and_says_how_to_find_who_has_it() {
    let fixture = Postgres::new();
    fixture.open().close();
    let holder = Holder::of(
        &fixture,
        "SELECT pg_advisory_lock(x'6374727369676e'::bigint)",
    );
    let settings = || PostgresSettings::parse(&fixture.url).unwrap();
    let options = PostgresOptions {
        turn: Duration::from_millis(10),
        ..PostgresOptions::default()
    };
    let opened = PostgresStore::open(settings(), fixture.clock.clone(), options);
    let Err(fault) = opened else {
        panic!("it was opened")
    };
    assert_eq!(fault.code(), "database-not-migrated");
    let said = fault.to_string();
    let query = said
        .split('`')
        .find(|part| part.starts_with("SELECT"))
        .unwrap();
    let held = fixture.sql(query);
    let query = "SELECT pid FROM pg_stat_activity
                 WHERE query LIKE 'SELECT pg_advisory_lock%' AND datname = current_database()";
    assert_eq!(held, fixture.sql(query), "{said}");
    drop(holder);
    fixture.open().close();
}
