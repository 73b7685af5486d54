//! The index: where things are looked up. One opening of sled, which a failed write ends.
//!
//! Each change stands in the journal first, and is made here afterwards. What a crash takes away is made again from there,
//! as far back as the last checkpoint; what is older is here alone.
//!
//! What was found in sled 0.34.7, and what is done about it here:
//! - `flush` writes its buffers and calls `sync_file_range`, which makes neither the size of the file nor the cache of
//!   the disk durable. [`Index::sync`] follows it with `fdatasync` on the one file that holds everything.
//! - After a failed write every call fails until the database is opened again, and a thread that already waits for that
//!   write may never be woken. A watchdog wakes it.
//! - The lock on the file may outlive the handle for a moment, while its threads finish.
//! - Segments are only cleaned by the thread that `flush_every_ms` starts.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::draft::Writes;
use super::folder::Folder;
use super::keys;
use super::reached::Reached;

/// How often the watchdog looks.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// How long an earlier opening in this process may take to let go of its file.
const LETS_GO_WITHIN: Duration = Duration::from_secs(5);

/// The database, open.
pub(super) struct Index {
    db: Option<sled::Db>,
    file: File,
    watchdog: Option<Watchdog>,
}

impl Index {
    /// Opens the database and makes durable whatever it found. An error is a sentence for the log.
    pub(super) fn open(folder: &Folder, cache: u64) -> Result<Self, String> {
        let config = sled::Config::new()
            .path(folder.index())
            .cache_capacity(cache);
        let db = guarded(|| open_patiently(&config))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.database())
            .and_then(|file| file.sync_data().map(|()| file))
            .and_then(|file| folder.sync_names().map(|()| file))
            .map_err(|error| error.to_string())?;
        let watchdog = Watchdog::start(config, db.clone()).map_err(|error| error.to_string())?;
        Ok(Self {
            db: Some(db),
            file,
            watchdog: Some(watchdog),
        })
    }

    /// The one tree.
    pub(super) fn tree(&self) -> Result<&sled::Tree, String> {
        self.db.as_deref().ok_or_else(|| "it is closed".to_owned())
    }

    /// How far it has followed the journal.
    pub(super) fn reached(&self) -> Result<Reached, String> {
        let found = guarded(|| {
            let found = self.tree()?.get(keys::REACHED_KEY);
            found.map_err(|error| error.to_string())
        })?;
        match found {
            None => Ok(Reached::default()),
            Some(value) => Reached::read(&value).ok_or_else(|| "an entry of it is damaged".into()),
        }
    }

    /// Makes `writes`, and notes after them that the journal was followed so far. Not durable yet, and not atomic: after
    /// a crash all of them are made again.
    ///
    /// A batch of sled would be atomic. But it keeps all readers out meanwhile, and wakes seven threads.
    pub(super) fn apply(&self, writes: &Writes, reached: Reached) -> Result<(), String> {
        guarded(|| {
            let tree = self.tree()?;
            let mut each = writes.iter();
            let made = each.try_for_each(|(key, value)| match value {
                Some(value) => tree.insert(key, value.as_slice()).map(drop),
                None => tree.remove(key).map(drop),
            });
            let noted =
                made.and_then(|()| tree.insert(keys::REACHED_KEY, reached.write().as_slice()));
            noted.map(drop).map_err(|error| error.to_string())
        })
    }

    /// Hands everything that was applied to the operating system.
    pub(super) fn flush(&self) -> Result<(), String> {
        guarded(|| match self.tree()?.flush() {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Makes everything that was flushed durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.watchdog.take();
        let db = self.db.take();
        // sled panics if its last sync fails. What was acknowledged is already on disk.
        if let Err(error) = guarded(|| {
            drop(db);
            Ok(())
        }) {
            tracing::error!(error, "the database did not close well");
        }
    }
}

/// Writes what the file at `path` has in `range` over itself and syncs it. Waits until sled, which locks its file, has let
/// go of it.
///
/// After a failed sync the system may call pages clean that never reached the disk, and no later sync would write them.
/// Whatever the file reads as now, this makes it what is on disk, before anything is built on it.
pub(super) fn write_again(path: &Path, range: Range<u64>) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let began = Instant::now();
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK || began.elapsed() > LETS_GO_WITHIN {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut block = vec![0; 1 << 20];
    let mut offset = range.start;
    while offset < range.end {
        let wanted = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
        let wanted = block.len().min(wanted);
        let read = file.read_at(block.get_mut(..wanted).unwrap_or_default(), offset)?;
        let Some(read @ [_, ..]) = block.get(..read) else {
            break;
        };
        file.write_all_at(read, offset)?;
        offset += read.len() as u64;
    }
    file.sync_all()
}

fn open_patiently(config: &sled::Config) -> Result<sled::Db, String> {
    let began = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.to_string().starts_with("could not acquire lock")
                    && began.elapsed() < LETS_GO_WITHIN =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.map_err(|error| error.to_string()),
        }
    }
}

/// Turns a panic of sled, which asserts much about its files, into an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("the database gave up; its message is on standard error".into()))
}

/// Wakes threads that wait for a write that has failed.
///
/// sled 0.34.7 marks itself as failed without waking those who wait for the write, when it fails in the thread that
/// `exit_reservation` starts. Any other call that meets the mark does wake them.
struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn start(config: sled::Config, db: sled::Db) -> io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("store-watchdog".into())
            .spawn(move || {
                while stopped.recv_timeout(WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
                    if config.global_error().is_err() {
                        let _ = db.flush();
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
