//! What waits to be committed, and who waits for it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::batch::{Change, Outcome};
use super::names::Versions;
use super::status::Place;
use crate::ledger::StoreUnavailable;

/// What remains to be done for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: it is answered.
    Finished,
    /// Its change was decided again, and is to be sent.
    Again,
}

/// A wish that takes one commit, or more if it was decided with what is outdated.
pub(super) trait Task: Send + Sync {
    /// What is to be done, as it was last decided.
    fn change(&self) -> &Change;

    /// Takes what came of it.
    fn settle(&mut self, outcome: Outcome) -> Next;

    /// Takes in what came of another with the same key, so that it need not be asked for what is known.
    fn hear(&mut self, outcome: Outcome) -> Next;

    /// Decides again with what is remembered of its names now.
    fn names_changed(&mut self, now: &Versions) -> Next;

    /// Answers that nothing can be promised.
    fn fail(&self, why: &StoreUnavailable);

    /// Since when it waits, unless it was answered or nobody waits any more.
    fn waits_since(&self) -> Option<Instant>;
}

/// Where the answer goes.
pub(super) struct Answer<T> {
    sender: Mutex<Option<oneshot::Sender<Result<T, StoreUnavailable>>>>,
    since: Instant,
    _place: Place,
}

impl<T> Answer<T> {
    pub(super) fn new(place: Place) -> (Self, oneshot::Receiver<Result<T, StoreUnavailable>>) {
        let (sender, receiver) = oneshot::channel();
        let answer = Self {
            sender: Mutex::new(Some(sender)),
            since: Instant::now(),
            _place: place,
        };
        (answer, receiver)
    }

    /// Answers, once.
    pub(super) fn give(&self, answer: Result<T, StoreUnavailable>) {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.take() {
            // Who asked may have gone.
            let _ = sender.send(answer);
        }
    }

    pub(super) fn waits_since(&self) -> Option<Instant> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.is_some().then_some(self.since)
    }
}

/// Adds entries to the log, and answers the number of the first.
pub(super) struct Adding {
    change: Change,
    answer: Answer<Option<u64>>,
}

impl Adding {
    pub(super) fn new(change: Change, answer: Answer<Option<u64>>) -> Self {
        Self { change, answer }
    }
}

impl Task for Adding {
    fn change(&self) -> &Change {
        &self.change
    }

    fn settle(&mut self, outcome: Outcome) -> Next {
        self.answer.give(match outcome {
            Outcome::Done(first) => Ok(first),
            _ => Err(unexpected()),
        });
        Next::Finished
    }

    fn hear(&mut self, _: Outcome) -> Next {
        Next::Again
    }

    fn names_changed(&mut self, _: &Versions) -> Next {
        Next::Finished
    }

    fn fail(&self, why: &StoreUnavailable) {
        self.answer.give(Err(why.clone()));
    }

    fn waits_since(&self) -> Option<Instant> {
        self.answer.waits_since()
    }
}

/// The database answers what it cannot.
pub(super) fn unexpected() -> StoreUnavailable {
    StoreUnavailable("the database answers otherwise than it was asked".into())
}
