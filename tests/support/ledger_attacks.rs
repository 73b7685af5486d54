//! What somebody tries who is between an instance and its database, or may do a little in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::directory::FirstLoads as _;
use countersign::ledger::{AuditLog as _, Kept, Ledger as _, Spent};
use countersign::store::{Mishap, PostgresOptions, PostgresSettings, PostgresStore};
use futures_util::future::join_all;

use super::fixture::*;

/// A store whose second commit is done and its answer lost. It tells of that, and asks again once it is told to.
fn store_that_hears_late(fixture: &Postgres) -> (PostgresStore, Receiver<()>, Sender<()>) {
    let (lost, is_lost) = channel();
    let (go_on, goes_on) = channel::<()>();
    let (lost, goes_on) = (Mutex::new(lost), Mutex::new(goes_on));
    let number = AtomicUsize::new(0);
    let mishap = move || match number.fetch_add(1, Ordering::SeqCst) {
        1 => Some(Mishap::LostAfter),
        2 => {
            lost.lock().unwrap().send(()).unwrap();
            goes_on.lock().unwrap().recv().unwrap();
            None
        }
        _ => None,
    };
    let store = fixture.open_with(PostgresOptions {
        mishap: Some(Arc::new(mishap)),
        patience: Duration::from_secs(60),
        ..PostgresOptions::default()
    });
    wait(store.spend(once("to warm up"), record())).unwrap();
    (store, is_lost, go_on)
}

#[test]
fn a_use_whose_answer_is_lost_is_not_done_twice_when_another_instance_uses_the_token_meanwhile() {
    for max_uses in [2, 3] {
        let fixture = Postgres::new();
        let (store, is_lost, go_on) = store_that_hears_late(&fixture);
        let other = fixture.open();
        let use_of = || at_most(max_uses, "token");
        let (late, between) = std::thread::scope(|scope| {
            let late = scope.spawn(|| wait(store.spend(use_of(), record())));
            is_lost.recv().unwrap();
            let between = wait(other.spend(use_of(), record())).unwrap();
            go_on.send(()).unwrap();
            (late.join().unwrap().unwrap(), between)
        });
        assert_eq!(between.number(), Some(2));
        assert_eq!(
            late,
            Spent::Nth {
                number: 1,
                index: 1
            },
            "{max_uses}"
        );
        assert_eq!(wait(store.tree()).unwrap().size, 3);
    }
}

#[test]
fn a_first_use_of_names_whose_answer_is_lost_is_answered_as_what_it_was() {
    let fixture = Postgres::new();
    let (store, is_lost, go_on) = store_that_hears_late(&fixture);
    let wish = wish(names("api"), &[("owner-id", "65")]);
    let spent = std::thread::scope(|scope| {
        let late = scope.spawn(|| wait(store.spend(once_as("token", wish), record())));
        is_lost.recv().unwrap();
        go_on.send(()).unwrap();
        late.join().unwrap()
    });
    assert_eq!(
        spent.unwrap(),
        Spent::Nth {
            number: 1,
            index: 1
        }
    );
}

#[test]
fn who_may_make_functions_in_a_schema_that_is_looked_through_lets_no_spent_token_in() {
    let fixture = Postgres::new();
    let store = fixture.open();
    wait(store.spend(once("token"), record())).unwrap();
    store.close();
    // Nearer to the types that are asked with than what the server has, and so taken before it.
    fixture.sql(
        "CREATE FUNCTION public.nothing(integer[], bigint) RETURNS integer[] LANGUAGE sql AS 'SELECT NULL::integer[]';
         CREATE AGGREGATE public.array_agg(bigint) (SFUNC = public.nothing, STYPE = integer[])",
    );
    let store = fixture.open();
    let spent = wait(store.spend(once("token"), record()));
    assert_eq!(spent.unwrap(), Spent::Exhausted);
}

#[test]
fn questions_of_many_readers_take_no_connection_from_the_names_that_an_exchange_reads() {
    let fixture = Postgres::new();
    let mut settings = PostgresSettings::parse(&fixture.url).unwrap();
    settings.connections = 4;
    let options = PostgresOptions::default();
    let store = PostgresStore::open(settings, fixture.clock.clone(), options).unwrap();
    wait(store.note_names(vec![names("api")], noon())).unwrap();
    wait(store.spend(once("to warm up"), record())).unwrap();
    // Each question takes longer than an exchange may.
    fixture.sql(
        "ALTER TABLE countersign.checkpoints RENAME TO quick;
         CREATE VIEW countersign.checkpoints AS SELECT q.* FROM pg_sleep(3) AS s LEFT JOIN countersign.quick q ON true",
    );
    let readers = join_all((0..8).map(|_| store.checkpoint(Kept::Signed)));
    let exchange = async {
        // After the readers.
        tokio::task::yield_now().await;
        let wish = wish(names("api"), &[("owner-id", "65")]);
        store.name_states(vec![names("api")]).await?;
        store.spend(once_as("token", wish), record()).await
    };
    let (_, spent) = wait(futures_util::future::join(readers, exchange));
    assert_eq!(spent.unwrap().number(), Some(1));
    store.close();
}

#[test]
fn an_instance_that_only_looked_on_is_not_taken_in_by_a_log_that_lost_entries() {
    let fixture = Postgres::new();
    let store = fixture.open();
    for name in ["one", "two", "three"] {
        wait(store.spend(once(name), record())).unwrap();
    }
    let onlooker = fixture.open();
    store.close();
    fixture.sql(
        "DELETE FROM countersign.log_batches WHERE first = 2;
         DELETE FROM countersign.spent_tokens",
    );
    fixture.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    let refused = loop {
        match wait(onlooker.spend(once("three"), record())) {
            Ok(spent) => panic!("{spent:?}"),
            Err(why) if why.0.contains("has lost") => break why,
            Err(_) => std::thread::yield_now(),
        }
    };
    assert!(refused.0.contains("2 entries and had 3"), "{refused}");
}

#[test]
fn batches_of_three_instances_on_the_same_tokens_and_names_in_opposite_orders_never_wait_for_each_other()
 {
    let fixture = Postgres::new();
    let stores: [PostgresStore; 3] = std::array::from_fn(|_| fixture.open());
    let all: Vec<_> = (0..12).map(|number| names(&format!("r{number}"))).collect();
    wait(stores[0].note_names(all.clone(), noon())).unwrap();
    for round in 0..8 {
        let uses = (0..180).map(|number| {
            let turn = number / 3;
            let turn = match number % 3 {
                0 => turn,
                1 => 59 - turn,
                _ => (turn * 7) % 60,
            };
            let mut spend = at_most(2, &format!("token {round} {turn}"));
            let one = wish(all[turn % 12].clone(), &[("owner-id", "65")]);
            let other = wish(all[(turn + 5 + round) % 12].clone(), &[("owner-id", "65")]);
            spend.pins = if number % 2 == 0 {
                vec![one, other]
            } else {
                vec![other, one]
            };
            stores[number % 3].spend(spend, record())
        });
        let spent = wait(join_all(uses)).into_iter().map(Result::unwrap);
        assert_eq!(spent.filter_map(|spent| spent.number()).count(), 120);
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(fixture.sql(deadlocks), "0");
}

#[test]
fn of_instances_whose_connections_break_together_as_many_uses_are_done_as_are_answered() {
    let fixture = Postgres::failing();
    let stores: [PostgresStore; 3] = std::array::from_fn(|_| fixture.open());
    let mut answered = 0;
    for round in 0..20 {
        let uses = (0..30).map(|number| {
            let spend = at_most(4, &format!("token {round} {}", number % 2));
            stores[number % 3].spend(spend, record())
        });
        let spent = wait(join_all(uses)).into_iter().map(Result::unwrap);
        let mut numbers: Vec<_> = spent.filter_map(|spent| spent.number()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 1, 2, 2, 3, 3, 4, 4], "{round}");
        answered += numbers.len() as u64;
    }
    assert_eq!(wait(stores[0].tree()).unwrap().size, answered);
}

/// A server on loopback that answers whatever it is told with `octets` again and again, and its address.
fn chatter(octets: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let much = octets.repeat(4096);
                let mut told = [0; 4096];
                let asked = std::io::Read::read(&mut stream, &mut told);
                if octets.is_empty() {
                    while std::io::Read::read(&mut stream, &mut told).is_ok_and(|read| read > 0) {}
                }
                while asked.is_ok() && std::io::Write::write_all(&mut stream, &much).is_ok() {}
            });
        }
    });
    format!("postgres://countersign@127.0.0.1:{port}/cs")
}

#[test]
fn a_server_that_talks_without_end_or_not_at_all_is_given_up() {
    // Nothing; no protocol; a message of two gibioctets; notices; parameters; that all is well, before it was asked.
    let spoken: [&[u8]; 6] = [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"R\x7f\xff\xff\xff",
        b"N\x00\x00\x00\x0eSWARNING\x00\x00",
        b"S\x00\x00\x00\x08a\x00b\x00",
        b"R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I",
    ];
    for octets in spoken {
        let settings = PostgresSettings::parse(&chatter(octets)).unwrap();
        let clock = Arc::new(countersign::clock::FrozenClock::at(noon()));
        let began = std::time::Instant::now();
        let opened = PostgresStore::open(settings, clock, PostgresOptions::default());
        let Err(fault) = opened else {
            panic!("it was opened")
        };
        assert_eq!(fault.code(), "database-unreachable", "{fault}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn of_instances_whose_connections_break_together_all_let_the_same_id_in() {
    let fixture = Postgres::failing();
    let stores: [PostgresStore; 3] = std::array::from_fn(|_| fixture.open());
    for round in 0..15 {
        let names = names(&format!("repository {round}"));
        let uses = (0..18).map(|number| {
            let id = if number % 2 == 0 { "65" } else { "66" };
            let wish = wish(names.clone(), &[("owner-id", id)]);
            let spend = once_as(&format!("token {round} {number}"), wish);
            stores[number % 3].spend(spend, record())
        });
        let spent = wait(join_all(uses)).into_iter().map(Result::unwrap);
        let mut allowed = [0, 0];
        for (number, spent) in spent.enumerate() {
            allowed[number % 2] += usize::from(spent.number().is_some());
        }
        assert!(matches!(allowed, [9, 0] | [0, 9]), "{round}: {allowed:?}");
    }
    // One entry for each use, and one for what each round pinned first.
    assert_eq!(wait(stores[0].tree()).unwrap().size, 15 * (9 + 1));
}
