//! What every store promises of the log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use countersign::audit::tree::{Hash, consistency, fold, inclusion, leaf_hash, node_hash};
use countersign::audit::{DecisionId, Entry, Filter, Happening, LoggedEntry, Outcome, Record};
use countersign::audit::{IssuerKey, PolicyLoaded, RecordedClaims};
use countersign::clock::{Seconds, UnixTime};
use countersign::directory::{OnRecord, PolicyChange, PolicyHistory};
use countersign::discovery::{ArchivedKeys, KeyArchive};
use countersign::issuer::Issuer;
use countersign::ledger::{AuditLog, Kept, LARGEST_PAGE, Ledger, Spent, StoreUnavailable};
use countersign::project_token::{SigningKeyStore, StoredKey};
use countersign::trust::Names;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::fixture::*;
use crate::support::log;

macro_rules! every_store_keeps_the_log {
    ($fixture:expr) => {
        crate::ledger::conformance::keeps_every_promise! {
            $fixture; audit_log;
            entries_are_numbered_from_zero_without_a_gap_over_restarts
            the_tree_is_that_of_rfc_6962_over_the_leaves
            the_tree_is_right_where_a_third_level_begins
            proofs_are_made_of_the_hashes_of_ranges
            what_was_acknowledged_is_seen_at_once
            every_filter_finds_what_a_plain_scan_finds
            pages_follow_each_other_without_a_gap
            a_page_ends_where_its_octets_are_many
            a_clock_that_is_put_back_is_announced_and_only_then
            a_leaf_holds_no_personal_value_and_the_entry_does
            personal_values_are_deleted_with_what_could_tell_them_and_every_proof_holds
            a_long_event_is_found_also_when_what_its_leaf_does_not_hold_is_deleted
            an_effect_and_its_entry_are_one_commit
            policies_are_on_record_and_every_text_is_kept
            the_key_and_the_notes_of_checkpoints_are_kept
        }
    };
}

pub(crate) use every_store_keeps_the_log;

/// The tree hash as RFC 6962, section 2.1 defines it.
pub fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => fold(&[]),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// Every entry, the first first.
pub fn everything(store: &impl AuditLog) -> Vec<LoggedEntry> {
    let mut found = Vec::new();
    loop {
        let from = found.len() as u64;
        let more = wait(store.entries(from..from + 1000)).unwrap();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

pub fn leaf_hashes(entries: &[LoggedEntry]) -> Vec<Hash> {
    entries.iter().map(|entry| leaf_hash(&entry.leaf)).collect()
}

/// The root of the tree over the first `size` entries.
pub fn root_of(store: &impl AuditLog, size: u64) -> Result<Hash, StoreUnavailable> {
    let ranges = std::iter::once(0..size).collect();
    Ok(wait(store.hashes(ranges))?[0])
}

/// Makes sure that nothing is missing and everything in its place, and answers how many entries there are.
pub fn assert_whole(store: &impl AuditLog) -> usize {
    let entries = everything(store);
    assert!(
        entries
            .iter()
            .map(|entry| entry.index)
            .eq(0..entries.len() as u64)
    );
    assert_time_order(&entries);
    let head = wait(store.tree()).unwrap();
    assert_eq!(head.size, entries.len() as u64);
    assert_eq!(head.root, mth(&leaf_hashes(&entries)));
    assert_eq!(store.fault(), None);
    entries.len()
}

/// An event with nothing to it.
pub fn retired(number: usize) -> Happening {
    Happening::SigningKeyRetired {
        key_id: format!("key {number}"),
    }
}

fn retired_many(range: Range<usize>) -> Vec<Happening> {
    range.map(retired).collect()
}

pub fn entries_are_numbered_from_zero_without_a_gap_over_restarts(
    fixture: &impl Fixture<Store: AuditLog>,
) {
    let mut said = Vec::new();
    for life in 0..4 {
        let store = fixture.open();
        let spends = (0..40).map(|number| {
            let record = record();
            let id = record.decision_id;
            let spent = store.spend(once(&format!("{life} {number}")), record);
            async move { (id, spent.await.unwrap()) }
        });
        for (id, spent) in wait(join_all(spends)) {
            let Spent::Nth { number: 1, index } = spent else {
                panic!("{spent:?}");
            };
            said.push((index, id));
        }
        let before = wait(store.tree()).unwrap().size;
        let first = wait(store.append(retired_many(0..3), noon())).unwrap();
        assert_eq!(first, before);
        let id = wait(store.record_denial(denial(&format!("{life}"), "not-trusted"))).unwrap();
        said.push((first + 3, id));
        fixture.close(store);
    }
    let store = fixture.open();
    let entries = everything(&store);
    assert_eq!(entries.len(), 4 * 44);
    assert!(entries.iter().map(|entry| entry.index).eq(0..4 * 44));
    for (index, id) in said {
        let entry = entries[usize::try_from(index).unwrap()].entry().unwrap();
        let Entry::Decision(record) = entry else {
            panic!("entry {index} is {entry:?}");
        };
        assert_eq!(record.decision_id, id, "entry {index}");
    }
    fixture.close(store);
}

pub fn the_tree_is_that_of_rfc_6962_over_the_leaves(fixture: &impl Fixture<Store: AuditLog>) {
    let mut store = fixture.open();
    let empty = wait(store.tree()).unwrap();
    assert_eq!((empty.size, empty.root), (0, fold(&[])));
    for size in (1..20).chain([255, 256, 257, 300, 511, 512, 513, 600]) {
        let from = wait(store.tree()).unwrap().size;
        let more = retired_many(usize::try_from(from).unwrap()..size);
        wait(store.append(more, noon())).unwrap();
        let head = wait(store.tree()).unwrap();
        let leaves = leaf_hashes(&everything(&store));
        assert_eq!(head.size, size as u64);
        assert_eq!(head.root, mth(&leaves), "{size} entries");
        if size % 3 == 0 {
            fixture.close(store);
            store = fixture.open();
            assert_eq!(wait(store.tree()).unwrap(), head, "after a restart");
        }
    }
    let leaves = leaf_hashes(&everything(&store));
    assert_eq!(
        wait(store.tile_hashes(0, 250..260)).unwrap(),
        leaves[250..260]
    );
    assert_eq!(wait(store.tile_hashes(0, 590..999)).unwrap(), leaves[590..]);
    let tiles = [mth(&leaves[..256]), mth(&leaves[256..512])];
    assert_eq!(wait(store.tile_hashes(1, 0..256)).unwrap(), tiles);
    assert_eq!(wait(store.tile_hashes(2, 0..256)).unwrap(), [[0; 32]; 0]);
    assert_eq!(wait(store.tile_hashes(0, 700..800)).unwrap(), [[0; 32]; 0]);
    fixture.close(store);
}

pub fn the_tree_is_right_where_a_third_level_begins(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    let mut leaves = Vec::new();
    for size in [20_000, 40_000, 65_535, 65_536, 65_537] {
        let more = retired_many(leaves.len()..size);
        wait(store.append(more, noon())).unwrap();
        let new = wait(store.entries(leaves.len() as u64..size as u64)).unwrap();
        leaves.extend(leaf_hashes(&new));
        let head = wait(store.tree()).unwrap();
        assert_eq!((head.size, head.root), (size as u64, mth(&leaves)));
    }
    let top = wait(store.tile_hashes(2, 0..256)).unwrap();
    assert_eq!(top, [mth(&leaves[..65_536])]);
    fixture.close(store);
}

pub fn proofs_are_made_of_the_hashes_of_ranges(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    wait(store.append(retired_many(0..700), noon())).unwrap();
    let leaves = leaf_hashes(&everything(&store));
    let slice = |range: &Range<u64>| {
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
        mth(&leaves[start..end])
    };
    for size in [1, 2, 255, 256, 257, 300, 512, 513, 700] {
        for other in [0, 1, 2, 100, 255, 256, 257, 299, 511, 512, 699] {
            let of_leaf = inclusion(other, size);
            let of_tree = consistency(other, size);
            for ranges in [of_leaf, of_tree].into_iter().flatten() {
                let expected: Vec<Hash> = ranges.iter().map(slice).collect();
                let hashes = wait(store.hashes(ranges)).unwrap();
                assert_eq!(hashes, expected, "{other} of {size}");
            }
        }
    }
    let beyond = root_of(&store, 701).unwrap_err();
    assert!(beyond.to_string().contains("700 leaves"), "{beyond}");
    fixture.close(store);
}

pub fn what_was_acknowledged_is_seen_at_once(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..25 {
                    let record = record();
                    let id = record.decision_id;
                    let spent = store.spend(once(&format!("{thread} {number}")), record);
                    let Spent::Nth { index, .. } = wait(spent).unwrap() else {
                        panic!("it was not spent before");
                    };
                    assert!(wait(store.decision(id)).unwrap().is_some());
                    let filter = Filter {
                        id: Some(id.to_string()),
                        ..Filter::default()
                    };
                    let page = wait(store.search(filter, None, 10)).unwrap();
                    let found: Vec<u64> = page.entries.iter().map(|entry| entry.index).collect();
                    assert_eq!(found, [index]);
                    assert!(wait(store.tree()).unwrap().size > index);
                    assert_eq!(wait(store.entries(index..index + 1)).unwrap().len(), 1);
                }
            });
        }
    });
    let unknown = wait(store.decision(DecisionId::new(noon())));
    assert!(unknown.unwrap().is_none());
    fixture.close(store);
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn one_of(&mut self, texts: &[&str]) -> Option<String> {
        let place = self.roll(texts.len() + 1);
        texts.get(place).map(|text| (*text).to_owned())
    }
}

const PROJECTS: &[&str] = &["acme/api", "acme/web", "other/api"];
const ISSUERS: &[&str] = &["github", "gitlab"];
const SUBJECTS: &[&str] = &["one", "two", "three", "four"];
const RULES: &[&str] = &["release", "deploy", "nightly"];
const REASONS: &[&str] = &["not-trusted", "token-expired"];

fn any_record(dice: &mut Dice, at: UnixTime) -> Record {
    let mut record = Record::new(Outcome::Allowed, at);
    record.project = dice.one_of(PROJECTS);
    record.issuer = dice.one_of(ISSUERS);
    record.subject = dice.one_of(SUBJECTS);
    record.repository = dice.one_of(SUBJECTS);
    record.token_id = (dice.roll(2) == 0).then(|| DecisionId::new(at).to_string());
    record.trust = dice
        .one_of(RULES)
        .into_iter()
        .chain(dice.one_of(RULES))
        .collect();
    if dice.roll(3) == 0 {
        record.outcome = Outcome::Denied;
        record.reason = dice.one_of(REASONS);
        record.nearest = dice.one_of(RULES);
        record.trust.clear();
    }
    record
}

fn any_event(dice: &mut Dice) -> Happening {
    match dice.roll(3) {
        0 => retired(dice.roll(9)),
        1 => Happening::PolicyLoaded(PolicyLoaded {
            file: "acme/api.toml".into(),
            organization: "acme".into(),
            project: dice.one_of(PROJECTS),
            ..PolicyLoaded::default()
        }),
        _ => Happening::IssuerKeysChanged {
            issuer: dice.one_of(ISSUERS).unwrap_or_default(),
            added: Vec::new(),
            removed: Vec::new(),
        },
    }
}

fn any_filter(dice: &mut Dice, entries: &[Entry]) -> Filter {
    let mut filter = Filter::default();
    let one = &entries[dice.roll(entries.len())];
    let moment = |dice: &mut Dice| one.at().millis() + i64::try_from(dice.roll(3)).unwrap() - 1;
    for _ in 0..=dice.roll(3) {
        match dice.roll(12) {
            0 => filter.kind = dice.one_of(&["decision", "policy-loaded", "signing-key-retired"]),
            1 => filter.project = dice.one_of(PROJECTS),
            2 => filter.organization = dice.one_of(&["acme", "other", "third"]),
            3 => filter.issuer = dice.one_of(ISSUERS),
            4 => filter.subject = dice.one_of(SUBJECTS),
            5 => filter.repository = dice.one_of(SUBJECTS),
            6 => filter.relationship = dice.one_of(RULES),
            7 => filter.outcome = Some([Outcome::Allowed, Outcome::Denied][dice.roll(2)]),
            8 => filter.reason = dice.one_of(REASONS),
            9 => filter.since_millis = Some(moment(dice)),
            10 => filter.until_millis = Some(moment(dice)),
            _ => match one {
                Entry::Decision(record) if dice.roll(2) == 0 => {
                    filter.token_id.clone_from(&record.token_id);
                }
                Entry::Decision(record) => filter.id = Some(record.decision_id.to_string()),
                Entry::Event(event) => filter.id = Some(event.event_id.to_string()),
                Entry::Unknown(unknown) => panic!("{unknown}"),
            },
        }
    }
    filter
}

pub fn every_filter_finds_what_a_plain_scan_finds(fixture: &impl Fixture<Store: AuditLog>) {
    let mut dice = Dice(5);
    let store = fixture.open();
    let mut at = noon();
    for number in 0..600 {
        // Up to a minute behind the latest, now and then put back further, and later ahead again.
        at = match number {
            200 => noon().minus(Seconds(400)),
            400 => noon().plus(Seconds(3000)),
            _ => at.plus(Seconds(u32::try_from(dice.roll(8)).unwrap())),
        };
        let now = at.minus(Seconds(u32::try_from(dice.roll(60)).unwrap()));
        if dice.roll(8) == 0 {
            wait(store.append(vec![any_event(&mut dice)], now)).unwrap();
        } else {
            let record = any_record(&mut dice, now);
            wait(store.spend(once(&number.to_string()), record)).unwrap();
        }
    }
    let all = everything(&store);
    let entries: Vec<Entry> = all.iter().map(|logged| logged.entry().unwrap()).collect();
    for _ in 0..400 {
        let filter = any_filter(&mut dice, &entries);
        let matching = entries.iter().enumerate();
        let matching = matching.filter(|(_, entry)| filter.matches(entry));
        let mut expected: Vec<u64> = matching.map(|(index, _)| index as u64).collect();
        expected.reverse();
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = wait(store.search(filter.clone(), before, 1 + dice.roll(700))).unwrap();
            found.extend(page.entries.iter().map(|entry| entry.index));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{filter:?}");
    }
    for entry in &entries {
        if let Entry::Decision(record) = entry {
            let found = wait(store.decision(record.decision_id)).unwrap();
            assert_eq!(found.unwrap().decision_id, record.decision_id);
        }
    }
    fixture.close(store);
}

pub fn pages_follow_each_other_without_a_gap(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    wait(store.append(retired_many(0..25), noon())).unwrap();
    let page = |before, limit| {
        let page = wait(store.search(Filter::default(), before, limit)).unwrap();
        let numbers: Vec<u64> = page.entries.iter().map(|entry| entry.index).collect();
        (numbers, page.next)
    };
    assert_eq!(page(None, 2), (vec![24, 23], Some(23)));
    assert_eq!(page(Some(23), 3), (vec![22, 21, 20], Some(20)));
    assert_eq!(page(Some(2), 2), (vec![1, 0], None));
    assert_eq!(page(Some(0), 2), (vec![], None));
    assert_eq!(page(Some(999), 1), (vec![24], Some(24)));
    assert_eq!(page(None, 25).1, None);
    assert_eq!(page(Some(7), 0), (vec![], Some(7)));
    fixture.close(store);
    let store = fixture.open();
    let page = wait(store.search(Filter::default(), None, 100)).unwrap();
    assert_eq!(page.entries, {
        let mut all = everything(&store);
        all.reverse();
        all
    });
    fixture.close(store);
}

/// Whether the times of entries are in the order that they must be in.
pub fn assert_time_order(entries: &[LoggedEntry]) {
    let mut latest = i64::MIN;
    for logged in entries {
        let entry = logged.entry().unwrap();
        let at = entry.at().millis();
        match entry {
            Entry::Event(event) if matches!(event.what, Happening::ClockPutBack { .. }) => {
                let Happening::ClockPutBack { before_millis } = event.what else {
                    unreachable!()
                };
                assert_eq!(before_millis, latest, "entry {}", logged.index);
                assert!(at < latest - 60_000, "entry {}", logged.index);
                latest = at;
            }
            _ => {
                assert!(
                    at >= latest.saturating_sub(60_000),
                    "entry {}",
                    logged.index
                );
                latest = latest.max(at);
            }
        }
    }
}

pub fn a_clock_that_is_put_back_is_announced_and_only_then(
    fixture: &impl Fixture<Store: AuditLog>,
) {
    let mut store = fixture.open();
    let at = |seconds: i64| UnixTime::from_seconds(noon().seconds() + seconds);
    let mut made = Vec::new();
    let moments = [
        0, -60, 5, -55, -61, -100, -61, 1000, 1, 2000, 940, 1939, 1880, 3000,
    ];
    for (number, seconds) in moments.into_iter().enumerate() {
        let record = Record::new(Outcome::Allowed, at(seconds));
        made.push(record.decision_id);
        wait(store.spend(once(&number.to_string()), record)).unwrap();
        if number % 3 == 0 {
            fixture.close(store);
            store = fixture.open();
        }
    }
    let entries = everything(&store);
    assert_time_order(&entries);
    let events = wait(log::events(&store, "clock-put-back")).into_iter();
    let put_back: Vec<(i64, i64)> = events
        .map(|event| match event.what {
            Happening::ClockPutBack { before_millis } => {
                let seconds = (before_millis - noon().millis()) / 1000;
                (seconds, (event.at_millis - noon().millis()) / 1000)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(put_back, [(5, -61), (1000, 1), (2000, 940)]);
    for id in made {
        assert!(wait(store.decision(id)).unwrap().is_some(), "{id}");
    }
    fixture.close(store);
}

/// What must be in no leaf, and in no file once it is deleted.
pub const PERSON: &str = "nobody-else-is-called-this";

/// A record about a person, at `at`.
pub fn personal_record(at: UnixTime) -> Record {
    let claims = [
        ("actor".to_owned(), PERSON.into()),
        ("sub".to_owned(), format!("user:{PERSON}").into()),
        ("ref".to_owned(), "refs/heads/main".into()),
    ];
    Record {
        decision_id: DecisionId::new(at),
        at_millis: at.millis(),
        subject: Some(format!("user:{PERSON}")),
        claims: RecordedClaims::new(Arc::new(claims.into_iter().collect()), vec!["actor", "sub"]),
        client_address: Some("192.0.2.7".into()),
        ..record()
    }
}

pub fn of_person() -> Filter {
    Filter {
        subject: Some(format!("user:{PERSON}")),
        ..Filter::default()
    }
}

fn holds_person(octets: &[u8]) -> bool {
    octets
        .windows(PERSON.len())
        .any(|part| part == PERSON.as_bytes())
}

pub fn a_leaf_holds_no_personal_value_and_the_entry_does(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    let record = personal_record(noon());
    let id = record.decision_id;
    wait(store.spend(once("personal"), record)).unwrap();
    let [logged] = everything(&store).try_into().unwrap();
    assert!(!holds_person(&logged.leaf));
    assert!(holds_person(logged.withheld.as_ref().unwrap()));
    let kept = wait(store.decision(id)).unwrap().unwrap();
    assert_eq!(kept.claims["actor"], PERSON);
    assert_eq!(kept.subject, of_person().subject);
    assert_eq!(
        wait(store.search(of_person(), None, 9)).unwrap().entries,
        [logged]
    );
    fixture.close(store);
}

pub fn personal_values_are_deleted_with_what_could_tell_them_and_every_proof_holds(
    fixture: &impl Fixture<Store: AuditLog>,
) {
    let store = fixture.open();
    let day = |number: u32| noon().plus(Seconds(number * 100_000));
    for number in 0..5 {
        for part in 0..3 {
            let record = personal_record(day(number).plus(Seconds(part)));
            let mut spend = once(&format!("{number} {part}"));
            spend.until = day(99);
            wait(store.spend(spend, record)).unwrap();
            wait(store.append(vec![retired(0)], day(number))).unwrap();
        }
    }
    let before = wait(store.tree()).unwrap();
    let leaves = leaf_hashes(&everything(&store));
    let remove = |until| wait(store.remove_personal_values(until, day(5))).unwrap();
    assert!(!remove(day(0)), "the first is not older");
    assert!(
        !remove(day(0).plus(Seconds(2))),
        "the last of its file is not older"
    );
    assert!(remove(day(3)));
    assert!(!remove(day(3)), "they are gone");
    fixture.close(store);

    let store = fixture.open();
    let entries = everything(&store);
    assert_eq!(leaf_hashes(&entries)[..30], leaves);
    assert_eq!(root_of(&store, 30).unwrap(), before.root);
    for entry in &entries[..30] {
        let personal = entry.index % 2 == 0;
        let kept = personal && entry.index >= 18;
        assert_eq!(entry.withheld.is_some(), kept, "entry {}", entry.index);
    }
    let found = wait(store.search(of_person(), None, 99)).unwrap().entries;
    assert!(
        found
            .iter()
            .map(|entry| entry.index)
            .eq([28, 26, 24, 22, 20, 18])
    );
    let [event] = wait(log::events(&store, "personal-values-removed"))
        .try_into()
        .unwrap();
    assert_eq!(event.what, Happening::PersonalValuesRemoved { until: 18 });
    assert_eq!(event.at_millis, day(5).millis());
    let Entry::Decision(first) = entries[0].entry().unwrap() else {
        panic!("the first entry is a decision");
    };
    let left = wait(store.decision(first.decision_id)).unwrap().unwrap();
    assert_eq!((left.subject, left.claims.len()), (None, 1));

    let remove = |until| wait(store.remove_personal_values(until, day(6))).unwrap();
    assert!(
        remove(day(9)),
        "the last file goes too if all of it is older"
    );
    assert!(
        everything(&store)
            .iter()
            .all(|entry| entry.withheld.is_none())
    );
    let record = personal_record(day(7));
    let mut spend = once("after");
    spend.until = day(99);
    wait(store.spend(spend, record)).unwrap();
    fixture.close(store);
    let store = fixture.open();
    let found = wait(store.search(of_person(), None, 99)).unwrap().entries;
    assert_eq!(found.len(), 1);
    fixture.close(store);
}

pub fn a_page_ends_where_its_octets_are_many(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    let long = |number: u64| Happening::PolicyRefused {
        file: format!("acme/{number}.toml"),
        digest: None,
        message: "x".repeat(LARGEST_PAGE / 3),
        in_force: None,
    };
    wait(store.append((0..8).map(long).collect(), noon())).unwrap();
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let page = wait(store.search(Filter::default(), before, 99)).unwrap();
        let indices = page.entries.iter().map(|entry| entry.index);
        pages.push(indices.collect::<Vec<u64>>());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![7, 6, 5], vec![4, 3, 2], vec![1, 0]]);
    fixture.close(store);
}

/// One event for each member that may be too long for a leaf.
fn long_events() -> Vec<Happening> {
    let long = "x".repeat(60_000);
    let key = IssuerKey {
        key_id: "one".into(),
        sha256: "0".repeat(64),
    };
    let keys = vec![key; 1000];
    let many = || (0..6000).map(|number| (format!("field {number}"), "name".to_owned()));
    let names = |names: BTreeMap<String, String>| Names {
        names,
        ..names_in("acme/api", "hello-world")
    };
    vec![
        Happening::PolicyRefused {
            file: "acme/api.toml".into(),
            digest: None,
            message: long.clone(),
            in_force: None,
        },
        Happening::PolicyLoaded(PolicyLoaded {
            file: "acme/api.toml".into(),
            organization: "acme".into(),
            added: vec![long.clone()],
            ..PolicyLoaded::default()
        }),
        Happening::ConfigurationLoaded {
            program: "1".into(),
            digest: "0".into(),
            before: None,
            settings: Value::from(long.clone()),
        },
        Happening::SigningKeyMade {
            key_id: "one".into(),
            algorithm: "RS256".into(),
            signs_from_millis: 0,
            public_key: Value::from(long),
        },
        Happening::IssuerKeysChanged {
            issuer: "https://agent.buildkite.com".into(),
            added: keys.clone(),
            removed: Vec::new(),
        },
        Happening::IssuerKeysChanged {
            issuer: "https://agent.buildkite.com".into(),
            added: Vec::new(),
            removed: keys,
        },
        Happening::PinReset {
            names: names(BTreeMap::new()),
            ids: many().collect(),
            by: "uid 7".into(),
        },
        // Nothing is left of its names, so it is none that is known any more.
        Happening::PinReset {
            names: names(many().collect()),
            ids: BTreeMap::new(),
            by: "uid 7".into(),
        },
    ]
}

pub fn a_long_event_is_found_also_when_what_its_leaf_does_not_hold_is_deleted(
    fixture: &impl Fixture<Store: AuditLog>,
) {
    let store = fixture.open();
    let events = long_events();
    let count = events.len();
    let kinds: Vec<&str> = events.iter().map(Happening::kind).collect();
    wait(store.append(events, noon())).unwrap();
    let decided = record();
    let id = decided.decision_id;
    wait(store.spend(once("beside"), decided)).unwrap();
    assert!(
        everything(&store)[..count]
            .iter()
            .all(|entry| entry.withheld.is_some())
    );
    let later = noon().plus(Seconds(100_000));
    assert!(wait(store.remove_personal_values(later, later)).unwrap());
    fixture.close(store);

    let store = fixture.open();
    let everything = everything(&store);
    let page = wait(store.search(Filter::default(), None, 99)).unwrap();
    assert!(page.entries.iter().rev().eq(&everything));
    for (logged, kind) in everything.iter().zip(kinds) {
        assert_eq!(logged.withheld, None);
        let leaf = logged.restored().unwrap();
        for filter in [
            json!({ "kind": kind }),
            json!({ "kind": kind, "id": leaf["event_id"] }),
            json!({ "id": leaf["event_id"], "until_millis": later.millis() }),
        ] {
            let filter: Filter = serde_json::from_value(filter).unwrap();
            let found = wait(store.search(filter, None, 99)).unwrap().entries;
            assert!(found.contains(logged), "{leaf}");
        }
    }
    let known = everything[..count - 1].iter();
    for logged in known {
        let entry = logged.entry().unwrap();
        assert!(matches!(entry, Entry::Event(_)), "{entry:?}");
    }
    let kept = wait(store.decision(id)).unwrap();
    assert_eq!(kept.unwrap().decision_id, id);
    assert_whole(&store);
    fixture.close(store);
}

pub fn an_effect_and_its_entry_are_one_commit(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    let issuer = Issuer::parse("https://agent.buildkite.com", false).unwrap();
    let keys = || ArchivedKeys {
        body: b"keys".to_vec(),
        fetched: noon(),
    };
    let change = Happening::IssuerKeysChanged {
        issuer: issuer.as_str().into(),
        added: vec![IssuerKey {
            key_id: "one".into(),
            sha256: "0".repeat(64),
        }],
        removed: Vec::new(),
    };
    wait(store.keep(&issuer, keys(), Some(change.clone()), noon())).unwrap();
    wait(store.keep(&issuer, keys(), None, noon())).unwrap();
    let key = StoredKey {
        id: "a".into(),
        sealed: vec![7; 100],
    };
    let events = vec![retired(1), retired(2)];
    wait(store.replace_signing_keys(vec![], vec![key], vec![], events, noon())).unwrap();
    fixture.close(store);

    let store = fixture.open();
    let entries = wait(log::entries(&store, Filter::default()));
    let what: Vec<Happening> = entries
        .into_iter()
        .map(|entry| match entry {
            Entry::Event(event) => event.what,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(what, [change, retired(1), retired(2)]);
    fixture.close(store);
}

pub fn policies_are_on_record_and_every_text_is_kept(fixture: &impl Fixture<Store: AuditLog>) {
    let on_record = |digest: &str| OnRecord {
        in_force: Some(digest.into()),
        refused: None,
    };
    let change = |file: &str, digest: Option<&str>, text: &str| PolicyChange {
        file: file.into(),
        event: match digest {
            Some(digest) => Happening::PolicyLoaded(PolicyLoaded {
                file: file.into(),
                organization: "acme".into(),
                digest: digest.into(),
                ..PolicyLoaded::default()
            }),
            None => Happening::PolicyRemoved {
                file: file.into(),
                before: None,
            },
        },
        on_record: digest.map(on_record),
        text: digest.map(|digest| (digest.to_owned(), text.as_bytes().to_vec())),
    };
    let long = "x".repeat(20_000);
    let store = fixture.open();
    let first = vec![
        change("acme/api.toml", Some("1"), &long),
        change("acme/web.toml", Some("2"), ""),
        change("acme/same.toml", Some("1"), &long),
    ];
    wait(store.record_policies(first, noon())).unwrap();
    fixture.close(store);

    let store = fixture.open();
    let second = vec![
        change("acme/api.toml", Some("3"), "third"),
        change("acme/web.toml", None, ""),
    ];
    wait(store.record_policies(second, noon())).unwrap();
    let found = wait(store.policies_on_record()).unwrap();
    let expected = [
        ("acme/api.toml".to_owned(), on_record("3")),
        ("acme/same.toml".to_owned(), on_record("1")),
    ];
    assert_eq!(found, expected.into());
    let text = |digest: &str| wait(store.policy_text(digest.into())).unwrap();
    assert_eq!(text("1"), Some(long.into_bytes()));
    assert_eq!(text("2"), Some(Vec::new()));
    assert_eq!(text("3"), Some(b"third".to_vec()));
    assert_eq!(text("4"), None);
    assert_eq!(wait(log::events(&store, "policy-loaded")).len(), 4);
    assert_eq!(wait(log::events(&store, "policy-removed")).len(), 1);
    fixture.close(store);
}

pub fn the_key_and_the_notes_of_checkpoints_are_kept(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    assert_eq!(wait(store.checkpoint_key()).unwrap(), None);
    assert_eq!(wait(store.checkpoint(Kept::Signed)).unwrap(), None);
    let named = Happening::LogNamed {
        origin: "sts.example.com/audit".into(),
        key: "sts.example.com/audit+00000000+AQ".into(),
    };
    wait(store.keep_checkpoint_key(None, vec![9; 5000], named, noon())).unwrap();
    let keep = |which, note: &str| wait(store.keep_checkpoint(which, note.into())).unwrap();
    keep(Kept::Signed, "first\n");
    keep(Kept::Cosigned, "cosigned\n");
    keep(Kept::Signed, "second\n");
    fixture.close(store);

    let store = fixture.open();
    assert_eq!(wait(store.checkpoint_key()).unwrap(), Some(vec![9; 5000]));
    let note = |which| wait(store.checkpoint(which)).unwrap().unwrap();
    assert_eq!(note(Kept::Signed), "second\n");
    assert_eq!(note(Kept::Cosigned), "cosigned\n");
    assert_eq!(wait(log::events(&store, "log-named")).len(), 1);
    fixture.close(store);
}
