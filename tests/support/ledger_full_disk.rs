//! Disks that are really full.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use countersign::audit::DecisionId;
use countersign::ledger::{Ledger, Spent};
use countersign::store::{EmbeddedStore, Options};

use super::fixture::*;

/// Set in a process that was started with a disk of its own, or with a limit on its files.
const CHILD: &str = "COUNTERSIGN_TEST_FULL_DISK";

/// Runs one test again in a process of its own, through a shell that first runs `prepare`.
fn run_prepared(test: &str, prepare: &str, wrapper: &[&str]) {
    let mut words = wrapper.iter().copied().chain(["sh", "-ec"]);
    let output = Command::new(words.next().unwrap())
        .args(words)
        .arg(format!("{prepare}\nexec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("1 passed"), "{said}{errors}");
}

/// How to get a mount of one's own here: as root in a new namespace, or as anybody in a new user namespace.
fn mounts() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["unshare", "-m"], &["unshare", "-rm"]];
    ways.into_iter().find(|way| {
        let folder = tempfile::tempdir().unwrap();
        Command::new(way[0])
            .args(&way[1..])
            .args(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success())
    })
}

/// Fills the disk until at most `left` octets are free, and gives them back when dropped.
struct Filler(std::path::PathBuf);

impl Filler {
    fn leave(left: u64, folder: &Path) -> Self {
        let path = folder.join("filler");
        let mut file = File::create(&path).unwrap();
        let free = || {
            let disk = rustix::fs::statvfs(folder).unwrap();
            disk.f_bavail * disk.f_frsize
        };
        while free() > left {
            let wish = usize::try_from((free() - left).min(1 << 20)).unwrap();
            if file.write_all(&vec![0; wish.max(1)]).is_err() {
                break;
            }
        }
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// Spends large records until the store refuses, and answers what it acknowledged and what it did not.
fn spend_until_refused(store: &EmbeddedStore) -> (Vec<DecisionId>, DecisionId) {
    let mut acknowledged = Vec::new();
    for _ in 0..2000 {
        let record = large_record(40_000);
        let id = record.decision_id;
        match wait(store.spend(once(&id.to_string()), record)) {
            Ok(spent) => assert_eq!(spent.number(), Some(1)),
            Err(why) => {
                eprintln!("after {} spends: {why}", acknowledged.len());
                let ours = why.to_string().contains("are kept free");
                assert!(!ours, "the database was not reached: {why}");
                return (acknowledged, id);
            }
        }
        acknowledged.push(id);
    }
    panic!("the disk was never full");
}

fn assert_kept(store: &EmbeddedStore, acknowledged: &[DecisionId]) {
    for id in acknowledged {
        assert!(wait(store.decision(*id)).unwrap().is_some(), "{id}");
        let spent = wait(store.spend(once(&id.to_string()), record())).unwrap();
        assert_eq!(spent, Spent::Exhausted, "{id}");
    }
}

/// After the first refusal `make_room` is called, and nothing else; then the store must serve again.
fn breaks_and_recovers(fixture: &Embedded, make_room: impl FnOnce()) {
    // Without a reserve the database itself meets the full disk, and breaks.
    let store = fixture.open_with(Options {
        reserve: 0,
        free_space: Some(std::sync::Arc::new(|| Ok(u64::MAX))),
        ..Options::default()
    });
    let (acknowledged, refused) = spend_until_refused(&store);
    make_room();
    until_it_serves(&store);
    let spent = wait(store.spend(once("after"), record())).unwrap();
    assert_eq!(spent.number(), Some(1));
    assert_kept(&store, &acknowledged);
    let recorded = wait(store.decision(refused)).unwrap().is_some();
    let spent = wait(store.spend(once(&refused.to_string()), record())).unwrap();
    assert_eq!(spent == Spent::Exhausted, recorded, "both or neither");
    store.close();

    let store = fixture.open();
    assert_kept(&store, &acknowledged);
    let spent = wait(store.spend(once("after"), record())).unwrap();
    assert_eq!(spent, Spent::Exhausted);
}

#[test]
fn a_write_that_fails_costs_no_acknowledged_spend_and_the_store_recovers_by_itself() {
    let test = "ledger::full_disk::a_write_that_fails_costs_no_acknowledged_spend_and_the_store_recovers_by_itself";
    if std::env::var(CHILD).is_err() {
        // Files may not grow beyond 3 MiB (in blocks of 512 octets), and the signal that says so is ignored.
        return run_prepared(test, "trap '' XFSZ; ulimit -S -f 6144", &[]);
    }
    breaks_and_recovers(&Embedded::new(), || {
        let process = std::process::id().to_string();
        let lifted = Command::new("prlimit")
            .args(["--pid", &process, "--fsize=unlimited:unlimited"])
            .status()
            .unwrap();
        assert!(lifted.success());
    });
}

#[test]
fn a_full_disk_refuses_and_the_store_recovers_by_itself() {
    let test = "ledger::full_disk::a_full_disk_refuses_and_the_store_recovers_by_itself";
    if std::env::var(CHILD).is_err() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        match mounts() {
            Some(way) => run_prepared(
                test,
                &format!("mount -t tmpfs -o size=48m tmpfs '{at}'; export TMPDIR='{at}'"),
                way,
            ),
            // Nobody may mount here: the limit on files is the next real thing.
            None => {
                a_write_that_fails_costs_no_acknowledged_spend_and_the_store_recovers_by_itself();
            }
        }
        return;
    }
    let fixture = Embedded::new();
    let store = fixture.open();
    wait(store.spend(once("before"), record())).unwrap();
    let filler = Filler::leave(31 << 20, fixture.path());
    let refused = wait(store.spend(once("full"), record())).unwrap_err();
    assert!(refused.to_string().contains("disk is full"), "{refused}");
    assert!(wait(store.check()).is_err());
    drop(filler);
    wait(store.check()).unwrap();
    let spent = wait(store.spend(once("full"), record())).unwrap();
    assert_eq!(spent.number(), Some(1));
    store.close();

    let filler = Filler::leave(2 << 20, fixture.path());
    breaks_and_recovers(&fixture, || drop(filler));
}
