//! One change each. Both verifiers refuse it, and ours says what it was.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::writer::{self, Hash, Log, START, Signer, put, tile_path};
use super::{codes, of_data, of_tiles, python_of, question};

const SIZE: usize = 700;

/// A log, written whole in both forms.
struct Stage {
    log: Log,
    folder: tempfile::TempDir,
}

impl Stage {
    fn of(log: Log) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stage = Self { log, folder };
        stage.log.write_tiles(&stage.path("tiles"));
        stage.log.write_data_folder(&stage.path("data"), 150_000);
        stage
    }

    fn new() -> Self {
        Self::of(Log::of(SIZE as u64))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Puts other entries under the tree and the checkpoint as they are.
    fn with_leaves(&self, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let mut leaves = self.log.leaves.clone();
        change(&mut leaves);
        let tiles = SIZE.div_ceil(256);
        for number in 0..tiles {
            let from = (number * 256).min(leaves.len());
            let to = (from + 256).min(leaves.len());
            let width = (SIZE - number * 256).min(256);
            let path = self.path("tiles").join(tile_path("entries", number, width));
            put(&path, &writer::bundle(&leaves[from..to]));
        }
        let records: Vec<Vec<u8>> = leaves.iter().map(|leaf| writer::record(leaf)).collect();
        fs::remove_dir_all(self.path("data/records")).unwrap();
        put(
            &self.path("data/records").join(format!("{:020}", 0)),
            &records.concat(),
        );
    }

    /// Changes a file in both forms.
    fn edit(&self, name: &str, change: impl Fn(&str) -> String) {
        for form in ["tiles", "data"] {
            let path = self.path(form).join(name);
            let before = fs::read_to_string(&path).unwrap();
            let after = change(&before);
            assert_ne!(before, after);
            fs::write(path, after).unwrap();
        }
    }

    /// Both verifiers refuse both forms, ours with these faults first.
    #[track_caller]
    fn is_refused(&self, expected: &[(&str, Option<u64>)]) {
        self.is_refused_as(expected, expected);
    }

    #[track_caller]
    fn is_refused_as(&self, tiles: &[(&str, Option<u64>)], data: &[(&str, Option<u64>)]) {
        let question = question(&self.log);
        let report = of_tiles(&self.path("tiles"), &question);
        assert_eq!(codes(&report), tiles, "{:#?}", report.faults);
        let report = of_data(&self.path("data"), &question);
        assert_eq!(codes(&report), data, "{:#?}", report.faults);
        let (whole, said) = python_of(&self.path("tiles"), &self.log, &[]);
        assert!(!whole, "{said}");
    }
}

fn changed(leaf: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(leaf.to_vec()).unwrap();
    let after = text.replace("acme/api", "acme/apj");
    assert_ne!(text, after);
    after.into_bytes()
}

const ROOT: (&str, Option<u64>) = ("root-mismatch", None);

#[test]
fn an_entry_that_was_changed_is_named() {
    for index in [5, 256, 511, 699] {
        let stage = Stage::new();
        stage.with_leaves(|leaves| leaves[index] = changed(&leaves[index]));
        stage.is_refused(&[ROOT, ("entry-changed", Some(index as u64))]);
    }
}

#[test]
fn several_entries_that_were_changed_are_all_named() {
    let stage = Stage::new();
    stage.with_leaves(|leaves| {
        for index in [5, 6, 300, 698] {
            leaves[index] = changed(&leaves[index]);
        }
    });
    let entry = |index| ("entry-changed", Some(index));
    stage.is_refused(&[ROOT, entry(5), entry(6), entry(300), entry(698)]);
}

#[test]
fn twenty_faults_are_told_and_all_are_counted() {
    let stage = Stage::new();
    stage.with_leaves(|leaves| {
        for leaf in leaves.iter_mut().skip(1) {
            let text = String::from_utf8(leaf.clone()).unwrap();
            *leaf = text.replace("\"version\":1", "\"version\":2").into_bytes();
        }
    });
    let report = of_data(&stage.path("data"), &question(&stage.log));
    assert_eq!(codes(&report)[0], ROOT);
    assert_eq!(report.faults.len(), 20);
    assert_eq!(report.fault_count, 1 + 2 * 699);
    assert!(!python_of(&stage.path("tiles"), &stage.log, &[]).0);
}

#[test]
fn a_hash_that_was_changed_is_told_from_an_entry() {
    for index in [5usize, 256, 699] {
        let stage = Stage::new();
        let width = if index < 512 { 256 } else { 188 };
        let tile = stage.path("tiles").join(tile_path("0", index / 256, width));
        flip(&tile, 32 * (index % 256));
        flip(&stage.path("data/tree/0"), 32 * index);
        stage.is_refused(&[("hash-changed", Some(index as u64))]);
    }
    let stage = Stage::new();
    flip(&stage.path("tiles").join(tile_path("1", 0, 2)), 32);
    flip(&stage.path("data/tree/1"), 32);
    stage.is_refused(&[("hash-changed", None)]);
}

#[test]
fn an_entry_that_was_changed_with_its_hash_is_found_by_the_hash_above() {
    let stage = Stage::new();
    let leaf = changed(&stage.log.leaves[300]);
    let hash = writer::leaf_hash(&leaf);
    stage.with_leaves(|leaves| leaves[300] = leaf);
    write_at(
        &stage.path("tiles").join(tile_path("0", 1, 256)),
        32 * 44,
        &hash,
    );
    write_at(&stage.path("data/tree/0"), 32 * 300, &hash);
    stage.is_refused(&[ROOT, ("entry-and-hash-changed", Some(256))]);
}

#[test]
fn whoever_changes_an_entry_and_the_whole_tree_has_not_the_signature() {
    let stage = Stage::new();
    let mut log = Log::of(SIZE as u64);
    log.leaves[300] = changed(&log.leaves[300]);
    let checkpoint = stage.log.checkpoint(SIZE);
    log.write_tiles(&stage.path("tiles"));
    fs::remove_dir_all(stage.path("data")).unwrap();
    log.write_data_folder(&stage.path("data"), 150_000);
    for form in ["tiles", "data"] {
        put(&stage.path(form).join("checkpoint"), checkpoint.as_bytes());
    }
    stage.is_refused(&[ROOT]);
}

#[test]
fn entries_that_were_swapped_are_named_both() {
    let stage = Stage::new();
    stage.with_leaves(|leaves| leaves.swap(300, 301));
    stage.is_refused(&[
        ROOT,
        ("entry-changed", Some(300)),
        ("entry-changed", Some(301)),
    ]);
    let stage = Stage::new();
    stage.with_leaves(|leaves| leaves.swap(20, 40));
    stage.is_refused(&[
        ROOT,
        ("entry-changed", Some(20)),
        ("entry-changed", Some(40)),
    ]);
}

#[test]
fn an_entry_that_was_removed_is_missed_and_nothing_else() {
    let stage = Stage::new();
    stage.with_leaves(|leaves| drop(leaves.remove(300)));
    // In a data folder the others close up; in tiles they stand by their bundle, of which two are wrong then.
    let report = of_data(&stage.path("data"), &question(&stage.log));
    assert_eq!(codes(&report), [("entry-missing", Some(300))]);
    let report = of_tiles(&stage.path("tiles"), &question(&stage.log));
    assert!(!report.is_whole());
    assert!(!python_of(&stage.path("tiles"), &stage.log, &[]).0);

    let stage = Stage::new();
    let width = 256;
    let path = stage.path("tiles").join(tile_path("entries", 1, width));
    let mut entries = stage.log.leaves[256..512].to_vec();
    entries.remove(44);
    put(&path, &writer::bundle(&entries));
    let report = of_tiles(&stage.path("tiles"), &question(&stage.log));
    assert_eq!(codes(&report), [("entry-missing", Some(300))]);
    assert!(!python_of(&stage.path("tiles"), &stage.log, &[]).0);
}

#[test]
fn a_log_that_was_cut_off_misses_its_end() {
    let stage = Stage::new();
    stage.with_leaves(|leaves| leaves.truncate(600));
    stage.is_refused(&[("entry-missing", Some(600))]);
    let report = of_data(&stage.path("data"), &question(&stage.log));
    assert_eq!(
        report.faults[0].what.to_string(),
        "entries 600 to 699 are missing"
    );

    let stage = Stage::new();
    fs::remove_file(stage.path("tiles").join(tile_path("entries", 1, 256))).unwrap();
    fs::remove_file(stage.path("tiles").join(tile_path("0", 0, 256))).unwrap();
    let report = of_tiles(&stage.path("tiles"), &question(&stage.log));
    let expected = [
        ("tile-missing", Some(0)),
        ("tile-missing", Some(256)),
        ("entry-missing", Some(256)),
    ];
    assert_eq!(codes(&report), expected, "{:#?}", report.faults);
    assert!(!python_of(&stage.path("tiles"), &stage.log, &[]).0);
}

#[test]
fn a_checkpoint_that_was_changed_does_not_verify() {
    let root = STANDARD.encode(writer::root(&Log::of(SIZE as u64).levels()[0]));
    let other = STANDARD.encode(Hash::default());
    let signature = ("checkpoint-invalid", None);
    let stage = Stage::new();
    stage.edit("checkpoint", |text| text.replace(&root, &other));
    stage.is_refused(&[ROOT, signature]);
    let stage = Stage::new();
    stage.edit("checkpoint", |text| text.replace("\n700\n", "\n699\n"));
    let report = of_data(&stage.path("data"), &question(&stage.log));
    assert_eq!(codes(&report)[..2], [ROOT, signature]);
    assert!(!of_tiles(&stage.path("tiles"), &question(&stage.log)).is_whole());
    assert!(!python_of(&stage.path("tiles"), &stage.log, &[]).0);
    let stage = Stage::new();
    stage.edit("checkpoint", |text| {
        let mut line: Vec<char> = text.chars().collect();
        let at = line.len() - 20;
        line[at] = if line[at] == 'A' { 'B' } else { 'A' };
        line.into_iter().collect()
    });
    stage.is_refused(&[signature]);
    let stage = Stage::new();
    stage.edit("checkpoint", |text| {
        text.replace("sts.example.com/audit\n", "sts.example.org/audit\n")
    });
    stage.is_refused(&[signature]);
    let stage = Stage::new();
    stage.edit("checkpoint", |_| "nothing\n".to_owned());
    stage.is_refused(&[signature]);
}

#[test]
fn a_size_that_no_log_has_does_not_keep_the_verifier_busy() {
    let stage = Stage::new();
    stage.edit("checkpoint", |text| {
        text.replace("\n700\n", "\n4611686018427387904\n")
    });
    for report in [
        of_tiles(&stage.path("tiles"), &question(&stage.log)),
        of_data(&stage.path("data"), &question(&stage.log)),
    ] {
        assert!(codes(&report).contains(&("checkpoint-invalid", None)));
        assert!(codes(&report).contains(&("root-unknown", None)));
    }
}

#[test]
fn a_log_that_another_key_signed_is_another_log() {
    let mut log = Log::of(SIZE as u64);
    log.signer = Signer::log(8);
    let mut stage = Stage::of(log);
    stage.log.signer = Signer::log(7);
    stage.is_refused(&[("checkpoint-invalid", None)]);
}

#[test]
fn a_log_that_does_not_continue_an_earlier_checkpoint_is_refused() {
    let stage = Stage::new();
    let mut fork = Log::of(SIZE as u64);
    fork.leaves[100] = changed(&fork.leaves[100]);
    let earlier = stage.path("earlier");
    for (note, expected) in [
        (stage.log.checkpoint(300), None),
        (stage.log.checkpoint(512), None),
        (stage.log.checkpoint(700), None),
        (stage.log.checkpoint(0), None),
        (fork.checkpoint(100), None),
        (fork.checkpoint(300), Some("forked")),
        (fork.checkpoint(101), Some("forked")),
        (fork.checkpoint(700), Some("forked")),
        (Log::of(900).checkpoint(900), Some("shorter")),
        (
            fork.checkpoint(300).replace("300", "301"),
            Some("earlier-checkpoint-invalid"),
        ),
        ("nothing".to_owned(), Some("earlier-checkpoint-invalid")),
    ] {
        put(&earlier, note.as_bytes());
        let mut question = question(&stage.log);
        question.since = Some(note.into_bytes());
        for report in [
            of_tiles(&stage.path("tiles"), &question),
            of_data(&stage.path("data"), &question),
        ] {
            let found: Vec<&str> = codes(&report).into_iter().map(|(code, _)| code).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
        let since = ["--since", earlier.to_str().unwrap()];
        let (whole, said) = python_of(&stage.path("tiles"), &stage.log, &since);
        assert_eq!(whole, expected.is_none(), "{said}");
    }
}

/// A log whose entries the writer made wrong: the tree and the signature are right.
#[track_caller]
fn is_refused_by_its_entries(entries: &[Value], expected: &[(&str, Option<u64>)]) {
    Stage::of(Log::from(entries)).is_refused(expected);
}

fn entries() -> Vec<Value> {
    (0..20).map(writer::entry).collect()
}

#[test]
fn a_clock_that_goes_back_is_announced_or_refused() {
    let back = START - 500_000;
    let mut put_back = entries();
    let mut event = writer::event("clock-put-back", 50, back);
    event["before_millis"] = json!(START + 19_000);
    put_back.push(event);
    put_back.push(writer::allowed(51, back + 1));
    put_back.push(writer::denied(52, back - 59_000));
    let log = Log::from(&put_back);
    let stage = Stage::of(log);
    assert!(of_data(&stage.path("data"), &question(&stage.log)).is_whole());
    assert!(of_tiles(&stage.path("tiles"), &question(&stage.log)).is_whole());
    assert!(python_of(&stage.path("tiles"), &stage.log, &[]).0);

    let mut unannounced = put_back.clone();
    unannounced.remove(20);
    is_refused_by_its_entries(
        &unannounced,
        &[("time-behind", Some(20)), ("time-behind", Some(21))],
    );
    let mut wrong = put_back;
    wrong[20]["before_millis"] = json!(START + 18_000);
    is_refused_by_its_entries(&wrong, &[("time-put-back", Some(20))]);
}

#[test]
fn a_log_bears_the_name_and_the_key_of_its_checkpoint() {
    let named = |number, origin: &str, key: &Signer| {
        let at = START + 1000 * i64::try_from(number).unwrap();
        let mut named = writer::event("log-named", number, at);
        named["origin"] = json!(origin);
        named["key"] = json!(key.vkey());
        named
    };
    let mut all = entries();
    all.push(named(20, writer::ORIGIN, &Signer::log(8)));
    is_refused_by_its_entries(&all, &[("log-other-name", Some(20))]);
    // The last one counts.
    all.push(named(21, writer::ORIGIN, &Signer::log(7)));
    let stage = Stage::of(Log::from(&all));
    assert!(of_tiles(&stage.path("tiles"), &question(&stage.log)).is_whole());
    assert!(python_of(&stage.path("tiles"), &stage.log, &[]).0);
    all.push(named(22, "sts.example.org/audit", &Signer::log(7)));
    is_refused_by_its_entries(&all, &[("log-other-name", Some(22))]);
    let nameless: Vec<Value> = (1..20).map(writer::entry).collect();
    is_refused_by_its_entries(&nameless, &[("log-not-named", None)]);
}

#[test]
fn values_once_deleted_stay_deleted_and_are_never_those_of_later_entries() {
    let removed = |number, until: u64| {
        let at = START + 1000 * i64::try_from(number).unwrap();
        let mut removed = writer::event("personal-values-removed", number, at);
        removed["until"] = json!(until);
        removed
    };
    let with = |more: &[u64]| {
        let mut all = entries();
        all.extend(
            (20..)
                .zip(more)
                .map(|(number, until)| removed(number, *until)),
        );
        all
    };
    let stage = Stage::of(Log::from(&with(&[3, 3, 22])));
    assert!(of_tiles(&stage.path("tiles"), &question(&stage.log)).is_whole());
    assert!(python_of(&stage.path("tiles"), &stage.log, &[]).0);
    is_refused_by_its_entries(&with(&[3, 5, 4]), &[("removed-invalid", Some(22))]);
    is_refused_by_its_entries(&with(&[3, 22]), &[("removed-invalid", Some(21))]);
}

/// The entry with another value at `pointer`, or without one.
fn with(mut entry: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = entry.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name).unwrap();
    } else {
        parent.insert(name.to_owned(), value);
    }
    entry
}

#[test]
fn an_entry_that_breaks_the_schema_is_refused() {
    let schema = super::documents::schema();
    let at = START + 5000;
    let mut cases: Vec<Value> = Vec::new();
    let allowed = || writer::allowed(5, at);
    for (pointer, value) in [
        ("/version", json!(2)),
        ("/version", Value::Null),
        ("/kind", Value::Null),
        ("/kind", json!("A Kind")),
        ("/at_millis", json!("now")),
        ("/decision_id", Value::Null),
        ("/decision_id", json!("0")),
        ("/outcome", json!("perhaps")),
        ("/outcome", json!("denied")),
        ("/verified", Value::Null),
        ("/verified", json!(1)),
        ("/audience", Value::Null),
        ("/project", Value::Null),
        ("/token_id", Value::Null),
        ("/token_expires", json!("later")),
        ("/trust", json!("release")),
        ("/scopes", json!([1])),
        ("/claims", json!("none")),
        ("/withheld", json!({})),
        ("/withheld", json!({"/claims/actor": "short"})),
        ("/withheld", json!({"claims": STANDARD.encode([1; 32])})),
    ] {
        cases.push(with(allowed(), pointer, value));
    }
    cases.push(with(writer::denied(5, at), "/reason", Value::Null));
    cases.push(with(writer::denied(5, at), "/withheld", Value::Null));
    cases.push(with(
        writer::event("policy-loaded", 5, at),
        "/event_id",
        Value::Null,
    ));
    for (kind, pointer, value) in [
        ("pin-reset", "/ids", Value::Null),
        ("pin-reset", "/names", json!({"project": "acme/api"})),
        ("pin-reset", "/names/names", json!(["owner"])),
        ("clock-put-back", "/before_millis", Value::Null),
        ("log-named", "/origin", Value::Null),
        ("policy-loaded", "/digest", json!(7)),
        ("policy-loaded", "/changed", json!("trust release")),
        ("personal-values-removed", "/until", json!(-1)),
        ("signing-key-made", "/key_id", json!("k1")),
        ("issuer-keys-changed", "/added", json!([{"key_id": "k1"}])),
    ] {
        cases.push(with(writer::event(kind, 5, at), pointer, value));
    }
    for case in &cases {
        assert!(!schema.is_valid(case), "{case}");
    }
    // What a JSON Schema cannot say.
    cases.push(with(allowed(), "/at_millis", json!(at + 1)));
    cases.push(with(allowed(), "/claims/actor", json!("mona")));
    for cases in cases.chunks(15) {
        let mut all = entries();
        all.splice(5..6, cases.iter().cloned());
        let stage = Stage::of(Log::from(&all));
        let indexes = 5..5 + cases.len() as u64;
        let expected: Vec<_> = indexes.map(|index| ("schema", Some(index))).collect();
        stage.is_refused(&expected);
        let (_, said) = python_of(&stage.path("tiles"), &stage.log, &[]);
        for (index, case) in (5..).zip(cases) {
            assert!(said.contains(&format!("entry {index}: ")), "{case}: {said}");
        }
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for wrong in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        writer::entry(5)
            .to_string()
            .replacen("\"version\":1", "\"version\":1,\"version\":1", 1),
        writer::entry(5).to_string().replacen('}', "", 1),
        writer::entry(5).to_string().replacen(
            "\"nested\":{\"a\":",
            "\"nested\":{\"a\":1,\"a\":",
            1,
        ),
        writer::entry(5)
            .to_string()
            .replacen("main\"", "\\ud800\"", 1),
        writer::entry(5).to_string().replacen("null", "NaN", 1),
        writer::entry(5).to_string().replacen("null", "1e999", 1),
        format!("{}\n", writer::entry(5)),
    ] {
        let mut log = Log::of(20);
        assert_ne!(log.leaves[5], wrong.as_bytes());
        log.leaves[5] = wrong.clone().into_bytes();
        let stage = Stage::of(log);
        let question = question(&stage.log);
        for report in [
            of_tiles(&stage.path("tiles"), &question),
            of_data(&stage.path("data"), &question),
        ] {
            assert_eq!(codes(&report), [("schema", Some(5))], "{wrong}");
        }
        let (whole, said) = python_of(&stage.path("tiles"), &stage.log, &[]);
        assert!(!whole && said.contains("entry 5"), "{wrong}: {said}");
    }
}

#[test]
fn a_bundle_that_is_too_long_or_too_short_is_refused() {
    let stage = Stage::new();
    let path = stage.path("tiles").join(tile_path("entries", 1, 256));
    let whole = fs::read(&path).unwrap();
    let refused = |octets: &[u8]| {
        fs::write(&path, octets).unwrap();
        assert!(!python_of(&stage.path("tiles"), &stage.log, &[]).0);
        codes(&of_tiles(&stage.path("tiles"), &question(&stage.log)))
    };
    let more = writer::bundle(&stage.log.leaves[..1]);
    assert_eq!(
        refused(&[&whole[..], &more].concat()),
        [("bundle-too-long", Some(256))]
    );
    assert_eq!(
        refused(&[&whole[..], &[0]].concat()),
        [("bundle-too-long", Some(256))]
    );
    let short = refused(&whole[..whole.len() - 1]);
    assert!(short.contains(&("entry-missing", Some(511))), "{short:?}");
    fs::write(&path, &whole).unwrap();

    let tile = stage.path("tiles").join(tile_path("1", 0, 2));
    let whole = fs::read(&tile).unwrap();
    for octets in [&whole[..63], &[&whole[..], &[0; 32]].concat()] {
        fs::write(&tile, octets).unwrap();
        assert_eq!(
            codes(&of_tiles(&stage.path("tiles"), &question(&stage.log))),
            [("tile-length", None)]
        );
        assert!(!python_of(&stage.path("tiles"), &stage.log, &[]).0);
    }
}

#[test]
fn a_full_tile_stands_for_a_partial_one_that_is_gone() {
    let stage = Stage::new();
    let tiles = stage.path("tiles");
    let longer = Log::of(800);
    longer.write_tiles(&tiles);
    fs::remove_dir_all(tiles.join("tile/0/002.p")).unwrap();
    fs::remove_dir_all(tiles.join("tile/entries/002.p")).unwrap();
    put(
        &tiles.join("checkpoint"),
        stage.log.checkpoint(700).as_bytes(),
    );
    put(
        &tiles.join(tile_path("1", 0, 2)),
        &stage.log.levels()[1].concat(),
    );
    assert!(of_tiles(&tiles, &question(&stage.log)).is_whole());
    assert!(python_of(&tiles, &stage.log, &[]).0);
}

#[test]
fn a_withheld_value_that_is_there_is_held_against_its_digest() {
    let stage = Stage::new();
    let tiles = stage.path("tiles");
    let (_, value) = writer::withhold(2, &json!("mona"));
    let file = tiles.join("withheld/2.json");
    let judged = |content: &Value| {
        put(&file, content.to_string().as_bytes());
        let report = of_tiles(&tiles, &question(&stage.log));
        assert_eq!(report.is_whole(), python_of(&tiles, &stage.log, &[]).0);
        assert_eq!(report.withheld, u64::from(report.is_whole()));
        codes(&report)
    };
    assert!(judged(&json!({"/claims/actor": value})).is_empty());
    let mut other = value.clone();
    other["json"] = json!("\"lisa\"");
    assert_eq!(
        judged(&json!({"/claims/actor": other})),
        [("withheld-changed", Some(2))]
    );
    assert_eq!(
        judged(&json!({"/claims/mail": value})),
        [("withheld-unknown", Some(2))]
    );
    assert_eq!(
        judged(&json!({"/claims/actor": "mona"})),
        [("withheld-unreadable", Some(2))]
    );
    let short = json!({"salt": "AAAA", "json": "1"});
    assert_eq!(
        judged(&json!({"/claims/actor": short})),
        [("withheld-unreadable", Some(2))]
    );
}

#[test]
fn kinds_of_a_newer_program_are_counted_and_let_through() {
    let mut all = entries();
    all.push(writer::event("moon-risen", 20, START + 20_000));
    let stage = Stage::of(Log::from(&all));
    let report = of_tiles(&stage.path("tiles"), &question(&stage.log));
    assert!(report.is_whole());
    assert_eq!(report.unknown_kinds, 1);
    assert!(python_of(&stage.path("tiles"), &stage.log, &[]).0);
}

pub fn flip(path: &Path, at: usize) {
    let mut octets = fs::read(path).unwrap();
    octets[at] ^= 1;
    fs::write(path, octets).unwrap();
}

fn write_at(path: &Path, at: usize, new: &[u8]) {
    let mut octets = fs::read(path).unwrap();
    octets[at..at + new.len()].copy_from_slice(new);
    fs::write(path, octets).unwrap();
}
