//! The one thread that reads for those who wait for no commit.
//!
//! A read may go to the disk, and waits while a batch is applied, so it has no place on an async thread. It does not
//! stand in the writer's queue either, where it would wait for a sync. It answers only what is durable: a key that is
//! in the commit under way counts as absent.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::draft::{Draft, Entry};
use super::instance::guarded;
use super::keys;
use super::writer::Shared;
use crate::ledger::StoreUnavailable;

type Read = Box<dyn FnOnce(&Shared) + Send>;

/// Where reads are handed in. Dropping it ends the thread.
pub(super) struct Reader {
    reads: Option<SyncSender<Read>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    pub(super) fn start(shared: Arc<Shared>, limit: usize) -> std::io::Result<Self> {
        let (reads, waiting): (_, Receiver<Read>) = sync_channel(limit);
        let thread = std::thread::Builder::new()
            .name("store-reader".into())
            .spawn(move || waiting.iter().for_each(|read| read(&shared)))?;
        Ok(Self {
            reads: Some(reads),
            thread: Some(thread),
        })
    }

    /// What `read` finds, unless `key` is being written: then it is not there yet.
    pub(super) fn durable<T, F>(
        &self,
        key: Vec<u8>,
        read: F,
    ) -> Result<oneshot::Receiver<Result<Option<T>, StoreUnavailable>>, StoreUnavailable>
    where
        T: Send + 'static,
        F: FnOnce(&Draft<'_>, &[u8]) -> Result<Option<T>, String> + Send + 'static,
    {
        self.hand_in(move |shared| {
            let instance = shared.instance().ok_or("the database is not open")?;
            let found = read(&Draft::over(instance.tree()?), &key)?;
            // Asked after the read: what was in no commit then, or is in none now, is on disk.
            Ok(found.filter(|_| !shared.in_flight(&key)))
        })
    }

    /// Those of the texts that `read` finds, with their keys, which are not being written.
    pub(super) fn durable_texts<F>(
        &self,
        read: F,
    ) -> Result<oneshot::Receiver<Result<Vec<Entry>, StoreUnavailable>>, StoreUnavailable>
    where
        F: FnOnce(&Draft<'_>) -> Result<Vec<Entry>, sled::Error> + Send + 'static,
    {
        self.hand_in(move |shared| {
            let instance = shared.instance().ok_or("the database is not open")?;
            let found = read(&Draft::over(instance.tree()?));
            let mut found = found.map_err(|error| error.to_string())?;
            // All pieces are of one commit.
            found.retain(|(key, _)| !shared.in_flight(&keys::piece(key, 0)));
            Ok(found)
        })
    }

    fn hand_in<T, F>(
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
