//! Floods beside legitimate jobs, from the same address: hosted runners share addresses, so this is the harder case.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign::audit::{Facts, Filter, Outcome};
use countersign::clock::{Clock as _, FrozenClock, SystemClock, UnixTime};
use countersign::ledger::AuditLog as _;
use countersign::store::{EmbeddedStore, Options as StoreOptions};

use crate::Options;
use crate::drive::tokens::{PROJECT, form};
use crate::house::{House, exchange};
use crate::measure::{goal, occupied, resident};
use crate::outage::beside;
use crate::slices;
use crate::target::{Target, table};
use crate::wrk::{Load, What};

/// How many different requests a flood has. Then they come again.
const REQUESTS: usize = 30_000;

/// How many decisions are looked at together.
const PAGE: usize = 1000;

/// What a flood consists of.
const KINDS: [&str; 3] = ["garbage", "untrusted", "repeats"];

pub fn run(options: Options) {
    let house = House::open();
    let count = house.enough(options);
    let lines = house.place("lines");
    for kind in KINDS {
        let mut targets = [
            Target::new("alone", house.service(&format!("{kind}-alone")), true),
            Target::new("beside the flood", house.service(kind), true),
        ];
        let flood = write(&house, kind, &targets[1]);
        let base = targets[1].running.base.clone();
        let flood = Load {
            base: &base,
            what: What::Again(&flood),
            connections: options.connections,
            seconds: options.seconds,
        };
        let room = house.place(kind);
        let (memory, disk, began) = (
            resident(targets[1].running.pid()),
            occupied(&room.join("data")),
            SystemClock.now(),
        );
        let mut requests = 0.0;
        for round in 1..=options.rounds {
            house.sign_round(&lines, round, options, count);
            targets[0].measure(&lines, options);
            requests += beside(&mut targets[1], &flood, &lines, options);
        }
        let memory = (memory, resident(targets[1].running.pid()));
        println!(
            "\n{kind}: {requests:.0} requests on {} connections.\n",
            options.connections
        );
        table(&targets);
        let ratio = targets[1].rate() / targets[0].rate();
        let [_, beside] = targets;
        assert!(beside.running.stop().success());
        let disk = (disk, occupied(&room.join("data")));
        tell(&room, memory, disk, began);
        goal(
            "legitimate exchanges/s beside the flood ÷ alone",
            ratio,
            0.5,
            true,
        );
    }
}

/// Writes what the flood sends.
fn write(house: &House, kind: &str, target: &Target) -> PathBuf {
    let path = house.place(&format!("{kind}.lines"));
    let signer = &house.issuer.signer;
    let token = signer.token();
    let tokens = match kind {
        "garbage" => {
            let forged = slices::made(REQUESTS / 2, || signer.forged(&token));
            let noise = slices::made(REQUESTS / 2, || uuid::Uuid::new_v4().to_string().repeat(50));
            let pairs = forged.into_iter().zip(noise);
            pairs.flat_map(|(forged, noise)| [forged, noise]).collect()
        }
        "untrusted" => slices::made(REQUESTS, || signer.untrusted()),
        _ => {
            exchange(&target.running, &token, PROJECT);
            vec![token]
        }
    };
    slices::lines(&path, tokens.iter().map(|token| form(token, PROJECT)));
    path
}

/// What the flood left behind.
fn tell(room: &Path, memory: (f64, f64), disk: (f64, f64), began: UnixTime) {
    let (allowed, denied) = records(&room.join("data"), began);
    println!(
        "\nMemory {:.0} → {:.0} MiB; disk {:.1} → {:.1} MiB, {:.0} octets a legitimate exchange; records: {allowed} \
        allowed, {denied} denied.\n",
        memory.0,
        memory.1,
        disk.0 / f64::from(1 << 20),
        disk.1 / f64::from(1 << 20),
        (disk.1 - disk.0) / allowed as f64,
    );
}

/// How many decisions since `began` are on record, allowed and denied.
fn records(data: &Path, began: UnixTime) -> (usize, usize) {
    let clock = Arc::new(FrozenClock::at(UnixTime::EPOCH));
    let store = EmbeddedStore::open(data, clock, StoreOptions::default()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let filter = Filter {
        kind: Some("decision".to_owned()),
        since_millis: Some(began.millis()),
        ..Filter::default()
    };
    let (mut allowed, mut denied, mut before) = (0, 0, None);
    runtime.block_on(async {
        loop {
            let page = store.search(filter.clone(), before, PAGE).await.unwrap();
            for logged in &page.entries {
                let entry = logged.entry().unwrap();
                match Facts::of(&entry).outcome {
                    Some(Outcome::Allowed) => allowed += 1,
                    _ => denied += 1,
                }
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
    });
    store.close();
    (allowed, denied)
}
