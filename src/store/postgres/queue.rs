//! The line of those who wait to be committed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::task::Task;

/// Those who wait to be committed, in the order in which they came.
///
/// To come wakes nobody while a commit is under way: who commits does not wait here then, and finds all who came when the next
/// one begins.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<Box<dyn Task>>,
    is_closed: bool,
}

impl Queue {
    /// Lets a task wait. False, and nobody waits, if the queue is closed.
    pub(super) fn push(&self, task: Box<dyn Task>) -> bool {
        {
            let mut waiting = self.waiting();
            if waiting.is_closed {
                return false;
            }
            waiting.tasks.push_back(task);
        }
        self.came.notify_one();
        true
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.came.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting().is_closed
    }

    /// Waits until somebody waits; false if nobody does and nobody will.
    pub(super) async fn somebody(&self) -> bool {
        loop {
            {
                let waiting = self.waiting();
                if !waiting.tasks.is_empty() || waiting.is_closed {
                    return !waiting.tasks.is_empty();
                }
            }
            self.came.notified().await;
        }
    }

    /// Adds all who wait to `taken`.
    pub(super) fn take(&self, taken: &mut VecDeque<Box<dyn Task>>) {
        taken.append(&mut self.waiting().tasks);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
