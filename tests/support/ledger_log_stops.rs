//! Stops between any two steps that make the log from the journal, keep a checkpoint, or delete personal values.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::clock::{FrozenClock, Seconds};
use countersign::ledger::{AuditLog, Kept, Ledger, Spent, TreeHead};
use countersign::store::{EmbeddedStore, Options, Step};

use super::audit_log::{
    PERSON, assert_whole, everything, of_person, personal_record, retired, root_of,
};
use super::fixture::*;
use super::stops::image;
use crate::support::log;

/// What was acknowledged when an image was taken.
#[derive(Clone, Default)]
struct Acknowledged {
    spent: Vec<String>,
    heads: Vec<TreeHead>,
}

struct Taken {
    step: Step,
    path: PathBuf,
    acknowledged: Acknowledged,
}

/// Takes an image of the folder at each step, of every thread, as long as it is told to.
#[derive(Clone)]
struct Camera {
    on: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    taken: Arc<Mutex<Vec<Taken>>>,
    images: Arc<tempfile::TempDir>,
}

impl Camera {
    fn new() -> Self {
        Self {
            on: Arc::default(),
            acknowledged: Arc::default(),
            taken: Arc::default(),
            images: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// A store that is photographed, and makes nothing durable by itself.
    fn open(&self, fixture: &Embedded) -> EmbeddedStore {
        let (camera, data) = (self.clone(), fixture.path().to_owned());
        fixture.open_with(Options {
            at_step: Some(Arc::new(move |step| {
                if camera.on.load(Ordering::SeqCst) {
                    camera.take(step, &data);
                }
                Ok(())
            })),
            checkpoint: Duration::MAX,
            ..Options::default()
        })
    }

    fn take(&self, step: Step, data: &Path) {
        let mut taken = self.taken.lock().unwrap();
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        let path = self.images.path().join(taken.len().to_string());
        image(data, &path);
        taken.push(Taken {
            step,
            path,
            acknowledged,
        });
    }

    fn shoot<T>(&self, work: impl FnOnce() -> T) -> T {
        self.on.store(true, Ordering::SeqCst);
        let done = work();
        self.on.store(false, Ordering::SeqCst);
        done
    }

    fn acknowledge(&self, change: impl FnOnce(&mut Acknowledged)) {
        change(&mut self.acknowledged.lock().unwrap());
    }
}

fn is_spent(store: &EmbeddedStore, name: &str) -> bool {
    let mut again = once(name);
    again.until = noon().plus(Seconds(10_000_000));
    wait(store.spend(again, record())).unwrap() == Spent::Exhausted
}

#[test]
fn a_stop_between_any_two_steps_loses_no_entry_and_the_tree_goes_on() {
    let fixture = Embedded::new();
    let camera = Camera::new();
    let store = camera.open(&fixture);
    // The last hashes of a tile come while images are taken.
    wait(store.append((0..252).map(retired).collect(), noon())).unwrap();
    camera.shoot(|| {
        for number in 0..6 {
            let name = format!("token {number}");
            wait(store.spend(once(&name), personal_record(noon()))).unwrap();
            camera.acknowledge(|acknowledged| acknowledged.spent.push(name));
            if number % 2 == 0 {
                let head = wait(store.tree()).unwrap();
                camera.acknowledge(|acknowledged| acknowledged.heads.push(head));
            }
        }
    });
    store.close();
    let taken = camera.taken.lock().unwrap();
    let steps: BTreeSet<String> = taken.iter().map(|one| format!("{:?}", one.step)).collect();
    for step in [
        "Decided",
        "Written",
        "Synced",
        "RecordsWritten",
        "WithheldWritten",
        "RowsWritten",
        "LevelWritten(0)",
        "LevelWritten(1)",
        "Applied",
    ] {
        assert!(steps.contains(step), "{step} of {steps:?}");
    }
    for one in taken.iter() {
        let store = open(&one.path);
        let step = one.step;
        let entries = assert_whole(&store);
        let recorded = wait(store.search(of_person(), None, 99)).unwrap();
        let recorded = recorded.entries.len();
        let spent = (0..6).filter(|number| is_spent(&store, &format!("token {number}")));
        assert_eq!(spent.count(), recorded, "{step:?}");
        assert!(entries >= 252 + recorded, "{step:?}");
        assert!(recorded >= one.acknowledged.spent.len(), "{step:?}");
        for head in &one.acknowledged.heads {
            let root = root_of(&store, head.size).unwrap();
            assert_eq!(root, head.root, "{step:?}");
        }
        store.close();
    }
}

#[test]
fn a_stop_while_a_checkpoint_is_kept_leaves_the_earlier_one_or_the_new_one() {
    let fixture = Embedded::new();
    let camera = Camera::new();
    let store = camera.open(&fixture);
    let first = "first ".repeat(900);
    let second = "second ".repeat(1200);
    wait(store.keep_checkpoint(Kept::Signed, first.clone())).unwrap();
    camera.shoot(|| wait(store.keep_checkpoint(Kept::Signed, second.clone())).unwrap());
    store.close();
    let taken = camera.taken.lock().unwrap();
    let steps: Vec<Step> = taken.iter().map(|one| one.step).collect();
    assert_eq!(steps, [Step::CheckpointWritten, Step::CheckpointRenamed]);
    for (one, expected) in taken.iter().zip([first, second]) {
        let store = open(&one.path);
        let kept = wait(store.checkpoint(Kept::Signed)).unwrap();
        assert!(kept == Some(expected), "{:?}", one.step);
        wait(store.keep_checkpoint(Kept::Signed, "third".into())).unwrap();
        let kept = wait(store.checkpoint(Kept::Signed)).unwrap();
        assert_eq!(kept.as_deref(), Some("third"));
    }
}

/// Whether any file below `folder` has `octets` in it.
fn is_anywhere(folder: &Path, octets: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = if path.is_dir() {
            is_anywhere(&path, octets)
        } else {
            let held = std::fs::read(&path).unwrap();
            let mut parts = held.windows(octets.len());
            parts.any(|part| part == octets.as_bytes()).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[test]
fn a_stop_while_personal_values_are_deleted_leaves_all_of_them_or_none_and_the_next_start_goes_on()
{
    let fixture = Embedded::new();
    let camera = Camera::new();
    let store = camera.open(&fixture);
    let later = noon().plus(Seconds(200_000));
    for number in 0..4 {
        let mut spend = once(&number.to_string());
        spend.until = later.plus(Seconds(99_999));
        wait(store.spend(spend, personal_record(noon()))).unwrap();
    }
    wait(store.append(vec![retired(0)], later)).unwrap();
    let head = wait(store.tree()).unwrap();
    assert!(is_anywhere(fixture.path(), PERSON).is_some());
    // From here on the journal does not have what was written before.
    store.close();
    let store = camera.open(&fixture);
    let removed = camera.shoot(|| wait(store.remove_personal_values(later, later)));
    assert!(removed.unwrap());
    assert_eq!(is_anywhere(fixture.path(), PERSON), None);
    store.close();

    let taken = camera.taken.lock().unwrap();
    let steps: Vec<Step> = taken.iter().map(|one| one.step).collect();
    for step in [Step::Synced, Step::MarksErased, Step::ValuesRemoved] {
        assert!(steps.contains(&step), "{step:?} of {steps:?}");
    }
    let mut outcomes = BTreeSet::new();
    for one in taken.iter() {
        let step = one.step;
        if step == Step::MarksErased {
            // A machine that loses power may have written any part of the rows.
            let rows = one.path.join("rows/00000000000000000000");
            let mut torn = std::fs::read(&rows).unwrap();
            torn[100..200].fill(0);
            std::fs::write(&rows, torn).unwrap();
        }
        let store = open(&one.path);
        assert_whole(&store);
        let root = root_of(&store, head.size).unwrap();
        assert_eq!(root, head.root, "{step:?}");
        let kept = everything(&store).into_iter().take(4);
        let kept = kept.filter(|entry| entry.withheld.is_some()).count();
        let said = wait(log::events(&store, "personal-values-removed"));
        assert_eq!(
            (kept, said.len()),
            if said.is_empty() { (4, 0) } else { (0, 1) },
            "{step:?}"
        );
        outcomes.insert(kept);
        let again = wait(store.remove_personal_values(later, later)).unwrap();
        assert_eq!(again, said.is_empty(), "{step:?}");
        assert_eq!(is_anywhere(&one.path, PERSON), None, "{step:?}");
        let found = wait(store.search(of_person(), None, 9)).unwrap();
        assert_eq!(found.entries, [], "{step:?}");
        store.close();
    }
    assert_eq!(outcomes, [0, 4].into());
}

#[test]
fn a_step_that_fails_while_the_log_is_written_costs_nothing() {
    for failing in [
        Step::RecordsWritten,
        Step::WithheldWritten,
        Step::RowsWritten,
        Step::LevelWritten(0),
        Step::LevelWritten(1),
    ] {
        let fixture = Embedded::new();
        let fails = Arc::new(AtomicBool::new(false));
        let at_step = {
            let fails = fails.clone();
            move |step| {
                if step == failing && fails.swap(false, Ordering::SeqCst) {
                    return Err(std::io::Error::other("the disk is broken"));
                }
                Ok(())
            }
        };
        let store = fixture.open_with(Options {
            at_step: Some(Arc::new(at_step)),
            ..Options::default()
        });
        wait(store.append((0..250).map(retired).collect(), noon())).unwrap();
        let head = wait(store.tree()).unwrap();
        fails.store(true, Ordering::SeqCst);
        let mut spent = 0;
        for number in 0..20 {
            // Right after the failure nothing is promised.
            let answer = store.spend(once(&number.to_string()), personal_record(noon()));
            spent += usize::from(wait(answer).is_ok());
            let _ = wait(store.tree());
        }
        until_it_serves(&store);
        assert!(!fails.load(Ordering::SeqCst), "{failing:?} was reached");
        let entries = assert_whole(&store);
        assert_eq!(entries, 250 + spent, "{failing:?}");
        let root = root_of(&store, head.size).unwrap();
        assert_eq!(root, head.root);
        store.close();
        assert_eq!(assert_whole(&fixture.open()), 250 + spent, "{failing:?}");
    }
}

#[test]
fn what_the_journal_has_and_the_files_do_not_is_not_made_up() {
    // A file of the log from before what the journal still has: there is a gap that nobody can fill.
    let fixture = Embedded::new();
    let store = fixture.open();
    wait(store.append((0..300).map(retired).collect(), noon())).unwrap();
    store.close();
    let early = tempfile::tempdir().unwrap();
    let store = fixture.open_with(Options {
        checkpoint: Duration::MAX,
        ..Options::default()
    });
    wait(store.append((0..300).map(retired).collect(), noon())).unwrap();
    wait(store.tree()).unwrap();
    image(fixture.path(), early.path());
    store.close();
    for name in [
        "records/00000000000000000000",
        "rows/00000000000000000000",
        "tree/0",
    ] {
        let copy = tempfile::tempdir().unwrap();
        image(early.path(), copy.path());
        let file = std::fs::File::options()
            .write(true)
            .open(copy.path().join(name))
            .unwrap();
        file.set_len(320).unwrap();
        let clock = Arc::new(FrozenClock::at(noon()));
        let opened = EmbeddedStore::open(copy.path(), clock, Options::default());
        let error = opened.err().unwrap().to_string();
        assert!(
            error.contains("of entries before number 300"),
            "{name}: {error}"
        );
    }
    assert_eq!(assert_whole(&open(early.path())), 600);
}

#[test]
fn tens_of_thousands_of_exchanges_over_restarts_are_in_the_log_once_each() {
    const IN_ALL: usize = 30_000;
    let fixture = Embedded::new();
    let mut heads: Vec<TreeHead> = Vec::new();
    for life in 0..4 {
        let store = fixture.open();
        for head in &heads {
            let root = root_of(&store, head.size).unwrap();
            assert_eq!(root, head.root);
        }
        for batch in 0..IN_ALL / 4 / 2500 {
            let spends = (0..2500)
                .map(|number| store.spend(once(&format!("{life} {batch} {number}")), record()));
            let spent = wait(futures_util::future::join_all(spends));
            assert!(spent.iter().all(Result::is_ok));
            heads.push(wait(store.tree()).unwrap());
        }
        store.close();
    }
    let store = fixture.open();
    assert_eq!(assert_whole(&store), IN_ALL);
    assert!(wait(log::events(&store, "clock-put-back")).is_empty());
}
