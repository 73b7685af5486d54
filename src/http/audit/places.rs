//! How many may read the log at the same time, and what they know of it already: the disk and the store's threads are for
//! exchanges first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::super::Patience;
use super::AuditError;
use crate::ledger::{AuditLog, StoreUnavailable};

/// The places of those who read.
pub(in crate::http) struct Places {
    looks: Semaphore,
    searches: Semaphore,
    exports: Arc<Semaphore>,
    wait: Duration,
    known: AtomicU64,
}

impl Places {
    /// As many as `patience` has, all free.
    pub(in crate::http) fn of(patience: &Patience) -> Self {
        Self {
            looks: Semaphore::new(patience.audit_looks),
            searches: Semaphore::new(patience.audit_searches),
            exports: Arc::new(Semaphore::new(patience.audit_exports)),
            wait: patience.audit_wait,
            known: AtomicU64::new(0),
        }
    }

    /// A place for what reads a bounded, small part of the log.
    pub(in crate::http) async fn for_a_look(&self) -> Result<SemaphorePermit<'_>, AuditError> {
        self.place(&self.looks).await
    }

    /// A place for what may look through all of the log. There are few, and none of them keeps anybody from a look.
    pub(in crate::http) async fn for_a_search(&self) -> Result<SemaphorePermit<'_>, AuditError> {
        self.place(&self.searches).await
    }

    /// A place for an answer that is sent as long as the client takes to read it.
    pub(in crate::http) async fn for_an_export(&self) -> Result<OwnedSemaphorePermit, AuditError> {
        match timeout(self.wait, self.exports.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(AuditError::Busy),
        }
    }

    async fn place<'a>(&self, among: &'a Semaphore) -> Result<SemaphorePermit<'a>, AuditError> {
        match timeout(self.wait, among.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(AuditError::Busy),
        }
    }

    /// How many entries the log has, or had when it was asked last, if that is `enough`. To ask for the present
    /// size makes the store write what it would have left for later, and who reads all tiles would have it do that for
    /// each of them.
    pub(in crate::http) async fn size(
        &self,
        log: &dyn AuditLog,
        enough: impl FnOnce(u64) -> bool,
    ) -> Result<u64, StoreUnavailable> {
        let known = self.known.load(Ordering::Relaxed);
        if enough(known) {
            return Ok(known);
        }
        let size = log.tree().await?.size;
        self.known.fetch_max(size, Ordering::Relaxed);
        Ok(size)
    }
}
