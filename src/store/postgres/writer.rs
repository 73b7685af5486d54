//! The thread that commits: it takes all that waits, sends it as one batch, and begins again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::batch::{Batch, Change, Deed, Outcome, Statements};
use super::connect::{Connector, Purpose};
use super::fault::Fault;
use super::look_up;
use super::names::Versions;
use super::queue::Queue;
use super::status::Status;
use super::taken::Taken;
use super::task::{Next, Task};
use super::{Mishap, PostgresOptions};
use crate::audit::{Event, Happening, Sealed};
use crate::clock::UnixTime;
use crate::ledger::StoreUnavailable;
use crate::metrics::StoreFault;

/// How long after the beginning of one commit the next one begins at the earliest. Whoever comes meanwhile shares it: what a
/// commit costs by itself, here and in the server, is paid by more of them. Who comes after a pause does not wait.
const PACE: Duration = Duration::from_micros(1500);

/// How often it is looked who has waited too long.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How long a server has to answer a commit before another connection is made and asked what came of it. The statement is
/// not cancelled: it may be done.
const NO_ANSWER: Duration = Duration::from_secs(10);

/// How long to wait before a server that cannot be reached is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// How long a server has to answer what is asked between commits.
const PATIENCE: Duration = Duration::from_secs(1);

type Tasks = Vec<Box<dyn Task>>;

pub(super) struct Writer {
    connector: Arc<Connector>,
    status: Arc<Status>,
    queue: Arc<Queue>,
    /// Those who were taken from the queue, and are not in the batch that is under way.
    waiting: VecDeque<Box<dyn Task>>,
    /// How many of them, the first, are committed each by itself.
    alone: usize,
    line: Option<Line>,
    /// When it is looked next who has waited too long.
    look: Instant,
    options: PostgresOptions,
}

/// The connection for commits.
struct Line {
    client: Client,
    statements: Statements,
    connection: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        // A connection that hangs would otherwise stay until the other machine answers.
        self.connection.abort();
    }
}

impl Line {
    async fn made(connector: &Arc<Connector>) -> Result<Self, Fault> {
        let made = connector.connect(Purpose::Commits, Arc::new(|_| {})).await;
        let (client, connection) = made?;
        let preparing = timeout(PATIENCE, Statements::prepare(&client)).await;
        let silent = |_| Err(Fault::Lost("the server does not answer".into()));
        Ok(Self {
            statements: preparing.unwrap_or_else(silent)?,
            client,
            connection,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // However it ended, nobody is to wait for it.
        self.queue.close();
        self.queue.take(&mut self.waiting);
    }
}

impl Writer {
    pub(super) fn new(
        connector: Arc<Connector>,
        status: Arc<Status>,
        queue: Arc<Queue>,
        options: PostgresOptions,
    ) -> Self {
        Self {
            connector,
            status,
            queue,
            waiting: VecDeque::new(),
            alone: 0,
            line: None,
            look: Instant::now(),
            options,
        }
    }

    /// Begins, in a thread of its own, and blocks until there is a connection. What is answered comes when it has ended: it
    /// serves until the queue is closed and nobody waits.
    pub(super) fn start(mut self) -> Result<oneshot::Receiver<()>, String> {
        let (opened, opening) = sync_channel(1);
        let (ends, ended) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let serving = move || {
            runtime.block_on(async move {
                let made = Line::made(&self.connector).await;
                let made = made.map(|line| self.line = Some(line));
                let is_made = made.is_ok();
                let _ = opened.send(made.map_err(|fault| StoreUnavailable::from(fault).0));
                if is_made {
                    self.run().await;
                }
            });
            let _ = ends.send(());
        };
        let thread = thread::Builder::new().name("commits".into());
        thread.spawn(serving).map_err(|error| error.to_string())?;
        let stopped = |_| Err("the thread for commits has stopped".into());
        opening.recv().unwrap_or_else(stopped)?;
        Ok(ended)
    }

    /// Serves until the queue is closed and nobody waits. Blocks the thread as long as [`PACE`] now and then: beside it only
    /// the task of the connection runs there, which has nothing to do then.
    async fn run(mut self) {
        let mut due = Instant::now();
        loop {
            // A connection is made before anybody needs it, and as long as none can be made nobody is let wait for it.
            if !self.has_line(&Tasks::new()).await {
                break;
            }
            if self.waiting.is_empty() && !self.queue.somebody().await {
                break;
            }
            // A timer of the runtime would be as much as a millisecond late.
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let begins = Instant::now();
            self.queue.take(&mut self.waiting);
            let batch = self.gather();
            // Who is alone waits for nobody.
            due = if batch.len() > 1 {
                begins + PACE
            } else {
                begins
            };
            self.options
                .metrics
                .waiting(batch.len() + self.waiting.len());
            self.serve(batch).await;
            self.options.metrics.waiting(self.waiting.len());
        }
    }

    /// The tasks of the next batch: those that came first, no two of which are about the same.
    fn gather(&mut self) -> Tasks {
        while self.alone > 0 {
            self.alone -= 1;
            let task = self.waiting.pop_front();
            if let Some(task) = task.filter(|task| task.waits_since().is_some()) {
                return vec![task];
            }
        }
        let mut batch = Tasks::new();
        let mut later = VecDeque::new();
        let mut taken = Taken::default();
        while let Some(task) = self.waiting.pop_front() {
            if task.waits_since().is_none() {
                continue;
            }
            if taken.is_full() {
                later.push_back(task);
                break;
            }
            if taken.take(task.change()) {
                batch.push(task);
            } else {
                later.push_back(task);
            }
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        batch
    }

    /// Commits a batch, whatever it takes, or answers everybody that it cannot be.
    async fn serve(&mut self, mut batch: Tasks) {
        // Whether this batch was sent before, and what became of it is not known.
        let mut unknown = false;
        let mut put_back = None;
        loop {
            batch.retain(|task| task.waits_since().is_some());
            if batch.is_empty() && self.line.is_some() {
                // The server answers, if too late for those who waited: nobody else would find out, once all are refused.
                self.status.up();
            }
            if batch.is_empty() || !self.has_line(&batch).await {
                return;
            }
            // While there was none, everybody was told so: what was refused is not done afterwards.
            batch.retain(|task| task.waits_since().is_some());
            if batch.is_empty() {
                return;
            }
            if unknown {
                self.options.metrics.sent_again();
            }
            let began = Instant::now();
            let committed = self.commit(&batch, put_back.as_ref(), unknown).await;
            if let Err(fault) = &committed {
                self.options.metrics.failed(fault.kind());
            }
            match committed {
                Ok(outcomes) => {
                    self.options.metrics.committed(batch.len(), began.elapsed());
                    self.status.up();
                    return self.settle(batch, outcomes, unknown).await;
                }
                Err(Fault::Lost(why)) => {
                    tracing::warn!(
                        why,
                        "what became of a commit is not known; it is asked again"
                    );
                    unknown = true;
                    self.line = None;
                }
                Err(fault) if latest(&fault).is_some() => {
                    // Somebody's clock ran ahead and was put back: an entry says so, before the others.
                    put_back = latest(&fault).and_then(|latest| said(&batch, latest));
                }
                Err(fault) => match fate(&fault) {
                    Fate::Again => {}
                    Fate::Elsewhere => {
                        self.line = None;
                        self.status.down(&StoreUnavailable::from(fault).0);
                        self.fail_all(&batch);
                        // It is not asked by each one who comes.
                        self.attend(&batch, sleep(TRY_AGAIN)).await;
                        self.fail_all(&batch);
                        return;
                    }
                    Fate::Nothing if batch.len() > 1 => return self.one_by_one(batch),
                    Fate::Nothing => {
                        self.status.up();
                        let why = StoreUnavailable::from(fault);
                        tracing::warn!(error = why.0, "nothing was committed");
                        for task in &batch {
                            task.fail(&why);
                        }
                        return;
                    }
                },
            }
        }
    }

    /// Lets each be committed by itself, so that one that the database refuses fails alone.
    fn one_by_one(&mut self, batch: Tasks) {
        self.alone = batch.len();
        for task in batch.into_iter().rev() {
            self.waiting.push_front(task);
        }
    }

    /// Sends a batch and waits for what came of it, while others gather.
    async fn commit(
        &mut self,
        batch: &Tasks,
        put_back: Option<&(Sealed, i64)>,
        unknown: bool,
    ) -> Result<Vec<Outcome>, Fault> {
        let Some(line) = self.line.take() else {
            return Err(Fault::Lost("there is no connection".into()));
        };
        let connector = self.connector.clone();
        let mishap = self.options.mishap.as_ref().and_then(|mishap| mishap());
        let asking = async {
            match mishap {
                Some(Mishap::LostBefore) => return Err(Fault::Lost("a test says so".into())),
                Some(Mishap::Aborted) => {
                    let aborting = "DO $$ BEGIN RAISE EXCEPTION 'a test says so' USING ERRCODE = '40001'; END $$";
                    line.client.batch_execute(aborting).await?;
                }
                Some(Mishap::LostAfter) | None => {}
            }
            let changes = batch.iter().map(|task| task.change());
            let put_back = put_back.map(|(sealed, before)| (sealed, *before));
            let unconfirmed = connector.unconfirmed();
            let asked = Batch::of(changes, put_back);
            let outcomes = line.statements.commit(&line.client, &asked).await?;
            if mishap == Some(Mishap::LostAfter) {
                return Err(Fault::Lost("a test says so".into()));
            }
            let changes = batch.iter().map(|task| task.change());
            let may_be = unknown && outcomes.iter().zip(changes).any(may_be_done);
            if may_be || outcomes.contains(&Outcome::DoneBefore) {
                // It wrote nothing, so it waited for no standby. This does, for all that was committed before it. Of what was
                // done before it is not known for sure whether it was sent in this round or in one before.
                let confirming = "SELECT pg_logical_emit_message(true, 'countersign', '')";
                line.client.batch_execute(confirming).await?;
            }
            if connector.unconfirmed() != unconfirmed {
                return Err(Fault::Lost("a commit may not be on the standby".into()));
            }
            Ok(outcomes)
        };
        let asking = timeout(NO_ANSWER, asking);
        let asked = self.attend(batch, asking).await;
        let outcomes = asked.unwrap_or_else(|_| Err(Fault::Lost("there is no answer".into())));
        if !matches!(outcomes, Err(Fault::Lost(_))) {
            self.line = Some(line);
        }
        outcomes
    }

    /// Tells everybody what came of it; who must be decided again is, and waits for the next batch.
    async fn settle(&mut self, batch: Tasks, mut outcomes: Vec<Outcome>, unknown: bool) {
        self.find_again(&batch, &mut outcomes, unknown).await;
        let now = self.names_of(&batch, &outcomes).await;
        let mut again = VecDeque::new();
        let mut known = HashMap::new();
        for (mut task, outcome) in batch.into_iter().zip(outcomes) {
            if let (Outcome::Done(Some(first)), Some(last)) =
                (outcome, task.change().entries.last())
            {
                let size = first + task.change().entries.len() as u64;
                self.connector.saw(size, last.leaf_hash);
            }
            known.extend(told_by(task.change(), outcome));
            let next = match (outcome, &now) {
                (Outcome::NamesChanged, Ok(now)) => task.names_changed(now),
                (Outcome::NamesChanged, Err(why)) => {
                    task.fail(why);
                    Next::Finished
                }
                _ => task.settle(outcome),
            };
            if next == Next::Again {
                again.push_back(task);
            }
        }
        if !again.is_empty() {
            self.options.metrics.decided_again(again.len());
        }
        self.queue.take(&mut self.waiting);
        self.waiting.retain_mut(|task| {
            let told = task.change().key().and_then(|key| known.get(key));
            told.is_none_or(|told| task.hear(*told) == Next::Again)
        });
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    /// Looks for those of a batch of which it is not known for sure whether they were done, and notes where they are.
    async fn find_again(&mut self, batch: &Tasks, outcomes: &mut [Outcome], unknown: bool) {
        let seen = self.connector.seen_size();
        for (task, outcome) in batch.iter().zip(outcomes) {
            let done = *outcome == Outcome::DoneBefore;
            let doubtful = done || unknown && may_be_done((outcome, task.change()));
            if !doubtful {
                continue;
            }
            let looking = async |client: &Client| look_up::entry(client, task.change(), seen).await;
            match self.ask(batch, looking).await {
                Ok(None) if !done => {}
                Ok(entry) => *outcome = Outcome::Done(entry),
                Err(why) => task.fail(&why),
            }
        }
    }

    /// What is remembered of the names of those who were decided with something else.
    async fn names_of(
        &mut self,
        batch: &Tasks,
        outcomes: &[Outcome],
    ) -> Result<Versions, StoreUnavailable> {
        let changed = batch.iter().zip(outcomes);
        let changed = changed.filter(|(_, outcome)| **outcome == Outcome::NamesChanged);
        let pins = changed.flat_map(|(task, _)| &task.change().pins);
        let mut ids: Vec<[u8; 32]> = pins.map(|pin| pin.id).collect();
        if ids.is_empty() {
            return Ok(Versions::new());
        }
        ids.sort_unstable();
        ids.dedup();
        self.ask(batch, async |client: &Client| {
            look_up::names(client, &ids).await
        })
        .await
    }

    /// Asks something on the connection for commits, while nobody is let wait too long.
    async fn ask<T>(
        &mut self,
        batch: &Tasks,
        question: impl AsyncFnOnce(&Client) -> Result<T, Fault>,
    ) -> Result<T, StoreUnavailable> {
        let Some(line) = self.line.take() else {
            return Err(StoreUnavailable("there is no connection".into()));
        };
        let asking = timeout(PATIENCE, question(&line.client));
        let found = self.attend(batch, asking).await;
        let found = found.unwrap_or_else(|_| Err(Fault::Lost("there is no answer".into())));
        if found.is_ok() {
            self.line = Some(line);
        }
        found.map_err(StoreUnavailable::from)
    }

    /// Whether there is a connection; one is made if need be. While none can be made, everybody is told so at once.
    async fn has_line(&mut self, batch: &Tasks) -> bool {
        loop {
            if let Some(line) = &self.line
                && !line.client.is_closed()
            {
                return true;
            }
            self.line = None;
            let connector = self.connector.clone();
            let making = async move { Line::made(&connector).await };
            match self.attend(batch, making).await {
                Ok(line) => {
                    self.line = Some(line);
                    self.status.up();
                    return true;
                }
                Err(fault) => {
                    self.options.metrics.failed(fault.kind());
                    self.status.down(&StoreUnavailable::from(fault).0);
                    self.fail_all(batch);
                    if self.queue.is_closed() {
                        return false;
                    }
                    self.attend(batch, sleep(TRY_AGAIN)).await;
                    self.fail_all(batch);
                }
            }
        }
    }

    /// Tells everybody who waits that the store cannot be used.
    fn fail_all(&mut self, batch: &Tasks) {
        let why = self.status.usable().err();
        let why = why.unwrap_or_else(|| StoreUnavailable("the database does not answer".into()));
        self.queue.take(&mut self.waiting);
        for task in batch.iter().chain(&self.waiting) {
            task.fail(&why);
        }
        self.waiting.clear();
        self.alone = 0;
        self.options.metrics.waiting(0);
    }

    /// Waits for `something`, and meanwhile tells who has waited too long.
    async fn attend<T>(&mut self, batch: &Tasks, something: impl Future<Output = T>) -> T {
        let mut something = std::pin::pin!(something);
        let mut tick = interval_at(self.look, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                done = &mut something => return done,
                // What it answers is when it was due, which may be long ago.
                _ = tick.tick() => self.expire(batch, Instant::now()),
            }
        }
    }

    fn expire(&mut self, batch: &Tasks, now: Instant) {
        self.look = now + TICK;
        self.queue.take(&mut self.waiting);
        let all = batch.len() + self.waiting.len();
        self.options.metrics.waiting(all);
        let why = StoreUnavailable("the database has not answered in time".into());
        let patience = self.options.commits();
        let mut late = 0;
        for task in batch.iter().chain(&self.waiting) {
            let since = task.waits_since();
            if since.is_some_and(|since| now.into_std().duration_since(since) >= patience) {
                task.fail(&why);
                self.options.metrics.failed(StoreFault::TooSlow);
                late += 1;
            }
        }
        if late > 0 {
            // Who comes now would wait in vain too.
            self.status.down(&why.0);
        }
    }
}

/// Whether what was answered to a change that is sent again may come of its being done, and of what others did since: they used
/// the token too, or it changed names itself. The log tells.
fn may_be_done((outcome, change): (&Outcome, &Change)) -> bool {
    match (outcome, change.deed) {
        (Outcome::DoneBefore | Outcome::NamesChanged, _) => true,
        (Outcome::Used(uses), Deed::Spend { before, .. }) => *uses > before.saturating_add(1),
        _ => false,
    }
}

/// What the outcome of a job says to others with its key.
fn told_by(change: &Change, outcome: Outcome) -> Option<([u8; 32], Outcome)> {
    let told = match (change.deed, outcome) {
        (Deed::Spend { before, .. }, Outcome::Done(_)) => Outcome::Used(before + 1),
        (Deed::Deny { .. }, Outcome::Done(_)) => Outcome::OnRecord(change.id),
        (_, Outcome::Used(_) | Outcome::OnRecord(_)) => outcome,
        _ => return None,
    };
    Some((*change.key()?, told))
}

/// What to do about a batch that the server refused.
enum Fate {
    /// The same again: it was in the way of others, or somebody ended it.
    Again,
    /// This server takes no commits.
    Elsewhere,
    /// One of the changes is one that the server does not take.
    Nothing,
}

fn fate(fault: &Fault) -> Fate {
    let Fault::Said(error) = fault else {
        return Fate::Nothing;
    };
    let code = error.code().map_or("", SqlState::code);
    let again = [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE];
    if again.iter().any(|state| state.code() == code) || code.starts_with("40") {
        return Fate::Again;
    }
    let is_read_only = code == SqlState::READ_ONLY_SQL_TRANSACTION.code();
    // It has no room, no memory, no disk, no tables, or not the method by which values are packed.
    let cannot = ["53", "58", "XX", "42", "3F", "0A"]
        .iter()
        .any(|class| code.starts_with(class));
    if is_read_only || cannot {
        Fate::Elsewhere
    } else {
        Fate::Nothing
    }
}

/// The latest time in the log, if the server refused a batch because an entry is too far behind it.
pub(super) fn latest(fault: &Fault) -> Option<i64> {
    let Fault::Said(error) = fault else {
        return None;
    };
    let said = error
        .as_db_error()
        .filter(|said| said.code().code() == "CS001");
    said?.detail()?.parse().ok()
}

/// An entry that says that the clock was put back behind `latest`, as the batch finds it, and that time.
fn said(batch: &Tasks, latest: i64) -> Option<(Sealed, i64)> {
    let entries = batch.iter().flat_map(|task| &task.change().entries);
    let at = entries.map(|sealed| sealed.marks.at_millis).min()?;
    put_back(at, latest)
}

/// An entry of the time `at` that says that the clock was put back behind `latest`, and that time.
pub(super) fn put_back(at: i64, latest: i64) -> Option<(Sealed, i64)> {
    let what = Happening::ClockPutBack {
        before_millis: latest,
    };
    let sealed = Sealed::of_event(Event::new(what, UnixTime::from_millis(at)));
    match sealed {
        Ok(sealed) => Some((sealed, latest)),
        Err(error) => {
            tracing::error!(%error, "it cannot be said that the clock was put back");
            None
        }
    }
}
