//! The verifiers of the audit log, ours and one in Python that shares nothing with it: both accept what is whole, both refuse
//! what was changed.

mod attacks;
mod command;
mod data_folder;
mod documents;
mod kinds;
mod live;
mod tampering;
mod witnesses;
pub mod writer;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use countersign::verifier::{Copy, DataFolder, Question, Report, Tiles, VerifierKey, What, verify};
use writer::Log;

/// What a log is asked in most tests.
fn question(log: &Log) -> Question {
    Question {
        key: VerifierKey::parse(&log.signer.vkey()).unwrap(),
        since: None,
        witnesses: Vec::new(),
    }
}

/// What our verifier says of a copy in tiles.
fn of_tiles(folder: &Path, question: &Question) -> Report {
    let source = Tiles::new(Copy::new(folder), folder.join("withheld").is_dir());
    verify(&source, question, &|_, _| {}).unwrap()
}

/// What it says of a data folder.
fn of_data(folder: &Path, question: &Question) -> Report {
    verify(&DataFolder::new(folder), question, &|_, _| {}).unwrap()
}

/// Codes and indexes of the faults.
fn codes(report: &Report) -> Vec<(&'static str, Option<u64>)> {
    let faults = report.faults.iter();
    faults
        .map(|fault| (fault.what.code(), fault.index))
        .collect()
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifier/verify.py")
}

/// Runs the verifier in Python.
fn python(arguments: &[&str]) -> Output {
    let run = Command::new("python3")
        .arg("-B")
        .arg(script())
        .args(arguments)
        .output();
    run.unwrap()
}

/// What it says of a copy in tiles, and whether it is whole.
fn python_of(folder: &Path, log: &Log, more: &[&str]) -> (bool, String) {
    let vkey = log.signer.vkey();
    let arguments = [&[folder.to_str().unwrap(), "--key", &vkey], more].concat();
    let output = python(&arguments);
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.is_empty(), "{complaint}");
    match output.status.code() {
        Some(0) => assert!(
            said.starts_with("whole: ") || said.starts_with("proven: "),
            "{said}"
        ),
        Some(1) => assert!(said.starts_with("refused: "), "{said}"),
        other => panic!("{other:?}: {said}"),
    }
    (output.status.success(), said)
}

#[test]
fn both_accept_logs_of_every_shape() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 700] {
        let log = Log::of(size);
        let folder = tempfile::tempdir().unwrap();
        let (tiles, data) = (folder.path().join("tiles"), folder.path().join("data"));
        log.write_tiles(&tiles);
        log.write_data_folder(&data, 40_000);
        if size == 0 {
            std::fs::create_dir_all(data.join("records")).unwrap();
        }
        for report in [
            of_tiles(&tiles, &question(&log)),
            of_data(&data, &question(&log)),
        ] {
            assert!(report.is_whole(), "{size}: {:#?}", report.faults);
            assert_eq!((report.size, report.unknown_kinds), (size, 0));
        }
        let (whole, said) = python_of(&tiles, &log, &[]);
        assert!(whole, "{size}: {said}");
    }
}

#[test]
fn both_accept_a_log_with_three_levels_of_tiles_and_refuse_a_hash_of_any() {
    let at = |number: u64| writer::START + i64::try_from(number).unwrap();
    let entry = |number| match number {
        0 => writer::entry(0),
        number => writer::event("policy-loaded", number, at(number)),
    };
    let log = Log::from(&(0..66_000).map(entry).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let (tiles, data) = (folder.path().join("tiles"), folder.path().join("data"));
    log.write_tiles(&tiles);
    log.write_data_folder(&data, 3_000_000);
    let earlier = folder.path().join("earlier");
    writer::put(&earlier, log.checkpoint(65_700).as_bytes());
    let mut question = question(&log);
    question.since = Some(std::fs::read(&earlier).unwrap());
    for report in [of_tiles(&tiles, &question), of_data(&data, &question)] {
        assert!(report.is_whole(), "{:#?}", report.faults);
        assert_eq!(report.since, Some(65_700));
    }
    let since = ["--since", earlier.to_str().unwrap()];
    let (whole, said) = python_of(&tiles, &log, &since);
    assert!(whole, "{said}");

    for (level, at) in [(1, 256), (2, 0)] {
        let file = data.join(format!("tree/{level}"));
        tampering::flip(&file, 32 * at);
        let report = of_data(&data, &question);
        let [fault] = report.faults.as_slice() else {
            panic!("{:#?}", report.faults);
        };
        let (hash, place) = (at as u64, fault.place.as_ref().unwrap());
        assert!(
            matches!(fault.what, What::HashChanged { level: l, at, .. } if l == level && at == hash)
        );
        let expected = (format!("tree/{level}"), 32 * hash);
        assert_eq!((place.file.clone(), place.offset), expected);
        tampering::flip(&file, 32 * at);
    }
    tampering::flip(&tiles.join("tile/2/000.p/1"), 0);
    assert_eq!(
        codes(&of_tiles(&tiles, &question)),
        [("hash-changed", None)]
    );
    let (whole, said) = python_of(&tiles, &log, &[]);
    assert!(!whole && said.contains("hash 0 of level 2"), "{said}");
}
