//! The one thread that writes.
//!
//! It takes everything that waits, decides it in order into one commit, writes that into the journal, syncs once, and
//! then wakes everybody. Log and index follow. While it syncs the next commit gathers, so no timer is needed to make
//! commits large.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Options;
use super::counts::{self, Counts, Pending};
use super::draft::{Draft, Drafted, Fault};
use super::follower::Signal;
use super::frame::Commit;
use super::index::{Index, guarded};
use super::journal::Pen;
use super::queue::{Job, Queue};
use super::reached::Reached;
use super::shared::Shared;
use crate::clock::{Clock, UnixTime};
use crate::ledger::StoreUnavailable;
use crate::metrics::StoreFault;

/// How many expired keys one commit of others takes along beside as many as it has jobs, twice.
const FORGOTTEN_BY_THE_WAY: usize = 32;

/// How many expired keys one commit forgets when there is nothing else to do.
const FORGOTTEN_IN_IDLENESS: usize = 512;

/// How long to wait before an index that would not open is tried again.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// A moment within a commit, for tests that stop the process there.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Everything is decided, nothing is written.
    Decided,
    /// The operating system has it.
    Written,
    /// The disk has it. From here on it is true; next it can be seen, and then who waits is told.
    Synced,
    /// The files of the log and the index have it, and others with it. This and what follows happens in other threads.
    Applied,
    /// The leaves are in the records.
    RecordsWritten,
    /// What they do not hold is in the files for that.
    WithheldWritten,
    /// The rows are in their files.
    RowsWritten,
    /// The hashes of this level are in their file.
    LevelWritten(u64),
    /// Some marks are erased.
    MarksErased,
    /// It is on disk that withheld values are deleted, the journal has nothing of them, and their files are there.
    ValuesRemoved,
    /// A checkpoint is written and not in its place.
    CheckpointWritten,
    /// It is in its place.
    CheckpointRenamed,
}

pub(super) struct Writer {
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: Arc<Queue>,
    pub(super) counts: Arc<Counts>,
    pub(super) shared: Arc<Shared>,
    pub(super) signal: Arc<Signal>,
    pub(super) pen: Pen,
    /// The number of the last commit that is on disk.
    pub(super) number: u64,
    /// When it was last tried to open the index again.
    pub(super) tried: Option<Instant>,
    /// The hour up to which counted denials are in the log.
    pub(super) settled: Option<UnixTime>,
}

/// A commit that is decided, and the counts that are part of it.
struct Plan {
    drafted: Drafted,
    counts: Pending,
    needs_room: bool,
    /// The hour up to which counted denials are in the log with it, if that was looked at.
    settled: Option<UnixTime>,
    /// How many keys were looked at that might be forgotten.
    looked_at: usize,
}

impl Writer {
    /// Serves until the queue is closed and empty. Then everything that was accepted is on disk, if it can be.
    pub(super) fn run(mut self) {
        // However this ends, the follower ends too, and with it the store.
        let _ends = EndsFollower(self.signal.clone());
        let mut tidied = Instant::now();
        loop {
            let patience = self.options.idle.saturating_sub(tidied.elapsed());
            let (jobs, closed) = self.queue.take(patience);
            let served = !jobs.is_empty();
            if served {
                self.serve(jobs);
            }
            if closed && !served {
                break;
            }
            if tidied.elapsed() >= self.options.idle && !self.tidy() {
                tidied = Instant::now();
            }
        }
        self.tidy();
        self.pen.seal();
    }

    fn serve(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let forget = FORGOTTEN_BY_THE_WAY + 2 * jobs.len();
        let began = Instant::now();
        let committed = self.commit(&mut jobs, forget);
        let metrics = &self.options.metrics;
        if committed.is_ok() {
            metrics.committed(jobs.len(), began.elapsed());
        }
        if let Err(error) = &committed {
            metrics.failed(StoreFault::Disk);
            tracing::warn!(error, waiting = jobs.len(), "nothing was committed");
        }
        let fate = committed.map(|_| ()).map_err(StoreUnavailable);
        for job in jobs {
            job.answer(fate.clone());
        }
    }

    /// Writes the counts and forgets some of what has expired. Answers whether there may be more of it.
    fn tidy(&mut self) -> bool {
        match self.commit(&mut [], FORGOTTEN_IN_IDLENESS) {
            Ok(looked_at) => looked_at >= FORGOTTEN_IN_IDLENESS,
            Err(error) => {
                self.options.metrics.failed(StoreFault::Disk);
                tracing::warn!(error, "the store could not be tidied");
                false
            }
        }
    }

    /// Decides all `jobs` and puts what they write on disk. On an error nothing may be acknowledged. Answers how many
    /// keys were looked at that might be forgotten.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>], forget: usize) -> Result<usize, String> {
        let index = self.opened()?;
        let plan = match guarded(|| self.plan(&index, jobs, forget)) {
            Ok(plan) => plan,
            Err(error) => {
                // It could not even be read.
                drop(index);
                self.shared.give_up();
                return Err(error);
            }
        };
        if plan.needs_room
            && let Err(error) = self.room_for(plan.drafted.room())
        {
            self.counts.put_back(plan.counts);
            return Err(error);
        }
        let (settled, looked_at) = (plan.settled, plan.looked_at);
        if !plan.drafted.is_empty() {
            self.keep(plan.drafted, plan.counts)?;
        }
        self.settled = settled.or(self.settled);
        Ok(looked_at)
    }

    /// Decides all `jobs`, and takes counts and expired keys along if something is written anyway, or nothing else is
    /// to be done.
    fn plan(
        &self,
        index: &Index,
        jobs: &mut [Box<dyn Job>],
        forget: usize,
    ) -> Result<Plan, String> {
        let mut draft = Draft::over(index, &self.shared)?;
        let idle = jobs.is_empty();
        let decided = jobs.iter_mut().try_for_each(|job| job.decide(&mut draft));
        decided.map_err(|error| error.to_string())?;
        let mut counts = Pending::new();
        let mut looked_at = 0;
        let mut settled = None;
        if idle || !draft.is_empty() {
            let now = self.clock.now();
            let forgetting = draft.forget_expired(now, forget);
            looked_at = forgetting.map_err(|error| error.to_string())?;
            counts = self.counts.take();
            match self.count(&counts, &mut draft, now) {
                Ok(hour) => settled = hour,
                Err(error) => {
                    self.counts.put_back(counts);
                    return Err(error);
                }
            }
        }
        Ok(Plan {
            needs_room: draft.needs_room(),
            drafted: draft.finish(self.number + 1),
            counts,
            settled,
            looked_at,
        })
    }

    /// Adds counts to those on disk, and makes entries of those whose hour is over. Answers the hour up to which that is
    /// done, if it was.
    fn count(
        &self,
        counts: &Pending,
        draft: &mut Draft<'_>,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, String> {
        counts::add(counts, draft).map_err(|error| error.to_string())?;
        let hour = now.hour();
        let is_late = counts.keys().any(|(_, counted)| *counted < hour);
        if !is_late && self.settled >= Some(hour) {
            return Ok(None);
        }
        match counts::settle(draft, now) {
            Ok(()) => Ok(Some(hour)),
            Err(Fault::Refused(why)) => Err(why),
            Err(Fault::Broken(error)) => Err(error.to_string()),
        }
    }

    /// Puts a commit on disk, and lets it be seen.
    fn keep(&mut self, drafted: Drafted, counts: Pending) -> Result<(), String> {
        let before = self.shared.layers.reached().log;
        let reached = Reached {
            number: self.number + 1,
            log: drafted.log,
        };
        let commit = Commit {
            reached,
            entries: drafted.entries,
            erased: drafted.erased,
            writes: drafted.writes,
        };
        if let Err(error) = self.journal(&commit) {
            // Nobody is told that it succeeded. The next commit has its number, and counts in its stead.
            self.counts.put_back(counts);
            return Err(error.to_string());
        }
        self.number = reached.number;
        if reached.log.withheld_from > before.withheld_from {
            // What the journal has of the values that are deleted is to go before their files do, which go after this was
            // applied.
            self.pen.seal();
            self.shared.journal.forget();
        }
        let waiting = self.shared.layers.add(commit);
        self.shared.progress.committed(reached.number);
        self.signal.waiting(waiting);
        Ok(())
    }

    fn journal(&mut self, commit: &Commit) -> std::io::Result<()> {
        self.options.reach(Step::Decided)?;
        let turned = self.pen.write(commit)?;
        self.options.reach(Step::Written)?;
        self.pen.sync()?;
        if turned {
            self.signal.checkpoint();
        }
        self.options.reach(Step::Synced)
    }

    /// The index; opened again if a failure closed it.
    fn opened(&mut self) -> Result<Arc<Index>, String> {
        if let Some(index) = self.shared.index() {
            return Ok(index);
        }
        let now = Instant::now();
        if let Some(tried) = self.tried
            && now.duration_since(tried) < REOPEN_EVERY
        {
            return Err("the index failed and is about to be opened again".into());
        }
        self.room_for(0)?;
        self.tried = Some(now);
        let index = self.shared.open_again(self.number)?;
        tracing::info!("the index is open again");
        self.tried = None;
        Ok(index)
    }

    /// Whether the disk has room for so many octets and the reserve. An index that meets a full disk breaks, so it is
    /// asked before.
    fn room_for(&self, octets: u64) -> Result<(), String> {
        let free = match &self.options.free_space {
            Some(free) => free(),
            None => self.shared.folder.free(),
        };
        let free = free.map_err(|error| format!("the free space is not known: {error}"))?;
        let needed = self.options.reserve + octets;
        if free < needed {
            return Err(format!(
                "the disk is full: {free} octets are free and {needed} are kept free"
            ));
        }
        Ok(())
    }
}

/// Ends the follower when the writer is no more, by a panic too.
struct EndsFollower(Arc<Signal>);

impl Drop for EndsFollower {
    fn drop(&mut self) {
        self.0.stop();
    }
}
