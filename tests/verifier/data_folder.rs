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

/// Where the values of entry `index` lie: the number of their file, their offset, and their length.
fn place_of_values(folder: &Folder, index: usize) -> (u64, usize, usize) {
    let rows = fs::read(folder.folder.path().join(format!("rows/{:020}", 0))).unwrap();
    let row = &rows[88 * index..][..88];
    let start = u64::from_le_bytes(row[10..18].try_into().unwrap());
    let length = u32::from_le_bytes(row[18..22].try_into().unwrap());
    let offset = usize::try_from(start % (64 << 20)).unwrap();
    (start >> 26, offset, length as usize)
}

fn values_file(folder: &Folder, number: u64) -> PathBuf {
    folder.folder.path().join(format!("withheld/{number:020}"))
}

#[test]
fn a_withheld_value_that_was_changed_is_named_with_its_place() {
    let folder = Folder::new();
    let index = 700;
    let (number, start, length) = place_of_values(&folder, index);
    let file = values_file(&folder, number);
    let whole = fs::read(&file).unwrap();
    let text = String::from_utf8(whole[start + 8..][..length].to_vec()).unwrap();
    assert!(number > 0 && text.contains("mona"), "{number}: {text}");
    let mona = start + 8 + text.find("mona").unwrap();
    let salt = start + 8 + text.find("\"salt\":\"").unwrap() + 8;
    let name = start + 8 + text.find("actor").unwrap();
    for (at, code) in [
        (start, "withheld-unreadable"),
        (start + 3, "withheld-unreadable"),
        (start + 5, "checksum-changed"),
        (start + 8, "withheld-unreadable"),
        (mona, "withheld-changed"),
        (salt, "withheld-changed"),
        (name, "withheld-unknown"),
    ] {
        flip(&file, at);
        let report = of_data(folder.folder.path(), &question(&folder.log));
        assert_eq!(codes(&report), [(code, Some(index as u64))], "at {at}");
        let place = report.faults[0].place.clone().unwrap();
        let expected = (format!("withheld/{number:020}"), start as u64);
        assert_eq!((place.file, place.offset), expected);
        fs::write(&file, &whole).unwrap();
    }
    let report = of_data(folder.folder.path(), &question(&folder.log));
    assert!(report.is_whole() && report.withheld > 1900);
}

#[test]
fn withheld_values_that_are_gone_are_a_fault_unless_an_entry_says_so() {
    let mut folder = Folder::new();
    let first = (0..2000)
        .find(|index| place_of_values(&folder, *index).0 == 2)
        .unwrap();
    let end = (0..2000)
        .find(|index| place_of_values(&folder, *index).0 == 4)
        .unwrap();
    for number in [2, 3] {
        fs::remove_file(values_file(&folder, number)).unwrap();
    }
    let report = of_data(folder.folder.path(), &question(&folder.log));
    assert_eq!(codes(&report), [("withheld-missing", Some(first as u64))]);
    let said = report.faults[0].what.to_string();
    let entries = format!("of entries {first} to {} are missing", end - 1);
    assert!(said.contains(&entries), "{said}");
    let place = report.faults[0].place.clone().unwrap();
    assert_eq!(
        (place.file, place.offset),
        (format!("withheld/{:020}", 2), 0)
    );

    // Told by an entry, in the signed tree or beyond it.
    let at = writer::START + 2_000_000;
    let removed = |until: usize| {
        let mut removed = writer::event("personal-values-removed", 2000, at);
        removed["until"] = until.into();
        removed.to_string().into_bytes()
    };
    for (until, expected) in [
        (end, Vec::new()),
        (end - 1, vec![("withheld-missing", Some(end as u64 - 1))]),
        (first, vec![("withheld-missing", Some(first as u64))]),
    ] {
        folder.log.leaves.truncate(2000);
        folder.log.leaves.push(removed(until));
        folder.log.write_data_folder(folder.folder.path(), 150_000);
        for number in [2, 3] {
            fs::remove_file(values_file(&folder, number)).unwrap();
        }
        assert_eq!(folder.found(), expected, "{until}");
        let checkpoint = folder.log.checkpoint(2000);
        put(
            &folder.folder.path().join("checkpoint"),
            checkpoint.as_bytes(),
        );
        assert_eq!(folder.found(), expected, "{until}");
    }
}

#[test]
fn a_row_that_says_nothing_of_values_hides_none() {
    let folder = Folder::new();
    let file = folder.folder.path().join(format!("rows/{:020}", 0));
    let whole = fs::read(&file).unwrap();
    let mut octets = whole.clone();
    octets[88 * 700 + 18..][..4].fill(0);
    fs::write(&file, &octets).unwrap();
    let report = of_data(folder.folder.path(), &question(&folder.log));
    assert_eq!(codes(&report), [("withheld-missing", Some(700))]);
    let place = report.faults[0].place.clone().unwrap();
    assert_eq!(
        (place.file, place.offset),
        (format!("rows/{:020}", 0), 88 * 700)
    );
    for (at, octet) in [(10, 1), (16, 1), (17, 0xff), (20, 0xff), (21, 0xff)] {
        octets.clone_from(&whole);
        octets[88 * 700 + at] ^= octet;
        fs::write(&file, &octets).unwrap();
        let found = folder.found();
        let known = [
            ("withheld-unreadable", Some(700)),
            ("withheld-missing", Some(700)),
        ];
        assert!(
            found.len() == 1 && known.contains(&found[0]),
            "{at}: {found:?}"
        );
    }
    fs::write(&file, &whole[..88 * 1999 + 40]).unwrap();
    assert_eq!(folder.found(), [("withheld-unreadable", Some(1999))]);
    fs::remove_file(&file).unwrap();
    let report = of_data(folder.folder.path(), &question(&folder.log));
    assert!(report.fault_count > 1900, "{}", report.fault_count);
}
