//! What the threads of one store share: the index, which comes and goes with failures, the records and the journal.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::folder::Folder;
use super::frame::Commit;
use super::index::{Index, Reached, write_again};
use super::journal::Journal;
use super::layers::Layers;
use super::records::{Records, placed};

pub(super) struct Shared {
    pub(super) folder: Folder,
    pub(super) journal: Journal,
    pub(super) records: Records,
    pub(super) layers: Layers,
    cache: u64,
    index: Mutex<Option<Arc<Index>>>,
    /// A sync failed, so what was written must be written again before anything relies on it: the system may call pages
    /// clean that never reached the disk.
    sync_failed: AtomicBool,
    /// The last commit of the last checkpoint.
    durable: AtomicU64,
}

impl Shared {
    /// Opens what stands beside `index` in `folder`, and makes in index and records what the journal has and they lack.
    /// An error is a sentence for the log.
    pub(super) fn open(folder: Folder, index: Index, cache: u64) -> Result<Self, String> {
        let reached = index.reached()?;
        let said = |error: io::Error| error.to_string();
        let records = Records::open(&folder.records());
        let (journal, commits) = Journal::open(&folder.journal(), reached.number).map_err(said)?;
        let shared = Self {
            layers: Layers::default(),
            folder,
            journal,
            records,
            cache,
            index: Mutex::default(),
            sync_failed: AtomicBool::new(false),
            durable: AtomicU64::new(0),
        };
        shared.follow(&index, commits)?;
        let reached = index.reached()?;
        shared.records.check_end(reached.end).map_err(said)?;
        shared.layers.clear(reached);
        shared.replace(Some(Arc::new(index)));
        // Else a process that is killed again and again would gather segments, each of them read at every start.
        shared.checkpoint()?;
        Ok(shared)
    }

    /// The index, if it is open.
    pub(super) fn index(&self) -> Option<Arc<Index>> {
        let index = self.index.lock();
        index.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes in records and index what waits for them.
    pub(super) fn apply(&self) -> Result<(), String> {
        let index = self.index().ok_or("the index is not open")?;
        if let Some((layer, reached)) = self.layers.take_top() {
            let entries = layer.entries.iter();
            let entries = entries.map(|(start, entry)| (*start, entry.as_slice()));
            let written = self.records.write(entries);
            written.map_err(|error| error.to_string())?;
            index.apply(&layer.writes, reached)?;
            self.layers.drop_below();
        }
        Ok(())
    }

    /// Closes the index after a failure. What it lost stands in the journal.
    pub(super) fn give_up(&self) {
        self.replace(None);
    }

    /// Opens the index again, and makes in it what the journal has up to commit `until`.
    pub(super) fn open_again(&self, until: u64) -> Result<Arc<Index>, String> {
        if self.sync_failed.load(Ordering::SeqCst) {
            let rewritten = write_again(&self.folder.database());
            rewritten
                .and_then(|()| self.records.write_again())
                .map_err(|error| error.to_string())?;
            self.sync_failed.store(false, Ordering::SeqCst);
        }
        let index = Index::open(&self.folder, self.cache)?;
        let applied = index.reached()?.number;
        let commits = self.journal.commits(applied, until);
        self.follow(&index, commits.map_err(|error| error.to_string())?)?;
        let reached = index.reached()?;
        if reached.number != until {
            let number = reached.number;
            return Err(format!(
                "commit {until} cannot be read from the journal; the index ends with {number}"
            ));
        }
        self.layers.clear(reached);
        let index = Arc::new(index);
        self.replace(Some(index.clone()));
        Ok(index)
    }

    /// Makes everything durable that index and records have, and lets the journal forget it. Blocks; others may write
    /// meanwhile.
    pub(super) fn checkpoint(&self) -> Result<(), String> {
        let Some(index) = self.index() else {
            return Ok(());
        };
        // What is applied after this is not promised by the syncs below.
        let number = index.reached()?.number;
        if self.durable.load(Ordering::SeqCst) != number {
            index.flush()?;
            let synced = self.records.sync().and_then(|()| index.sync());
            if let Err(error) = synced {
                self.sync_failed.store(true, Ordering::SeqCst);
                return Err(error.to_string());
            }
            self.durable.store(number, Ordering::SeqCst);
        }
        let released = self.journal.release(number);
        released.map_err(|error| error.to_string())
    }

    /// Makes `commits` of the journal in records and index: all that are still there, since what either has of them may
    /// have reached the disk in any order.
    fn follow(&self, index: &Index, commits: Vec<Commit>) -> Result<(), String> {
        let before = index.reached()?;
        for commit in commits {
            let (number, mut end) = (commit.number, commit.start);
            for entry in &commit.entries {
                let (place, after) = placed(end, entry);
                let written = self.records.write([(place.start, entry.as_slice())]);
                written.map_err(|error| error.to_string())?;
                end = after;
            }
            let reached = Reached { number, end };
            let further = if number > before.number {
                reached
            } else {
                before
            };
            index.apply(&commit.writes, further)?;
        }
        Ok(())
    }

    fn replace(&self, new: Option<Arc<Index>>) {
        let index = self.index.lock();
        let old = std::mem::replace(&mut *index.unwrap_or_else(PoisonError::into_inner), new);
        // Closing takes its time, and nobody should wait for the lock meanwhile.
        drop(old);
    }
}
