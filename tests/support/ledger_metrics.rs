//! What stores count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::ledger::Ledger;
use countersign::metrics::{Form, Metrics, Moment};
use countersign::store::{Mishap, Options, PostgresOptions};

use super::fixture::*;

/// What `metrics` says under `name`.
pub fn told(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.tell(&Moment::default(), Form::Prometheus);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let line = lines.find_map(|rest| rest.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    // A sum is written as a float.
    line.trim_end_matches(".0").parse().unwrap()
}

#[test]
fn the_embedded_store_counts_its_commits_and_what_it_turns_away() {
    let fixture = Embedded::new();
    let metrics = Metrics::new([]);
    let store = fixture.open_with(Options {
        metrics: metrics.store.clone(),
        free_space: Some(Arc::new({
            let asked = AtomicUsize::new(0);
            move || {
                Ok(if asked.fetch_add(1, Ordering::SeqCst) == 1 {
                    0
                } else {
                    u64::MAX
                })
            }
        })),
        ..Options::default()
    });
    wait(store.spend(once("one"), record())).unwrap();
    assert!(wait(store.spend(once("two"), record())).is_err());
    wait(store.spend(once("two"), record())).unwrap();
    assert_eq!(
        told(&metrics, "countersign_store_commit_duration_seconds_count"),
        2
    );
    assert_eq!(told(&metrics, "countersign_store_commit_changes_sum"), 2);
    assert_eq!(
        told(&metrics, "countersign_store_errors_total{kind=\"disk\"}"),
        1
    );
    assert_eq!(told(&metrics, "countersign_store_waiting_changes"), 0);
    store.close();
}

#[test]
fn a_store_on_postgresql_counts_its_commits_and_what_breaks() {
    let metrics = Metrics::new([]);
    let number = AtomicUsize::new(0);
    let mishap = move || match number.fetch_add(1, Ordering::SeqCst) {
        1 => Some(Mishap::LostAfter),
        3 => Some(Mishap::Aborted),
        _ => None,
    };
    let fixture = Postgres::new();
    let store = fixture.open_with(PostgresOptions {
        metrics: metrics.store.clone(),
        mishap: Some(Arc::new(mishap)),
        ..PostgresOptions::default()
    });
    for name in ["one", "two", "three"] {
        wait(store.spend(once(name), record())).unwrap();
    }
    wait(store.check()).unwrap();
    assert_eq!(
        told(&metrics, "countersign_store_commit_duration_seconds_count"),
        4
    );
    assert_eq!(told(&metrics, "countersign_store_commit_changes_sum"), 4);
    assert_eq!(
        told(&metrics, "countersign_store_commits_sent_again_total"),
        1
    );
    for (kind, expected) in [
        ("connection", 1),
        ("aborted", 1),
        ("damaged", 0),
        ("other", 0),
    ] {
        let name = format!("countersign_store_errors_total{{kind=\"{kind}\"}}");
        assert_eq!(told(&metrics, &name), expected, "{kind}");
    }
    wait(store.tidy()).unwrap();
    // Which of them are busy at that moment is up to what is packed behind.
    let open = ["busy", "idle"]
        .map(|state| format!("countersign_store_connections{{state=\"{state}\"}}"))
        .map(|name| told(&metrics, &name));
    assert!(open.iter().sum::<u64>() >= 1, "{open:?}");
    store.close();
}
