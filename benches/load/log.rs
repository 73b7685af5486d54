//! The log: what its tree costs, how fast it is read, and whether two verifiers accept what many lives left behind.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use countersign::audit::{Facts, Filter};
use countersign::clock::SystemClock;
use countersign::ledger::AuditLog;
use countersign::notary::{KeptIn, Notary, Settings};
use countersign::store::{EmbeddedStore, Options as StoreOptions};
use serde_json::{Value, json};

use crate::Options;
use crate::drive::audited::{self, Plan};
use crate::drive::tokens::{AUDIENCE, PROJECT};
use crate::filling;
use crate::house::House;
use crate::measure::{goal, median, occupied};
use crate::target::{Target, table};

/// How many entries a page has.
const PAGE: usize = 50;

/// How often each question is asked.
const TIMES: usize = 5;

/// The service beside itself without a tree.
pub fn tree(options: Options) {
    let house = House::open();
    let count = house.enough(options);
    let mut targets = [
        Target::new("without tree", house.treeless("treeless"), true),
        Target::new("countersign", house.service("ours"), true),
    ];
    let lines = house.place("lines");
    for round in 1..=options.rounds {
        house.sign_round(&lines, round, options, count);
        for target in &mut targets {
            target.measure(&lines, options);
        }
    }
    println!("The service without and with the hashes of the log.\n");
    table(&targets);
    println!();
    let ratio = targets[1].rate() / targets[0].rate();
    goal("exchanges/s with the tree ÷ without", ratio, 0.9, true);
}

/// A log of so many entries: how long it takes to open it, to answer the first page of each filter, and to verify it.
pub fn reading(entries: usize) {
    let house = House::open();
    let data = house.place("data");
    let filled = filling::fill(&house, &data, entries);
    let octets = occupied(&data) / entries as f64;
    let mut opened = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let store = open(&data);
        opened.push(began.elapsed().as_secs_f64());
        store.close();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = open(&data);
    let (slowest, key) = runtime.block_on(async {
        let slowest = first_pages(&store).await;
        let settings = Settings {
            kept_in: KeptIn::Folder,
            public_url: AUDIENCE.into(),
            encryption: None,
            copy: None,
            witnesses: Vec::new(),
        };
        let notary = Notary::open(Arc::new(store.clone()), &SystemClock, settings).await;
        let notary = notary.unwrap();
        notary.checkpoint().await.unwrap();
        (slowest, notary.key().to_owned())
    });
    store.close();
    let began = Instant::now();
    let verified = audited::ours(&data, &key, None);
    let took = began.elapsed().as_secs_f64();
    assert!(verified.status.success(), "{verified:?}");
    println!(
        "\n{entries} entries: filled with {filled:.0}/s, {octets:.0} octets on disk an entry; verified in {took:.2} s.\n"
    );
    goal("start, s", median(&opened), 2.0, false);
    goal("slowest first page, ms", slowest, 50.0, false);
    goal(
        "entries verified a second",
        entries as f64 / took,
        300_000.0,
        true,
    );
}

fn open(data: &Path) -> EmbeddedStore {
    EmbeddedStore::open(data, Arc::new(SystemClock), StoreOptions::default()).unwrap()
}

/// Asks for the first page of each filter, and answers how many milliseconds the slowest one took.
pub async fn first_pages(store: &dyn AuditLog) -> f64 {
    println!("| first page of | ms, median of {TIMES} | entries |\n|---|--:|--:|");
    let mut slowest: f64 = 0.0;
    for filter in filters(store).await {
        let wish: Filter = serde_json::from_value(filter.clone()).unwrap();
        let (mut took, mut found) = (Vec::new(), 0);
        for _ in 0..TIMES {
            let began = Instant::now();
            let page = store.search(wish.clone(), None, PAGE).await.unwrap();
            took.push(began.elapsed().as_secs_f64() * 1000.0);
            found = page.entries.len();
        }
        println!("| `{filter}` | {:.2} | {found} |", median(&took));
        slowest = slowest.max(median(&took));
    }
    slowest
}

/// What is asked for: what nearly every entry has, what few have, and what none has.
async fn filters(store: &dyn AuditLog) -> Vec<Value> {
    let some = store.search(Filter::default(), None, 1).await.unwrap();
    let entry = some.entries[0].entry().unwrap();
    let last = Facts::of(&entry);
    let at = last.at.millis();
    vec![
        json!({}),
        json!({"project": last.project}),
        json!({"project": PROJECT}),
        json!({"project": "no/such"}),
        json!({"organization": "organization-7"}),
        json!({"issuer": "github"}),
        json!({"subject": last.subject}),
        json!({"repository": last.repository}),
        json!({"relationship": "release 7"}),
        json!({"outcome": "denied"}),
        json!({"reason": "denied-by-rule"}),
        json!({"reason": "token-spent"}),
        json!({"id": last.id.map(|id| id.to_string())}),
        json!({"token_id": last.token_id}),
        json!({"token_id": "no such token"}),
        json!({"since_millis": at - 5000, "until_millis": at - 4000}),
        json!({"until_millis": 1}),
        json!({"kind": "policy-loaded"}),
        json!({"project": PROJECT, "outcome": "denied", "reason": "denied-by-rule"}),
        json!({"issuer": "github", "project": "no/such"}),
    ]
}

/// A log of many exchanges, restarts and kills, before both verifiers: as it is, and changed in every way.
pub fn audited(plan: &Plan) -> ExitCode {
    let folder = crate::house::folder();
    let began = Instant::now();
    let log = audited::run(folder.path(), plan);
    let ran = began.elapsed().as_secs_f64();
    let found = audited::judge(&log);
    println!("| what | count |\n|---|--:|");
    for (what, count) in [
        ("entries", usize::try_from(log.size).unwrap()),
        ("exchanges acknowledged", log.acknowledged.len()),
        ("kills", plan.kills),
        ("stops", plan.stops),
        ("checkpoints kept on the way", log.checkpoints.len()),
        ("verdicts as they should be", found.right),
        ("other verdicts", found.wrong.len()),
    ] {
        println!("| {what} | {count} |");
    }
    println!(
        "\nThe run took {ran:.0} s, the verdicts {:.0} s.",
        began.elapsed().as_secs_f64() - ran
    );
    for wrong in &found.wrong {
        eprintln!("{wrong}");
    }
    ExitCode::from(u8::from(!found.wrong.is_empty()))
}
