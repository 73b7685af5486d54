//! The one thread that writes.
//!
//! It takes everything that waits, decides it in order into one commit, writes that into the journal, syncs once, and
//! then wakes everybody. Records and index follow. While it syncs the next commit gathers, so no timer is needed to make
//! commits large.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Options;
use super::counts::{self, Counts, Pending};
use super::draft::{Draft, Drafted};
use super::follower::Signal;
use super::frame::Commit;
use super::index::{Index, Reached, guarded};
use super::journal::Pen;
use super::queue::{Job, Queue};
use super::shared::Shared;
use crate::clock::Clock;
use crate::ledger::StoreUnavailable;

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
    /// Records and index have it, and others with it. This happens in another thread.
    Applied,
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
}

/// A commit that is decided, and the counts that are part of it.
struct Plan {
    drafted: Drafted,
    counts: Pending,
    needs_room: bool,
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
        let committed = self.commit(&mut jobs, forget);
        if let Err(error) = &committed {
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
        if !plan.drafted.writes.is_empty() {
            self.keep(plan.drafted, plan.counts)?;
        }
        Ok(plan.looked_at)
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
        if idle || !draft.is_empty() {
            let forgetting = draft.forget_expired(self.clock.now(), forget);
            looked_at = forgetting.map_err(|error| error.to_string())?;
            counts = self.counts.take();
            if let Err(error) = counts::add(&counts, &mut draft) {
                self.counts.put_back(counts);
                return Err(error.to_string());
            }
        }
        Ok(Plan {
            needs_room: draft.needs_room(),
            drafted: draft.finish(self.number + 1),
            counts,
            looked_at,
        })
    }

    /// Puts a commit on disk, and lets it be seen.
    fn keep(&mut self, drafted: Drafted, counts: Pending) -> Result<(), String> {
        let commit = Commit {
            number: self.number + 1,
            start: self.shared.layers.reached().end,
            entries: drafted.entries,
            writes: drafted.writes,
        };
        if let Err(error) = self.journal(&commit) {
            // Nobody is told that it succeeded. The next commit has its number, and counts in its stead.
            self.counts.put_back(counts);
            return Err(error.to_string());
        }
        self.number = commit.number;
        let reached = Reached {
            number: commit.number,
            end: drafted.end,
        };
        let waiting = self.shared.layers.add(commit, reached);
        self.signal.waiting(waiting);
        Ok(())
    }

    fn journal(&mut self, commit: &Commit) -> std::io::Result<()> {
        self.options.reach(Step::Decided)?;
        let turned = self.pen.write(commit)?;
        self.options.reach(Step::Written)?;
        self.pen.sync()?;
        if turned {
            self.signal.segment_is_full();
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
