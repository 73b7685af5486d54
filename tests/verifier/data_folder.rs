//! What only a data folder can suffer: its files are torn, garbled or gone. Every entry that is left is found again.

use std::fs;
use std::path::PathBuf;

use super::tampering::flip;
use super::writer::{self, Log, put};
use super::{codes, of_data, question};

struct Folder {
    log: Log,
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let log = Log::of(2000);
        let folder = tempfile::tempdir().unwrap();
        log.write_data_folder(folder.path(), 150_000);
        Self { log, folder }
    }

    fn records(&self, number: u64) -> PathBuf {
        self.folder.path().join(format!("records/{number:020}"))
    }

    /// Where entry `index` begins in the first file.
    fn offset(&self, index: usize) -> usize {
        self.log.leaves[..index]
            .iter()
            .map(|leaf| 8 + leaf.len())
            .sum()
    }

    fn found(&self) -> Vec<(&'static str, Option<u64>)> {
        let report = of_data(self.folder.path(), &question(&self.log));
        for fault in &report.faults {
            assert!(!fault.what.to_string().is_empty());
        }
        codes(&report)
    }
}

const ROOT: (&str, Option<u64>) = ("root-mismatch", None);

#[test]
fn a_flipped_bit_is_found_wherever_it_is_and_named_with_its_place() {
    let folder = Folder::new();
    let file = folder.records(0);
    let whole = fs::read(&file).unwrap();
    let start = folder.offset(50);
    let cases: [(usize, &[_]); 5] = [
        (
            0,
            &[("entry-unreadable", Some(50)), ("entry-missing", Some(50))],
        ),
        (
            2,
            &[("entry-unreadable", Some(50)), ("entry-missing", Some(50))],
        ),
        (5, &[("checksum-changed", Some(50))]),
        (200, &[ROOT, ("entry-changed", Some(50))]),
        (
            9,
            &[ROOT, ("entry-changed", Some(50)), ("schema", Some(50))],
        ),
    ];
    for (at, expected) in cases {
        flip(&file, start + at);
        let mut found = folder.found();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        // A flipped bit in a text may also break the schema; that depends on where it is.
        found.retain(|(code, _)| {
            *code != "schema" || expected.iter().any(|(other, _)| other == code)
        });
        assert_eq!(found, expected, "at {at}");
        let report = of_data(folder.folder.path(), &question(&folder.log));
        let place = report
            .faults
            .iter()
            .find_map(|fault| fault.place.clone())
            .unwrap();
        assert_eq!(
            (place.file, place.offset),
            (format!("records/{:020}", 0), start as u64)
        );
        fs::write(&file, &whole).unwrap();
    }
    assert!(folder.found().is_empty());
}

#[test]
fn a_file_that_is_gone_leaves_a_gap_and_the_rest_is_checked() {
    let folder = Folder::new();
    fs::remove_file(folder.records(1)).unwrap();
    let report = of_data(folder.folder.path(), &question(&folder.log));
    assert_eq!(report.fault_count, 1, "{:#?}", report.faults);
    assert_eq!(report.faults[0].what.code(), "entry-missing");
    // What comes after the gap is still compared.
    flip(&folder.records(3), 200);
    let codes: Vec<&str> = folder.found().into_iter().map(|(code, _)| code).collect();
    assert!(
        codes.contains(&"entry-changed") && codes.contains(&"entry-missing"),
        "{codes:?}"
    );
}

#[test]
fn a_large_gap_is_crossed() {
    let mut log = Log::of(5000);
    let folder = tempfile::tempdir().unwrap();
    log.write_data_folder(folder.path(), usize::MAX);
    log.leaves.drain(700..3500);
    let records: Vec<Vec<u8>> = log.leaves.iter().map(|leaf| writer::record(leaf)).collect();
    put(
        &folder.path().join(format!("records/{:020}", 0)),
        &records.concat(),
    );
    let report = of_data(folder.path(), &question(&log));
    assert_eq!(report.fault_count, 1, "{:#?}", report.faults);
    assert_eq!(
        report.faults[0].what.to_string(),
        "entries 700 to 3499 are missing"
    );
}

#[test]
fn a_torn_end_is_missed_only_if_the_checkpoint_covers_it() {
    let folder = Folder::new();
    let last = (0..1000)
        .take_while(|number| folder.records(*number).exists())
        .last()
        .unwrap();
    let file = folder.records(last);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    let found = folder.found();
    assert_eq!(
        found,
        [
            ("entry-unreadable", Some(1999)),
            ("entry-missing", Some(1999))
        ]
    );
    fs::write(&file, [&whole[..], &[7; 40]].concat()).unwrap();
    assert!(folder.found().is_empty());
}

#[test]
fn entries_beyond_the_checkpoint_are_mentioned_and_no_fault() {
    let folder = Folder::new();
    put(
        &folder.folder.path().join("checkpoint"),
        folder.log.checkpoint(1990).as_bytes(),
    );
    let report = of_data(folder.folder.path(), &question(&folder.log));
    assert!(report.is_whole());
    assert_eq!((report.size, report.beyond), (1990, 10));
}

#[test]
fn an_entry_that_was_put_in_is_strange_and_the_rest_is_whole() {
    let folder = Folder::new();
    let mut octets = fs::read(folder.records(0)).unwrap();
    let strange = writer::record(writer::allowed(9999, writer::START).to_string().as_bytes());
    let at = folder.offset(100);
    octets.splice(at..at, strange);
    fs::write(folder.records(0), octets).unwrap();
    assert_eq!(folder.found(), [("entry-strange", Some(100))]);
}

#[test]
fn a_tree_that_was_cut_off_is_said_to_be() {
    let folder = Folder::new();
    let file = folder.folder.path().join("tree/0");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..32 * 1800]).unwrap();
    let found = folder.found();
    assert_eq!(found, [("tile-length", Some(1792))]);
    fs::remove_file(folder.folder.path().join("tree/1")).unwrap();
    assert!(folder.found().contains(&("tile-length", None)));
}
