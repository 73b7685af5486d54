//! The threads that read for those who wait for no commit: one for what exchanges look up, and one for the log, where a
//! question may take its time.
//!
//! A read may go to the disk, so it has no place on an async thread. It does not
//! stand in the writer's queue either, where it would wait for a sync. It answers only what is durable: nothing is
//! to be seen before the journal has it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::draft::Draft;
use super::index::guarded;
use super::shared::Shared;
use crate::ledger::StoreUnavailable;

type Read = Box<dyn FnOnce(&Shared) + Send>;

/// Where reads are handed in. Dropping it ends the thread.
pub(super) struct Reader {
    reads: Option<SyncSender<Read>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    pub(super) fn start(name: &str, shared: Arc<Shared>, limit: usize) -> std::io::Result<Self> {
        let (reads, waiting): (_, Receiver<Read>) = sync_channel(limit);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || waiting.iter().for_each(|read| read(&shared)))?;
        Ok(Self {
            reads: Some(reads),
            thread: Some(thread),
        })
    }

    /// Hands in a read of the index. Refused when too many wait.
    pub(super) fn ask<T, F>(
        &self,
        read: F,
    ) -> Result<oneshot::Receiver<Result<T, StoreUnavailable>>, StoreUnavailable>
    where
        T: Send + 'static,
        F: FnOnce(&Draft<'_>) -> Result<T, String> + Send + 'static,
    {
        self.ask_files(move |shared| {
            let index = shared.index().ok_or("the index is not open")?;
            read(&Draft::over(&index, shared)?)
        })
    }

    /// Hands in a read of something else. Refused when too many wait.
    pub(super) fn ask_files<T, F>(
        &self,
        read: F,
    ) -> Result<oneshot::Receiver<Result<T, StoreUnavailable>>, StoreUnavailable>
    where
        T: Send + 'static,
        F: FnOnce(&Shared) -> Result<T, String> + Send + 'static,
    {
        let (waiter, answer) = oneshot::channel();
        let task = move |shared: &Shared| {
            let found = guarded(|| read(shared));
            let _ = waiter.send(found.map_err(StoreUnavailable));
        };
        let reads = self.reads.as_ref();
        let reads = reads.ok_or_else(|| StoreUnavailable("the store is closed".into()))?;
        reads.try_send(Box::new(task)).map_err(|error| {
            StoreUnavailable(match error {
                TrySendError::Full(_) => "too many reads are waiting".into(),
                TrySendError::Disconnected(_) => "the store is closed".into(),
            })
        })?;
        Ok(answer)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reads.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
