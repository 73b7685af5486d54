//! Stops between any two steps, torn writes, and a process that is killed.

use std::cmp::Ordering as Order;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::audit::{DecisionId, Happening, Record};
use countersign::clock::FrozenClock;
use countersign::ledger::{Ledger, Spend, Spent};
use countersign::store::{EmbeddedStore, Options, Step};
use countersign::trust::Names;

use super::fixture::*;
use crate::support::log;

/// The steps of the writer, in order.
const OF_A_COMMIT: [Step; 3] = [Step::Decided, Step::Written, Step::Synced];

/// Copies the data folder as it stands: what a process that is stopped now would leave behind.
fn image(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), copy).unwrap();
        } else if entry.file_type().unwrap().is_dir() {
            image(&entry.path(), &copy);
        }
    }
}

/// A use of a token that pins ids to names of its own.
fn pinning(name: &str) -> Spend {
    once_as(name, wish(names(name), &[("owner-id", name)]))
}

/// Whether the token is spent and whether its record is there. The pin is there if and only if the record is.
fn found(store: &EmbeddedStore, name: &str, id: DecisionId) -> (bool, bool) {
    let recorded = wait(store.decision(id)).unwrap().is_some();
    let states = wait(store.name_states(vec![names(name)])).unwrap();
    let pin = states
        .get(&names(name))
        .and_then(|state| state.pin.as_ref());
    let by = pin.map(|pin| pin.decision_id.clone());
    assert_eq!(by, recorded.then(|| id.to_string()), "{name}");
    let spent = wait(store.spend(once(name), record())).unwrap();
    (spent == Spent::Exhausted, recorded)
}

/// Each pin has its event, and each event its pin.
fn assert_pins_are_on_record(store: &EmbeddedStore) {
    let pins = wait(store.pins(None)).unwrap().into_iter();
    let mut pinned: Vec<Names> = pins.map(|pin| pin.names).collect();
    let events = wait(log::events(store, "pin-made"));
    let events = events.into_iter().map(|event| event.what);
    let mut made: Vec<Names> = events
        .map(|what| match what {
            Happening::PinMade { names, .. } => names,
            other => panic!("{other:?}"),
        })
        .collect();
    pinned.sort();
    made.sort();
    assert_eq!(pinned, made);
}

/// A store that keeps an image of its folder at each step of each commit.
fn open_with_images(fixture: &Embedded, images: &Path) -> (EmbeddedStore, Images) {
    let taken: Images = Arc::default();
    let (data, images) = (fixture.path().to_owned(), images.to_owned());
    let take = {
        let taken = taken.clone();
        move |step| {
            if !OF_A_COMMIT.contains(&step) {
                // That is another thread, at its own time.
                return Ok(());
            }
            let mut taken = taken.lock().unwrap();
            let to = images.join(taken.len().to_string());
            image(&data, &to);
            taken.push((step, to));
            Ok(())
        }
    };
    let store = fixture.open_with(Options {
        at_step: Some(Arc::new(take)),
        checkpoint: Duration::MAX,
        ..Options::default()
    });
    (store, taken)
}

type Images = Arc<Mutex<Vec<(Step, PathBuf)>>>;

#[test]
fn a_stop_between_any_two_steps_leaves_token_and_record_both_or_neither() {
    let fixture = Embedded::new();
    let images = tempfile::tempdir().unwrap();
    let (store, taken) = open_with_images(&fixture, images.path());
    let records: Vec<Record> = [0, 12_000, 150_000].map(large_record).into();
    for (number, record) in records.iter().enumerate() {
        let name = format!("token {number}");
        wait(store.spend(pinning(&name), record.clone())).unwrap();
    }
    store.close();
    let taken = taken.lock().unwrap();
    assert_eq!(taken.len(), 3 * 3);
    for (moment, (step, path)) in taken.iter().enumerate() {
        let store = open(path);
        assert_pins_are_on_record(&store);
        for (number, record) in records.iter().enumerate() {
            let name = format!("token {number}");
            let (spent, recorded) = found(&store, &name, record.decision_id);
            assert_eq!(spent, recorded, "token {number} at {step:?}");
            match number.cmp(&(moment / 3)) {
                Order::Less => assert!(spent, "acknowledged before {step:?}"),
                Order::Greater => assert!(!spent, "not yet begun at {step:?}"),
                Order::Equal => assert_eq!(spent, *step != Step::Decided, "{step:?}"),
            }
        }
    }
}

#[test]
fn a_step_that_fails_leaves_both_or_neither_and_the_next_commit_succeeds() {
    let fixture = Embedded::new();
    for failing in [Step::Decided, Step::Written, Step::Synced] {
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
        let name = |what: &str| format!("{what} {failing:?}");
        let (before, during) = (large_record(20_000), large_record(20_000));
        let [first, second] = [&before, &during].map(|record| record.decision_id);
        wait(store.spend(pinning(&name("before")), before)).unwrap();
        fails.store(true, Ordering::SeqCst);
        let failed = wait(store.spend(pinning(&name("during")), during)).unwrap_err();
        assert!(failed.to_string().contains("the disk is broken"));

        let spent = wait(store.spend(once(&name("after")), record())).unwrap();
        assert_eq!(spent.number(), Some(1));
        assert_eq!(found(&store, &name("before"), first), (true, true));
        let (spent, recorded) = found(&store, &name("during"), second);
        assert_eq!(spent, recorded, "{failing:?}");
        assert!(!spent, "{failing:?}");
        assert_pins_are_on_record(&store);
        store.close();
    }
}

#[test]
fn an_index_that_fails_costs_nothing_that_was_acknowledged() {
    let fixture = Embedded::new();
    let (failed, failures) = sync_channel(1);
    let fails = AtomicBool::new(true);
    let fail_once = move |step| {
        if step == Step::Applied && fails.swap(false, Ordering::SeqCst) {
            failed.send(()).unwrap();
            return Err(std::io::Error::other("the disk is broken"));
        }
        Ok(())
    };
    let store = fixture.open_with(Options {
        at_step: Some(Arc::new(fail_once)),
        ..Options::default()
    });
    let mut kept = Vec::new();
    for number in 0..20 {
        let (name, record) = (format!("token {number}"), large_record(5_000));
        let id = record.decision_id;
        // Right after the failure the index is not open, and nothing is promised.
        if wait(store.spend(pinning(&name), record)).is_ok() {
            kept.push((name, id));
        }
        if number == 10 {
            failures.recv().unwrap();
        }
    }
    until_it_serves(&store);
    for (name, id) in &kept {
        assert_eq!(found(&store, name, *id), (true, true), "{name}");
    }
    assert_pins_are_on_record(&store);
    assert!(kept.len() >= 10);
    store.close();
    let store = fixture.open();
    for (name, id) in &kept {
        assert_eq!(found(&store, name, *id), (true, true), "{name}");
    }
}

/// Of two images, the earlier with those blocks of 4 KiB taken over from the later that `arrived` names: what a machine
/// that loses power before a sync may find on its disk.
fn torn(earlier: &[u8], later: &[u8], arrived: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut disk = earlier.to_vec();
    let mut changed = 0;
    for (number, block) in later.chunks(4096).enumerate() {
        let at = number * 4096;
        if earlier.get(at..at + block.len()) == Some(block) {
            continue;
        }
        if arrived(changed) {
            disk.resize(disk.len().max(at + block.len()), 0);
            disk[at..at + block.len()].copy_from_slice(block);
        }
        changed += 1;
    }
    disk
}

#[test]
fn a_commit_of_which_only_some_blocks_reached_the_disk_is_there_whole_or_not_at_all() {
    let fixture = Embedded::new();
    let images = tempfile::tempdir().unwrap();
    let (store, taken) = open_with_images(&fixture, images.path());
    let acknowledged = large_record(30_000);
    wait(store.spend(pinning("acknowledged"), acknowledged.clone())).unwrap();
    let cut_off = large_record(30_000);
    wait(store.spend(pinning("cut off"), cut_off.clone())).unwrap();
    store.close();
    let taken = taken.lock().unwrap();
    let (before, after) = (&taken[2].1, &taken[5].1);
    let journal = |path: &PathBuf| path.join("journal/00000000000000000001");
    let [earlier, later] = [before, after].map(|path| std::fs::read(journal(path)).unwrap());

    let mut outcomes = BTreeMap::new();
    // A prefix, a suffix, one missing, and pseudo-random subsets.
    let subsets: [&dyn Fn(usize) -> bool; 9] = [
        &|_| false,
        &|_| true,
        &|block| block < 3,
        &|block| block >= 3,
        &|block| block != 0,
        &|block| block != 4,
        &|block| block % 2 == 0,
        &|block| block % 3 != 1,
        &|block| block.wrapping_mul(0x9E37_79B9) & 0x40 == 0,
    ];
    for (number, arrived) in subsets.into_iter().enumerate() {
        let path = images.path().join(format!("torn {number}"));
        image(before, &path);
        std::fs::write(journal(&path), torn(&earlier, &later, arrived)).unwrap();
        let store = open(&path);
        let first = found(&store, "acknowledged", acknowledged.decision_id);
        assert_eq!(first, (true, true), "subset {number}");
        let (spent, recorded) = found(&store, "cut off", cut_off.decision_id);
        assert_eq!(spent, recorded, "subset {number}");
        assert_pins_are_on_record(&store);
        *outcomes.entry(spent).or_insert(0) += 1;
    }
    assert!(outcomes.len() == 2, "both ends are seen: {outcomes:?}");
}

#[test]
fn what_index_and_records_lost_is_made_again_from_the_journal() {
    let fixture = Embedded::new();
    let images = tempfile::tempdir().unwrap();
    let (store, taken) = open_with_images(&fixture, images.path());
    let records: Vec<Record> = (0..8).map(|_| large_record(9_000)).collect();
    for (number, record) in records.iter().enumerate() {
        let spend = pinning(&format!("token {number}"));
        wait(store.spend(spend, record.clone())).unwrap();
    }
    store.close();
    let taken = taken.lock().unwrap();
    let (early, late) = (&taken[5].1, &taken[23].1);
    // sled makes its pages durable when it likes to, and the system writes the records when it likes to.
    for (number, (index, kept)) in [(early, early), (early, late), (late, early)]
        .into_iter()
        .enumerate()
    {
        let path = images.path().join(format!("mixed {number}"));
        image(&index.join("index"), &path.join("index"));
        for files in ["records", "withheld", "rows", "tree"] {
            image(&kept.join(files), &path.join(files));
        }
        image(&late.join("journal"), &path.join("journal"));
        let store = open(&path);
        for (number, record) in records.iter().enumerate() {
            let found = found(&store, &format!("token {number}"), record.decision_id);
            assert_eq!(found, (true, true), "token {number}");
        }
        assert_pins_are_on_record(&store);
    }
}

#[test]
fn an_index_from_a_backup_beside_newer_records_is_refused_and_nothing_is_lost() {
    let fixture = Embedded::new();
    let backup = tempfile::tempdir().unwrap();
    let store = fixture.open();
    wait(store.spend(once("before"), record())).unwrap();
    store.close();
    image(fixture.path(), backup.path());
    let store = fixture.open();
    for number in 0..300 {
        wait(store.spend(once(&number.to_string()), large_record(5000))).unwrap();
    }
    store.close();
    std::fs::remove_dir_all(fixture.path().join("index")).unwrap();
    let refused = || {
        let clock = Arc::new(FrozenClock::at(noon()));
        let opened = EmbeddedStore::open(fixture.path(), clock, Options::default());
        opened.err().unwrap().to_string()
    };
    assert!(refused().contains("one backup"), "{}", refused());
    std::fs::remove_dir_all(fixture.path().join("index")).unwrap();
    image(&backup.path().join("index"), &fixture.path().join("index"));
    assert!(refused().contains("one backup"), "{}", refused());
    let withheld = fixture.path().join("withheld/00000000000000000000");
    assert!(withheld.metadata().unwrap().len() > 300 * 5000);
}

#[test]
fn a_process_that_is_killed_again_and_again_leaves_a_journal_that_does_not_grow() {
    let fixture = Embedded::new();
    let images = tempfile::tempdir().unwrap();
    let mut folder = fixture.path().to_owned();
    for life in 0..40 {
        let clock = Arc::new(FrozenClock::at(noon()));
        let options = Options {
            checkpoint: Duration::MAX,
            ..Options::default()
        };
        let store = EmbeddedStore::open(&folder, clock, options).unwrap();
        for number in 0..3 {
            let spend = once(&format!("{life} {number}"));
            wait(store.spend(spend, large_record(100_000))).unwrap();
        }
        // What a process that is killed now leaves behind is where the next one begins.
        let next = images.path().join(life.to_string());
        image(&folder, &next);
        folder = next;
    }
    let segments = std::fs::read_dir(folder.join("journal")).unwrap();
    let sizes = segments.map(|segment| segment.unwrap().metadata().unwrap().len());
    assert!(sizes.sum::<u64>() <= 4 * (8 << 20));
}

/// Where the child finds its folder. Without it the test is the parent.
const CHILD: &str = "COUNTERSIGN_TEST_KILLED_IN";

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Ok(folder) = std::env::var(CHILD) {
        return spend_until_killed(Path::new(&folder));
    }
    let fixture = Embedded::new();
    let mut acknowledged = Vec::new();
    let mut tried = Vec::new();
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "ledger::stops::what_was_acknowledged_survives_a_kill",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(CHILD, fixture.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut read = |line: String| {
            // The last line may be cut short by the kill.
            let Some((word, id)) = line.strip_suffix('.').and_then(|line| line.split_once(' '))
            else {
                return 0;
            };
            match word {
                "tries" => tried.push(DecisionId::parse(id).unwrap()),
                "spent" => {
                    acknowledged.push(DecisionId::parse(id).unwrap());
                    return 1;
                }
                _ => {}
            }
            0
        };
        let mut enough = 0;
        while enough < 100 + round * 37 {
            enough += read(lines.next().unwrap().unwrap());
        }
        child.kill().unwrap();
        lines.map_while(Result::ok).for_each(|line| {
            read(line);
        });
        child.wait().unwrap();
    }
    let store = fixture.open();
    assert!(acknowledged.len() > 400);
    assert_pins_are_on_record(&store);
    for id in acknowledged {
        let found = found(&store, &id.to_string(), id);
        assert_eq!(found, (true, true), "{id} was acknowledged");
    }
    for id in tried {
        let (spent, recorded) = found(&store, &id.to_string(), id);
        assert_eq!(spent, recorded, "{id} was tried");
    }
}

/// Spends tokens from several threads, and prints each before it is tried and after it is acknowledged.
fn spend_until_killed(folder: &Path) {
    let clock = Arc::new(FrozenClock::at(noon()));
    let store = EmbeddedStore::open(folder, clock, Options::default()).unwrap();
    let say = |word: &str, id: DecisionId| {
        let line = format!("{word} {id}.\n");
        // Past the test harness, which would keep it; one write, so that lines do not mix.
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, say) = (&store, &say);
            scope.spawn(move || {
                loop {
                    let record = large_record(thread * 1500);
                    let id = record.decision_id;
                    say("tries", id);
                    let spent = wait(store.spend(pinning(&id.to_string()), record)).unwrap();
                    assert_eq!(spent.number(), Some(1));
                    say("spent", id);
                }
            });
        }
    });
}
