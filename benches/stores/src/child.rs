//! One opening of one store, in a process of its own: what it was told to do, and what it found.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign::ledger::{AuditLog, Ledger, Spent};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::group::Fault;
use crate::stores::{Opened, StoreName};
use crate::work::{Records, decision_id, spend};
use crate::{look, machine};

/// How many threads call. The product has one for each processor; this is what the machine of its tables has.
const THREADS: usize = 2;

/// How many of the spends that were just made are tried once more.
const TRIED_AGAIN: u64 = 1000;

/// What a process does with a store: it opens it, looks whether what must be there is there, spends, tries some of that
/// again, and closes it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Which one.
    pub store: StoreName,
    /// Where it lies.
    pub folder: PathBuf,
    /// The exchanges that must be on record.
    pub on_record: Vec<u64>,
    /// How many call at once, each again as soon as it is answered.
    pub callers: usize,
    /// The first exchange that is new. Those after it are new too.
    pub first: u64,
    /// When they stop.
    pub stop: Stop,
    /// Whether each exchange is told on standard output, a line each, as soon as it is acknowledged.
    pub tell: bool,
    /// Whether the log is asked questions at the end.
    pub look: bool,
}

/// When callers stop.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Stop {
    /// After so many exchanges.
    After(u64),
    /// After so long.
    In(Duration),
}

/// What a process found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// How long it took to open the store and to have a first spend on disk.
    pub start: Duration,
    /// How many spends the callers made.
    pub spends: u64,
    /// In how long.
    pub elapsed: Duration,
    /// The time that the process computed meanwhile.
    pub cpu: Duration,
    /// What half of the callers waited at most.
    pub median: Duration,
    /// What 99 of 100 callers waited at most.
    pub p99: Duration,
    /// The longest that one waited.
    pub longest: Duration,
    /// The memory that the process then held, in octets.
    pub resident: u64,
    /// How long it took to close the store.
    pub close: Duration,
    /// The first exchange that is still new.
    pub next: u64,
    /// How long each question took that the log was asked.
    pub looks: Vec<(String, Duration)>,
}

impl Order {
    /// Has this program carry the order out in a process of its own.
    pub fn begin(&self) -> Result<Child, Fault> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--child")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&serde_json::to_vec(self)?)?;
        }
        Ok(child)
    }

    /// The same, and waits for its report.
    pub fn run(&self) -> Result<Report, Fault> {
        let output = self.begin()?.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("{} stopped with {}", self.store.as_str(), output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Carries out the order that stands on standard input, and prints the report.
pub fn obey() -> Result<(), Fault> {
    let order: Order = serde_json::from_reader(std::io::stdin())?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .build()?;
    let began = Instant::now();
    let store = order.store.open(&order.folder)?;
    let callers = Arc::new(Callers::new(store, &order)?);
    callers.clone().call_all(&runtime, 1, Stop::After(1))?;
    let start = began.elapsed();
    runtime.block_on(callers.find(&order.on_record))?;

    let (cpu, began) = (machine::cpu(), Instant::now());
    let mut waits = callers
        .clone()
        .call_all(&runtime, order.callers, order.stop)?;
    let (elapsed, cpu) = (began.elapsed(), machine::cpu().saturating_sub(cpu));
    let resident = machine::resident()?;

    waits.sort_unstable();
    let next = callers.next.load(Ordering::Relaxed);
    let step = usize::try_from((next - order.first).div_ceil(TRIED_AGAIN))?;
    let tried_again: Vec<_> = (order.first..next).step_by(step.max(1)).collect();
    runtime.block_on(callers.try_again(&tried_again))?;
    let looks = match (&callers.log, order.look) {
        (Some(log), true) => runtime.block_on(look::at(&**log, order.first))?,
        _ => Vec::new(),
    };
    let began = Instant::now();
    drop(callers);
    let report = Report {
        start,
        spends: waits.len() as u64,
        elapsed,
        cpu,
        median: share(&waits, 50),
        p99: share(&waits, 99),
        longest: share(&waits, 100),
        resident,
        close: began.elapsed(),
        next,
        looks,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// The longest of the shortest `percent` of `waits`, which are sorted.
fn share(waits: &[Duration], percent: usize) -> Duration {
    let index = (waits.len() * percent).div_ceil(100).saturating_sub(1);
    waits.get(index).copied().unwrap_or_default()
}

/// Those who call.
struct Callers {
    store: Arc<dyn Ledger>,
    log: Option<Arc<dyn AuditLog>>,
    records: Records,
    next: AtomicU64,
    tell: bool,
}

impl Callers {
    fn new((store, log): Opened, order: &Order) -> Result<Self, Fault> {
        Ok(Self {
            store,
            log,
            records: Records::new()?,
            next: AtomicU64::new(order.first),
            tell: order.tell,
        })
    }

    /// Lets `number` of them spend until it is time to stop. Answers how long each spend took.
    fn call_all(
        self: Arc<Self>,
        runtime: &Runtime,
        number: usize,
        stop: Stop,
    ) -> Result<Vec<Duration>, Fault> {
        let (end, until) = match stop {
            Stop::After(count) => (self.next.load(Ordering::Relaxed) + count, None),
            Stop::In(span) => (u64::MAX, Some(Instant::now() + span)),
        };
        let call = |_| runtime.spawn(self.clone().call(end, until));
        let callers: Vec<_> = (0..number).map(call).collect();
        let mut waits = Vec::new();
        for caller in callers {
            waits.extend(runtime.block_on(caller)??);
        }
        Ok(waits)
    }

    /// Spends new tokens, one after the other.
    async fn call(
        self: Arc<Self>,
        end: u64,
        until: Option<Instant>,
    ) -> Result<Vec<Duration>, Fault> {
        let mut waits = Vec::new();
        while until.is_none_or(|until| Instant::now() < until) {
            let new = |next| (next < end).then_some(next + 1);
            let taken = self
                .next
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, new);
            let Ok(number) = taken else { break };
            let record = self.records.record(number);
            let began = Instant::now();
            let spent = self.store.spend(spend(number), record).await?;
            waits.push(began.elapsed());
            if spent.number() != Some(1) {
                return Err(
                    format!("the first use of token {number} was answered {spent:?}").into(),
                );
            }
            if self.tell {
                writeln!(std::io::stdout(), "{number}")?;
            }
        }
        Ok(waits)
    }

    /// Fails unless the exchanges `numbers` are spent and on record.
    async fn find(&self, numbers: &[u64]) -> Result<(), Fault> {
        self.try_again(numbers).await?;
        for number in numbers {
            let record = self.store.decision(decision_id(*number)).await?;
            let mut expected = self.records.record(*number);
            expected.use_number = Some(1);
            let found = record.map(|mut record| {
                // What the leaf does not hold is back in its place.
                record.withheld.clear();
                serde_json::to_string(&record)
            });
            if found.transpose()? != Some(serde_json::to_string(&expected)?) {
                return Err(format!("the record of exchange {number} is lost").into());
            }
        }
        Ok(())
    }

    /// Spends tokens that were spent. Fails if one of them succeeds.
    async fn try_again(&self, numbers: &[u64]) -> Result<(), Fault> {
        for number in numbers {
            let record = self.records.record(*number);
            let spent = self.store.spend(spend(*number), record).await?;
            if spent != Spent::Exhausted {
                return Err(format!("token {number} was spent twice: {spent:?}").into());
            }
        }
        Ok(())
    }
}

/// Makes `folder` anew, empty.
pub fn empty(folder: &Path) -> Result<(), Fault> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(std::fs::create_dir_all(folder)?)
}
