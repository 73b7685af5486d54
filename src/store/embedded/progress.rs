//! How far the follower is, for those who want to read from the files what was acknowledged.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::follower::Signal;
use super::reached::{LogEnd, Reached};
use crate::ledger::StoreUnavailable;

/// What the files have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Applied {
    /// Up to which commit.
    pub(super) number: u64,
    /// Where the log ends in its files.
    pub(super) log: LogEnd,
    /// The files of withheld values before this place are deleted, and nothing of them is in the journal.
    pub(super) removed: u64,
    /// The follower has failed, or has ended, and does not go on by itself.
    is_down: bool,
}

/// Told by the writer and the follower, asked by everybody.
pub(super) struct Progress {
    /// The number of the last commit that may have been acknowledged.
    committed: AtomicU64,
    applied: watch::Sender<Applied>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            committed: AtomicU64::new(0),
            applied: watch::Sender::new(Applied::default()),
        }
    }

    /// What the files have now.
    pub(super) fn applied(&self) -> Applied {
        *self.applied.borrow()
    }

    /// Commit `number` is about to be acknowledged.
    pub(super) fn committed(&self, number: u64) {
        self.committed.fetch_max(number, Ordering::SeqCst);
    }

    /// The files have everything up to here.
    pub(super) fn reached(&self, reached: Reached) {
        self.committed(reached.number);
        self.applied.send_modify(|applied| {
            if reached.number >= applied.number {
                applied.number = reached.number;
                applied.log = reached.log;
            }
            applied.is_down = false;
        });
    }

    /// Withheld values before the place `from` are gone for good.
    pub(super) fn removed(&self, from: u64) {
        self.applied.send_if_modified(|applied| {
            let further = from > applied.removed;
            applied.removed = applied.removed.max(from);
            further
        });
    }

    /// The follower does not go on by itself.
    pub(super) fn is_down(&self) {
        self.applied.send_modify(|applied| applied.is_down = true);
    }

    /// Waits until the files have everything that was acknowledged before this was called.
    pub(super) async fn caught_up(&self, signal: &Signal) -> Result<(), StoreUnavailable> {
        let number = self.committed.load(Ordering::SeqCst);
        if self.applied().number >= number {
            return Ok(());
        }
        signal.hurry();
        self.until(|applied| applied.number >= number).await
    }

    /// Waits until withheld values before the place `from` are gone for good.
    pub(super) async fn gone(&self, from: u64, signal: &Signal) -> Result<(), StoreUnavailable> {
        signal.checkpoint();
        self.until(|applied| applied.removed >= from).await
    }

    async fn until(&self, is_so: impl Fn(&Applied) -> bool) -> Result<(), StoreUnavailable> {
        let mut changes = self.applied.subscribe();
        let found = changes.wait_for(|applied| is_so(applied) || applied.is_down);
        match found.await {
            Ok(applied) if is_so(&applied) => Ok(()),
            _ => Err(StoreUnavailable(
                "the log does not follow the journal at this moment".into(),
            )),
        }
    }
}
