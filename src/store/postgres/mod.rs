//! The store on a PostgreSQL server, for several instances at once.
//!
//! Exchanges are committed in batches: one statement, one round trip and one transaction for all that wait at a moment
//! (`countersign.commit_batch` in `migrations`). What it decides, it decides in the database, where all instances meet:
//! whether a token was used, which ids belong to names, and which number an entry of the log has. What entries are found
//! by, and the hashes of whole subtrees, are packed behind, by whichever instance comes first: both follow from the entries
//! alone.
//!
//! One thread commits (`queue`, `task`, `taken`, `writer`, `batch`) on a connection of its own; a pool serves everything else (`read`,
//! `transact`). Both have their connections from `connect`.

mod batch;
mod changes;
mod connect;
mod copy;
mod fault;
mod instances;
mod keeps;
mod log;
mod look_up;
mod migrate;
mod names;
mod promises;
mod queue;
mod settings;
mod status;
mod taken;
mod task;
mod tidy;
mod time;
mod transact;
mod writer;

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use uuid::Uuid;

use super::counts::Counts;
use crate::audit::Sealed;
use crate::clock::{Clock, HOUR, Seconds};
use crate::ledger::StoreUnavailable;
use crate::metrics::{StoreFault, StoreMetrics};
use batch::Change;
use changes::Feed;
use connect::{Connector, ForPool, Purpose};
use fault::Fault;
use names::{Asked, AtHand};
use queue::Queue;
use status::Status;
use task::{Adding, Answer, Task};
use tidy::Tidy;
use time::DatabaseClock;
use writer::Writer;

pub(super) use copy::{Original, Unfinished};
pub use fault::PostgresError;
pub use settings::{InvalidSettings, PostgresSettings};

/// How many threads a store has. Nearly all of its time is spent waiting for the server, and two wake each other.
const THREADS: usize = 1;

/// How many may wait for the pool's next connection how long, and for one that is made.
const POOL_PATIENCE: Duration = Duration::from_millis(1400);

/// How long it is remembered that entries were added: longer than anybody waits for that.
const REMEMBERED: Seconds = HOUR;

/// How many connections are for what exchanges wait for, at most. Names are read for all that wait at once.
const MOST_SOON: usize = 4;

/// How a store on PostgreSQL is run. The defaults are meant for everybody.
#[derive(Clone)]
pub struct PostgresOptions {
    /// How many requests may wait for a commit, 4096; the next one is refused.
    pub waiting: usize,
    /// How long an exchange waits for the database in all, 1.9 s: a fifth of it for each of the two things that it reads at
    /// most, and three for its commit. It is looked who has waited too long every 100 ms, so everybody is answered within two seconds.
    pub patience: Duration,
    /// How long counted denials may wait to be written down, and how often expired keys are looked for, 10 s.
    pub idle: Duration,
    /// How often it is looked for changes of other instances that nobody told of, 5 s.
    pub look_every: Duration,
    /// How long a start waits for its turn at the tables, 60 s: another instance may be bringing them to its form.
    pub turn: Duration,
    /// What counts commits and failures.
    pub metrics: StoreMetrics,
    /// What happens to the next commit of exchanges, for tests.
    #[doc(hidden)]
    pub mishap: Option<Arc<dyn Fn() -> Option<Mishap> + Send + Sync>>,
}

/// What can happen to a commit.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The connection breaks before it reached the server.
    LostBefore,
    /// The connection breaks after it was done, before that was heard of.
    LostAfter,
    /// The server aborts it.
    Aborted,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            waiting: 4096,
            patience: Duration::from_millis(1900),
            idle: Duration::from_secs(10),
            look_every: Duration::from_secs(5),
            turn: migrate::PATIENCE,
            metrics: StoreMetrics::default(),
            mishap: None,
        }
    }
}

impl PostgresOptions {
    /// How long an exchange waits for something that it reads.
    fn reads(&self) -> Duration {
        self.patience / 5
    }

    /// How long somebody waits for a commit.
    fn commits(&self) -> Duration {
        self.patience * 3 / 5
    }
}

/// For whom a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// An instance of the service, which brings the tables to its form and keeps them in order.
    Instance,
    /// A command beside it, which leaves everything as it is but what it is asked to change.
    Guest,
}

/// A store on a PostgreSQL server.
///
/// No call blocks: everything runs in a runtime of the store's own, and the futures only wait for it. They need no
/// particular runtime. What was sent to be committed is committed also if its future is dropped.
///
/// Clones are the same store. It closes with [`PostgresStore::close`], or with the last clone.
#[derive(Clone)]
pub struct PostgresStore(Arc<Running>);

struct Running {
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
    handle: tokio::runtime::Handle,
    connector: Arc<Connector>,
    pool: Pool,
    /// For what exchanges wait for, so that nobody who reads the log keeps them waiting.
    soon: Pool,
    status: Arc<Status>,
    queue: Arc<Queue>,
    log: Arc<log::Log>,
    names: Mutex<Option<UnboundedSender<Asked>>>,
    at_hand: Arc<AtHand>,
    counts: Arc<Counts>,
    clock: Arc<DatabaseClock>,
    tidy: Tidy,
    options: PostgresOptions,
    closing: watch::Sender<bool>,
    ended: Mutex<Option<Receiver<()>>>,
    feed: Arc<Feed>,
    /// What other instances know this one by.
    instance: Uuid,
}

impl PostgresStore {
    /// Opens the store: connects, and brings the tables to the form that this program writes. What expires does so by the
    /// time of the database; `clock` is this machine's. Blocks until that is done.
    pub fn open(
        settings: PostgresSettings,
        clock: Arc<dyn Clock>,
        options: PostgresOptions,
    ) -> Result<Self, PostgresError> {
        Self::start(settings, clock, options, Role::Instance)
    }

    /// Opens the store beside those who serve from it: as it is, or not at all. No tables are made or changed, nothing is
    /// tidied, packed or looked through behind, and nothing is heard of changes. [`PostgresError::Empty`] if there is no
    /// store, and [`PostgresError::Older`] if it is not of the version that this program writes. Blocks until that is done.
    pub fn open_as_is(
        settings: PostgresSettings,
        clock: Arc<dyn Clock>,
        options: PostgresOptions,
    ) -> Result<Self, PostgresError> {
        Self::start(settings, clock, options, Role::Guest)
    }

    fn start(
        settings: PostgresSettings,
        clock: Arc<dyn Clock>,
        options: PostgresOptions,
        role: Role,
    ) -> Result<Self, PostgresError> {
        let database = settings.shown();
        let unreachable = |why: String| PostgresError::Unreachable(database.clone(), why);
        let connector = Arc::new(Connector::new(settings, options.metrics.clone())?);
        let (pool, soon) = pools(&connector).map_err(unreachable)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| unreachable(error.to_string()))?;
        let handle = runtime.handle().clone();
        let clock = Arc::new(DatabaseClock::new(clock));
        let counts = Arc::new(Counts::default());
        let tidy = Tidy {
            pool: pool.clone(),
            soon: soon.clone(),
            connector: connector.clone(),
            counts: counts.clone(),
            clock: clock.clone(),
            options: options.clone(),
        };
        let (opened, opening) = sync_channel(1);
        let (connecting, shown, asking) = (connector.clone(), database.clone(), tidy.clone());
        handle.spawn(async move {
            let _ = opened.send(ready(&connecting, &shown, &asking, role).await);
        });
        let stopped = |_| Err(unreachable("the store has stopped".into()));
        let status = Arc::new(Status::default());
        let queue = Arc::new(Queue::default());
        let writer = Writer::new(
            connector.clone(),
            status.clone(),
            queue.clone(),
            options.clone(),
        );
        let begun = opening.recv().unwrap_or_else(stopped);
        let committing = match begun.and_then(|()| writer.start().map_err(unreachable)) {
            Ok(committing) => committing,
            Err(error) => {
                // Whoever opens a store may be in a runtime, where no other may be waited for.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let at_hand = Arc::new(AtHand::default());
        let (names, asked) = unbounded_channel();
        handle.spawn(names::answer_all(
            soon.clone(),
            connector.clone(),
            at_hand.clone(),
            options.reads(),
            asked,
        ));
        let (closing, closed) = watch::channel(false);
        let (ends, ended) = sync_channel(1);
        let tidying = tidy.clone().run(closed);
        handle.spawn(async move {
            match role {
                Role::Instance => drop(tokio::join!(committing, tidying)),
                Role::Guest => drop(committing.await),
            }
            let _ = ends.send(());
        });
        let log = Arc::new(log::Log::new(options.metrics.clone()));
        let feed = Arc::new(Feed::default());
        if role == Role::Instance {
            let keeper = log::Keeper {
                pool: pool.clone(),
                connector: connector.clone(),
                status: status.clone(),
                log: log.clone(),
            };
            keeper.start(&handle);
            changes::start(&handle, &feed, &pool, &connector, options.look_every);
        }
        Ok(Self(Arc::new(Running {
            log,
            runtime: Mutex::new(Some(runtime)),
            handle,
            connector,
            pool,
            soon,
            status,
            queue,
            names: Mutex::new(Some(names)),
            at_hand,
            counts,
            clock,
            tidy,
            options,
            closing,
            ended: Mutex::new(Some(ended)),
            feed,
            instance: Uuid::new_v4(),
        })))
    }

    /// The time of the database, which decides what has expired for every instance. Known as well as the last question told,
    /// some seconds ago.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock.clone()
    }

    /// Does at once what is done now and then: writes down counted denials and forgets what has expired.
    #[doc(hidden)]
    pub fn tidy(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let tidy = self.0.tidy.clone();
        self.run(async move { tidy.once().await })
    }

    /// Closes the store: what was accepted is committed or answered, and every later call answers [`StoreUnavailable`].
    /// Blocks until that is done.
    pub fn close(&self) {
        self.0.close();
    }

    /// Reads, on a connection of the pool. Fails at once while the database is known not to answer.
    ///
    /// Statements are prepared with `prepare_cached`. What takes longer than a statement may is given up, and its
    /// connection with it.
    fn read<T, F>(&self, read: F) -> BoxFuture<'_, Result<T, StoreUnavailable>>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Object) -> BoxFuture<'a, Result<T, Fault>> + Send + 'static,
    {
        let limit = self.0.connector.settings().statement_timeout + POOL_PATIENCE;
        let (pool, connector) = (self.0.pool.clone(), self.0.connector.clone());
        self.run(async move { read_from(&pool, &connector, limit, read).await })
    }

    /// The same, for what an exchange waits for.
    fn read_soon<T, F>(&self, read: F) -> BoxFuture<'_, Result<T, StoreUnavailable>>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Object) -> BoxFuture<'a, Result<T, Fault>> + Send + 'static,
    {
        let (pool, connector) = (self.0.soon.clone(), self.0.connector.clone());
        let limit = self.0.options.reads();
        self.run(async move { read_from(&pool, &connector, limit, read).await })
    }

    /// Runs in the runtime of the store, whoever waits for it and in what.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreUnavailable>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreUnavailable>> {
        async move {
            self.0.status.usable()?;
            let stopped = |_| Err(StoreUnavailable("the store has stopped".into()));
            self.0.handle.spawn(work).await.unwrap_or_else(stopped)
        }
        .boxed()
    }

    /// Adds entries to the log with others' commits, and answers the number of the first. The event that the clock was put
    /// back goes before them if they are far behind the latest one.
    fn add(&self, entries: Vec<Sealed>) -> BoxFuture<'_, Result<Option<u64>, StoreUnavailable>> {
        async move {
            let change = Change::adding_once(entries, self.0.clock.now().plus(REMEMBERED));
            let task = |answer| Adding::new(change, answer);
            self.submit(self.0.options.waiting, task).await
        }
        .boxed()
    }

    /// Lets the writer commit a task, if it is among the first `most` that wait.
    async fn submit<T, W: Task + 'static>(
        &self,
        most: usize,
        task: impl FnOnce(Answer<T>) -> W,
    ) -> Result<T, StoreUnavailable> {
        self.0.status.usable()?;
        let place = self.0.status.place(most).inspect_err(|_| {
            self.0.options.metrics.failed(StoreFault::QueueFull);
        })?;
        let (answer, answered) = Answer::new(place);
        if !self.0.queue.push(Box::new(task(answer))) {
            return Err(StoreUnavailable("the store is closed".into()));
        }
        arrived(answered).await
    }
}

impl Running {
    /// Asks what is remembered of names.
    fn ask_names(&self, asked: Asked) -> Result<(), StoreUnavailable> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = || StoreUnavailable("the store is closed".into());
        let names = names.as_ref().ok_or_else(closed)?;
        names.send(asked).map_err(|_| closed())
    }

    fn close(&self) {
        self.status.close();
        self.closing.send_replace(true);
        let names = self.names.lock();
        drop(names.unwrap_or_else(PoisonError::into_inner).take());
        self.queue.close();
        // The lock is held while it ends, so that whoever closes second waits too.
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = ended.take() {
            let _ = ended.recv();
        }
        self.pool.close();
        self.soon.close();
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
    }
}

/// Sees to it that the tables are as they must be, and asks for the time of the database.
async fn ready(
    connector: &Arc<Connector>,
    database: &str,
    tidy: &Tidy,
    role: Role,
) -> Result<(), PostgresError> {
    let unreachable = |fault: Fault| {
        PostgresError::Unreachable(database.to_owned(), StoreUnavailable::from(fault).0)
    };
    let migrating = connector
        .connect(Purpose::Migrations, Arc::new(|_| {}))
        .await;
    let (mut client, _connection) = migrating.map_err(unreachable)?;
    match role {
        Role::Instance => migrate::migrate(&mut client, database, tidy.options.turn).await?,
        Role::Guest => migrate::check(&client, database).await?,
    }
    tidy.ask_the_time().await?;
    Ok(())
}

/// The pool for everything, and the one for what exchanges wait for.
fn pools(connector: &Arc<Connector>) -> Result<(Pool, Pool), String> {
    // One is the writer's, one hears of changes.
    let connections = connector.settings().connections.saturating_sub(2).max(2);
    let soon = (connections / 3).clamp(1, MOST_SOON);
    let pool = pool_of(connector, connections - soon)?;
    Ok((pool, pool_of(connector, soon)?))
}

fn pool_of(connector: &Arc<Connector>, connections: usize) -> Result<Pool, String> {
    let config = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let unused = tokio_postgres::Config::new();
    let manager = Manager::from_connect(unused, ForPool(connector.clone()), config);
    let pool = Pool::builder(manager)
        .max_size(connections)
        .timeouts(Timeouts {
            wait: Some(POOL_PATIENCE),
            create: Some(POOL_PATIENCE),
            recycle: Some(POOL_PATIENCE),
        })
        .runtime(Runtime::Tokio1)
        .build();
    pool.map_err(|error| error.to_string())
}

/// Reads on a connection of the pool, within `limit` from when there is one.
async fn read_from<T, F>(
    pool: &Pool,
    connector: &Connector,
    limit: Duration,
    read: F,
) -> Result<T, StoreUnavailable>
where
    F: for<'a> FnOnce(&'a Object) -> BoxFuture<'a, Result<T, Fault>>,
{
    let late = |_| Err(Fault::Lost("there is no answer in time".into()));
    // A connection that has to be made takes longer than what is read on it, the farther away the server is.
    let client = timeout(limit.max(POOL_PATIENCE), leased(pool, connector)).await;
    let client = client
        .map_err(|_| StoreUnavailable("no connection to the database was free in time".into()))??;
    let read = timeout(limit, read(&client)).await.unwrap_or_else(late);
    read.map_err(|fault| given_up(client, connector, fault))
}

/// Gives back a connection on which something failed, and answers what.
fn given_up(client: Object, connector: &Connector, fault: Fault) -> StoreUnavailable {
    connector.count(&fault);
    if matches!(fault, Fault::Lost(_)) {
        // It may still be busy with that.
        drop(Object::take(client));
    }
    fault.into()
}

async fn leased(pool: &Pool, connector: &Connector) -> Result<Object, StoreUnavailable> {
    pool.get().await.map_err(|error| {
        let refused = connector.refused();
        StoreUnavailable(refused.unwrap_or_else(|| match error {
            deadpool_postgres::PoolError::Backend(error) => {
                format!("the database does not answer: {}", fault::in_words(&error))
            }
            deadpool_postgres::PoolError::Timeout(_) => {
                "no connection to the database was free in time".into()
            }
            other => format!("the database cannot be asked: {other}"),
        }))
    })
}

async fn arrived<T>(
    answer: oneshot::Receiver<Result<T, StoreUnavailable>>,
) -> Result<T, StoreUnavailable> {
    let lost = |_| Err(StoreUnavailable("the store has stopped".into()));
    answer.await.unwrap_or_else(lost)
}
