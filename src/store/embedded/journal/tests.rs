//! What the journal keeps, and what it does not.

use super::super::reached::{LogEnd, Reached};
use super::*;

fn commit(number: u64, octets: usize) -> Commit {
    Commit {
        reached: Reached {
            number,
            log: LogEnd::default(),
        },
        entries: Vec::new(),
        erased: Vec::new(),
        writes: [(number.to_be_bytes().to_vec(), Some(vec![b'x'; octets]))].into(),
    }
}

fn numbers(folder: &Path, applied: u64) -> io::Result<Vec<u64>> {
    let (_, commits) = Journal::open(folder, applied)?;
    let numbers = commits.iter().map(Commit::number);
    Ok(numbers.filter(|number| *number > applied).collect())
}

fn filled(folder: &Path, commits: impl Iterator<Item = Commit>) -> (Journal, Pen) {
    let (journal, _) = Journal::open(folder, 0).unwrap();
    let mut pen = journal.pen();
    for commit in commits {
        pen.write(&commit).unwrap();
    }
    pen.sync().unwrap();
    (journal, pen)
}

/// Leaves so many commits behind, each with an entry of so many octets.
fn fill(folder: &Path, commits: u64, octets: usize) {
    drop(filled(
        folder,
        (1..=commits).map(|number| commit(number, octets)),
    ));
}

/// Writes over what the first segment has at `place`.
fn overwrite(folder: &Path, octets: &[u8], place: u64) {
    let (_, path) = segments(folder).unwrap().remove(0);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(octets, place).unwrap();
}

#[test]
fn what_was_written_is_found_again_in_order_and_over_many_segments() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 40, 50_000);
    assert!(segments(folder.path()).unwrap().len() > 2);
    assert_eq!(
        numbers(folder.path(), 0).unwrap(),
        (1..=40).collect::<Vec<_>>()
    );
    assert_eq!(numbers(folder.path(), 38).unwrap(), [39, 40]);
    assert!(numbers(folder.path(), 40).unwrap().is_empty());
}

#[test]
fn a_segment_is_used_again_once_its_commits_are_durable_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, mut pen) = filled(folder.path(), (1..=4).map(|number| commit(number, 90)));
    for number in 5..400 {
        pen.write(&commit(number, 100_000)).unwrap();
        pen.sync().unwrap();
        journal.release(number - 3).unwrap();
    }
    assert!(segments(folder.path()).unwrap().len() <= 4);
    assert_eq!(numbers(folder.path(), 396).unwrap(), [397, 398, 399]);
}

#[test]
fn a_commit_that_was_cut_off_is_not_there_and_the_ones_before_are() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 3, 5000);
    overwrite(folder.path(), &[0; 4096], 2 * 8192 + 4096);
    assert_eq!(numbers(folder.path(), 0).unwrap(), [1, 2]);
}

#[test]
fn a_damaged_commit_before_a_good_one_is_no_end_but_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 3, 5000);
    overwrite(folder.path(), b"?", 8192 + 100);
    let fault = numbers(folder.path(), 0).unwrap_err().to_string();
    assert!(fault.contains("commit 2 cannot be read"), "{fault}");
}

#[test]
fn what_stands_before_a_gap_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 5, 5000);
    overwrite(folder.path(), b"?", 8192 + 100);
    let found = |applied| Journal::open(folder.path(), applied).map(|(_, commits)| commits);
    let numbers = |applied| -> Vec<u64> {
        let commits = found(applied).unwrap();
        commits.iter().map(Commit::number).collect()
    };
    assert_eq!(numbers(4), [3, 4, 5]);
    assert_eq!(numbers(2), [3, 4, 5]);
    assert!(found(1).is_err());
    // An index that is further than all of it was given what it lacks by nobody.
    assert!(numbers(6).is_empty());
}

#[test]
fn a_segment_that_was_made_ready_is_written_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let long = (1..=300).map(|number| commit(number, 100_000));
    let (journal, mut pen) = filled(folder.path(), long);
    pen.seal();
    journal.release(300).unwrap();
    drop((journal, pen));
    let (journal, commits) = Journal::open(folder.path(), 300).unwrap();
    assert!(commits.is_empty());
    assert_eq!(journal.lock().ready.len(), 1);
    let mut pen = journal.pen();
    pen.write(&commit(301, 90)).unwrap();
    pen.sync().unwrap();
    assert_eq!(segments(folder.path()).unwrap().len(), 1);
    assert_eq!(numbers(folder.path(), 300).unwrap(), [301]);
}

#[test]
fn after_a_failed_commit_the_one_with_its_number_in_a_later_segment_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut pen) = filled(folder.path(), [commit(1, 10), commit(2, 10)].into_iter());
    pen.seal();
    pen.write(&commit(2, 20)).unwrap();
    pen.sync().unwrap();
    let (_, commits) = Journal::open(folder.path(), 1).unwrap();
    assert_eq!(commits, [commit(1, 10), commit(2, 20)]);
    // Both segments hold commits, so neither may be written over yet.
    let (journal, _) = Journal::open(folder.path(), 1).unwrap();
    assert!(journal.lock().ready.is_empty());
}

#[test]
fn what_is_to_be_forgotten_is_deleted_and_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, mut pen) = filled(
        folder.path(),
        (1..=300).map(|number| commit(number, 100_000)),
    );
    journal.release(200).unwrap();
    assert_eq!(journal.lock().ready.len(), 1);
    pen.seal();
    journal.forget();
    assert!(journal.has_forgotten());
    journal.release(300).unwrap();
    assert!(!journal.has_forgotten());
    assert!(segments(folder.path()).unwrap().is_empty());
    pen.write(&commit(301, 90)).unwrap();
    pen.sync().unwrap();
    assert_eq!(numbers(folder.path(), 300).unwrap(), [301]);
}
