//! One writer for every database: it takes all spends that wait, has them committed as one, and wakes everybody.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use countersign::audit::{DecisionId, Event, Record};
use countersign::clock::UnixTime;
use countersign::ledger::{
    Denial, DenialKey, Ledger, RememberedNames, Spend, Spent, StoreUnavailable, Unrecorded,
};
use countersign::trust::{NameState, Names};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::oneshot;

/// Whatever went wrong. A comparison only says it and stops.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A database that commits many spends as one.
pub trait Batch: Send + 'static {
    /// Spends all of `work`, in order, and puts the records of those that succeed beside them. When this answers, all
    /// of it is on disk; if the process or the machine stops before, all of it or nothing is.
    fn spend_all(&mut self, work: &mut [(Spend, Record)]) -> Result<Vec<Spent>, Fault>;

    /// The JSON of a record.
    fn record(&mut self, id: DecisionId) -> Result<Option<Vec<u8>>, Fault>;
}

/// How often a token was used, and until when that is remembered, in milliseconds.
pub type Uses = (u32, u64);

/// What one spend that succeeds writes: the same for every database.
pub struct Entry {
    /// The key of the spent token.
    pub key: [u8; 32],
    /// What is kept under it. Also found by its time, so that it can be forgotten.
    pub uses: Uses,
    /// The name of the record.
    pub id: [u8; 16],
    /// The record.
    pub json: Vec<u8>,
}

/// Decides `work`, where `stored` says how often a token was used before, and what is to be written for it.
pub fn decide(
    work: &mut [(Spend, Record)],
    mut stored: impl FnMut(&[u8; 32]) -> Result<Option<u32>, Fault>,
) -> Result<(Vec<Spent>, Vec<Entry>), Fault> {
    let mut answers = Vec::with_capacity(work.len());
    let mut entries = Vec::with_capacity(work.len());
    let mut counted = HashMap::with_capacity(work.len());
    for (spend, record) in work {
        let key = *spend.key.as_bytes();
        let before = match counted.get(&key) {
            Some(number) => *number,
            None => stored(&key)?.unwrap_or(0),
        };
        if before >= spend.max_uses {
            answers.push(Spent::Exhausted);
            continue;
        }
        let number = before + 1;
        counted.insert(key, number);
        record.use_number = Some(number);
        // The others keep no log that would number it.
        answers.push(Spent::Nth { number, index: 0 });
        entries.push(Entry {
            key,
            uses: (number, u64::try_from(spend.until.millis())?),
            id: *record.decision_id.as_bytes(),
            json: serde_json::to_vec(record)?,
        });
    }
    Ok((answers, entries))
}

type Answer<T> = oneshot::Sender<Result<T, StoreUnavailable>>;

enum Job {
    Spend(Box<(Spend, Record)>, Answer<Spent>),
    Decision(DecisionId, Answer<Option<Record>>),
    Check(Answer<()>),
}

/// A database behind the product's promise. It closes when it is dropped.
pub struct GroupCommit {
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl GroupCommit {
    /// Starts the writer.
    pub fn over(database: impl Batch) -> Result<Self, Fault> {
        let (jobs, waiting) = channel();
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || serve(database, &waiting))?;
        Ok(Self {
            jobs: Some(jobs),
            writer: Some(writer),
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(Answer<T>) -> Job + Send,
    ) -> BoxFuture<'_, Result<T, StoreUnavailable>> {
        let stopped = || StoreUnavailable("the writer has stopped".into());
        let (answer, arrives) = oneshot::channel();
        let jobs = self.jobs.as_ref().map(|jobs| jobs.send(job(answer)));
        async move {
            match jobs {
                Some(Ok(())) => arrives.await.unwrap_or_else(|_| Err(stopped())),
                _ => Err(stopped()),
            }
        }
        .boxed()
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Serves until nobody can ask any more. While one batch is synced the next one gathers.
fn serve(mut database: impl Batch, waiting: &Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let mut spends = Vec::new();
        let mut spenders = Vec::new();
        let mut others = Vec::new();
        for job in std::iter::once(first).chain(waiting.try_iter()) {
            match job {
                Job::Spend(spend, answer) => {
                    spends.push(*spend);
                    spenders.push(answer);
                }
                other => others.push(other),
            }
        }
        if !spends.is_empty() {
            answer_spends(database.spend_all(&mut spends), spenders);
        }
        for other in others {
            answer_other(&mut database, other);
        }
    }
}

fn answer_spends(spent: Result<Vec<Spent>, Fault>, spenders: Vec<Answer<Spent>>) {
    match spent {
        Ok(spent) => {
            for (spent, spender) in spent.into_iter().zip(spenders) {
                let _ = spender.send(Ok(spent));
            }
        }
        Err(fault) => {
            for spender in spenders {
                let _ = spender.send(Err(unavailable(&fault)));
            }
        }
    }
}

fn answer_other(database: &mut impl Batch, job: Job) {
    match job {
        Job::Decision(id, answer) => {
            let parse = |json: Vec<u8>| Ok(serde_json::from_slice(&json)?);
            let found = database.record(id);
            let found = found.and_then(|json| json.map(parse).transpose());
            let _ = answer.send(found.map_err(|fault| unavailable(&fault)));
        }
        Job::Check(answer) => {
            let _ = answer.send(Ok(()));
        }
        Job::Spend(..) => {}
    }
}

fn unavailable(fault: &Fault) -> StoreUnavailable {
    StoreUnavailable(fault.to_string())
}

/// The answer of every promise that the comparison does not ask for.
fn not_compared<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreUnavailable>> {
    ready(Err(StoreUnavailable("not part of this comparison".into()))).boxed()
}

impl Ledger for GroupCommit {
    fn spend(
        &self,
        spend: Spend,
        record: Record,
    ) -> BoxFuture<'_, Result<Spent, StoreUnavailable>> {
        self.ask(move |answer| Job::Spend(Box::new((spend, record)), answer))
    }

    fn decision(&self, id: DecisionId) -> BoxFuture<'_, Result<Option<Record>, StoreUnavailable>> {
        self.ask(move |answer| Job::Decision(id, answer))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        self.ask(Job::Check)
    }

    fn record_denial(&self, _: Denial) -> BoxFuture<'_, Result<DecisionId, StoreUnavailable>> {
        not_compared()
    }

    fn denial_on_record(
        &self,
        _: DenialKey,
    ) -> BoxFuture<'_, Result<Option<DecisionId>, StoreUnavailable>> {
        not_compared()
    }

    fn count_denial(&self, _: Unrecorded, _: UnixTime) {}

    fn name_states(
        &self,
        _: Vec<Names>,
    ) -> BoxFuture<'_, Result<HashMap<Names, NameState>, StoreUnavailable>> {
        not_compared()
    }

    fn pins(
        &self,
        _: Option<String>,
    ) -> BoxFuture<'_, Result<Vec<RememberedNames>, StoreUnavailable>> {
        not_compared()
    }

    fn reset_pin(
        &self,
        _: Names,
        _: String,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<Option<Event>, StoreUnavailable>> {
        not_compared()
    }
}
