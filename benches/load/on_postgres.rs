//! The service on PostgreSQL beside a floor and beside itself with its embedded store, and two instances beside one.

use std::path::Path;

use crate::Options;
use crate::drive::running::Running;
use crate::house::House;
use crate::measure::{cpu_micros, goal, median, occupied, spread};
use crate::slices;
use crate::support::postgres::{Cluster, Server};
use crate::target::{Target, table};
use crate::wrk::{Load, Run, What};

/// What the documents tell operators to set; the rest is as Debian ships it. Commits are synced.
const SETTINGS: &str = "shared_buffers = 1GB\nmax_wal_size = 4GB\nwal_compression = off";

pub fn run(options: Options) {
    let house = House::open();
    let count = house.enough(options);
    let cluster = Cluster::new(SETTINGS);
    let server = cluster.start();
    let alone = cluster.database();
    let mut targets = [
        Target::new("floor", house.floor(), false),
        Target::new("embedded store", house.service("embedded"), true),
        Target::new("PostgreSQL", house.service_on("alone", &alone), true),
    ];
    let mut database = Database::new(&cluster, &server, &alone);
    let lines = house.place("lines");
    for round in 1..=options.rounds {
        house.sign_round(&lines, round, options, count);
        for target in &mut targets {
            if target.name == "PostgreSQL" {
                database.begin();
                target.measure(&lines, options);
                database.end();
            } else {
                target.measure(&lines, options);
            }
        }
    }
    println!(
        "{} rounds of {} s, {} connections, RS256 tokens of 2048 bits, each sent once to what keeps a ledger.\n",
        options.rounds, options.seconds, options.connections
    );
    table(&targets);
    database.tell();
    let (floor, ours) = (&targets[0], &targets[2]);
    goal(
        "exchanges/s ÷ floor",
        ours.rate() / floor.rate(),
        0.45,
        true,
    );
    drop(targets);

    let shared = cluster.database();
    let both = [
        house.service_on("one", &shared),
        house.service_on("two", &shared),
    ];
    let (mut one_alone, mut together) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let tokens = slices::tokens(&house.issuer, count * 2);
        eprintln!("two instances, round {round} of {}", options.rounds);
        let (first, second) = tokens.split_at(count);
        one_alone.push(ask(&house, &[&both[0]], &[first], options));
        let (left, right) = second.split_at(count / 2);
        together.push(ask(&house, &[&both[0], &both[1]], &[left, right], options));
    }
    println!("\n| instances on one database | exchanges/s |\n|---|--:|");
    println!("| one | {} |", spread(&one_alone, 0));
    println!("| two, on the same processors | {} |", spread(&together, 0));
    println!("\ntwo ÷ one: {:.2}", median(&together) / median(&one_alone));
}

/// Asks several instances at once, each with its own tokens and its share of the connections, and answers the rate of all.
fn ask(house: &House, instances: &[&Running], tokens: &[&[String]], options: Options) -> f64 {
    let files: Vec<_> = (0..tokens.len())
        .map(|number| house.place(&format!("lines.{number}")))
        .collect();
    for (file, tokens) in files.iter().zip(tokens) {
        slices::write(file, tokens, |_| crate::drive::tokens::PROJECT.to_owned());
    }
    let started: Vec<_> = instances
        .iter()
        .zip(&files)
        .map(|(running, file)| {
            load(
                running,
                file,
                options.connections / instances.len(),
                options.seconds,
            )
            .start()
        })
        .collect();
    let runs: Vec<Run> = started
        .into_iter()
        .map(crate::wrk::Started::ended)
        .collect();
    assert!(
        runs.iter().all(|run| run.errors() == 0.0 && !run.ran_out),
        "{runs:?}"
    );
    runs.iter().map(Run::rate).sum()
}

fn load<'a>(running: &'a Running, lines: &'a Path, connections: usize, seconds: u64) -> Load<'a> {
    Load {
        base: &running.base,
        what: What::Once(lines),
        connections,
        seconds,
    }
}

/// What exchanges cost in the database.
struct Database<'a> {
    cluster: &'a Cluster,
    server: &'a Server,
    name: String,
    before: Option<State>,
    /// Microseconds of processor time, octets of the write-ahead log, octets on the disk, and exchanges a batch.
    found: [Vec<f64>; 4],
}

struct State {
    cpu: f64,
    wal: f64,
    size: f64,
    entries: f64,
    batches: f64,
}

impl<'a> Database<'a> {
    fn new(cluster: &'a Cluster, server: &'a Server, url: &str) -> Self {
        let name = url.rsplit('/').next().unwrap_or_default().to_owned();
        Self {
            cluster,
            server,
            name,
            before: None,
            found: Default::default(),
        }
    }

    fn state(&self) -> State {
        let asked = "SELECT pg_current_wal_lsn() - '0/0', (SELECT size FROM countersign.log_head),
            (SELECT count(*) FROM countersign.log_batches), pg_database_size(current_database())";
        let told = self.cluster.sql(&self.name, asked);
        let told: Vec<f64> = told
            .split('|')
            .map(|number| number.parse().unwrap())
            .collect();
        let [wal, entries, batches, size] = told[..] else {
            panic!("{told:?}")
        };
        State {
            cpu: of_family(self.server.id()),
            wal,
            size,
            entries,
            batches,
        }
    }

    fn begin(&mut self) {
        self.before = Some(self.state());
    }

    fn end(&mut self) {
        let (before, after) = (self.before.take().unwrap(), self.state());
        let exchanges = after.entries - before.entries;
        let figures = [
            (after.cpu - before.cpu) / exchanges,
            (after.wal - before.wal) / exchanges,
            (after.size - before.size) / exchanges,
            exchanges / (after.batches - before.batches),
        ];
        for (all, figure) in self.found.iter_mut().zip(figures) {
            all.push(figure);
        }
    }

    fn tell(&self) {
        let [cpu, wal, size, batch] = &self.found;
        println!("\n| in the database, of each exchange | |\n|---|--:|");
        println!("| CPU µs of all its processes | {} |", spread(cpu, 1));
        println!("| octets of its write-ahead log | {} |", spread(wal, 0));
        println!("| octets on the disk | {} |", spread(size, 0));
        println!("| exchanges in a commit | {} |\n", spread(batch, 1));
        println!(
            "The folder of the server occupies {:.0} MiB at the end.\n",
            occupied(self.cluster.path()) / 1_048_576.0
        );
    }
}

/// The processor time of a process and of all its children, in microseconds. Those of the server end before us only if
/// they ended altogether, and then their parent has their time.
fn of_family(parent: u32) -> f64 {
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
    let all = std::iter::once(parent).chain(children);
    let running: f64 = all.map(cpu_micros).sum();
    running + crate::measure::cpu_of_ended_children(parent)
}
