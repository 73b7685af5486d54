//! What every store promises, whichever database keeps it.

use std::collections::BTreeSet;
use std::sync::Barrier;

use countersign::clock::UnixTime;
use countersign::directory::ProjectIds;
use countersign::discovery::{ArchivedKeys, KeyArchive};
use countersign::issuer::Issuer;
use countersign::ledger::{Ledger, Spent};
use countersign::project_token::{SigningKeyStore, StoredKey};
use countersign::trust::ProjectPath;

use super::fixture::*;

/// Writes one test for each promise, for the store that `$fixture` makes.
macro_rules! keeps_every_promise {
    ($fixture:expr; $room:ident; $($promise:ident)*) => {
        $(
            #[test]
            fn $promise() {
                crate::ledger::$room::$promise(&$fixture);
            }
        )*
    };
}

macro_rules! every_store_keeps_its_promises {
    ($fixture:expr) => {
        crate::ledger::conformance::keeps_every_promise! {
            $fixture; conformance;
            of_sixty_four_simultaneous_uses_exactly_as_many_succeed_as_may
            a_token_stays_spent_across_a_restart
            each_use_is_on_record_as_the_nth
            a_use_too_many_leaves_no_record
            a_denial_is_recorded_once_and_a_repeat_answers_the_earlier_name
            simultaneous_denials_of_one_token_get_one_name
            a_record_is_read_back_as_it_was_written_however_long
            the_last_good_keys_of_an_issuer_survive_a_restart
            signing_keys_are_added_and_removed_in_one_commit
            a_project_keeps_its_id_for_ever_and_no_other_has_it
        }
    };
}

pub(crate) use {every_store_keeps_its_promises, keeps_every_promise};

pub fn of_sixty_four_simultaneous_uses_exactly_as_many_succeed_as_may(fixture: &impl Fixture) {
    let store = fixture.open();
    for max_uses in [1, 10, 64] {
        let name = format!("{max_uses} times");
        let together = Barrier::new(64);
        let mut numbers: Vec<u32> = std::thread::scope(|scope| {
            let one = || {
                together.wait();
                wait(store.spend(at_most(max_uses, &name), record())).unwrap()
            };
            let uses: Vec<_> = (0..64).map(|_| scope.spawn(one)).collect();
            let answers = uses.into_iter().map(|spent| spent.join().unwrap());
            answers.filter_map(nth).collect()
        });
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=max_uses).collect::<Vec<_>>());
    }
    fixture.close(store);
}

fn nth(spent: Spent) -> Option<u32> {
    match spent {
        Spent::Nth { number, .. } => Some(number),
        Spent::Exhausted => None,
        Spent::IdentityChanged(names) => panic!("nothing is pinned to {names:?}"),
    }
}

pub fn a_token_stays_spent_across_a_restart(fixture: &impl Fixture) {
    for expected in [Some(1), Some(2), None] {
        let store = fixture.open();
        let spent = wait(store.spend(at_most(2, "restart"), record())).unwrap();
        assert_eq!(spent.number(), expected, "{spent:?}");
        fixture.close(store);
    }
}

pub fn each_use_is_on_record_as_the_nth(fixture: &impl Fixture) {
    let store = fixture.open();
    for number in 1..=3 {
        let record = record();
        let id = record.decision_id;
        let spent = wait(store.spend(at_most(3, "nth"), record)).unwrap();
        assert_eq!(spent.number(), Some(number));
        let kept = wait(store.decision(id)).unwrap().unwrap();
        assert_eq!(kept.use_number, Some(number));
    }
    fixture.close(store);
}

pub fn a_use_too_many_leaves_no_record(fixture: &impl Fixture) {
    let store = fixture.open();
    wait(store.spend(once("too many"), record())).unwrap();
    let record = record();
    let id = record.decision_id;
    let spent = wait(store.spend(once("too many"), record)).unwrap();
    assert_eq!(spent, Spent::Exhausted);
    assert!(wait(store.decision(id)).unwrap().is_none());
    fixture.close(store);
}

pub fn a_denial_is_recorded_once_and_a_repeat_answers_the_earlier_name(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = denial("denied", "not-trusted");
    assert_eq!(wait(store.denial_on_record(first.key)).unwrap(), None);
    let id = wait(store.record_denial(first.clone())).unwrap();
    assert_eq!(id, first.record.decision_id);
    fixture.close(store);

    let store = fixture.open();
    let repeat = denial("denied", "not-trusted");
    assert_eq!(wait(store.denial_on_record(repeat.key)).unwrap(), Some(id));
    assert_eq!(wait(store.record_denial(repeat.clone())).unwrap(), id);
    let unwritten = wait(store.decision(repeat.record.decision_id)).unwrap();
    assert!(unwritten.is_none());
    let other = denial("denied", "token-expired");
    assert_ne!(wait(store.record_denial(other)).unwrap(), id);
    fixture.close(store);
}

pub fn simultaneous_denials_of_one_token_get_one_name(fixture: &impl Fixture) {
    let store = fixture.open();
    let together = Barrier::new(16);
    let names: BTreeSet<_> = std::thread::scope(|scope| {
        let one = || {
            together.wait();
            wait(store.record_denial(denial("at once", "not-trusted"))).unwrap()
        };
        let denials: Vec<_> = (0..16).map(|_| scope.spawn(one)).collect();
        let names = denials.into_iter().map(|name| name.join().unwrap());
        names.collect()
    });
    assert_eq!(names.len(), 1);
    fixture.close(store);
}

pub fn a_record_is_read_back_as_it_was_written_however_long(fixture: &impl Fixture) {
    let store = fixture.open();
    let records = [0, 4000, 4096, 9000, 300_000].map(large_record);
    for (number, record) in records.iter().enumerate() {
        let name = format!("long {number}");
        wait(store.spend(once(&name), record.clone())).unwrap();
    }
    fixture.close(store);

    let store = fixture.open();
    for mut record in records {
        let mut kept = wait(store.decision(record.decision_id)).unwrap().unwrap();
        // Long values stand beside the leaf, which has their digests.
        kept.withheld.clear();
        record.use_number = Some(1);
        let json = |record| serde_json::to_value(record).unwrap();
        assert_eq!(json(kept), json(record));
    }
    fixture.close(store);
}

pub fn the_last_good_keys_of_an_issuer_survive_a_restart(fixture: &impl Fixture) {
    let issuer = |text: &str| Issuer::parse(text, false).unwrap();
    let (ours, other) = (
        issuer("https://token.actions.githubusercontent.com"),
        issuer("https://agent.buildkite.com"),
    );
    let keys = |octets: usize, seconds| ArchivedKeys {
        body: vec![b'k'; octets],
        fetched: UnixTime::from_seconds(seconds),
    };
    let store = fixture.open();
    wait(store.keep(&ours, keys(256 * 1024, 1), None, noon())).unwrap();
    fixture.close(store);

    let store = fixture.open();
    let kept = wait(store.last_good(&ours)).unwrap();
    assert_eq!(kept, Some(keys(256 * 1024, 1)));
    wait(store.keep(&ours, keys(5000, 2), None, noon())).unwrap();
    let kept = wait(store.last_good(&ours)).unwrap();
    assert_eq!(
        kept,
        Some(keys(5000, 2)),
        "nothing is left of the longer one"
    );
    assert_eq!(wait(store.last_good(&other)).unwrap(), None);
    fixture.close(store);
}

pub fn signing_keys_are_added_and_removed_in_one_commit(fixture: &impl Fixture) {
    let key = |id: &str, octets| StoredKey {
        id: id.into(),
        sealed: vec![7; octets],
    };
    let store = fixture.open();
    wait(store.replace_signing_keys(
        vec![],
        vec![key("a", 10_000), key("b", 100)],
        vec![],
        vec![],
        noon(),
    ))
    .unwrap();
    let (known, added) = (vec!["a".into(), "b".into()], vec![key("c", 0)]);
    wait(store.replace_signing_keys(known, added, vec!["a".into()], vec![], noon())).unwrap();
    fixture.close(store);

    let store = fixture.open();
    let mut kept = wait(store.signing_keys()).unwrap();
    kept.sort_by(|one, other| one.id.cmp(&other.id));
    assert!(kept == [key("b", 100), key("c", 0)]);
    fixture.close(store);
}

pub fn a_project_keeps_its_id_for_ever_and_no_other_has_it(fixture: &impl Fixture) {
    let path = |number: usize| ProjectPath::parse(&format!("acme/p{number}")).unwrap();
    let paths: Vec<_> = (0..200).map(path).collect();
    let store = fixture.open();
    let ids = wait(store.ids_of(paths.clone())).unwrap();
    let twice = wait(store.ids_of(vec![path(999), path(999)])).unwrap();
    fixture.close(store);

    assert_eq!(twice[0], twice[1]);
    let different: BTreeSet<_> = ids.iter().chain(&twice[..1]).collect();
    assert_eq!(different.len(), 201);
    let plain = |id: &&String| {
        !id.is_empty()
            && id
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
    };
    assert_eq!(ids.iter().filter(plain).count(), 200);
    let store = fixture.open();
    let reversed: Vec<_> = paths.into_iter().rev().collect();
    let mut again = wait(store.ids_of(reversed)).unwrap();
    again.reverse();
    assert_eq!(again, ids);
    fixture.close(store);
}
