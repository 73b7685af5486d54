//! What one store goes through.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::child::{Order, Report, Stop, empty};
use crate::group::Fault;
use crate::machine;
use crate::stores::StoreName;

/// How many call at once while a store is filled, so that its batches are large.
const FILLERS: usize = 512;

/// How many exchanges are looked for after a store is opened again.
const LOOKED_FOR: u64 = 1000;

/// How long a process is let to work that is killed before.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// One store, and what was found of it so far.
pub struct Trial {
    /// Which one.
    pub name: StoreName,
    /// Where it lies.
    pub folder: PathBuf,
    /// How many records it holds when it is full.
    pub records: u64,
    /// How many call at once in a round.
    pub callers: usize,
    /// How long a round takes.
    pub round: Duration,
    /// What was found.
    pub found: Found,
}

/// What was found of a store.
#[derive(Default)]
pub struct Found {
    /// The rounds that began with an empty store.
    pub empty: Vec<Report>,
    /// How it was filled.
    pub fill: Option<Report>,
    /// How many octets of the disk each record took then.
    pub octets_each: Option<u64>,
    /// The rounds on the full store, each after it was closed and opened again.
    pub full: Vec<Report>,
    /// The opening after its process was killed.
    pub killed: Option<Report>,
}

impl Trial {
    /// A round on a store without records. A sample of them is looked for in another process.
    pub fn empty_round(&mut self) -> Result<(), Fault> {
        empty(&self.folder)?;
        let report = self.order(0, Stop::In(self.round)).run()?;
        self.say("empty", &report);
        if self.name.keeps() {
            let mut order = self.order(report.next, Stop::After(0));
            order.on_record = sample(report.next);
            order.run()?;
        }
        self.found.empty.push(report);
        empty(&self.folder)
    }

    /// Fills the store.
    pub fn fill(&mut self) -> Result<(), Fault> {
        if !self.name.keeps() {
            return Ok(());
        }
        let mut order = self.order(0, Stop::After(self.records.saturating_sub(1)));
        order.callers = FILLERS;
        let report = order.run()?;
        self.say("filled", &report);
        self.found.octets_each = Some(machine::on_disk(&self.folder)? / self.records.max(1));
        self.found.fill = Some(report);
        Ok(())
    }

    /// A round on the full store, after it was opened again.
    pub fn full_round(&mut self) -> Result<(), Fault> {
        let Some(first) = self.next() else {
            return Ok(());
        };
        let mut order = self.order(first, Stop::In(self.round));
        order.on_record = sample(first);
        order.look = true;
        let report = order.run()?;
        self.say("full", &report);
        self.found.full.push(report);
        Ok(())
    }

    /// Kills the process that has the store open under load, and looks in another one for everything that it had
    /// acknowledged.
    pub fn kill(&mut self) -> Result<(), Fault> {
        let Some(first) = self.next() else {
            return Ok(());
        };
        let mut order = self.order(first, Stop::In(NEVER));
        order.tell = true;
        let mut child = order.begin()?;
        let mut acknowledged = Vec::new();
        let mut began = None;
        for line in BufReader::new(child.stdout.take().ok_or("no output")?).lines() {
            acknowledged.push(line?.parse()?);
            if began.get_or_insert_with(Instant::now).elapsed() > self.round {
                // What was written before it dies is still read.
                child.kill()?;
            }
        }
        child.wait()?;
        // What was under way when it died may be spent or not: those are left alone.
        let last = acknowledged.iter().max().copied().unwrap_or(first);
        let mut order = self.order(last + 2 * self.callers as u64, Stop::After(0));
        order.on_record = acknowledged;
        order.on_record.extend(sample(first));
        let report = order.run()?;
        self.say("killed", &report);
        self.found.killed = Some(report);
        empty(&self.folder)
    }

    fn order(&self, first: u64, stop: Stop) -> Order {
        Order {
            store: self.name,
            folder: self.folder.clone(),
            on_record: Vec::new(),
            callers: self.callers,
            first,
            stop,
            tell: false,
            look: false,
        }
    }

    /// The first exchange that is new to the full store.
    fn next(&self) -> Option<u64> {
        let last = self.found.full.last().or(self.found.fill.as_ref());
        last.map(|report| report.next)
    }

    fn say(&self, what: &str, report: &Report) {
        eprintln!("{} {what}: {report:?}", self.name.as_str());
    }
}

/// About a thousand of the exchanges below `end`.
fn sample(end: u64) -> Vec<u64> {
    let step = usize::try_from(end.div_ceil(LOOKED_FOR)).unwrap_or(usize::MAX);
    (0..end).step_by(step.max(1)).collect()
}
