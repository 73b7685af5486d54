//! The log on PostgreSQL where it is longer than what the tests of all stores write: packed, damaged, and read by several
//! instances at once.

#[path = "support/pg_fill.rs"]
mod fill;
mod packed;

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign::audit::tree::{Hash, consistency, fold, inclusion, leaf_hash, node_hash};
use countersign::audit::{
    DecisionId, Entry, Facts, Filter, Happening, LoggedEntry, Marks, Outcome, Record,
    RecordedClaims, Sealed,
};
use countersign::clock::{FrozenClock, Seconds, UnixTime};
use countersign::ledger::{AuditLog, Kept, Ledger, StoreUnavailable};
use countersign::store::{PostgresOptions, PostgresSettings, PostgresStore};
use fill::Filler;
use futures_util::future::join_all;
use serde_json::json;
use tokio_postgres::Client;

use crate::support::log;
use crate::support::postgres::{Cluster, shared};

/// How many entries a chunk has.
const CHUNK: u64 = 4096;

/// A database of its own, with its tables.
struct Database {
    url: String,
    client: Client,
}

impl Database {
    async fn new() -> Self {
        Self::at(&shared().database()).await
    }

    async fn at(url: &str) -> Self {
        close(open(url)).await;
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        let url = url.to_owned();
        Self { url, client }
    }

    fn store(&self) -> PostgresStore {
        open(&self.url)
    }

    async fn run(&self, statement: &str) {
        self.client.batch_execute(statement).await.unwrap();
    }

    async fn number(&self, query: &str) -> i64 {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Packs until so many chunks are: every instance does it, whoever comes first.
    async fn pack(&self, store: &PostgresStore, chunks: i64) {
        let packed = "SELECT packed FROM countersign.log_progress";
        while self.number(packed).await < chunks {
            store.pack().await.unwrap();
        }
    }

    /// Adds entries in batches of different lengths.
    async fn fill(&self, entries: &[Sealed]) -> u64 {
        let mut filler = Filler::new(&self.client).await;
        let mut rest = entries;
        for length in (0..).map(|turn| [1, 300, 7, 512, 64, 2][turn % 6]) {
            let (batch, left) = rest.split_at(together(rest, length));
            if batch.is_empty() {
                break;
            }
            filler.add(batch).await;
            rest = left;
        }
        filler.size()
    }
}

/// How many of these entries, `most` at most, may be in one batch: none is far behind another.
fn together(entries: &[Sealed], most: usize) -> usize {
    let (mut oldest, mut newest) = (i64::MAX, i64::MIN);
    let each = entries
        .iter()
        .take(most)
        .map(|sealed| sealed.marks.at_millis);
    let fit = each.take_while(|at| {
        (oldest, newest) = (oldest.min(*at), newest.max(*at));
        newest - oldest <= 60_000
    });
    fit.count()
}

fn open(url: &str) -> PostgresStore {
    let settings = PostgresSettings::parse(url).unwrap();
    let clock = Arc::new(FrozenClock::at(noon()));
    PostgresStore::open(settings, clock, PostgresOptions::default()).unwrap()
}

/// Closes a store from where others go on.
async fn close(store: PostgresStore) {
    let closing = tokio::task::spawn_blocking(move || store.close());
    closing.await.unwrap();
}

fn noon() -> UnixTime {
    UnixTime::from_seconds(1_795_003_200)
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

    fn one_of(&mut self, what: &str, sides: usize) -> Option<String> {
        let number = self.roll(sides + 1);
        (number < sides).then(|| format!("{what} {number}"))
    }

    /// Few of many: most entries have none.
    fn rarely(&mut self, what: &str, one_in: usize) -> Option<String> {
        (self.roll(one_in) == 0).then(|| what.to_owned())
    }
}

fn any_entry(dice: &mut Dice, at: UnixTime) -> Sealed {
    if dice.roll(50) == 0 {
        let key_id = format!("key {}", dice.roll(9));
        let event = Happening::SigningKeyRetired { key_id };
        return Sealed::of_event(countersign::audit::Event::new(event, at)).unwrap();
    }
    if dice.roll(50) == 0 {
        return personal(at);
    }
    let mut record = Record::new(Outcome::Allowed, at);
    record.project = dice
        .one_of("acme/api", 5)
        .or_else(|| dice.rarely("other/rare", 300));
    record.issuer = dice.one_of("github", 2);
    record.subject = dice.one_of("subject", 900);
    record.repository = dice.one_of("repository", 3);
    record.token_id = (dice.roll(2) == 0).then(|| DecisionId::new(at).to_string());
    record.trust = dice.one_of("release", 4).into_iter().collect();
    if dice.roll(30) == 0 {
        record.outcome = Outcome::Denied;
        record.reason = dice.one_of("reason", 2);
        record.nearest = dice.one_of("release", 4);
    }
    Sealed::of_decision(record).unwrap()
}

fn any_filter(dice: &mut Dice, entries: &[Entry]) -> Filter {
    let mut filter = Filter::default();
    let one = &entries[dice.roll(entries.len())];
    let moment = |dice: &mut Dice| one.at().millis() + i64::try_from(dice.roll(90_000)).unwrap();
    for _ in 0..=dice.roll(3) {
        match dice.roll(12) {
            0 => filter.kind = Some(["decision", "signing-key-retired"][dice.roll(2)].into()),
            1 => filter.project = dice.one_of("acme/api", 6),
            2 => filter.project = Some("other/rare".into()),
            3 => filter.organization = Some(["acme", "other", "third"][dice.roll(3)].into()),
            4 => filter.issuer = dice.one_of("github", 3),
            5 => filter.subject = dice.one_of("subject", 901),
            6 => filter.relationship = dice.one_of("release", 5),
            7 => filter.outcome = Some([Outcome::Allowed, Outcome::Denied][dice.roll(2)]),
            8 => filter.reason = dice.one_of("reason", 3),
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

async fn everything(store: &PostgresStore) -> Vec<LoggedEntry> {
    let size = store.tree().await.unwrap().size;
    let mut all = Vec::new();
    while (all.len() as u64) < size {
        let from = all.len() as u64;
        let more = store.entries(from..from + 1500).await.unwrap();
        assert!(!more.is_empty(), "entry {from} is missing");
        all.extend(more);
    }
    assert!(all.iter().map(|entry| entry.index).eq(0..size));
    all
}

/// The root of the tree over the first `size` entries.
async fn root_of(store: &PostgresStore, size: u64) -> Result<Vec<Hash>, StoreUnavailable> {
    store.hashes(std::iter::once(0..size).collect()).await
}

/// The numbers of all entries that a filter wants, page by page.
async fn numbers(store: &PostgresStore, filter: &Filter, limit: usize) -> Vec<u64> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = store.search(filter.clone(), before, limit).await.unwrap();
        found.extend(page.entries.iter().map(|entry| entry.index));
        assert!(page.entries.len() <= limit);
        assert!(
            page.next
                .is_none_or(|next| before.is_none_or(|before| next < before))
        );
        before = page.next;
        if before.is_none() {
            return found;
        }
    }
}

/// Some 14,000 entries, three chunks and more; up to a minute behind the latest, the clock put back now and then.
fn any_entries(dice: &mut Dice) -> Vec<Sealed> {
    let mut at = noon();
    let made = (0..14_000).map(|number| {
        at = match number {
            5000 => noon().minus(Seconds(400)),
            9000 => noon().plus(Seconds(30_000)),
            _ if dice.roll(9) == 0 => at.plus(Seconds(1)),
            _ => at,
        };
        let now = at.minus(Seconds(u32::try_from(dice.roll(50)).unwrap()));
        any_entry(dice, now)
    });
    made.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_finds_what_a_plain_scan_finds_in_what_is_packed_and_what_is_not() {
    let database = Database::new().await;
    let mut dice = Dice(7);
    database.fill(&any_entries(&mut dice)).await;
    let store = database.store();
    let all = everything(&store).await;
    let entries: Vec<Entry> = all.iter().map(|logged| logged.entry().unwrap()).collect();
    for is_packed in [false, true] {
        for _ in 0..60 {
            let filter = any_filter(&mut dice, &entries);
            let matching = entries.iter().enumerate();
            let matching = matching.filter(|(_, entry)| filter.matches(entry));
            let expected: Vec<u64> = matching.map(|(index, _)| index as u64).rev().collect();
            let limit = [1, 7, 50, 20_000][dice.roll(4)];
            if expected.len() / limit > 30 {
                continue;
            }
            let found = numbers(&store, &filter, limit).await;
            assert_eq!(found, expected, "{filter:?}, packed: {is_packed}");
        }
        for entry in entries.iter().step_by(97) {
            if let Entry::Decision(record) = entry {
                let id = record.decision_id;
                let found = store.decision(id).await.unwrap();
                assert_eq!(found.unwrap().decision_id, id);
            }
        }
        if !is_packed {
            database.pack(&store, 3).await;
        }
    }
    store.look_through().await.unwrap();
    assert_eq!(store.fault(), None);
    close(store).await;
}

/// The smallest entry that there is.
fn small(number: u64) -> Sealed {
    let leaf = serde_json::to_vec(&json!({"kind": "small", "number": number})).unwrap();
    Sealed {
        leaf_hash: leaf_hash(&leaf),
        leaf,
        withheld: Vec::new(),
        marks: Marks::NONE,
    }
}

fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => fold(&[]),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_is_the_same_before_and_after_it_is_packed_and_on_every_instance() {
    let database = Database::new().await;
    let made: Vec<Sealed> = (0..66_300).map(small).collect();
    let leaves: Vec<Hash> = made.iter().map(|sealed| sealed.leaf_hash).collect();
    let slice = |range: &std::ops::Range<u64>| {
        mth(&leaves[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()])
    };
    database.fill(&made).await;
    let store = database.store();
    let size = 66_300;
    let ranges: Vec<_> = [0, 4095, 4096, 65_535, 65_536, 66_299]
        .into_iter()
        .flat_map(|leaf| {
            let consistent = consistency(leaf, size).unwrap();
            inclusion(leaf, size).unwrap().into_iter().chain(consistent)
        })
        .chain([0..size, 0..0, 4096..8192])
        .collect();
    let expected: Vec<Hash> = ranges.iter().map(slice).collect();
    let tiles: Vec<Hash> = (0..258)
        .map(|tile| slice(&(tile * 256..(tile + 1) * 256)))
        .collect();
    for _ in 0..2 {
        let other = database.store();
        for store in [&store, &other] {
            let head = store.tree().await.unwrap();
            assert_eq!((head.size, head.root), (size, slice(&(0..size))));
            assert_eq!(store.hashes(ranges.clone()).await.unwrap(), expected);
            assert_eq!(store.tile_hashes(1, 0..999).await.unwrap(), tiles);
            let top = store.tile_hashes(2, 0..9).await.unwrap();
            assert_eq!(top, [slice(&(0..65_536))]);
            assert!(store.tile_hashes(3, 0..9).await.unwrap().is_empty());
            let lowest = store.tile_hashes(0, 4000..4200).await.unwrap();
            assert_eq!(lowest, leaves[4000..4200]);
        }
        // Whoever comes first packs, and nothing is packed twice.
        join_all((0..4).map(|turn| {
            if turn % 2 == 0 {
                store.pack()
            } else {
                other.pack()
            }
        }))
        .await;
        database.pack(&store, 16).await;
        assert_eq!(
            database
                .number("SELECT count(*) FROM countersign.log_nodes")
                .await,
            256 + 1
        );
        close(other).await;
    }
    let beyond = root_of(&store, size + 1).await.unwrap_err();
    assert!(beyond.to_string().contains("66300 leaves"), "{beyond}");
    close(store).await;
}

const PERSON: &str = "nobody-else-is-called-this";

fn personal(at: UnixTime) -> Sealed {
    let claims = [
        ("actor".to_owned(), PERSON.into()),
        ("sub".to_owned(), PERSON.into()),
    ];
    let record = Record {
        subject: Some(PERSON.into()),
        issuer: Some("github".into()),
        claims: RecordedClaims::new(Arc::new(claims.into_iter().collect()), vec!["actor", "sub"]),
        ..Record::new(Outcome::Allowed, at)
    };
    Sealed::of_decision(record).unwrap()
}

fn public(at: UnixTime) -> Sealed {
    let record = Record {
        subject: Some(PERSON.into()),
        ..Record::new(Outcome::Allowed, at)
    };
    Sealed::of_decision(record).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_of_deleted_values_is_gone_from_what_is_packed_too_and_said_once() {
    let database = Database::new().await;
    let day = |number: u32| noon().plus(Seconds(number * 86_400));
    // A chunk and a half of each day; one entry of a person in sixteen, and one that names it in its leaf.
    for number in 0..3 {
        let made = (0..6000).map(|turn| {
            let at = day(number).plus(Seconds(turn / 100));
            match turn % 16 {
                0 => personal(at),
                1 if turn < 16 => public(at),
                _ => small_at(at),
            }
        });
        database.fill(&made.collect::<Vec<_>>()).await;
    }
    let (one, two) = (database.store(), database.store());
    database.pack(&one, 4).await;
    let of_person = Filter {
        subject: Some(PERSON.into()),
        ..Filter::default()
    };
    assert_eq!(numbers(&one, &of_person, 99).await.len(), 3 * 376);
    let root = one.tree().await.unwrap().root;
    let (first, second) = tokio::join!(
        one.remove_personal_values(day(2), day(4)),
        two.remove_personal_values(day(2), day(4)),
    );
    assert!(first.unwrap() ^ second.unwrap(), "one of them did it");
    assert!(!one.remove_personal_values(day(2), day(4)).await.unwrap());
    let events = log::events(&one, "personal-values-removed").await;
    assert_eq!(events.len(), 1);
    let expected = Happening::PersonalValuesRemoved { until: 12_000 };
    assert_eq!(events[0].what, expected);

    // What names a person in its leaf stays found; and nothing else of those days.
    let found: BTreeSet<u64> = numbers(&one, &of_person, 99).await.into_iter().collect();
    let kept = (12_000..18_000).filter(|number| number % 16 == 0 || *number == 12_001);
    assert_eq!(found, [1, 6001].into_iter().chain(kept).collect());
    let withheld = "SELECT min(first) FROM countersign.log_withheld";
    assert!(database.number(withheld).await >= 12_000);
    assert_eq!(root_of(&one, 18_000).await.unwrap(), [root]);
    for store in [&one, &two] {
        store.look_through().await.unwrap();
        assert_eq!(store.fault(), None);
    }
    // What was not packed when it was erased is not packed later.
    database
        .fill(&(0..CHUNK).map(|_| small_at(day(3))).collect::<Vec<_>>())
        .await;
    database.pack(&one, 5).await;
    assert_eq!(numbers(&two, &of_person, 99).await.len(), found.len());
    assert!(one.remove_personal_values(day(9), day(9)).await.unwrap());
    assert_eq!(
        database
            .number("SELECT count(*) FROM countersign.log_withheld")
            .await,
        0
    );
    assert_eq!(numbers(&two, &of_person, 99).await, [12_001, 6001, 1]);
    two.look_through().await.unwrap();
    assert_eq!(two.fault(), None);
    close(one).await;
    close(two).await;
}

fn small_at(at: UnixTime) -> Sealed {
    let event = Happening::SigningKeyRetired {
        key_id: "one".into(),
    };
    Sealed::of_event(countersign::audit::Event::new(event, at)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_anywhere_is_told_to_every_instance_until_it_is_mended() {
    let database = Database::new().await;
    let at = |turn: u32| noon().plus(Seconds(turn / 100));
    let made = (0..9000).map(|turn| match turn % 2 {
        0 => personal(at(turn)),
        _ => small_at(at(turn)),
    });
    database.fill(&made.collect::<Vec<_>>()).await;
    let store = database.store();
    database.pack(&store, 2).await;
    close(store).await;
    let flip = |column: &str, octet: u32| {
        format!("{column} = set_byte({column}, {octet}, get_byte({column}, {octet}) # 1)")
    };
    let batches = |column: &str, octet| {
        let flip = flip(column, octet);
        format!("UPDATE countersign.log_batches SET {flip} WHERE first = 301")
    };
    let withheld = flip("withheld", 40);
    let node = flip("hash", 0);
    let ids = flip("ids", 0);
    let cases = [
        (batches("leaves", 100), "the leaf or the hash of entry 301"),
        (batches("hashes", 40), "the leaf or the hash of entry 302"),
        (
            batches("marks", 20),
            "the marks by which entry 301 is found",
        ),
        (
            format!("UPDATE countersign.log_withheld SET {withheld} WHERE first = 308"),
            "`countersign.log_withheld`, row with first = 308",
        ),
        (
            format!("UPDATE countersign.log_nodes SET {node} WHERE level = 1 AND number = 5"),
            "hash 5 of level 1 of the tree, that of entries 1280 to 1535",
        ),
        (
            format!("UPDATE countersign.log_chunks SET {ids} WHERE chunk = 1"),
            "`countersign.log_chunks`, row with chunk = 1",
        ),
        (
            "UPDATE countersign.log_postings SET places = '\\x0100' WHERE chunk = 1".into(),
            "`countersign.log_postings`, rows with chunk = 1",
        ),
    ];
    let tables = [
        "log_batches",
        "log_withheld",
        "log_nodes",
        "log_chunks",
        "log_postings",
    ];
    for table in tables {
        let copy = format!("CREATE TABLE copy_of_{table} AS TABLE countersign.{table}");
        database.run(&copy).await;
    }
    for (damage, told) in cases {
        let (one, two) = (database.store(), database.store());
        database.run(&damage).await;
        let _ = one.look_through().await;
        let fault = one
            .fault()
            .unwrap_or_else(|| panic!("{damage} was not found"));
        assert!(fault.what.contains(told), "{damage}: {}", fault.what);
        assert!(fault.what.contains("table `countersign."), "{}", fault.what);
        assert!(fault.mend.contains("stop all instances"), "{}", fault.mend);
        two.tree().await.unwrap();
        assert_eq!(two.fault(), Some(fault.clone()));
        close(one).await;
        close(two).await;

        let third = database.store();
        third.tree().await.unwrap();
        assert_eq!(third.fault().map(|fault| fault.mend), Some(fault.mend));
        close(third).await;
        for table in tables {
            let restore = format!(
                "TRUNCATE countersign.{table}; INSERT INTO countersign.{table} TABLE copy_of_{table}"
            );
            database.run(&restore).await;
        }
        let mended = database.store();
        mended.look_at_end().await.unwrap();
        mended.tree().await.unwrap();
        assert_eq!(mended.fault(), None, "after {damage}");
        close(mended).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_later_version_knows_is_found_by_what_it_says_and_is_no_damage() {
    let database = Database::new().await;
    let id = DecisionId::new(noon());
    let entry = json!({"kind": "role-given", "event_id": id.to_string(), "at_millis": noon().millis(),
                       "project": "acme/api"});
    let leaf = serde_json::to_vec(&entry).unwrap();
    let sealed = Sealed {
        leaf_hash: leaf_hash(&leaf),
        leaf,
        withheld: Vec::new(),
        marks: Facts::of(&Entry::Unknown(entry)).marks(),
    };
    let others = (0..CHUNK).map(small);
    database
        .fill(&[sealed].into_iter().chain(others).collect::<Vec<_>>())
        .await;
    let store = database.store();
    for _ in 0..2 {
        for filter in [
            json!({"project": "acme/api"}),
            json!({"organization": "acme", "kind": "role-given"}),
            json!({"id": id.to_string()}),
        ] {
            let filter: Filter = serde_json::from_value(filter).unwrap();
            assert_eq!(numbers(&store, &filter, 9).await, [0], "{filter:?}");
        }
        database.pack(&store, 1).await;
    }
    store.look_through().await.unwrap();
    assert_eq!(store.fault(), None);
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_checkpoint_never_takes_the_place_of_a_larger_one() {
    let database = Database::new().await;
    let (one, two) = (database.store(), database.store());
    let note = |size: u32| format!("sts.example.com/audit\n{size}\nAAAA\n\n— one AQ==\n");
    one.keep_checkpoint(Kept::Signed, note(10)).await.unwrap();
    two.keep_checkpoint(Kept::Signed, note(9)).await.unwrap();
    two.keep_checkpoint(Kept::Cosigned, note(8)).await.unwrap();
    assert_eq!(two.checkpoint(Kept::Signed).await.unwrap(), Some(note(10)));
    assert_eq!(one.checkpoint(Kept::Cosigned).await.unwrap(), Some(note(8)));
    close(one).await;
    close(two).await;
}

/// How many entries a part of the log has.
const PART: i64 = 1 << 27;

const PARTS: &str = "
SELECT count(*) FROM pg_inherits WHERE inhparent IN
    ('countersign.log_batches'::regclass, 'countersign.log_withheld'::regclass)";

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_on_into_the_next_partition() {
    let database = Database::new().await;
    let (one, two) = (database.store(), database.store());
    let add = |store: PostgresStore| async move {
        let event = || Happening::SigningKeyRetired {
            key_id: "one".into(),
        };
        store.append(vec![event(), event()], noon()).await.unwrap()
    };
    for (number, is_made_ahead) in [(1, true), (2, true), (3, false), (4, false)] {
        // As if there were so many before: the last batch ends three entries before the next part.
        let begins = number * PART;
        let last = begins - 4;
        database
            .run(&format!(
                "INSERT INTO countersign.log_batches
                 SELECT {last}, 1, {at}, {at}, 0, '{{1}}', '{{0}}', repeat('h', 32)::bytea, repeat('m', 56)::bytea, 'l'",
                at = noon().millis(),
            ))
            .await;
        if is_made_ahead {
            while database.number(PARTS).await < 2 * (number + 1) {
                let (first, second) = tokio::join!(one.make_room(), two.make_room());
                first.and(second).unwrap();
            }
        } else {
            // Whoever packs is at something else.
            let turn = "SELECT pg_advisory_lock(x'637472737061636b'::bigint)";
            database.run(turn).await;
            assert_eq!(database.number(PARTS).await, 2 * number);
        }
        // The second batch begins in one part and ends in the next.
        for (turn, store) in [(-3, &one), (-1, &two), (1, &one), (3, &two)] {
            let expected = begins + turn;
            assert_eq!(add(store.clone()).await, expected.cast_unsigned());
            let size = database.number("SELECT size FROM countersign.log_head");
            assert_eq!(size.await, expected + 2);
        }
        let rows = "SELECT string_agg(DISTINCT c.relname, ' ') FROM countersign.log_batches b
                    JOIN pg_class c ON c.oid = b.tableoid WHERE b.first >= $1";
        let rows = database.client.query_one(rows, &[&last]).await.unwrap();
        let both = format!("log_batches_{} log_batches_{number}", number - 1);
        assert_eq!(rows.get::<_, String>(0), both);
        let begins = begins.cast_unsigned();
        let read = one.entries(begins - 3..begins + 5).await.unwrap();
        let numbers = read.iter().map(|entry| entry.index);
        assert!(numbers.eq(begins - 3..begins + 5));
        let hashes: Vec<Hash> = read.iter().map(|entry| leaf_hash(&entry.leaf)).collect();
        let lowest = two.tile_hashes(0, begins - 3..begins + 5).await.unwrap();
        assert_eq!(lowest, hashes);
    }
    // Every part is as the first.
    let kinds = [
        "SELECT attrelid, concat_ws(' ', attname, attstorage, attnotnull) FROM pg_attribute WHERE attnum > 0",
        "SELECT indrelid, concat_ws(' ', indkey, indisprimary, indisvalid) FROM pg_index",
        "SELECT oid, reloptions::text FROM pg_class",
        "SELECT c.oid, t.reloptions::text FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid",
    ];
    for kind in kinds {
        let differing = format!(
            "SELECT count(*) FROM (
                 SELECT FROM ({kind}) AS k (oid, what) JOIN pg_class c ON c.oid = k.oid
                 WHERE c.relkind = 'r' AND c.relname ~ '^log_(batches|withheld)_[0-9]+$' AND k.what IS NOT NULL
                 GROUP BY substring(c.relname FROM '^[a-z_]+'), k.what HAVING count(*) <> 5
             ) AS d"
        );
        assert_eq!(database.number(&differing).await, 0, "{kind}");
    }
    let of_each = "SELECT count(*) FROM pg_indexes WHERE tablename ~ '^log_(batches|withheld)_4$'";
    assert_eq!(database.number(of_each).await, 3);
    close(one).await;
    close(two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reads_a_whole_table() {
    let cluster = Cluster::new(
        "fsync = off\nfull_page_writes = off\nshared_buffers = 64MB\nsession_preload_libraries = auto_explain\n\
         auto_explain.log_min_duration = 0\nauto_explain.log_nested_statements = on\nlog_min_messages = log\n\
         autovacuum = off",
    );
    let server = cluster.start();
    let database = Database::at(&cluster.database()).await;
    let mut dice = Dice(3);
    let made: Vec<Sealed> = any_entries(&mut dice);
    // Batches as they are when there is little to do: that is where tables have most rows.
    let mut filler = Filler::new(&database.client).await;
    let mut rest = made.as_slice();
    while !rest.is_empty() {
        let (batch, left) = rest.split_at(together(rest, 3));
        filler.add(batch).await;
        rest = left;
    }
    let store = database.store();
    database.pack(&store, 3).await;
    // As many chunks as ten million entries have; nobody asks for these.
    database
        .run(
            "INSERT INTO countersign.log_chunks SELECT n, '', '' FROM generate_series(1000, 3440) n;
             INSERT INTO countersign.log_nodes SELECT 1, n, '' FROM generate_series(16000, 50000) n;
             INSERT INTO countersign.log_withheld SELECT n, '' FROM generate_series(1000000, 1100000) n;
             INSERT INTO countersign.log_postings SELECT t, c, ''
                 FROM generate_series(1, 200) t, generate_series(1000, 2000) c",
        )
        .await;
    database.run("VACUUM ANALYZE").await;
    close(store).await;
    let log = cluster.path().join("log");
    let before = std::fs::metadata(&log).unwrap().len();

    let store = database.store();
    let all = everything(&store).await;
    let entries: Vec<Entry> = all.iter().map(|logged| logged.entry().unwrap()).collect();
    for _ in 0..60 {
        let wish = any_filter(&mut dice, &entries);
        store.search(wish, None, 50).await.unwrap();
    }
    store.search(Filter::default(), None, 300).await.unwrap();
    let size = all.len() as u64;
    store.hashes(inclusion(5000, size).unwrap()).await.unwrap();
    store.tile_hashes(0, 0..256).await.unwrap();
    store.look_through().await.unwrap();
    let day = noon().plus(Seconds(86_400));
    store
        .append(
            vec![Happening::SigningKeyRetired {
                key_id: "one".into(),
            }],
            day,
        )
        .await
        .unwrap();
    store.remove_personal_values(day, day).await.unwrap();
    store
        .keep_checkpoint(Kept::Signed, "one\n1\n".into())
        .await
        .unwrap();
    store.checkpoint(Kept::Signed).await.unwrap();
    store.checkpoint_key().await.unwrap();
    close(store).await;
    server.stop();

    let said = std::fs::read(&log).unwrap();
    let said = String::from_utf8_lossy(&said[usize::try_from(before).unwrap()..]).into_owned();
    let of_the_log = [
        "log_batches",
        "log_withheld",
        "log_nodes",
        "log_chunks",
        "log_postings",
    ];
    // What is behind the part in which the log ends is empty, and to read it whole is to read nothing.
    let is_of_the_log = |table: &str| {
        let number = table.rsplit_once('_').map(|(_, number)| number);
        let is_part = number.is_some_and(|number| number.parse::<u32>().is_ok());
        let name = table.trim_end_matches(|last: char| last.is_ascii_digit() || last == '_');
        of_the_log.contains(&if is_part { name } else { table }) && number != Some("1")
    };
    let (mut statements, mut whole) = (BTreeSet::new(), Vec::new());
    for part in said.split("Query Text: ").skip(1) {
        statements.insert(part.split_once("(cost=").map(|(text, _)| text.to_owned()));
        let scanned = part.split("Seq Scan on ").skip(1);
        let mut scanned = scanned.filter_map(|rest| rest.split_whitespace().next());
        if scanned.any(is_of_the_log) {
            whole.push(part.to_owned());
        }
    }
    assert!(statements.len() > 15, "{statements:#?}");
    assert!(whole.is_empty(), "{}", whole.join("\n---\n"));
}
