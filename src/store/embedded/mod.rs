//! The embedded store: a folder, for one process, with no server beside it.
//!
//! A commit is true once it stands in the journal (`journal`, `frame`): one write to the end of a file and one sync, by
//! one thread (`writer`). Then it is made in two places: what is kept for good in the files of the log (`log`), which only
//! grow, and what is looked up in the index (`index`), which is sled. The index hears of many commits at once, and until
//! then they are seen over it (`layers`). Both are synced now and then, after which the journal may forget what they have
//! (`follower`, `shared`). A crash costs nothing: what they lack is made again from the journal.

mod alone;
mod counts;
mod draft;
mod folder;
mod follower;
mod frame;
mod index;
mod journal;
mod keys;
mod layers;
mod log;
mod names;
mod original;
mod progress;
mod promises;
mod queue;
mod reached;
mod reader;
mod shared;
mod unfinished;
mod writer;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::copy;
use crate::clock::Clock;
use crate::ledger::StoreUnavailable;
use crate::metrics::StoreMetrics;
use counts::Counts;
use draft::{Draft, Entry, Fault};
use folder::Folder;
use follower::{Signal, follow};
use index::Index;
use log::{FaultKeeper, Scrub};
use progress::Progress;
use queue::{Queue, Share, Task};
use reached::Reached;
use reader::Reader;
use shared::Shared;
use writer::Writer;

pub use folder::OpenError;
pub(super) use original::Original;
pub(super) use unfinished::Unfinished;
pub use writer::Step;

/// How an embedded store is run. The defaults are meant for everybody.
#[derive(Clone)]
pub struct Options {
    /// How many octets of the disk are never used, 32 MiB. With less than that free nothing is promised, and the store
    /// recovers by itself once there is more.
    pub reserve: u64,
    /// How many requests may wait for the disk, 4096; the next one is refused.
    pub waiting: usize,
    /// How long counted denials may wait for their commit, and how often expired keys are looked for, 10 s.
    pub idle: Duration,
    /// How many octets of memory the index may use for what it has read, 4 MiB; the system keeps the rest at hand.
    pub cache: u64,
    /// How long what is in the journal may wait to be synced in its place, 2 s. Under load that happens more often: when a
    /// segment of the journal is full.
    pub checkpoint: Duration,
    /// How long to rest between two blocks of 256 entries when the log is read to see whether it is as it was written,
    /// 250 ms.
    pub scrub: Duration,
    /// What commits are counted with.
    pub metrics: StoreMetrics,
    /// Whether hashes are written, for comparison only: without them there is no tree.
    #[doc(hidden)]
    pub tree: bool,
    /// What tells how many octets are free, in place of the disk.
    #[doc(hidden)]
    pub free_space: Option<Arc<dyn Fn() -> io::Result<u64> + Send + Sync>>,
    /// What is called at each step of each commit. Its error is taken for the disk's.
    #[doc(hidden)]
    pub at_step: Option<Arc<dyn Fn(Step) -> io::Result<()> + Send + Sync>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reserve: 32 << 20,
            waiting: 4096,
            idle: Duration::from_secs(10),
            cache: 4 << 20,
            checkpoint: Duration::from_secs(2),
            scrub: Duration::from_millis(250),
            metrics: StoreMetrics::default(),
            tree: true,
            free_space: None,
            at_step: None,
        }
    }
}

impl Options {
    fn reach(&self, step: Step) -> io::Result<()> {
        self.at_step
            .as_ref()
            .map_or(Ok(()), |at_step| at_step(step))
    }
}

/// A store in a folder of this machine. It keeps the promises of [`Ledger`](crate::ledger::Ledger),
/// [`KeyArchive`](crate::discovery::KeyArchive), [`SigningKeyStore`](crate::project_token::SigningKeyStore),
/// [`ProjectIds`](crate::directory::ProjectIds), [`FirstLoads`](crate::directory::FirstLoads),
/// [`AuditLog`](crate::ledger::AuditLog) and [`PolicyHistory`](crate::directory::PolicyHistory). No other instance can use
/// it: nothing is ever heard of one.
///
/// No call blocks: writes are done by one thread and reads by others, and the futures only wait for them. They need no
/// particular runtime. What was asked for happens also if its future is dropped after it was first polled.
///
/// Clones are the same store. It closes with [`EmbeddedStore::close`], or with the last clone.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Running>);

struct Running {
    queue: Arc<Queue>,
    counts: Arc<Counts>,
    signal: Arc<Signal>,
    progress: Arc<Progress>,
    fault: Arc<FaultKeeper>,
    options: Options,
    readers: RwLock<Option<Readers>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The threads that read.
struct Readers {
    index: Reader,
    log: Reader,
    /// Ends with them.
    _scrub: Scrub,
}

impl EmbeddedStore {
    /// Whether there is a store in the folder `path`.
    pub fn is_in(path: &Path) -> bool {
        path.join("index/db").is_file()
    }

    /// Opens the store in the folder `path`, which is made if it is not there, for this user only. Expired keys are
    /// forgotten by the time of `clock`. Blocks while the database finds its end; its entries are not read.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, options: Options) -> Result<Self, OpenError> {
        if Folder::is_unfinished(path) {
            return Err(OpenError::Unfinished(path.to_owned()));
        }
        Self::open_unfinished(path, clock, options)
    }

    /// The same, also of a copy that is not finished.
    fn open_unfinished(
        path: &Path,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let failed = |what: String| OpenError::Failed(path.to_owned(), what);
        let folder = Folder::occupy(path)?;
        let index = Index::open(&folder, options.cache).map_err(failed)?;
        check_format(&index, path)?;
        let shared = Shared::open(folder, index, &options).map_err(failed)?;
        let shared = Arc::new(shared);
        let number = shared.layers.reached().number;
        let queue = Arc::new(Queue::new(options.waiting, options.metrics.clone()));
        let counts = Arc::new(Counts::default());
        let signal = Arc::new(Signal::default());
        let (progress, fault) = (shared.progress.clone(), shared.fault.clone());
        let readers = Readers::start(&shared, &options);
        let readers = readers.map_err(|error| failed(error.to_string()))?;
        let pen = shared.journal.pen();
        let writer = Writer {
            options: options.clone(),
            clock,
            queue: queue.clone(),
            counts: counts.clone(),
            shared: shared.clone(),
            signal: signal.clone(),
            pen,
            number,
            tried: None,
            settled: None,
        };
        let (hears, following) = (signal.clone(), options.clone());
        let follower = thread("store-follower", move || {
            follow(&shared, &hears, &following);
        });
        let writer = thread("store-writer", || writer.run());
        let threads = [writer, follower].into_iter().collect::<Result<_, _>>();
        let threads = threads.map_err(|error: io::Error| failed(error.to_string()))?;
        Ok(Self(Arc::new(Running {
            queue,
            counts,
            signal,
            progress,
            fault,
            options,
            readers: RwLock::new(Some(readers)),
            threads: Mutex::new(threads),
        })))
    }

    /// Closes the store: what was accepted is committed and synced, the folder is free again, and every later call
    /// answers [`StoreUnavailable`]. Blocks until that is done.
    pub fn close(&self) {
        self.0.close();
    }

    /// Lets the writer decide, and waits until what it decided is on disk.
    fn ask<T, F>(&self, share: Share, decide: F) -> BoxFuture<'_, Result<T, StoreUnavailable>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Draft<'_>) -> Result<T, Fault> + Send + 'static,
    {
        async move {
            let (task, answer) = Task::new(decide);
            self.0.queue.push(Box::new(task), share)?;
            arrived(answer).await
        }
        .boxed()
    }

    /// Lets the reader read.
    fn read<T, F>(&self, read: F) -> BoxFuture<'_, Result<T, StoreUnavailable>>
    where
        T: Send + 'static,
        F: FnOnce(&Draft<'_>) -> Result<T, String> + Send + 'static,
    {
        async move {
            let asked = self.0.with_readers(|readers| readers.index.ask(read));
            arrived(asked?).await
        }
        .boxed()
    }

    /// Lets the thread of the log read, once the files have everything that was acknowledged.
    fn read_log<T, F>(&self, read: F) -> BoxFuture<'_, Result<T, StoreUnavailable>>
    where
        T: Send + 'static,
        F: FnOnce(&Shared) -> Result<T, String> + Send + 'static,
    {
        async move {
            self.0.progress.caught_up(&self.0.signal).await?;
            let asked = self.0.with_readers(|readers| readers.log.ask_files(read));
            arrived(asked?).await
        }
        .boxed()
    }

    /// Lets the reader read several texts, each of which `parse` understands.
    fn read_each<T, F>(
        &self,
        read: F,
        parse: fn(&Entry) -> Result<T, String>,
    ) -> BoxFuture<'_, Result<Vec<T>, StoreUnavailable>>
    where
        T: Send + 'static,
        F: FnOnce(&Draft<'_>) -> Result<Vec<Entry>, String> + Send + 'static,
    {
        async move {
            let asked = self.0.with_readers(|readers| readers.index.ask(read));
            let found = arrived(asked?).await?;
            let parsed: Result<_, _> = found.iter().map(parse).collect();
            parsed.map_err(StoreUnavailable)
        }
        .boxed()
    }
}

impl Readers {
    fn start(shared: &Arc<Shared>, options: &Options) -> io::Result<Self> {
        let start = |name| Reader::start(name, shared.clone(), options.waiting);
        Ok(Self {
            index: start("store-reader")?,
            log: start("store-log")?,
            _scrub: Scrub::start(shared.clone(), options.scrub)?,
        })
    }
}

impl Running {
    fn with_readers<T>(
        &self,
        ask: impl FnOnce(&Readers) -> Result<T, StoreUnavailable>,
    ) -> Result<T, StoreUnavailable> {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || StoreUnavailable("the store is closed".into());
        ask(readers.as_ref().ok_or_else(closed)?)
    }

    fn close(&self) {
        let readers = self.readers.write();
        let readers = readers.unwrap_or_else(PoisonError::into_inner).take();
        drop(readers);
        self.queue.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock is held while they end, so that whoever closes second waits too.
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
    }
}

async fn arrived<T>(
    answer: oneshot::Receiver<Result<T, StoreUnavailable>>,
) -> Result<T, StoreUnavailable> {
    let lost = |_| Err(StoreUnavailable("the store has stopped".into()));
    answer.await.unwrap_or_else(lost)
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}

/// Writes the version of our table into a new index, and refuses one that we cannot read.
fn check_format(index: &Index, path: &Path) -> Result<(), OpenError> {
    let failed = |what: String| OpenError::Failed(path.to_owned(), what);
    let tree = index.tree().map_err(failed)?;
    let found = tree.get(keys::FORMAT_KEY);
    let found = found.map_err(|error| failed(error.to_string()))?;
    let version = found.as_ref().and_then(|value| value.first_chunk::<4>());
    match version.map(|version| u32::from_be_bytes(*version)) {
        Some(keys::FORMAT) => Ok(()),
        Some(newer) if newer > keys::FORMAT => {
            Err(OpenError::Newer(path.to_owned(), newer, keys::FORMAT))
        }
        Some(older) if older > 0 => Err(OpenError::Older(path.to_owned(), older)),
        None if found.is_none() && tree.is_empty() => {
            let version = keys::FORMAT.to_be_bytes().to_vec();
            let writes = [(keys::FORMAT_KEY.to_vec(), Some(version))].into();
            let written = index.apply(&writes, Reached::default());
            written.and_then(|()| index.flush()).map_err(failed)?;
            index.sync().map_err(|error| failed(error.to_string()))
        }
        _ => Err(OpenError::Foreign(path.to_owned())),
    }
}
