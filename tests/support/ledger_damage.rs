//! A log of which something was changed behind the store's back.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use countersign::audit::Filter;
use countersign::clock::{FrozenClock, Seconds};
use countersign::ledger::{AuditLog, Kept, Ledger, LogFault};
use countersign::metrics::Metrics;
use countersign::store::{EmbeddedStore, Options};

use serde_json::json;

use super::audit_log::{everything, personal_record, retired};
use super::fixture::*;
use super::metrics::told;

/// A log of 700 entries, of which some have values beside them, closed.
fn full() -> Embedded {
    let fixture = Embedded::new();
    let store = fixture.open();
    for number in 0..10 {
        let events = (0..69).map(retired).collect();
        let record = personal_record(noon());
        wait(store.spend(once(&number.to_string()), record)).unwrap();
        wait(store.append(events, noon())).unwrap();
    }
    store.close();
    fixture
}

#[test]
fn damage_that_is_found_is_counted_once() {
    let fixture = full();
    let (name, octet, _) = PLACES[0];
    flip(&fixture.path().join(name), octet);
    let metrics = Metrics::new([]);
    let store = fixture.open_with(Options {
        scrub: Duration::ZERO,
        metrics: metrics.store.clone(),
        ..Options::default()
    });
    assert!(fault_within(&store, Duration::from_secs(60)).is_some());
    wait(store.check()).unwrap();
    let damaged = "countersign_store_errors_total{kind=\"damaged\"}";
    assert_eq!(told(&metrics, damaged), 1);
    store.close();
}

fn open_at_pace(fixture: &Embedded, scrub: Duration) -> EmbeddedStore {
    fixture.open_with(Options {
        scrub,
        ..Options::default()
    })
}

fn fault_within(store: &EmbeddedStore, patience: Duration) -> Option<LogFault> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if let Some(fault) = store.fault() {
            return Some(fault);
        }
        std::thread::yield_now();
    }
    None
}

/// Changes one bit of a file.
fn flip(file: &Path, octet: u64) {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut found = [0];
    file.read_exact_at(&mut found, octet).unwrap();
    found[0] ^= 1;
    file.write_all_at(&found, octet).unwrap();
}

/// The file, the octet to be changed, and what is to be said of it.
const PLACES: &[(&str, u64, &str)] = &[
    (
        "records/00000000000000000000",
        0,
        "the leaf of entry 0 is not",
    ),
    (
        "records/00000000000000000000",
        5,
        "the leaf of entry 0 is not",
    ),
    (
        "records/00000000000000000000",
        300,
        "the leaf of entry 0 is not",
    ),
    ("records/00000000000000000000", 20_000, "the leaf of entry"),
    (
        "withheld/00000000000000000000",
        3,
        "what is withheld of entry 0 is not",
    ),
    (
        "withheld/00000000000000000000",
        200,
        "what is withheld of entry 0 is not",
    ),
    ("rows/00000000000000000000", 0, "the row of entry 0 is not"),
    (
        "rows/00000000000000000000",
        88 * 300 + 60,
        "the row of entry 300 is not",
    ),
    (
        "rows/00000000000000000000",
        88 * 699 + 87,
        "the row of entry 699 is not",
    ),
    (
        "tree/0",
        32 * 5,
        "entry 5 and its hash in the tree do not agree",
    ),
    (
        "tree/0",
        32 * 260 + 31,
        "entry 260 and its hash in the tree do not agree",
    ),
    (
        "tree/0",
        32 * 699,
        "entry 699 and its hash in the tree do not agree",
    ),
    (
        "tree/1",
        0,
        "hash 0 of level 1 of the tree is not that of entries 0 to 255",
    ),
    (
        "tree/1",
        63,
        "hash 1 of level 1 of the tree is not that of entries 256 to 511",
    ),
];

#[test]
fn a_changed_octet_is_found_and_named_and_forgotten_when_it_is_put_back() {
    let fixture = full();
    for (name, octet, what) in PLACES {
        let file = fixture.path().join(name);
        flip(&file, *octet);
        let store = open_at_pace(&fixture, Duration::ZERO);
        let fault = fault_within(&store, Duration::from_secs(30));
        let fault = fault.unwrap_or_else(|| panic!("{name}, octet {octet}"));
        assert!(
            fault.what.contains(what),
            "{name}, octet {octet}: {}",
            fault.what
        );
        assert!(
            fault.what.contains(&format!("`{name}`, from octet ")),
            "{}",
            fault.what
        );
        assert!(fault.mend.contains("backup"), "{}", fault.mend);
        store.close();

        let store = open_at_pace(&fixture, Duration::MAX);
        assert!(store.fault().is_some(), "known at once after a restart");
        store.close();

        flip(&file, *octet);
        let store = open_at_pace(&fixture, Duration::ZERO);
        assert_eq!(store.fault(), None, "{name}, octet {octet}");
        assert_eq!(fault_within(&store, Duration::from_millis(100)), None);
        assert_eq!(everything(&store).len(), 700);
        store.close();
        assert!(!fixture.path().join("fault").exists());
    }
}

#[test]
fn the_end_of_the_log_is_looked_at_before_anything_is_added() {
    let fixture = full();
    for (name, octet) in [
        ("tree/0", 32 * 699),
        ("tree/1", 32),
        ("rows/00000000000000000000", 88 * 699),
    ] {
        let file = fixture.path().join(name);
        flip(&file, octet);
        let store = open_at_pace(&fixture, Duration::MAX);
        assert!(store.fault().is_some(), "{name}");
        store.close();
        flip(&file, octet);
    }
}

#[test]
fn who_reads_a_damaged_entry_is_told_so_and_the_fault_is_kept() {
    let fixture = full();
    flip(&fixture.path().join("records/00000000000000000000"), 300);
    let store = open_at_pace(&fixture, Duration::MAX);
    assert_eq!(store.fault(), None, "nobody has looked there yet");
    let found = wait(store.search(Filter::default(), Some(5), 2));
    assert!(found.is_ok(), "others can be read: {found:?}");
    let error = wait(store.entries(0..3)).unwrap_err();
    assert!(error.to_string().contains("the leaf of entry 0"), "{error}");
    assert!(store.fault().unwrap().what.contains("the leaf of entry 0"));
    // Exchanges go on.
    let spent = wait(store.spend(once("after"), record())).unwrap();
    assert_eq!(spent.number(), Some(1));
}

#[test]
fn a_damaged_row_hides_no_entry_and_is_told_to_who_looks_for_one() {
    // The mark of the kind of entry 100, and the latest time before entry 87, which halving looks at.
    for (octet, filter) in [
        (88 * 100 + 52, json!({"kind": "signing-key-retired"})),
        (88 * 87 + 32, json!({"since_millis": noon().millis()})),
    ] {
        let fixture = full();
        flip(&fixture.path().join("rows/00000000000000000000"), octet);
        let store = open_at_pace(&fixture, Duration::MAX);
        assert_eq!(store.fault(), None, "nobody has looked there yet");
        let filter = serde_json::from_value(filter).unwrap();
        let error = wait(store.search(filter, None, 1000)).unwrap_err();
        let what = format!("the row of entry {} is not", octet / 88);
        assert!(error.to_string().contains(&what), "{error}");
        assert!(store.fault().unwrap().what.contains(&what));
        let later = noon().plus(Seconds(100_000));
        let removed = wait(store.remove_personal_values(later, later));
        assert!(removed.is_err(), "nothing is deleted by such a row");
        store.close();
    }
}

#[test]
fn a_file_that_is_shorter_or_longer_than_it_should_be_or_missing_is_refused_by_name() {
    for name in [
        "records/00000000000000000000",
        "withheld/00000000000000000000",
        "rows/00000000000000000000",
        "tree/0",
        "tree/1",
    ] {
        let fixture = full();
        let path = fixture.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        let refused = || {
            let clock = std::sync::Arc::new(FrozenClock::at(noon()));
            let opened = EmbeddedStore::open(fixture.path(), clock, Options::default());
            opened.err().unwrap().to_string()
        };
        for changed in [&whole[..whole.len() - 1], &[&whole[..], b"?"].concat()] {
            std::fs::write(&path, changed).unwrap();
            let error = refused();
            assert!(
                error.contains(name) || error.contains("has lost"),
                "{error}"
            );
            assert!(error.contains("backup"), "{error}");
            std::fs::write(&path, &whole).unwrap();
            fixture.open().close();
        }
        std::fs::remove_file(&path).unwrap();
        assert!(refused().contains("backup"), "{}", refused());
    }
}

#[test]
fn a_checkpoint_that_is_no_text_is_named() {
    let fixture = Embedded::new();
    let store = fixture.open();
    wait(store.keep_checkpoint(Kept::Signed, "note\n".into())).unwrap();
    std::fs::write(fixture.path().join("checkpoint"), b"no\xffte\n").unwrap();
    let error = wait(store.checkpoint(Kept::Signed)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`checkpoint` is no checkpoint: octet 2"),
        "{error}"
    );
}
