//! What does not grow with what is kept: many projects beside few, a full ledger beside an empty one.

use std::fmt::Write as _;
use std::path::Path;

use crate::Options;
use crate::drive::running::TRUSTED;
use crate::drive::tokens::PROJECT;
use crate::filling;
use crate::house::House;
use crate::measure::{goal, occupied, resident};
use crate::slices;
use crate::target::{Target, table};

/// Few projects.
const FEW: usize = 10;

/// Relationships of each project; one of them trusts the job.
const RELATIONSHIPS: usize = 10;

/// Projects of each organization.
const TOGETHER: usize = 100;

pub fn run(options: Options, projects: usize, records: usize) {
    let house = House::open();
    let count = house.enough(options);
    many_projects(&house, options, projects, count);
    full_ledger(&house, options, records, count);
}

fn many_projects(house: &House, options: Options, projects: usize, count: usize) {
    let start = |name: &str, projects: usize| {
        let room = house.room(name);
        write_policies(&room, projects);
        let (running, first) = house.first_exchange(&room, &project(0));
        assert!(running.stop().success());
        let (running, again) = house.first_exchange(&room, &project(0));
        let said = format!(
            "{projects} projects: start to first exchange {:.2} s, {:.2} s when they are first seen and get their ids",
            again.as_secs_f64(),
            first.as_secs_f64()
        );
        (running, said)
    };
    let (few, few_started) = start("few", FEW);
    let (many, many_started) = start("many", projects);
    let idle = resident(many.pid());
    let mut targets = [
        Target::new("few projects", few, true),
        Target::new("many projects", many, true),
    ];
    let lines = house.place("lines");
    for round in 1..=options.rounds {
        eprintln!(
            "round {round} of {}: signing {count} tokens",
            options.rounds
        );
        let tokens = slices::tokens(&house.issuer, count);
        for (target, projects) in targets.iter_mut().zip([FEW, projects]) {
            // A stride that meets all of them, in no order that a cache would like.
            let stride = |number: usize| project(number.wrapping_mul(7919) % projects);
            slices::write(&lines, &tokens, stride);
            target.measure(&lines, options);
        }
    }
    println!("{FEW} projects beside {projects}, with {RELATIONSHIPS} relationships each.\n");
    table(&targets);
    println!("\n{few_started}.\n{many_started}; memory then {idle:.0} MiB.\n");
    let ratio = targets[1].rate() / targets[0].rate();
    goal("exchanges/s with many projects ÷ few", ratio, 0.95, true);
}

fn full_ledger(house: &House, options: Options, records: usize, count: usize) {
    let empty = house.service("empty");
    let room = house.room("full");
    let data = room.join("data");
    let filled = filling::fill(house, &data, records);
    let octets = occupied(&data) / records as f64;
    let (full, took) = house.first_exchange(&room, PROJECT);
    let idle = resident(full.pid());
    let mut targets = [
        Target::new("empty ledger", empty, true),
        Target::new("full ledger", full, true),
    ];
    let lines = house.place("lines");
    for round in 1..=options.rounds {
        house.sign_round(&lines, round, options, count);
        for target in &mut targets {
            target.measure(&lines, options);
        }
    }
    println!("\nAn empty ledger beside one with {records} records.\n");
    table(&targets);
    println!(
        "\nFilled with {filled:.0} records/s, {octets:.0} octets on disk a record; start to first exchange {:.2} s; memory \
        then {idle:.0} MiB.\n",
        took.as_secs_f64()
    );
    let ratio = targets[1].rate() / targets[0].rate();
    goal("exchanges/s with a full ledger ÷ empty", ratio, 0.85, true);
    goal(
        "start with a full ledger, s",
        took.as_secs_f64(),
        2.0,
        false,
    );
}

fn project(number: usize) -> String {
    format!("organization-{}/project-{number}", number / TOGETHER)
}

fn write_policies(room: &Path, projects: usize) {
    for number in 0..projects {
        let mut text = String::from(TRUSTED);
        for other in 1..RELATIONSHIPS {
            let id = number * RELATIONSHIPS + other;
            write!(
                text,
                "\n[[trust]]\nname = \"release {other}\"\nissuer = \"github\"\nowner = \"another\"\nowner-id = \"{}\"\n\
                repository = \"another-{other}\"\nrepository-id = \"{id}\"\nscopes = [\"read\"]\n\n\
                [trust.claims]\nref = {{ glob = \"refs/tags/v{other}.*\" }}\nevent_name = [\"push\", \"release\"]\n",
                number / TOGETHER
            )
            .unwrap();
        }
        let file = room.join(format!("trust-policies/{}.toml", project(number)));
        if number % TOGETHER == 0 {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        std::fs::write(file, text).unwrap();
    }
}
