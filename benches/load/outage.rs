//! Issuers that are down, and names of keys that nobody has.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Options;
use crate::drive::tokens::{PROJECT, form};
use crate::house::House;
use crate::measure::goal;
use crate::slices;
use crate::target::{Target, table};
use crate::wrk::{Load, What};

/// How slow the issuer is.
const SLOW: Duration = Duration::from_millis(200);

/// After the keys of an issuer came, it is not asked again for this long, and a second more.
const SPARED: Duration = Duration::from_secs(61);

/// How many connections ask for unknown keys.
const ASKING: usize = 64;

/// How many names of keys are made up. At the end of them they come again.
const NAMES: usize = 50_000;

/// Every issuer down beside all of them up. Their keys are known.
pub fn issuers_down(options: Options) {
    let house = House::open();
    let count = house.enough(options);
    let mut targets = [
        Target::new("issuers up", house.service("up"), true),
        Target::new("issuers down", house.service("down"), true),
    ];
    let lines = house.place("lines");
    for round in 1..=options.rounds {
        house.sign_round(&lines, round, options, count);
        for (target, down) in targets.iter_mut().zip([false, true]) {
            house.issuer.down(down);
            target.measure(&lines, options);
        }
    }
    println!("Every issuer down beside all of them up, with known keys.\n");
    table(&targets);
    let ratio = targets[1].rate() / targets[0].rate();
    let [_, down] = targets;
    assert!(down.running.stop().success());
    let (_again, took) = house.first_exchange(&house.place("down"), PROJECT);
    println!(
        "\nA restart while the issuers are down: first exchange after {:.2} s, with the keys that were kept.\n",
        took.as_secs_f64()
    );
    goal("exchanges/s while issuers are down ÷ up", ratio, 0.9, true);
}

/// Names of keys that nobody has, beside jobs with known keys.
pub fn unknown_keys(options: Options) {
    let house = House::open();
    let count = house.enough(options);
    let mut targets = [
        Target::new("alone", house.service("alone"), true),
        Target::new("beside unknown keys", house.service("beside"), true),
    ];
    let unknown = house.place("unknown");
    let signer = &house.issuer.signer;
    let token = signer.token();
    let names = slices::made(NAMES, || signer.of_unknown_key(&token));
    slices::lines(&unknown, names.iter().map(|token| form(token, PROJECT)));
    house.issuer.delay(SLOW);
    eprintln!("waiting until the issuer may be asked again");
    std::thread::sleep(SPARED);
    let (before, began) = (house.issuer.asked_for_keys(), Instant::now());
    let mut refused = 0.0;
    let lines = house.place("lines");
    for round in 1..=options.rounds {
        house.sign_round(&lines, round, options, count);
        targets[0].measure(&lines, options);
        let base = targets[1].running.base.clone();
        let flood = Load {
            base: &base,
            what: What::Again(&unknown),
            connections: ASKING,
            seconds: options.seconds,
        };
        refused += beside(&mut targets[1], &flood, &lines, options);
    }
    let fetches = house.issuer.asked_for_keys() - before;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!(
        "{ASKING} connections with unknown names of keys beside jobs with known ones; the issuer answers after {} ms.\n",
        SLOW.as_millis()
    );
    table(&targets);
    println!(
        "\n{refused:.0} unknown names in {minutes:.1} minutes; the issuer was asked for its keys {fetches} times.\n"
    );
    goal(
        "fetches of keys a minute begun",
        fetches as f64 / minutes.ceil(),
        1.0,
        false,
    );
    goal(
        "p99 of known keys ÷ alone",
        targets[1].p99() / targets[0].p99(),
        3.0,
        false,
    );
}

/// How much earlier than the legitimate load a flood begins, and how much later it ends, in seconds.
const MARGIN: u64 = 1;

/// Measures `target` while `flood` comes beside it; answers how many requests the flood had. Its share of the processor
/// time is not told apart: it stands with the legitimate exchanges.
pub fn beside(target: &mut Target, flood: &Load, lines: &Path, options: Options) -> f64 {
    let flood = Load {
        seconds: flood.seconds + 2 * MARGIN,
        ..*flood
    };
    let flood = flood.start();
    std::thread::sleep(Duration::from_secs(MARGIN));
    target.measure(lines, options);
    flood.ended().requests
}
