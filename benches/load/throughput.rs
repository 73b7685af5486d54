//! The service beside a floor and beside itself without store.

use crate::Options;
use crate::drive::tokens::PROJECT;
use crate::house::House;
use crate::measure::{goal, median, resident};
use crate::reference::{self, Reference};
use crate::target::{Target, table};

/// How often the service is started to see how long that takes.
const STARTS: usize = 10;

pub fn run(options: Options) {
    let house = House::open();
    let (started, idle) = starts(&house);
    let count = house.enough(options);
    let mut targets = [
        Target::new("floor", house.floor(), false),
        Target::new("without store", house.storeless("storeless"), false),
        Target::new("countersign", house.service("ours"), true),
    ];
    let lines = house.place("lines");
    for round in 1..=options.rounds {
        house.sign_round(&lines, round, options, count);
        for target in &mut targets {
            target.measure(&lines, options);
        }
    }
    let costs = reference::measure(&targets[0].running, &lines, options);
    println!(
        "{} rounds of {} s, {} connections, RS256 tokens of 2048 bits, each sent once to what keeps a ledger.\n",
        options.rounds, options.seconds, options.connections
    );
    table(&targets);
    tell(&targets, &costs, started, idle);
}

/// The median time from a start to the first exchange in seconds, and the memory then held in MiB.
fn starts(house: &House) -> (f64, f64) {
    let room = house.room("starts");
    let (mut seconds, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (running, took) = house.first_exchange(&room, PROJECT);
        seconds.push(took.as_secs_f64());
        memory.push(resident(running.pid()));
        assert!(running.stop().success());
    }
    (median(&seconds), median(&memory))
}

fn tell(targets: &[Target; 3], costs: &Reference, started: f64, idle: f64) {
    let [floor, storeless, ours] = targets;
    println!("\n| cost of | CPU µs |\n|---|--:|");
    println!(
        "| checking an RSA-2048 signature with a held key | {:.1} |",
        costs.verify
    );
    println!("| signing with ES256 | {:.1} |", costs.sign);
    println!(
        "| a bare request of the same framework and size | {:.1} |",
        costs.bare
    );
    println!("| all three | {:.1} |\n", costs.sum());
    goal(
        "exchanges/s ÷ floor",
        ours.rate() / floor.rate(),
        0.45,
        true,
    );
    goal("p99 ÷ floor", ours.p99() / floor.p99(), 2.5, false);
    goal(
        "CPU without store ÷ (verify + sign + bare)",
        storeless.cpu() / costs.sum(),
        2.0,
        false,
    );
    goal(
        "CPU with store ÷ (verify + sign + bare)",
        ours.cpu() / costs.sum(),
        3.5,
        false,
    );
    goal("start to first exchange, s", started, 0.2, false);
    goal("memory when idle, MiB", idle, 100.0, false);
}
