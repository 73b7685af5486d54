//! The log: what its tree costs, how fast it is read, and whether two verifiers accept what many lives left behind.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use countersign::audit::{Facts, Filter, Outcome};
use countersign::clock::SystemClock;
use countersign::ledger::AuditLog as _;
use countersign::notary::{Notary, Settings};
use countersign::store::{EmbeddedStore, Options as StoreOptions};

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
async fn first_pages(store: &EmbeddedStore) -> f64 {
    let some = store.search(Filter::default(), None, 1).await.unwrap();
    let entry = some.entries[0].entry().unwrap();
    let facts = Facts::of(&entry);
    let text = |text: &str| Some(text.to_owned());
    let at = facts.at.millis();
    let none = Filter::default();
    let filters = [
        ("everything", none.clone()),
        (
            "project with many",
            Filter {
                project: facts.project.map(str::to_owned),
                ..none.clone()
            },
        ),
        (
            "project with few",
            Filter {
                project: text(PROJECT),
                ..none.clone()
            },
        ),
        (
            "project with none",
            Filter {
                project: text("no/such"),
                ..none.clone()
            },
        ),
        (
            "organization",
            Filter {
                organization: text("organization-7"),
                ..none.clone()
            },
        ),
        (
            "issuer",
            Filter {
                issuer: text("github"),
                ..none.clone()
            },
        ),
        (
            "subject",
            Filter {
                subject: facts.subject.map(str::to_owned),
                ..none.clone()
            },
        ),
        (
            "repository",
            Filter {
                repository: facts.repository.map(str::to_owned),
                ..none.clone()
            },
        ),
        (
            "relationship",
            Filter {
                relationship: text("release 7"),
                ..none.clone()
            },
        ),
        (
            "outcome",
            Filter {
                outcome: Some(Outcome::Denied),
                ..none.clone()
            },
        ),
        (
            "reason",
            Filter {
                reason: text("denied-by-rule"),
                ..none.clone()
            },
        ),
        (
            "reason with none",
            Filter {
                reason: text("token-spent"),
                ..none.clone()
            },
        ),
        (
            "decision",
            Filter {
                id: text(&facts.id.to_string()),
                ..none.clone()
            },
        ),
        (
            "token",
            Filter {
                token_id: facts.token_id.map(str::to_owned),
                ..none.clone()
            },
        ),
        (
            "token with none",
            Filter {
                token_id: text("no such token"),
                ..none.clone()
            },
        ),
        (
            "a second of time",
            Filter {
                since_millis: Some(at - 5000),
                until_millis: Some(at - 4000),
                ..none.clone()
            },
        ),
        (
            "a time before all",
            Filter {
                until_millis: Some(1),
                ..none.clone()
            },
        ),
        (
            "kind",
            Filter {
                kind: text("policy-loaded"),
                ..none.clone()
            },
        ),
        (
            "project, outcome and reason",
            Filter {
                project: text(PROJECT),
                outcome: Some(Outcome::Denied),
                reason: text("denied-by-rule"),
                ..none.clone()
            },
        ),
        (
            "issuer and a project with none",
            Filter {
                issuer: text("github"),
                project: text("no/such"),
                ..none
            },
        ),
    ];
    println!("| first page of | ms, median of {TIMES} | entries |\n|---|--:|--:|");
    let mut slowest: f64 = 0.0;
    for (what, filter) in filters {
        let (mut took, mut found) = (Vec::new(), 0);
        for _ in 0..TIMES {
            let began = Instant::now();
            let page = store.search(filter.clone(), None, PAGE).await.unwrap();
            took.push(began.elapsed().as_secs_f64() * 1000.0);
            found = page.entries.len();
        }
        println!("| {what} | {:.2} | {found} |", median(&took));
        slowest = slowest.max(median(&took));
    }
    slowest
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
