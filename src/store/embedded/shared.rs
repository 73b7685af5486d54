//! What the threads of one store share: the index, which comes and goes with failures, the log and the journal.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::folder::Folder;
use super::frame::Commit;
use super::index::{Index, write_again};
use super::journal::Journal;
use super::layers::Layers;
use super::log::{FaultKeeper, LogFiles, look_at_end};
use super::progress::Progress;
use super::{Options, Step};

pub(super) struct Shared {
    pub(super) folder: Folder,
    pub(super) journal: Journal,
    pub(super) log: LogFiles,
    pub(super) layers: Layers,
    pub(super) progress: Arc<Progress>,
    /// What was found to be not as it was written.
    pub(super) fault: Arc<FaultKeeper>,
    cache: u64,
    index: Mutex<Option<Arc<Index>>>,
    /// A sync failed, so what was written must be written again before anything relies on it: the system may call pages
    /// clean that never reached the disk.
    sync_failed: AtomicBool,
    /// The last commit of the last checkpoint.
    durable: AtomicU64,
}

impl Shared {
    /// Opens what stands beside `index` in `folder`, and makes in index and log what the journal has and they lack.
    /// An error is a sentence for the log.
    pub(super) fn open(folder: Folder, index: Index, options: &Options) -> Result<Self, String> {
        let reached = index.reached()?;
        let said = |error: io::Error| error.to_string();
        let log = LogFiles::open(&folder, options.tree);
        let (journal, commits) = Journal::open(&folder.journal(), reached.number).map_err(said)?;
        log.check_begin(&commits).map_err(said)?;
        let shared = Self {
            layers: Layers::default(),
            progress: Arc::new(Progress::new()),
            fault: Arc::new(FaultKeeper::new(options.metrics.clone())),
            folder,
            journal,
            log,
            cache: options.cache,
            index: Mutex::default(),
            sync_failed: AtomicBool::new(false),
            durable: AtomicU64::new(0),
        };
        shared.follow(&index, commits)?;
        let reached = index.reached()?;
        shared.log.check_end(&reached.log).map_err(said)?;
        let from = reached.log.withheld_from;
        if shared.log.has_withheld_before(from).map_err(said)? {
            // Their deletion was begun, and what the journal has of them is to go first.
            shared.journal.forget();
        }
        shared.layers.clear(reached);
        shared.progress.reached(reached);
        shared.replace(Some(Arc::new(index)));
        // Else a process that is killed again and again would gather segments, each of them read at every start.
        shared.checkpoint(&|_| Ok(()))?;
        look_at_end(&shared);
        Ok(shared)
    }

    /// The index, if it is open.
    pub(super) fn index(&self) -> Option<Arc<Index>> {
        let index = self.index.lock();
        index.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes in log and index what waits for them.
    pub(super) fn apply(&self, options: &Options) -> Result<(), String> {
        let index = self.index().ok_or("the index is not open")?;
        if let Some((layer, reached)) = self.layers.take_top() {
            let (entries, erased) = (&layer.entries, &layer.erased);
            let reach = |step| options.reach(step);
            let written = self
                .log
                .write(layer.first, entries, erased, &reached.log, &reach);
            written.map_err(|error| error.to_string())?;
            index.apply(&layer.writes, reached)?;
            self.layers.drop_below();
            self.progress.reached(reached);
        }
        Ok(())
    }

    /// Closes the index after a failure. What it lost stands in the journal.
    pub(super) fn give_up(&self) {
        self.replace(None);
        self.progress.is_down();
    }

    /// Opens the index again, and makes in it what the journal has up to commit `until`.
    pub(super) fn open_again(&self, until: u64) -> Result<Arc<Index>, String> {
        if self.sync_failed.load(Ordering::SeqCst) {
            let rewritten = write_again(&self.folder.database(), 0..u64::MAX);
            rewritten
                .and_then(|()| self.log.write_again())
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
        self.progress.reached(reached);
        Ok(index)
    }

    /// Makes everything durable that index and log have, and lets the journal forget it. Blocks; others may write
    /// meanwhile.
    pub(super) fn checkpoint(&self, reach: &dyn Fn(Step) -> io::Result<()>) -> Result<(), String> {
        let Some(index) = self.index() else {
            return Ok(());
        };
        // What is applied after this is not promised by the syncs below.
        let reached = index.reached()?;
        let number = reached.number;
        if self.durable.load(Ordering::SeqCst) != number {
            index.flush()?;
            let synced = self.log.sync().and_then(|()| index.sync());
            if let Err(error) = synced {
                self.sync_failed.store(true, Ordering::SeqCst);
                return Err(error.to_string());
            }
            self.durable.store(number, Ordering::SeqCst);
        }
        let released = self.journal.release(number);
        released.map_err(|error| error.to_string())?;
        let from = reached.log.withheld_from;
        if !self.journal.has_forgotten() && self.progress.applied().removed < from {
            let removed = reach(Step::ValuesRemoved);
            let removed = removed.and_then(|()| self.log.remove_withheld(from));
            removed.map_err(|error| format!("withheld values cannot be deleted: {error}"))?;
            self.progress.removed(from);
        }
        Ok(())
    }

    /// Makes `commits` of the journal in log and index: all that are still there, since what either has of them may have
    /// reached the disk in any order.
    fn follow(&self, index: &Index, commits: Vec<Commit>) -> Result<(), String> {
        let before = index.reached()?;
        // Values that are deleted by one of them are not written again.
        let last = commits.last().map_or(before, |commit| commit.reached);
        for commit in commits {
            let (entries, erased) = (&commit.entries, &commit.erased);
            let unheard = |_: Step| Ok(());
            let written = self
                .log
                .write(commit.first(), entries, erased, &last.log, &unheard);
            written.map_err(|error| error.to_string())?;
            let further = if commit.number() > before.number {
                commit.reached
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
