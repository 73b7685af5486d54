//! The stores: one suite for all of them, and stops between any two steps.
#[path = "support/ledger_attacks.rs"]
mod attacks_on_postgres;
#[path = "support/ledger_log.rs"]
mod audit_log;
#[path = "support/ledger_conformance.rs"]
mod conformance;
#[path = "support/ledger_damage.rs"]
mod damage;
#[path = "support/ledger_fixture.rs"]
mod fixture;
#[path = "support/ledger_flips.rs"]
mod flips;
#[path = "support/ledger_full_disk.rs"]
mod full_disk;
#[path = "support/ledger_instances.rs"]
mod instances;
#[path = "support/ledger_log_stops.rs"]
mod log_stops;
#[path = "support/ledger_metrics.rs"]
mod metrics;
#[path = "support/ledger_postgres.rs"]
mod on_postgres;
#[path = "support/ledger_outages.rs"]
mod outages;
#[path = "support/ledger_pins.rs"]
mod pins;
#[path = "support/ledger_stops.rs"]
mod stops;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign::audit::Happening;
use countersign::clock::{FrozenClock, Seconds};
use countersign::ledger::{DenialAllowance, Ledger, Spend, Spent, Unrecorded};
use countersign::store::{EmbeddedStore, OpenError, Options, Step};

use crate::support::log;
use fixture::*;

mod the_embedded_store {
    crate::ledger::conformance::every_store_keeps_its_promises!(
        crate::ledger::fixture::Embedded::new()
    );
    crate::ledger::pins::every_store_remembers_names!(crate::ledger::fixture::Embedded::new());
    crate::ledger::audit_log::every_store_keeps_the_log!(crate::ledger::fixture::Embedded::new());
    crate::ledger::instances::every_store_can_be_shared!(crate::ledger::fixture::Embedded::new());
}

mod the_store_on_postgresql {
    crate::ledger::conformance::every_store_keeps_its_promises!(
        crate::ledger::fixture::Postgres::new()
    );
    crate::ledger::pins::every_store_remembers_names!(crate::ledger::fixture::Postgres::new());
    crate::ledger::audit_log::every_store_keeps_the_log!(crate::ledger::fixture::Postgres::new());
    crate::ledger::instances::every_store_can_be_shared!(crate::ledger::fixture::Postgres::new());
}

mod a_store_whose_connections_break {
    crate::ledger::conformance::every_store_keeps_its_promises!(
        crate::ledger::fixture::Postgres::failing()
    );
    crate::ledger::pins::every_store_remembers_names!(crate::ledger::fixture::Postgres::failing());
    crate::ledger::audit_log::every_store_keeps_the_log!(
        crate::ledger::fixture::Postgres::failing()
    );
    crate::ledger::instances::every_store_can_be_shared!(
        crate::ledger::fixture::Postgres::failing()
    );
}

fn open_error(path: &Path) -> OpenError {
    let clock = Arc::new(FrozenClock::at(noon()));
    match EmbeddedStore::open(path, clock, Options::default()) {
        Ok(_) => panic!("`{}` was opened", path.display()),
        Err(error) => error,
    }
}

#[test]
fn a_folder_that_is_in_use_is_not_opened_again() {
    let fixture = Embedded::new();
    let store = fixture.open();
    let error = open_error(fixture.path());
    assert_eq!(error.code(), "data-in-use");
    assert!(error.to_string().contains("stop the other process"));
    store.close();
    fixture.open().close();
}

#[test]
fn a_new_data_folder_is_for_its_user_only() {
    let fixture = Embedded::new();
    let path = fixture.path().join("a/b");
    open(&path).close();
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_path_that_cannot_be_a_data_folder_is_refused_with_its_reason() {
    let fixture = Embedded::new();
    let file = fixture.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(open_error(&file).code(), "data-not-a-folder");
    let below = file.join("below");
    assert_eq!(open_error(&below).code(), "data-not-a-folder");
    let foreign = Path::new("/sys/kernel/countersign");
    assert_eq!(open_error(foreign).code(), "data-not-writable");
}

#[test]
fn a_store_of_a_newer_program_or_of_another_one_is_left_alone() {
    let fixture = Embedded::new();
    fixture.open().close();
    let write = |key: &[u8], value: &[u8]| {
        let db = sled::open(fixture.path().join("index")).unwrap();
        db.insert(key, value).unwrap();
    };
    write(b"meta/format", &4_u32.to_be_bytes());
    let error = open_error(fixture.path());
    assert_eq!(error.code(), "data-newer");
    assert!(error.to_string().contains("format 4"), "{error}");
    write(b"meta/format", &2_u32.to_be_bytes());
    let error = open_error(fixture.path());
    assert_eq!(error.code(), "data-older");
    assert!(error.to_string().contains("format 2"), "{error}");
    write(b"meta/format", b"?");
    assert_eq!(open_error(fixture.path()).code(), "data-foreign");
}

#[test]
fn a_closed_store_answers_that_it_is_unavailable() {
    let fixture = Embedded::new();
    let store = fixture.open();
    wait(store.spend(once("before"), record())).unwrap();
    store.close();
    store.close();
    assert!(wait(store.spend(once("after"), record())).is_err());
    assert!(wait(store.check()).is_err());
    let id = record().decision_id;
    assert!(wait(store.decision(id)).is_err());
}

#[test]
fn what_was_accepted_before_the_store_closed_is_on_disk() {
    let fixture = Embedded::new();
    let store = fixture.open();
    let mut waiting: Vec<_> = (0..50)
        .map(|number| store.spend(once(&number.to_string()), record()))
        .collect();
    for spend in &mut waiting {
        // Polled once, so that it is accepted; who asked goes away.
        let _ = futures_util::FutureExt::now_or_never(spend);
    }
    drop(waiting);
    store.close();
    let store = fixture.open();
    for number in 0..50 {
        let spent = wait(store.spend(once(&number.to_string()), record())).unwrap();
        assert_eq!(spent, Spent::Exhausted, "{number}");
    }
}

#[test]
fn what_finds_the_queue_full_is_refused_and_the_rest_is_served() {
    let (reached, at_step) = sync_channel::<()>(0);
    let (go_on, may_go_on) = sync_channel::<()>(0);
    let may_go_on = Mutex::new(may_go_on);
    let stand_still = move |step| {
        if step == Step::Decided {
            let _ = reached.send(());
            let _ = may_go_on.lock().unwrap().recv();
        }
        Ok(())
    };
    let fixture = Embedded::new();
    let store = fixture.open_with(Options {
        waiting: 4,
        at_step: Some(Arc::new(stand_still)),
        ..Options::default()
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| wait(store.spend(once("first"), record())));
        at_step.recv().unwrap();
        let mut waiting: Vec<_> = (0..5)
            .map(|number| store.spend(once(&number.to_string()), record()))
            .collect();
        let polled: Vec<_> = waiting
            .iter_mut()
            .map(futures_util::FutureExt::now_or_never)
            .collect();
        assert!(polled[..4].iter().all(Option::is_none));
        assert!(polled[4].as_ref().unwrap().is_err());
        go_on.send(()).unwrap();
        assert!(first.join().unwrap().is_ok());
        at_step.recv().unwrap();
        go_on.send(()).unwrap();
        for spend in waiting.into_iter().take(4) {
            assert_eq!(wait(spend).unwrap().number(), Some(1));
        }
        drop(go_on);
        drop(at_step);
    });
}

#[test]
fn nothing_is_answered_as_on_record_before_it_is_on_disk() {
    let fixture = Embedded::new();
    let key = denial("early", "not-trusted").key;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store: Arc<Mutex<Option<EmbeddedStore>>> = Arc::default();
    let look = {
        let (store, seen) = (store.clone(), seen.clone());
        move |step| {
            if ![Step::Decided, Step::Written, Step::Synced].contains(&step) {
                return Ok(());
            }
            let store = store.lock().unwrap().clone();
            let found = store.map(|store| wait(store.denial_on_record(key)).unwrap());
            seen.lock().unwrap().push((step, found.flatten().is_some()));
            Ok(())
        }
    };
    let opened = fixture.open_with(Options {
        at_step: Some(Arc::new(look)),
        ..Options::default()
    });
    *store.lock().unwrap() = Some(opened.clone());
    let id = wait(opened.record_denial(denial("early", "not-trusted"))).unwrap();
    let steps = [
        (Step::Decided, false),
        (Step::Written, false),
        (Step::Synced, false),
    ];
    assert_eq!(*seen.lock().unwrap(), steps);
    *store.lock().unwrap() = None;
    assert_eq!(wait(opened.denial_on_record(key)).unwrap(), Some(id));
}

#[test]
fn what_has_expired_is_forgotten_and_what_was_extended_is_not() {
    let fixture = Embedded::new();
    let store = fixture.open();
    let mut extended = at_most(2, "extended");
    wait(store.spend(extended.clone(), record())).unwrap();
    extended.until = extended.until.plus(Seconds(3600));
    wait(store.spend(extended.clone(), record())).unwrap();
    let mut shortened = at_most(2, "shortened");
    shortened.until = shortened.until.plus(Seconds(3600));
    wait(store.spend(shortened.clone(), record())).unwrap();
    shortened.until = noon();
    wait(store.spend(shortened.clone(), record())).unwrap();
    wait(store.spend(once("expired"), record())).unwrap();
    let denied = wait(store.record_denial(denial("expired", "not-trusted"))).unwrap();

    fixture.clock.advance(Seconds(3600));
    wait(store.spend(once("makes a commit"), record())).unwrap();
    let spent = wait(store.spend(once("expired"), record())).unwrap();
    assert_eq!(spent, Spent::Exhausted, "its time is not over yet");

    fixture.clock.advance(Seconds(1));
    wait(store.spend(once("makes another"), record())).unwrap();
    let again = |spend| wait(store.spend(spend, record())).unwrap();
    assert_eq!(again(extended), Spent::Exhausted);
    assert_eq!(again(shortened), Spent::Exhausted);
    assert_eq!(again(remembered_longer("expired")).number(), Some(1));
    let key = denial("expired", "not-trusted").key;
    assert_eq!(wait(store.denial_on_record(key)).unwrap(), None);
    let kept = wait(store.decision(denied)).unwrap();
    assert!(kept.is_some(), "records are never forgotten");
}

/// Opens a store that tidies without pause, and tells of each commit.
fn open_restless(fixture: &Embedded) -> (EmbeddedStore, Receiver<()>) {
    let (committed, commits) = sync_channel(16);
    let store = fixture.open_with(Options {
        idle: Duration::from_millis(1),
        at_step: Some(Arc::new(move |step| {
            if step == Step::Synced {
                let _ = committed.send(());
            }
            Ok(())
        })),
        ..Options::default()
    });
    (store, commits)
}

#[test]
fn a_store_with_nothing_to_do_forgets_what_has_expired() {
    let fixture = Embedded::new();
    let store = fixture.open();
    let futures = (0..1200).map(|number| store.spend(once(&format!("old {number}")), record()));
    let spent = wait(futures_util::future::join_all(futures));
    assert!(spent.into_iter().all(|spent| spent.is_ok()));
    store.close();

    fixture.clock.advance(Seconds(7200));
    let (store, commits) = open_restless(&fixture);
    drop(commits);
    let began = Instant::now();
    for number in (99..1200).step_by(100) {
        let again = remembered_longer(&format!("old {number}"));
        // A refused spend writes nothing, and so takes nothing along that has expired.
        while wait(store.spend(again.clone(), record())).unwrap() == Spent::Exhausted {
            assert!(began.elapsed().as_secs() < 30, "{number} is still there");
        }
    }
}

/// A spend whose key is the same, and whose token expires long after all others.
fn remembered_longer(name: &str) -> Spend {
    Spend {
        until: noon().plus(Seconds(36_000)),
        ..once(name)
    }
}

#[test]
fn what_may_have_been_forgotten_is_not_taken_for_unspent() {
    let fixture = Embedded::new();
    let store = fixture.open();
    wait(store.spend(once("spent"), record())).unwrap();
    fixture.clock.advance(Seconds(7200));
    wait(store.spend(remembered_longer("makes a commit"), record())).unwrap();
    store.close();
    fixture.clock.set(noon());
    let store = fixture.open();
    for name in ["spent", "never spent"] {
        assert!(wait(store.spend(once(name), record())).is_err(), "{name}");
    }
    let spent = wait(store.spend(remembered_longer("another"), record())).unwrap();
    assert_eq!(spent.number(), Some(1));
}

fn unrecorded(reason: &'static str) -> Unrecorded {
    Unrecorded {
        issuer: "github".into(),
        reason,
    }
}

/// What the log counts: reason, hours since noon, and how many.
fn counted(store: &EmbeddedStore) -> Vec<(String, i64, u64)> {
    let events = wait(log::events(store, "denials-counted")).into_iter();
    let counts = events.map(|event| match event.what {
        Happening::DenialsCounted {
            reason,
            hour_millis,
            count,
            ..
        } => (reason, (hour_millis - noon().millis()) / 3_600_000, count),
        other => panic!("{other:?}"),
    });
    counts.collect()
}

#[test]
fn counted_denials_are_in_the_log_when_their_hour_is_over() {
    let fixture = Embedded::new();
    let store = fixture.open();
    store.count_denial(unrecorded("not-trusted"), noon().plus(Seconds(3599)));
    store.count_denial(unrecorded("not-trusted"), noon());
    wait(store.spend(once("commit"), record())).unwrap();
    assert_eq!(counted(&store), [], "there may be more of them");
    store.count_denial(unrecorded("not-trusted"), noon());
    store.count_denial(unrecorded("not-trusted"), noon().plus(Seconds(3600)));
    store.close();

    fixture.clock.advance(Seconds(3600));
    let store = fixture.open();
    wait(store.spend(once("another"), record())).unwrap();
    let first = ("not-trusted".to_owned(), 0, 3);
    assert!(counted(&store).contains(&first));
    store.count_denial(unrecorded("token-expired"), noon());
    fixture.clock.advance(Seconds(3600));
    wait(store.spend(once("a third"), record())).unwrap();
    let late = ("token-expired".to_owned(), 0, 1);
    let second = ("not-trusted".to_owned(), 1, 1);
    assert_eq!(counted(&store), [first, late, second]);
    wait(store.spend(remembered_longer("a fourth"), record())).unwrap();
    assert_eq!(counted(&store).len(), 3, "each is counted once");
}

#[test]
fn counted_denials_reach_the_log_although_nothing_else_happens() {
    let fixture = Embedded::new();
    let (store, commits) = open_restless(&fixture);
    store.count_denial(unrecorded("not-trusted"), noon());
    commits.recv().unwrap();
    fixture.clock.advance(Seconds(3600));
    let began = Instant::now();
    while counted(&store).is_empty() {
        assert!(began.elapsed().as_secs() < 30, "it is not in the log");
    }
    assert_eq!(counted(&store), [("not-trusted".to_owned(), 0, 1)]);
}

#[test]
fn a_flood_of_a_hundred_thousand_denials_leaves_sixty_records_and_one_count() {
    let fixture = Embedded::new();
    let store = fixture.open();
    let allowance = DenialAllowance::default();
    let mut names = Vec::new();
    for number in 0..100_000 {
        if allowance.take("github", "acme", noon()) {
            let denial = denial(&format!("flood {number}"), "not-trusted");
            names.push(wait(store.record_denial(denial)).unwrap());
        } else {
            store.count_denial(unrecorded("not-trusted"), noon());
        }
    }
    store.close();
    fixture.clock.advance(Seconds(3600));
    let store = fixture.open();
    wait(store.spend(once("the next hour"), record())).unwrap();
    assert_eq!(names.len(), 60);
    let rest = ("not-trusted".to_owned(), 0, 100_000 - 60);
    assert_eq!(counted(&store), [rest]);
    let size = octets_below(fixture.path());
    assert!(size <= 2 << 20, "{size} octets for sixty records");
}

fn octets_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    let sizes = entries.map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            octets_below(&path)
        } else {
            path.metadata().unwrap().len()
        }
    });
    sizes.sum()
}

#[test]
fn no_value_is_kept_in_a_file_that_is_never_synced() {
    let fixture = Embedded::new();
    let store = fixture.open();
    for number in 0..30 {
        let spends = (0..10).map(|spend| {
            let name = format!("long {number} {spend}");
            store.spend(once(&name), large_record(9000 + number * 500))
        });
        let spent = wait(futures_util::future::join_all(spends));
        assert!(spent.into_iter().all(|spent| spent.is_ok()));
        let blobs = std::fs::read_dir(fixture.path().join("index/blobs")).unwrap();
        assert_eq!(blobs.count(), 0);
    }
}

#[test]
fn without_room_nothing_is_promised_until_there_is_room_again() {
    let free = Arc::new(AtomicU64::new(1 << 30));
    let fixture = Embedded::new();
    let store = fixture.open_with(Options {
        free_space: Some({
            let free = free.clone();
            Arc::new(move || Ok(free.load(Ordering::SeqCst)))
        }),
        ..Options::default()
    });
    let kept = record();
    let id = kept.decision_id;
    wait(store.spend(once("before"), kept)).unwrap();
    free.store(31 << 20, Ordering::SeqCst);
    let refused = wait(store.spend(once("full"), record())).unwrap_err();
    assert!(refused.to_string().contains("disk is full"), "{refused}");
    assert!(wait(store.check()).is_err());
    assert!(wait(store.record_denial(denial("full", "not-trusted"))).is_err());
    assert!(wait(store.decision(id)).unwrap().is_some());
    store.count_denial(unrecorded("not-trusted"), noon());

    free.store(1 << 30, Ordering::SeqCst);
    wait(store.check()).unwrap();
    let spent = wait(store.spend(once("full"), record())).unwrap();
    assert_eq!(spent.number(), Some(1));
    fixture.clock.advance(Seconds(3600));
    wait(store.spend(once("an hour later"), record())).unwrap();
    assert_eq!(counted(&store), [("not-trusted".to_owned(), 0, 1)]);
}
