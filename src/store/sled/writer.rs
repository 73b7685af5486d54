//! The one thread that writes.
//!
//! It takes everything that waits, decides it in order into one draft, applies the draft as one batch, syncs once, and
//! then wakes everybody. While it syncs the next batch gathers, so no timer is needed to make batches large.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Options;
use super::counts::{self, Counts, Pending};
use super::draft::{Draft, Writes, octets};
use super::instance::{Instance, guarded, write_again};
use super::place::Place;
use super::queue::{Job, Queue};
use crate::clock::Clock;
use crate::ledger::StoreUnavailable;

/// How many expired keys one commit of others takes along.
const FORGOTTEN_BY_THE_WAY: usize = 32;

/// How many expired keys one commit forgets when there is nothing else to do.
const FORGOTTEN_IN_IDLENESS: usize = 512;

/// How long to wait before a database that would not open is tried again.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// A moment within a commit, for tests that stop the process there.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Everything is decided, nothing is written.
    Decided,
    /// The batch is in sled's buffers.
    Applied,
    /// The operating system has it.
    Flushed,
    /// The disk has it; nobody was told.
    Synced,
}

/// What the writer and the reader share.
pub(super) struct Shared {
    instance: Mutex<Option<Arc<Instance>>>,
    in_flight: Mutex<Option<Arc<Commit>>>,
}

impl Shared {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            instance: Mutex::new(Some(Arc::new(instance))),
            in_flight: Mutex::default(),
        }
    }

    /// The database, if it is open.
    pub(super) fn instance(&self) -> Option<Arc<Instance>> {
        let instance = self.instance.lock();
        instance.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether `key` is being written at this moment, so that what was read under it may not be durable.
    pub(super) fn in_flight(&self, key: &[u8]) -> bool {
        let commit = self.in_flight.lock();
        let commit = commit.unwrap_or_else(PoisonError::into_inner);
        commit
            .as_ref()
            .is_some_and(|commit| commit.writes.contains_key(key))
    }

    fn replace(&self, new: Option<Arc<Instance>>) {
        let instance = self.instance.lock();
        let old = std::mem::replace(&mut *instance.unwrap_or_else(PoisonError::into_inner), new);
        // Closing takes its time, and nobody should wait for the lock meanwhile.
        drop(old);
    }

    fn set_in_flight(&self, commit: Option<Arc<Commit>>) {
        let in_flight = self.in_flight.lock();
        *in_flight.unwrap_or_else(PoisonError::into_inner) = commit;
    }
}

/// What one commit writes, and the counts that are part of it.
struct Commit {
    writes: Writes,
    counts: Pending,
}

/// A commit that is decided.
struct Plan {
    commit: Commit,
    needs_room: bool,
}

pub(super) struct Writer {
    pub(super) place: Place,
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: Arc<Queue>,
    pub(super) counts: Arc<Counts>,
    pub(super) shared: Arc<Shared>,
    pub(super) trouble: Trouble,
}

/// What is left to mend after a failed commit.
#[derive(Default)]
pub(super) struct Trouble {
    /// The commit that failed: whether it is on disk is not known until the database is open again.
    unsettled: Option<Arc<Commit>>,
    /// A sync failed, so the file must be written again before anything relies on it.
    sync_failed: bool,
    tried: Option<Instant>,
}

impl Writer {
    /// Serves until the queue is closed and empty. Then everything that was accepted is on disk, if it can be.
    pub(super) fn run(mut self) {
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
        self.shared.replace(None);
    }

    fn serve(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let committed = self.commit(&mut jobs, FORGOTTEN_BY_THE_WAY);
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
            Ok(forgotten) => forgotten == FORGOTTEN_IN_IDLENESS,
            Err(error) => {
                tracing::warn!(error, "the store could not be tidied");
                false
            }
        }
    }

    /// Decides all `jobs` and puts what they write on disk. On an error nothing may be acknowledged. Answers how many
    /// entries of the index by time were taken along.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>], forget: usize) -> Result<usize, String> {
        let instance = self.opened()?;
        let (plan, forgotten) = match guarded(|| self.plan(&instance, jobs, forget)) {
            Ok(planned) => planned,
            Err(error) => {
                // It could not even be read.
                drop(instance);
                self.shared.replace(None);
                return Err(error);
            }
        };
        if plan.needs_room
            && let Err(error) = self.room_for(&plan.commit.writes)
        {
            self.counts.put_back(plan.commit.counts);
            return Err(error);
        }
        if !plan.commit.writes.is_empty() {
            self.write(instance, Arc::new(plan.commit))?;
        }
        Ok(forgotten)
    }

    /// Decides all `jobs`, and takes counts and expired keys along if something is written anyway, or nothing else is
    /// to be done.
    fn plan(
        &self,
        instance: &Instance,
        jobs: &mut [Box<dyn Job>],
        forget: usize,
    ) -> Result<(Plan, usize), String> {
        let mut draft = Draft::over(instance.tree()?);
        let idle = jobs.is_empty();
        let decided = jobs.iter_mut().try_for_each(|job| job.decide(&mut draft));
        decided.map_err(|error| error.to_string())?;
        let mut counts = Pending::new();
        let mut forgotten = 0;
        if idle || !draft.is_empty() {
            let forgetting = draft.forget_expired(self.clock.now(), forget);
            forgotten = forgetting.map_err(|error| error.to_string())?;
            counts = self.counts.take();
            if let Err(error) = counts::add(&counts, &mut draft) {
                self.counts.put_back(counts);
                return Err(error.to_string());
            }
        }
        let needs_room = draft.needs_room();
        let writes = draft.into_writes();
        let commit = Commit { writes, counts };
        Ok((Plan { commit, needs_room }, forgotten))
    }

    /// Applies, flushes and syncs. After a failure the database is closed, and the commit is kept to be settled.
    fn write(&mut self, instance: Arc<Instance>, commit: Arc<Commit>) -> Result<(), String> {
        self.shared.set_in_flight(Some(commit.clone()));
        let written = self.write_steps(&instance, &commit.writes);
        if written.is_err() {
            self.trouble.unsettled = Some(commit);
            drop(instance);
            self.shared.replace(None);
        }
        self.shared.set_in_flight(None);
        written
    }

    fn write_steps(&mut self, instance: &Instance, writes: &Writes) -> Result<(), String> {
        let options = self.options.clone();
        let reach = |step| options.reach(step).map_err(|error| error.to_string());
        reach(Step::Decided)?;
        instance.apply(writes)?;
        reach(Step::Applied)?;
        instance.flush()?;
        let flushed = self.options.reach(Step::Flushed);
        self.noting(flushed.and_then(|()| instance.sync()))?;
        reach(Step::Synced)
    }

    /// Remembers that a sync failed.
    fn noting(&mut self, synced: std::io::Result<()>) -> Result<(), String> {
        self.trouble.sync_failed |= synced.is_err();
        synced.map_err(|error| error.to_string())
    }

    /// The database; opened again if a failure closed it, and with the failed commit settled.
    fn opened(&mut self) -> Result<Arc<Instance>, String> {
        if let Some(instance) = self.shared.instance() {
            return Ok(instance);
        }
        let now = Instant::now();
        if let Some(tried) = self.trouble.tried
            && now.duration_since(tried) < REOPEN_EVERY
        {
            return Err("the database failed and is about to be opened again".into());
        }
        self.room_for(&Writes::new())?;
        self.trouble.tried = Some(now);
        if self.trouble.sync_failed {
            write_again(&self.place).map_err(|error| error.to_string())?;
            self.trouble.sync_failed = false;
        }
        let instance = Arc::new(Instance::open(&self.place, self.options.cache)?);
        self.settle(&instance)?;
        tracing::info!("the database is open again");
        self.trouble.tried = None;
        self.shared.replace(Some(instance.clone()));
        Ok(instance)
    }

    /// Makes a failed commit whole if any of it is there. Nobody was told that it succeeded, so both ends are true; only
    /// a half is not. Nothing was written since, so its values are still the right ones.
    fn settle(&mut self, instance: &Instance) -> Result<(), String> {
        let Some(commit) = self.trouble.unsettled.clone() else {
            return Ok(());
        };
        let tree = instance.tree()?;
        let mut begun = false;
        for (key, value) in commit.writes.iter().filter(|(_, value)| value.is_some()) {
            let found = tree.get(key).map_err(|error| error.to_string())?;
            begun |= found.as_deref() == value.as_deref();
        }
        if begun {
            instance.apply(&commit.writes)?;
            instance.flush()?;
            self.noting(instance.sync())?;
        } else {
            self.counts.put_back(commit.counts.clone());
        }
        self.trouble.unsettled = None;
        Ok(())
    }

    /// Whether the disk has room for `writes` and the reserve. A database that meets a full disk breaks, so it is asked
    /// before.
    fn room_for(&self, writes: &Writes) -> Result<(), String> {
        let free = match &self.options.free_space {
            Some(free) => free(),
            None => self.place.free(),
        };
        let free = free.map_err(|error| format!("the free space is not known: {error}"))?;
        // A write is kept in the log, and with the rest of its leaf when that is written anew.
        let needed = self.options.reserve + octets(writes).saturating_mul(8);
        if free < needed {
            return Err(format!(
                "the disk is full: {free} octets are free and {needed} are kept free"
            ));
        }
        Ok(())
    }
}
