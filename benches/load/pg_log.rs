//! A log on PostgreSQL: how long it takes to start on it and to answer the first page of each filter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use countersign::audit::Sealed;
use countersign::clock::{Clock as _, SystemClock, UnixTime};
use countersign::ledger::AuditLog as _;
use countersign::store::{PostgresOptions, PostgresSettings, PostgresStore};
use serde_json::{Map, Value};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::drive::issuer::Issuer;
use crate::filling;
use crate::log::first_pages;
use crate::measure::{goal, median};
use crate::support::pg_fill::Batch;
use crate::support::postgres::{Cluster, Server};

/// How many entries one commit has.
const BATCH: u64 = 64;

/// How many connections write at once.
const WRITERS: usize = 4;

/// How many entries there are in a millisecond.
const A_MILLISECOND: u64 = 2;

/// How often the store is opened.
const TIMES: usize = 5;

/// How a server is set up that has a processor and a disk for itself, but for what is measured: what the fill left behind is
/// on disk before that begins.
const SETTINGS: &str = "fsync = off\nfull_page_writes = off\nshared_buffers = 512MB\nmax_wal_size = 2GB\nwal_level = minimal\n\
                        max_wal_senders = 0\nmaintenance_work_mem = 256MB";

/// Fills a log and reads it.
pub fn run(entries: u64, claims: usize) {
    let cluster = Cluster::new(SETTINGS);
    let server: Server = cluster.start();
    let url = cluster.database();
    let open = || {
        let settings = PostgresSettings::parse(&url).unwrap();
        PostgresStore::open(settings, Arc::new(SystemClock), PostgresOptions::default()).unwrap()
    };
    open().close();
    let began = Instant::now();
    fill(&url, entries, claims);
    let filled = entries as f64 / began.elapsed().as_secs_f64();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = open();
    let began = Instant::now();
    let packed = runtime.block_on(pack(&store, &url));
    let packing = packed as f64 / began.elapsed().as_secs_f64();
    store.close();
    eprintln!("the server tidies");
    cluster.sql("postgres", "CHECKPOINT");
    let database = url.rsplit('/').next().unwrap();
    cluster.sql(database, "VACUUM ANALYZE");

    let (mut opened, mut rooted) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let began = Instant::now();
        let store = open();
        opened.push(began.elapsed().as_secs_f64());
        runtime.block_on(store.tree()).unwrap();
        rooted.push(began.elapsed().as_secs_f64());
        store.close();
    }
    let store = open();
    let slowest = runtime.block_on(first_pages(&store));
    println!(
        "\n{entries} entries: filled with {filled:.0}/s, packed with {packing:.0}/s. Octets an entry:\n\n\
         | table, with its indexes | octets an entry |\n|---|--:|"
    );
    for (table, octets) in sizes(&cluster, database) {
        println!("| `{table}` | {:.0} |", octets / entries as f64);
    }
    println!();
    goal("start, s", median(&opened), 1.0, false);
    goal("start and the first root, s", median(&rooted), 1.0, false);
    goal("slowest first page, ms", slowest, 50.0, false);
    store.close();
    server.stop();
}

/// Writes entries straight into the tables, over several connections.
fn fill(url: &str, entries: u64, claims: usize) {
    let claims = some_claims(claims);
    let next = AtomicU64::new(0);
    let last = SystemClock.now().millis();
    let begins = last - i64::try_from(entries / A_MILLISECOND).unwrap();
    let at = |number: u64| begins + i64::try_from(number / A_MILLISECOND).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let client = connect(url).await;
                    loop {
                        let first = next.fetch_add(BATCH, Ordering::Relaxed);
                        if first >= entries {
                            return;
                        }
                        if first.is_multiple_of(BATCH * 1000) {
                            eprintln!("{first} of {entries} entries");
                        }
                        let end = entries.min(first + BATCH);
                        let mut batch = Batch::default();
                        for number in first..end {
                            let now = UnixTime::from_millis(at(number));
                            batch.add(&entry(usize::try_from(number).unwrap(), &claims, now));
                        }
                        let latest = at(end - 1);
                        let first = first.cast_signed();
                        batch.write(&client, first, (latest, latest), 0).await;
                    }
                });
            });
        }
    });
}

fn entry(number: usize, claims: &Value, now: UnixTime) -> Sealed {
    let jti = Uuid::new_v4().to_string();
    let record = filling::record(number, claims, &jti, now);
    let record = if filling::is_denied(number) {
        filling::denied(record)
    } else {
        record
    };
    Sealed::of_decision(record).unwrap()
}

/// The first `count` claims of a GitHub Actions job, those that a record is made of among them.
fn some_claims(count: usize) -> Value {
    let all = Issuer::start().signer.claims();
    let all = all.as_object().unwrap();
    let first = ["sub", "repository", "run_id", "actor"];
    let first = first.iter().filter_map(|name| all.get_key_value(*name));
    let rest = all.iter().filter(|(name, _)| name.len() > 3);
    let kept = first.chain(rest).take(count);
    let kept: Map<String, Value> = kept
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Value::Object(kept)
}

/// Packs all that is full. Answers how many entries are.
async fn pack(store: &PostgresStore, url: &str) -> u64 {
    let client = connect(url).await;
    loop {
        store.pack().await.unwrap();
        let left = "SELECT p.packed, h.size / 4096 FROM countersign.log_progress p, countersign.log_head h";
        let row = client.query_one(left, &[]).await.unwrap();
        let (packed, whole): (i64, i64) = (row.get(0), row.get(1));
        if packed == whole {
            return packed.cast_unsigned() * 4096;
        }
    }
}

fn sizes(cluster: &Cluster, database: &str) -> Vec<(String, f64)> {
    let tables = [
        "log_batches",
        "log_withheld",
        "log_nodes",
        "log_chunks",
        "log_postings",
    ];
    let size = |table: &str| {
        let size = format!(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class
             WHERE relnamespace = 'countersign'::regnamespace AND relname ~ '^{table}(_[0-9]+)?$'"
        );
        cluster.sql(database, &size).parse().unwrap()
    };
    tables
        .iter()
        .map(|table| ((*table).to_owned(), size(table)))
        .collect()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
