//! A server that is measured again and again, in turn with others.

use std::path::Path;

use crate::Options;
use crate::drive::running::Running;
use crate::measure::{cpu_micros, median, peak, resident, spread};
use crate::wrk::{Load, Run, What};

/// The server, and what was found so far.
pub struct Target {
    pub name: &'static str,
    pub running: Running,
    /// Whether it keeps what was spent, so that it has to have fresh tokens.
    pub keeps: bool,
    runs: Vec<Run>,
    /// Microseconds of processor time for each exchange.
    cpu: Vec<f64>,
}

impl Target {
    pub fn new(name: &'static str, running: Running, keeps: bool) -> Self {
        Self {
            name,
            running,
            keeps,
            runs: Vec::new(),
            cpu: Vec::new(),
        }
    }

    /// The load of `lines` on this server.
    fn load<'a>(&'a self, lines: &'a Path, options: Options) -> Load<'a> {
        Load {
            base: &self.running.base,
            what: if self.keeps {
                What::Once(lines)
            } else {
                What::Again(lines)
            },
            connections: options.connections,
            seconds: options.seconds,
        }
    }

    /// One measurement.
    pub fn measure(&mut self, lines: &Path, options: Options) {
        let before = cpu_micros(self.running.pid());
        let run = self.load(lines, options).run();
        let cpu = cpu_micros(self.running.pid()) - before;
        eprintln!(
            "{}: {:.0}/s, p99 {:.2} ms, {:.0} errors{}",
            self.name,
            run.rate(),
            run.p99,
            run.errors(),
            if run.ran_out { ", TOO FEW TOKENS" } else { "" }
        );
        self.cpu.push(cpu / run.requests);
        self.runs.push(run);
    }

    pub fn rate(&self) -> f64 {
        self.median(Run::rate)
    }

    pub fn p99(&self) -> f64 {
        self.median(|run| run.p99)
    }

    pub fn cpu(&self) -> f64 {
        median(&self.cpu)
    }

    fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        median(&self.all(figure))
    }

    fn all(&self, figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.runs.iter().map(figure).collect()
    }
}

/// Prints a row a target, and ratios to the first one.
pub fn table(targets: &[Target]) {
    println!(
        "| target | exchanges/s | p50 ms | p99 ms | p99.9 ms | CPU µs each | memory MiB (most) | errors | ÷ {0}: rate | p99 | CPU |",
        targets[0].name
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let first = &targets[0];
    for target in targets {
        let pid = target.running.pid();
        println!(
            "| {} | {} | {:.2} | {} | {} | {} | {:.0} ({:.0}) | {:.0} | {:.2} | {:.2} | {:.2} |",
            target.name,
            spread(&target.all(Run::rate), 0),
            target.median(|run| run.p50),
            spread(&target.all(|run| run.p99), 2),
            spread(&target.all(|run| run.p999), 2),
            spread(&target.cpu, 1),
            resident(pid),
            peak(pid),
            target.all(Run::errors).iter().sum::<f64>(),
            target.rate() / first.rate(),
            target.p99() / first.p99(),
            target.cpu() / first.cpu(),
        );
        if target.runs.iter().any(|run| run.ran_out) {
            println!(
                "\n`{}` ran out of tokens: its figures mean nothing.\n",
                target.name
            );
        }
    }
}
