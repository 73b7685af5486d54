//! What is peculiar to a store on PostgreSQL: several instances, a server that fails, and the time of the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::clock::{FrozenClock, Seconds, UnixTime};
use countersign::directory::{FirstLoads as _, ProjectIds as _};
use countersign::ledger::{Denial, Ledger, Spend, Spent, Unrecorded};
use countersign::store::{PostgresError, PostgresOptions, PostgresSettings, PostgresStore};
use countersign::trust::ProjectPath;
use futures_util::future::join_all;

use super::fixture::*;
use super::outages::until_spent;
use crate::support::postgres::Cluster;

/// How long an exchange may wait for its answer while there is no database.
const AT_MOST: Duration = Duration::from_secs(8);

fn three(fixture: &Postgres) -> [PostgresStore; 3] {
    std::array::from_fn(|_| fixture.open())
}

#[test]
fn of_any_number_of_uses_on_any_number_of_instances_as_many_succeed_as_may() {
    let fixture = Postgres::new();
    let stores = three(&fixture);
    for max_uses in [1, 5] {
        let name = format!("{max_uses} times");
        let uses = (0..60).map(|number| {
            let store = &stores[number % 3];
            store.spend(at_most(max_uses, &name), record())
        });
        let spent = wait(join_all(uses));
        let numbers = spent
            .into_iter()
            .filter_map(|spent| spent.unwrap().number());
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=max_uses).collect::<Vec<_>>());
    }
    assert_eq!(fixture.sql("SELECT size FROM countersign.log_head"), "6");
}

#[test]
fn the_log_is_one_sequence_without_gaps_across_instances() {
    let fixture = Postgres::new();
    let stores = three(&fixture);
    let uses = (0..300).map(|number| {
        let spend = once(&format!("token {}", number / 2));
        stores[number % 3].spend(spend, record())
    });
    let spent = wait(join_all(uses)).into_iter().map(Result::unwrap);
    let indexes = spent.filter_map(|spent| match spent {
        Spent::Nth { index, .. } => Some(index),
        _ => None,
    });
    let mut indexes: Vec<u64> = indexes.collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..150).collect::<Vec<_>>());
    let gaps = "SELECT count(*) FROM (SELECT first, lag(first + count, 1, 0::bigint) OVER (ORDER BY first) AS before
                FROM countersign.log_batches) AS b WHERE first <> before";
    assert_eq!(fixture.sql(gaps), "0");
}

/// A session in which a statement was run, and that stays open.
pub struct Holder(
    #[expect(dead_code, reason = "it is open as long as this is")] tokio::runtime::Runtime,
);

impl Holder {
    pub fn of(fixture: &Postgres, statement: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (client, connection) = runtime
            .block_on(tokio_postgres::connect(&fixture.url, tokio_postgres::NoTls))
            .unwrap();
        runtime.spawn(connection);
        runtime.block_on(client.batch_execute(statement)).unwrap();
        runtime.spawn(async move {
            std::future::pending::<()>().await;
            drop(client);
        });
        Self(runtime)
    }
}

#[test]
fn a_token_that_was_spent_before_keeps_none_of_its_batch_from_being_done() {
    let fixture = Postgres::new();
    let store = fixture.open();
    wait(store.spend(once("old"), record())).unwrap();
    for round in 0..4 {
        let names = ["one", "old", "two", "three"].map(|name| match name {
            "old" => name.to_owned(),
            name => format!("{name} {round}"),
        });
        let asked = join_all(names.iter().map(|name| store.spend(once(name), record())));
        let spent: Vec<Spent> = wait(asked).into_iter().map(Result::unwrap).collect();
        let numbers: Vec<_> = spent.iter().map(Spent::number).collect();
        assert_eq!(numbers, [Some(1), None, Some(1), Some(1)], "round {round}");
    }
    let kept =
        "SELECT (SELECT count(*) FROM countersign.spent_tokens), size FROM countersign.log_head";
    assert_eq!(fixture.sql(kept), "13|13");
}

#[test]
fn a_snapshot_that_somebody_holds_slows_no_commit() {
    let fixture = Postgres::new();
    let store = fixture.open();
    wait(store.spend(once("first"), record())).unwrap();
    let holder = Holder::of(
        &fixture,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM countersign.log_head",
    );
    for number in 0..200 {
        wait(store.spend(once(&format!("token {number}")), record())).unwrap();
    }
    store.close();
    // What a session did is counted when it ends.
    let added = "SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname = 'spent_tokens'";
    let began = Instant::now();
    while fixture.sql(added) != "201" {
        assert!(began.elapsed() < AT_MOST, "{}", fixture.sql(added));
        std::thread::yield_now();
    }
    let replaced = "SELECT string_agg(relname, ' ') FROM pg_stat_user_tables
                    WHERE n_dead_tup + n_tup_upd + n_tup_del > 0";
    assert_eq!(
        fixture.sql(replaced),
        "",
        "versions that nobody can clean up"
    );
    drop(holder);
}

#[test]
fn a_commit_that_waits_too_long_for_the_end_of_the_log_leaves_nothing_behind() {
    let fixture = Postgres::new();
    let stores = three(&fixture);
    wait(stores[0].spend(once("first"), record())).unwrap();
    let holder = Holder::of(
        &fixture,
        "BEGIN; SELECT pg_advisory_xact_lock(x'637472737461696c'::bigint)",
    );
    let spent = wait(stores[1].spend(once("second"), record()));
    assert!(spent.is_err(), "{spent:?}");
    let locks = |granted: &str| {
        let locks = format!(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE l.locktype = 'advisory' AND d.datname = current_database() AND l.objid = x'7461696c'::bigint::oid
                 AND l.granted = {granted}"
        );
        fixture.sql(&locks)
    };
    // The server lets it wait for so long.
    while locks("false") != "0" {
        std::thread::yield_now();
    }
    assert_eq!(locks("true"), "1");
    drop(holder);
    until_spent(&stores[1], "second");
    let entries = "SELECT size FROM countersign.log_head";
    assert_eq!(fixture.sql(entries), "2");
    assert_eq!(locks("true"), "0");
}

#[test]
fn a_project_has_one_id_whichever_instances_give_it() {
    let fixture = Postgres::new();
    let stores = three(&fixture);
    let paths = |reversed: bool| {
        let path = |number| ProjectPath::parse(&format!("acme/p{number}")).unwrap();
        let mut paths: Vec<_> = (0..50).map(path).collect();
        if reversed {
            paths.reverse();
        }
        paths
    };
    let asked = join_all((0..3).map(|number| stores[number].ids_of(paths(number == 1))));
    let mut ids: Vec<_> = wait(asked).into_iter().map(Result::unwrap).collect();
    ids[1].reverse();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2]);
}

#[test]
fn ids_that_another_instance_pinned_or_reset_are_known_in_the_commit() {
    let fixture = Postgres::new();
    let [one, other, _] = three(&fixture);
    let names = names("api");
    wait(one.note_names(vec![names.clone()], noon())).unwrap();
    let spend = |store: &PostgresStore, token: &str, id: &str| {
        let wish = wish(names.clone(), &[("owner-id", id)]);
        wait(store.spend(once_as(token, wish), record())).unwrap()
    };
    // Both know the names as they were first loaded.
    for store in [&one, &other] {
        wait(store.name_states(vec![names.clone()])).unwrap();
    }
    assert_eq!(spend(&one, "first", "65").number(), Some(1));
    assert_eq!(
        spend(&other, "second", "66"),
        Spent::IdentityChanged(names.clone())
    );
    wait(other.reset_pin(names.clone(), "uid 0".into(), noon())).unwrap();
    assert_eq!(spend(&one, "third", "66").number(), Some(1));
    assert_eq!(spend(&other, "fourth", "66").number(), Some(1));
}

#[test]
fn instances_that_start_at_once_make_the_tables_once() {
    let url = crate::support::postgres::shared().database();
    std::thread::scope(|scope| {
        let open = || {
            let settings = PostgresSettings::parse(&url).unwrap();
            let clock = Arc::new(FrozenClock::at(noon()));
            PostgresStore::open(settings, clock, PostgresOptions::default())
        };
        let opening: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        for opened in opening {
            let store = opened.join().unwrap().unwrap();
            wait(store.check()).unwrap();
        }
    });
}

#[test]
fn a_job_that_the_database_refuses_fails_alone() {
    let fixture = Postgres::new();
    let store = fixture.open();
    fixture.sql("ALTER TABLE countersign.spent_tokens ADD CHECK (until <> 42)");
    let odd = Spend {
        until: UnixTime::from_millis(42),
        ..once("odd")
    };
    // The first is on its way while the others gather into one batch.
    let mut all = vec![store.spend(once("on its way"), record())];
    all.extend((0..5).map(|number| store.spend(once(&format!("before {number}")), record())));
    all.push(store.spend(odd, record()));
    all.extend((0..5).map(|number| store.spend(once(&format!("after {number}")), record())));
    let spent = wait(join_all(all));
    let failed = spent.iter().filter(|spent| spent.is_err()).count();
    assert_eq!(failed, 1, "{spent:?}");
    assert!(spent[6].is_err());
}

#[test]
fn what_has_expired_by_the_time_of_the_database_is_forgotten_and_records_are_not() {
    let fixture = Postgres::new();
    let store = fixture.open();
    let mut extended = at_most(2, "extended");
    wait(store.spend(extended.clone(), record())).unwrap();
    extended.until = extended.until.plus(Seconds(3600));
    wait(store.spend(extended.clone(), record())).unwrap();
    wait(store.spend(once("expired"), record())).unwrap();
    let denied = wait(store.record_denial(denial("expired", "not-trusted"))).unwrap();
    let key = denial("expired", "not-trusted").key;

    fixture.set_time(noon().plus(Seconds(3600)));
    wait(store.tidy()).unwrap();
    assert_eq!(
        wait(store.spend(once("expired"), record())).unwrap(),
        Spent::Exhausted,
        "its time is not over yet"
    );
    fixture.set_time(noon().plus(Seconds(3601)));
    wait(store.tidy()).unwrap();
    assert_eq!(
        wait(store.spend(extended, record())).unwrap(),
        Spent::Exhausted
    );
    assert_eq!(wait(store.denial_on_record(key)).unwrap(), None);
    assert!(wait(store.decision(denied)).unwrap().is_some());
    // It may be the very token that was forgotten.
    let unknown = wait(store.spend(once("expired"), record())).unwrap_err();
    assert!(unknown.0.contains("is not known"), "{unknown}");
    let longer = Spend {
        until: noon().plus(Seconds(36_000)),
        ..once("expired")
    };
    assert_eq!(
        wait(store.spend(longer, record())).unwrap().number(),
        Some(1)
    );
}

#[test]
fn thousands_of_expired_keys_are_forgotten_by_several_instances_at_once() {
    let fixture = Postgres::new();
    let stores = three(&fixture);
    fixture.sql(&format!(
        "INSERT INTO countersign.spent_tokens (key, uses, until, decision_id)
         SELECT sha256(n::text::bytea), 1, {}, gen_random_uuid() FROM generate_series(1, 3500) AS n",
        noon().millis() - 1
    ));
    let tidied = wait(join_all(stores.iter().map(PostgresStore::tidy)));
    tidied.into_iter().for_each(Result::unwrap);
    let left =
        "SELECT (SELECT count(*) FROM countersign.spent_tokens), until FROM countersign.forgotten";
    assert_eq!(fixture.sql(left), format!("0|{}", noon().millis() - 1));
}

#[test]
fn denials_that_instances_count_are_summed_up_when_their_hour_is_over() {
    let fixture = Postgres::new();
    let [one, other, _] = three(&fixture);
    let what = Unrecorded {
        issuer: "github".into(),
        reason: "not-trusted",
    };
    one.count_denial(what.clone(), noon());
    other.count_denial(what.clone(), noon().plus(Seconds(3599)));
    other.count_denial(what.clone(), noon().plus(Seconds(3600)));
    for store in [&one, &other] {
        wait(store.tidy()).unwrap();
    }
    let counts = "SELECT count FROM countersign.denial_counts ORDER BY hour";
    assert_eq!(fixture.sql(counts), "2\n1");
    one.count_denial(what, noon());
    one.close();
    assert_eq!(
        fixture.sql(counts),
        "3\n1",
        "a store that closes writes them down"
    );
    fixture.set_time(noon().plus(Seconds(3630)));
    wait(other.tidy()).unwrap();
    assert_eq!(fixture.sql(counts), "1");
    let leaf = "SELECT convert_from(leaves, 'UTF8') FROM countersign.log_batches";
    let leaf = fixture.sql(leaf);
    assert!(
        leaf.contains("\"denials-counted\"") && leaf.contains("\"count\":3"),
        "{leaf}"
    );
}

#[test]
fn the_time_of_a_store_is_that_of_the_database() {
    let fixture = Postgres::new();
    fixture.clock.set(noon().minus(Seconds(7200)));
    let store = fixture.open();
    assert_eq!(store.clock().now(), noon());
    fixture.clock.advance(Seconds(60));
    assert_eq!(store.clock().now(), noon().plus(Seconds(60)));
}

#[test]
fn a_clock_that_is_put_back_is_announced_once_and_uses_go_on() {
    let fixture = Postgres::new();
    let store = fixture.open();
    let at = |seconds: i64| {
        let mut record = record();
        record.at_millis = noon().millis() + seconds * 1000;
        record
    };
    let uses = [0, 3600, 3541, 3539, 3540, 0, 10];
    for (number, seconds) in uses.into_iter().enumerate() {
        let spend = once(&format!("token {number}"));
        assert_eq!(
            wait(store.spend(spend, at(seconds))).unwrap().number(),
            Some(1)
        );
    }
    // Before 3539 and before 0.
    assert_eq!(
        fixture.sql("SELECT size, put_back FROM countersign.log_head"),
        "9|6"
    );
    let together = [0, 7200, 7201, 100].map(|seconds| {
        let spend = once(&format!("together {seconds}"));
        store.spend(spend, at(seconds))
    });
    let spent = wait(join_all(together));
    assert!(spent.iter().all(Result::is_ok), "{spent:?}");
}

#[test]
fn a_log_that_lost_what_was_acknowledged_is_refused_until_a_restart() {
    let fixture = Postgres::new();
    let store = fixture.open();
    for name in ["one", "two"] {
        wait(store.spend(once(name), record())).unwrap();
    }
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    fixture.sql(cut);
    until_spent(&store, "three");
    fixture.sql(
        "DELETE FROM countersign.log_batches WHERE first = 2;
         DELETE FROM countersign.spent_tokens",
    );
    fixture.sql(cut);
    let refused = loop {
        match wait(store.spend(once("three"), record())) {
            Ok(spent) => panic!("{spent:?}"),
            Err(why) if why.0.contains("has lost") => break why,
            Err(_) => std::thread::yield_now(),
        }
    };
    assert!(refused.0.contains("2 entries and had 3"), "{refused}");
    let read = wait(store.denial_on_record(denial("a", "b").key)).unwrap_err();
    assert!(read.0.contains("has lost"), "{read}");
    store.close();
    until_spent(&fixture.open(), "three");
}

#[test]
fn a_denial_that_another_instance_recorded_has_its_name() {
    let fixture = Postgres::new();
    let stores = three(&fixture);
    let denials = (0..30).map(|number| {
        let denial: Denial = denial("one token", "not-trusted");
        stores[number % 3].record_denial(denial)
    });
    let ids = wait(join_all(denials)).into_iter().map(Result::unwrap);
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!(ids.len(), 1);
}

/// A certificate of its own authority for the address of the tests' servers, and its key.
fn certificate() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

/// Writes a file that the server may read.
fn file_of(cluster: &Cluster, name: &str, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = cluster.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&cluster.path().metadata().unwrap());
    std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
    path
}

#[test]
fn a_server_is_believed_by_its_certificate_and_asked_with_the_password_of_the_file() {
    let cluster = Cluster::new("fsync = off\nssl = on\npassword_encryption = 'scram-sha-256'");
    let (own, key) = certificate();
    let certificate_file = file_of(&cluster, "server.crt", &own);
    let key_file = file_of(&cluster, "server.key", &key);
    cluster.set(&format!(
        "ssl_cert_file = '{}'\nssl_key_file = '{}'",
        certificate_file.display(),
        key_file.display()
    ));
    let server = cluster.start();
    let url = format!("{}?sslmode=require", cluster.database());
    cluster.sql("postgres", "ALTER ROLE countersign PASSWORD 'one'");
    std::fs::write(
        cluster.data().join("pg_hba.conf"),
        "host postgres all 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    let password = cluster.path().join("password");
    let open = |trusted: &str, text: &str| {
        let mut settings = PostgresSettings::parse(&url).unwrap();
        let authorities = cluster.path().join("ca.pem");
        std::fs::write(&authorities, trusted).unwrap();
        std::fs::write(&password, text).unwrap();
        settings.ca_file = Some(authorities);
        settings.password_file = Some(password.clone());
        let clock = Arc::new(FrozenClock::at(noon()));
        PostgresStore::open(settings, clock, PostgresOptions::default())
    };
    let code = |opened: Result<PostgresStore, PostgresError>| match opened {
        Ok(_) => panic!("it was opened"),
        Err(error) => (error.code(), error.to_string()),
    };
    let (other, _) = certificate();
    let (stranger, said) = code(open(&other, "one\n"));
    assert_eq!(stranger, "database-unreachable", "{said}");
    let (wrong, said) = code(open(&own, "two\n"));
    assert_eq!(wrong, "database-unreachable");
    assert!(said.contains("28P01") && !said.contains("two"), "{said}");

    let store = open(&own, "one\n").unwrap();
    wait(store.spend(once("first"), record())).unwrap();
    // The password is changed while the service runs.
    cluster.sql("postgres", "ALTER ROLE countersign PASSWORD 'two'");
    std::fs::write(&password, "two\n").unwrap();
    server.stop();
    let _server = cluster.start();
    until_spent(&store, "second");
}
