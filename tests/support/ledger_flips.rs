//! One bit changed anywhere in a data folder: the store and the notary then tell the truth or refuse to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign::audit::tree::{Hash, leaf_hash};
use countersign::audit::{Filter, LoggedEntry};
use countersign::clock::FrozenClock;
use countersign::ledger::{AuditLog, Ledger, Spent};
use countersign::notary::{Checkpoint, KeptIn, Notary, Note, Settings};
use countersign::store::{EmbeddedStore, Options};

use super::audit_log::{everything, leaf_hashes, mth, of_person, personal_record, retired};
use super::fixture::*;
use super::stops::image;

/// How many tokens are spent.
const TOKENS: usize = 12;

/// How many rounds each image of a folder is played.
const ROUNDS: u64 = 60;

/// A generator of numbers that nobody can foretell and everybody can repeat (Vigna, splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// How the process ended whose folder this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It was told to, and had all in its place.
    Well,
    /// It was killed, and nothing but the journal was synced.
    Killed,
    /// It was killed after a life that ended well.
    KilledLater,
}

/// A data folder as it was, and what is true of it.
struct Truth {
    _folder: tempfile::TempDir,
    copy: PathBuf,
    data: PathBuf,
    /// The folder as it was when half of this had happened.
    early: PathBuf,
    entries: Vec<LoggedEntry>,
    hashes: Vec<Hash>,
    signed: Checkpoint,
}

fn settings(copy: &Path) -> Settings {
    Settings {
        kept_in: KeptIn::Folder,
        public_url: "https://sts.example.com".into(),
        encryption: None,
        copy: Some(copy.to_owned()),
        witnesses: Vec::new(),
    }
}

fn notary(store: &EmbeddedStore, copy: &Path) -> Result<Arc<Notary>, String> {
    let clock = FrozenClock::at(noon());
    let opened = Notary::open(Arc::new(store.clone()), &clock, settings(copy));
    wait(opened).map_err(|fault| fault.to_string())
}

fn checkpoint(notary: &Arc<Notary>) -> Result<Checkpoint, String> {
    let note = wait(notary.checkpoint()).map_err(|fault| fault.to_string())?;
    let note = Note::parse(&note).unwrap();
    Ok(Checkpoint::parse(&note.text).unwrap())
}

impl Truth {
    /// A log of some 300 entries, whose process ended so.
    fn of(ended: Ended) -> Self {
        let fixture = Embedded::new();
        let folder = tempfile::tempdir().unwrap();
        let (data, copy) = (folder.path().join("data"), folder.path().join("checkpoint"));
        let early = folder.path().join("early");
        let open = || {
            let store = fixture.open_with(Options {
                checkpoint: Duration::MAX,
                ..Options::default()
            });
            let notary = notary(&store, &copy).unwrap();
            (store, notary)
        };
        let (mut store, mut notary) = open();
        for number in 0..TOKENS {
            if number == TOKENS / 2 {
                checkpoint(&notary).unwrap();
                if ended == Ended::KilledLater {
                    store.close();
                    image(fixture.path(), &early);
                    (store, notary) = open();
                } else {
                    image(fixture.path(), &early);
                }
            }
            let events = (0..24).map(retired).collect();
            let spend = once(&format!("token {number}"));
            wait(store.spend(spend, personal_record(noon()))).unwrap();
            wait(store.append(events, noon())).unwrap();
        }
        let signed = checkpoint(&notary).unwrap();
        let entries = everything(&store);
        if ended == Ended::Well {
            store.close();
            image(fixture.path(), &data);
        } else {
            image(fixture.path(), &data);
            store.close();
        }
        Self {
            _folder: folder,
            hashes: leaf_hashes(&entries),
            entries,
            copy,
            data,
            early,
            signed,
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.data.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if entry.metadata().unwrap().len() > 0 {
                    found.push(entry.path().strip_prefix(&self.data).unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// Plays a round, and answers what came of it.
    fn with(&self, change: impl FnOnce(&Path, &Path)) -> String {
        let stage = tempfile::tempdir().unwrap();
        let (data, copy) = (stage.path().join("data"), stage.path().join("checkpoint"));
        image(&self.data, &data);
        std::fs::copy(&self.copy, &copy).unwrap();
        change(&data, &copy);
        let clock = Arc::new(FrozenClock::at(noon()));
        let options = Options {
            scrub: Duration::ZERO,
            ..Options::default()
        };
        let store = match EmbeddedStore::open(&data, clock, options) {
            Ok(store) => store,
            Err(error) => return said("not opened", &error.to_string()),
        };
        let outcome = self.judged(&store, &copy);
        store.close();
        outcome
    }

    fn judged(&self, store: &EmbeddedStore, copy: &Path) -> String {
        // Whoever starts a service opens the notary first, and without it lets nobody in.
        let notary = match notary(store, copy) {
            Ok(notary) => notary,
            Err(error) => return said("no notary", &error),
        };
        for number in 0..TOKENS {
            let again = wait(store.spend(once(&format!("token {number}")), record()));
            assert!(
                !matches!(again, Ok(Spent::Nth { .. })),
                "token {number} was let in again: {again:?}"
            );
        }
        let read = wait(store.entries(0..self.entries.len() as u64));
        let is_of_person = |entry: &&LoggedEntry| entry.withheld.is_some();
        let of_persons = self.entries.iter().rev().filter(is_of_person);
        let found = wait(store.search(of_person(), None, 99));
        let is_true = read.is_ok_and(|read| read == self.entries)
            && found.is_ok_and(|found| found.entries.iter().eq(of_persons));
        let _ = wait(store.search(Filter::default(), None, 99));
        let signed = checkpoint(&notary);
        if let Ok(signed) = &signed {
            self.continues(store, signed);
        }
        // A round of the scrub takes two blocks.
        let began = std::time::Instant::now();
        while store.fault().is_none() && began.elapsed() < Duration::from_millis(60) {
            std::thread::yield_now();
        }
        match (store.fault(), notary.fault(), signed) {
            (Some(fault), ..) => {
                assert!(checkpoint(&notary).is_err(), "signed over {fault:?}");
                said("fault", &fault.what)
            }
            (None, Some(fault), _) => said("refused", &fault.what),
            (None, None, Err(error)) => said("not signed", &error),
            (None, None, Ok(_)) => {
                assert!(is_true, "something else is told than was written");
                "served".to_owned()
            }
        }
    }

    /// Nothing is signed that does not begin with what was.
    fn continues(&self, store: &EmbeddedStore, signed: &Checkpoint) {
        assert!(signed.size >= self.signed.size, "{signed:?}");
        let size = usize::try_from(signed.size).unwrap();
        let mut hashes = self.hashes.clone();
        if size > hashes.len() {
            let from = hashes.len() as u64;
            let more = wait(store.entries(from..signed.size)).unwrap();
            hashes.extend(more.iter().map(|entry| leaf_hash(&entry.leaf)));
        }
        assert_eq!(mth(&hashes[..size]), signed.root, "another tree was signed");
    }
}

/// What came of a round, told in a sentence.
fn said(what: &str, sentence: &str) -> String {
    assert!(sentence.split(' ').count() > 2, "{sentence}");
    assert!(!sentence.contains("panicked"), "{sentence}");
    format!("{what}: {sentence}")
}

fn flips(ended: Ended, mut dice: Dice) {
    let truth = Truth::of(ended);
    assert_eq!(truth.with(|_, _| ()), "served");
    let files = truth.files();
    for _ in 0..ROUNDS {
        let file = &files[usize::try_from(dice.next(files.len() as u64)).unwrap()];
        let length = std::fs::metadata(truth.data.join(file)).unwrap().len();
        let (octet, bit) = (dice.next(length), dice.next(8));
        // Shown if an assertion fails.
        println!("{}, octet {octet} of {length}, bit {bit}", file.display());
        let outcome = truth.with(|data, _| {
            let path = data.join(file);
            let mut octets = std::fs::read(&path).unwrap();
            octets[usize::try_from(octet).unwrap()] ^= 1 << bit;
            std::fs::write(&path, octets).unwrap();
        });
        println!("    {outcome}");
    }
}

#[test]
fn a_bit_changed_anywhere_after_a_good_end_is_harmless_or_named_and_never_signed_over() {
    flips(Ended::Well, Dice(1));
}

#[test]
fn a_bit_changed_anywhere_after_a_kill_is_harmless_or_named_and_never_signed_over() {
    flips(Ended::Killed, Dice(2));
}

#[test]
fn a_bit_changed_anywhere_after_a_kill_in_a_later_life_is_harmless_or_named_and_never_signed_over()
{
    flips(Ended::KilledLater, Dice(3));
}

/// Replaces one part of a folder by that of another.
fn replace(part: &str, to: &Path, from: &Path) {
    let (old, new) = (to.join(part), from.join(part));
    if old.is_dir() {
        std::fs::remove_dir_all(&old).unwrap();
        image(&new, &old);
    } else {
        std::fs::copy(new, old).unwrap();
    }
}

const PARTS: [&str; 7] = [
    "checkpoint",
    "index",
    "journal",
    "records",
    "rows",
    "tree",
    "withheld",
];

#[test]
fn a_part_of_the_folder_from_an_earlier_time_is_never_signed_over() {
    for ended in [Ended::Well, Ended::Killed, Ended::KilledLater] {
        let truth = Truth::of(ended);
        for part in PARTS {
            let outcome = truth.with(|data, _| replace(part, data, &truth.early));
            println!("{ended:?}, {part}: {outcome}");
            let may_serve = match ended {
                // The journal of a folder that ended well has nothing that is needed.
                Ended::Well => ["checkpoint", "journal"].contains(&part),
                // What the journal has is made again in the others.
                Ended::Killed | Ended::KilledLater => part != "journal",
            };
            assert_eq!(
                outcome == "served",
                may_serve,
                "{ended:?}, {part}: {outcome}"
            );
        }
        let outcome = truth.with(|data, _| {
            for part in PARTS {
                replace(part, data, &truth.early);
            }
        });
        assert!(outcome.contains("was rolled back"), "{ended:?}: {outcome}");
    }
}

#[test]
fn a_part_of_the_folder_of_another_log_is_never_signed_over() {
    let each = [Ended::Well, Ended::Killed, Ended::KilledLater];
    let others = each.map(Truth::of);
    for ended in each {
        let truth = Truth::of(ended);
        for (other, its) in others.iter().zip(each) {
            for part in PARTS {
                // What is served is judged: it must be this log, and nothing else.
                let outcome = truth.with(|data, _| replace(part, data, &other.data));
                println!("{ended:?}, {part} of another that ended {its:?}: {outcome}");
                // Rows only help to find entries: where they lie and how long they are is the same in both logs.
                let harmless = match ended {
                    Ended::Well => ["journal", "rows"].contains(&part),
                    Ended::Killed | Ended::KilledLater => part != "checkpoint",
                };
                assert!(outcome != "served" || harmless, "{part}");
            }
            let foreign = truth.with(|_, copy| {
                std::fs::copy(&other.copy, copy).unwrap();
            });
            assert!(foreign.contains("has no key that signed it"), "{foreign}");
        }
    }
}
