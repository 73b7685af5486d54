//! Whether the database answers, and how many wait for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::ledger::StoreUnavailable;

/// Whether the database answers, and how many wait for it.
#[derive(Debug, Default)]
pub(super) struct Status {
    is_down: AtomicBool,
    why: Mutex<String>,
    closed: AtomicBool,
    waiting: AtomicUsize,
}

/// A place among those that wait.
#[derive(Debug)]
pub(super) struct Place(std::sync::Arc<Status>);

impl Status {
    /// Notes that commits cannot be made, and why.
    pub(super) fn down(&self, why: &str) {
        why.clone_into(&mut self.why.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.is_down.swap(true, Ordering::AcqRel) {
            tracing::error!(
                why,
                "the database cannot be used; exchanges are refused until it can"
            );
        }
    }

    /// Notes that commits are made.
    pub(super) fn up(&self) {
        if self.is_down.swap(false, Ordering::AcqRel) {
            tracing::info!("the database can be used again");
        }
    }

    /// Fails at once while nothing would come of waiting.
    pub(super) fn usable(&self) -> Result<(), StoreUnavailable> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreUnavailable("the store is closed".into()));
        }
        if self.is_down.load(Ordering::Acquire) {
            let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
            return Err(StoreUnavailable(why.clone()));
        }
        Ok(())
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Takes a place, if there is one among the first `most`.
    pub(super) fn place(
        self: &std::sync::Arc<Self>,
        most: usize,
    ) -> Result<Place, StoreUnavailable> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Place(self.clone());
        if before >= most {
            return Err(StoreUnavailable(format!("{most} others wait already")));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
