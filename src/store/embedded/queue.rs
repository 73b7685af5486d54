//! The bounded queue in front of the writer.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::draft::{Draft, Fault};
use crate::ledger::StoreUnavailable;
use crate::metrics::{StoreFault, StoreMetrics};

/// Something that the writer is asked to do: first it is decided, in order, into the draft of a commit; it is answered
/// once that commit is on disk, or is known not to be.
pub(super) trait Job: Send {
    /// Reads what it needs and adds its writes to the draft.
    fn decide(&mut self, draft: &mut Draft<'_>) -> Result<(), sled::Error>;

    /// Wakes who waits.
    fn answer(self: Box<Self>, fate: Result<(), StoreUnavailable>);
}

/// A job whose decision is the closure `decide`.
pub(super) struct Task<T, F> {
    decide: Option<F>,
    decided: Result<T, StoreUnavailable>,
    waiter: oneshot::Sender<Result<T, StoreUnavailable>>,
}

impl<T, F> Task<T, F>
where
    T: Send,
    F: FnOnce(&mut Draft<'_>) -> Result<T, Fault> + Send,
{
    /// The job, and where its answer arrives.
    pub(super) fn new(decide: F) -> (Self, oneshot::Receiver<Result<T, StoreUnavailable>>) {
        let (waiter, answer) = oneshot::channel();
        let task = Self {
            decide: Some(decide),
            decided: Err(StoreUnavailable("the request was not reached".into())),
            waiter,
        };
        (task, answer)
    }
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&mut Draft<'_>) -> Result<T, Fault> + Send,
{
    fn decide(&mut self, draft: &mut Draft<'_>) -> Result<(), sled::Error> {
        let Some(decide) = self.decide.take() else {
            return Ok(());
        };
        self.decided = match decide(draft) {
            Ok(decided) => Ok(decided),
            Err(Fault::Refused(why)) => Err(StoreUnavailable(why)),
            Err(Fault::Broken(error)) => return Err(error),
        };
        Ok(())
    }

    fn answer(self: Box<Self>, fate: Result<(), StoreUnavailable>) {
        // Who has stopped waiting is not told; what was committed stays committed.
        let _ = self.waiter.send(fate.and(self.decided));
    }
}

/// Jobs that wait, at most `limit` of them.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    limit: usize,
    metrics: StoreMetrics,
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Box<dyn Job>>,
    closed: bool,
}

/// How far the queue may be filled by this kind of job.
#[derive(Debug, Clone, Copy)]
pub(super) enum Share {
    /// To its end.
    Whole,
    /// To its middle, so that a flood of denials leaves room for those who are let in.
    Half,
}

impl Queue {
    pub(super) fn new(limit: usize, metrics: StoreMetrics) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            limit,
            metrics,
        }
    }

    /// Adds a job at the end. Refused when the queue is full, or closed.
    pub(super) fn push(&self, job: Box<dyn Job>, share: Share) -> Result<(), StoreUnavailable> {
        let limit = match share {
            Share::Whole => self.limit,
            Share::Half => self.limit.div_ceil(2),
        };
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(StoreUnavailable("the store is closed".into()));
        }
        if waiting.jobs.len() >= limit {
            self.metrics.failed(StoreFault::QueueFull);
            return Err(StoreUnavailable("too many requests are waiting".into()));
        }
        waiting.jobs.push(job);
        self.metrics.waiting(waiting.jobs.len());
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes everything that waits, at once if there is something, else after at most `patience`. The second value is
    /// whether the queue is closed, so that nothing can follow.
    pub(super) fn take(&self, patience: Duration) -> (Vec<Box<dyn Job>>, bool) {
        let empty = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let mut waiting = self
            .arrived
            .wait_timeout_while(self.lock(), patience, empty)
            .map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
        self.metrics.waiting(0);
        (std::mem::take(&mut waiting.jobs), waiting.closed)
    }

    /// Lets nothing more in. What is in is still served.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Box<dyn Job> {
        Box::new(Task::new(|_: &mut Draft<'_>| Ok(())).0)
    }

    #[test]
    fn a_full_queue_refuses_rather_than_grows() {
        let queue = Queue::new(4, StoreMetrics::default());
        for _ in 0..4 {
            queue.push(job(), Share::Whole).unwrap();
        }
        assert!(queue.push(job(), Share::Whole).is_err());
        assert_eq!(queue.take(Duration::ZERO).0.len(), 4);
        assert!(queue.push(job(), Share::Whole).is_ok());
    }

    #[test]
    fn denials_leave_half_of_the_queue_to_spends() {
        let queue = Queue::new(4, StoreMetrics::default());
        queue.push(job(), Share::Half).unwrap();
        queue.push(job(), Share::Half).unwrap();
        assert!(queue.push(job(), Share::Half).is_err());
        assert!(queue.push(job(), Share::Whole).is_ok());
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_has_and_takes_nothing() {
        let queue = Queue::new(4, StoreMetrics::default());
        queue.push(job(), Share::Whole).unwrap();
        queue.close();
        assert!(queue.push(job(), Share::Whole).is_err());
        let (jobs, closed) = queue.take(Duration::MAX);
        assert_eq!((jobs.len(), closed), (1, true));
    }
}
