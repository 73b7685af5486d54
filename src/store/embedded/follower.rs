//! The one thread that lets records, index and their disk follow the journal.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Options;
use super::shared::Shared;
use super::writer::Step;

/// How long commits gather before log and index are told of them. Longer ones would make them work in bursts, which
/// keep others from a processor.
const GATHER: Duration = Duration::from_millis(5);

/// With so many changes they are told at once.
const MANY: usize = 4096;

/// What the writer tells the follower.
#[derive(Default)]
pub(super) struct Signal {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Told {
    /// How many changes wait for the index.
    changes: usize,
    /// A checkpoint is wanted.
    checkpoint: bool,
    /// Somebody waits for what is not in the files yet.
    hurry: bool,
    stop: bool,
}

impl Signal {
    /// So many changes wait for the index.
    pub(super) fn waiting(&self, changes: usize) {
        let mut told = self.lock();
        let news = told.changes == 0 || (told.changes < MANY && changes >= MANY);
        told.changes = changes;
        drop(told);
        if news {
            self.changed.notify_all();
        }
    }

    /// A checkpoint has a use now: a segment of the journal could be used again after it, or is to be forgotten.
    pub(super) fn checkpoint(&self) {
        self.lock().checkpoint = true;
        self.changed.notify_all();
    }

    /// Somebody waits for what is committed.
    pub(super) fn hurry(&self) {
        self.lock().hurry = true;
        self.changed.notify_all();
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }

    /// Waits for something to do, at most for `patience`, and lets changes gather. Answers what there is.
    fn wait(&self, patience: Duration) -> Told {
        let quiet = |told: &mut Told| told.changes == 0 && !told.checkpoint && !told.stop;
        let told = self
            .changed
            .wait_timeout_while(self.lock(), patience, quiet);
        let told = told.map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
        let gathers =
            |told: &mut Told| (1..MANY).contains(&told.changes) && !told.stop && !told.hurry;
        let told = self.changed.wait_timeout_while(told, GATHER, gathers);
        let mut told = told.map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
        let stop = told.stop;
        let found = std::mem::take(&mut *told);
        told.stop = stop;
        found
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the index of the commits, and makes index and log durable when a segment of the journal is full, from time
/// to time, and at the end. Returns when it is told to stop.
pub(super) fn follow(shared: &Shared, signal: &Signal, options: &Options) {
    let mut made = Instant::now();
    loop {
        let told = signal.wait(options.checkpoint);
        let applied = shared.apply(options).and_then(|()| {
            let reached = options.reach(Step::Applied);
            reached.map_err(|error| error.to_string())
        });
        let due = told.checkpoint || told.stop || made.elapsed() >= options.checkpoint;
        let followed = applied.and_then(|()| {
            if due {
                made = Instant::now();
                shared.checkpoint(&|step| options.reach(step))?;
            }
            Ok(())
        });
        if let Err(error) = followed
            && shared.index().is_some()
        {
            tracing::warn!(error, "the index did not follow, and will be opened again");
            shared.give_up();
        }
        if told.stop {
            shared.give_up();
            return;
        }
    }
}
