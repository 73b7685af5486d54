//! How many may read the log at the same time: the disk and the store's threads are for exchanges first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::super::Patience;
use super::AuditError;

/// The places of those who read.
pub(in crate::http) struct Places {
    looks: Semaphore,
    searches: Semaphore,
    exports: Arc<Semaphore>,
    wait: Duration,
}

impl Places {
    /// As many as `patience` has, all free.
    pub(in crate::http) fn of(patience: &Patience) -> Self {
        Self {
            looks: Semaphore::new(patience.audit_looks),
            searches: Semaphore::new(patience.audit_searches),
            exports: Arc::new(Semaphore::new(patience.audit_exports)),
            wait: patience.audit_wait,
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
}
