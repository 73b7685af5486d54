//! The line of those who wait to be committed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::task::Task;

/// Those who wait to be committed, in the order in which they came.
///
/// Whoever comes wakes the one who commits only if that one waits for somebody: while a commit is under way all others come
/// without a word, and are found when the next one begins.
#[derive(Default)]
pub(super) struct Queue {
    line: Mutex<Line>,
    came: Notify,
}

#[derive(Default)]
struct Line {
    tasks: VecDeque<Box<dyn Task>>,
    is_closed: bool,
}

impl Queue {
    /// Lets a task wait. False, and nobody waits, if the queue is closed.
    pub(super) fn push(&self, task: Box<dyn Task>) -> bool {
        {
            let mut line = self.line();
            if line.is_closed {
                return false;
            }
            line.tasks.push_back(task);
        }
        self.came.notify_one();
        true
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.line().is_closed = true;
        self.came.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.line().is_closed
    }

    /// Waits until somebody waits; false if nobody does and nobody will.
    pub(super) async fn somebody(&self) -> bool {
        loop {
            {
                let line = self.line();
                if !line.tasks.is_empty() || line.is_closed {
                    return !line.tasks.is_empty();
                }
            }
            self.came.notified().await;
        }
    }

    /// Adds all who wait to `taken`.
    pub(super) fn take(&self, taken: &mut VecDeque<Box<dyn Task>>) {
        taken.append(&mut self.line().tasks);
    }

    /// Asks of everybody who waits whether it has to go on waiting; the others leave.
    pub(super) fn retain(&self, stays: impl FnMut(&mut Box<dyn Task>) -> bool) {
        self.line().tasks.retain_mut(stays);
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
