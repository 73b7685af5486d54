//! A log of many exchanges, of a service that is stopped and killed again and again, before two verifiers that know nothing
//! of each other: the program's own, and one in Python that was written from the specifications alone.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::issuer::Issuer;
use super::running::{Running, lay_out};
use super::tokens::{PROJECT, Signer};
use super::wire::Connection;

/// How much, and how often it is interrupted.
pub struct Plan {
    /// How many exchanges there are to be in all, at least.
    pub exchanges: usize,
    /// How many lives of the service end by a kill.
    pub kills: usize,
    /// How many end by a stop.
    pub stops: usize,
    pub connections: usize,
}

/// What there is at the end: a log, and what was seen of it on the way.
pub struct Audited {
    /// The folder of the service, which is stopped.
    pub folder: PathBuf,
    /// A copy of everything that is served below `/audit`.
    pub copy: PathBuf,
    /// The verifier key.
    pub key: String,
    /// Checkpoints of every life, the earliest first.
    pub checkpoints: Vec<PathBuf>,
    /// The number that each acknowledged exchange was answered, and the name of its decision.
    pub acknowledged: BTreeMap<u64, String>,
    /// How many entries the log has.
    pub size: u64,
}

/// Does all of it in `folder`.
pub fn run(folder: &Path, plan: &Plan) -> Audited {
    let issuer = Issuer::start();
    lay_out(folder, &issuer.url);
    let lives = plan.kills + plan.stops;
    let share = plan.exchanges.div_ceil(lives);
    let (mut checkpoints, mut acknowledged) = (Vec::new(), BTreeMap::new());
    for life in 0..lives {
        let mut running = Running::service(folder);
        let seen = load(&running, &issuer.signer, share, plan.connections, || {
            // In the midst of the load: what it covers has to be there ever after.
            let file = folder.join(format!("checkpoint-{life}"));
            std::fs::write(&file, get(&running.base, "/audit/checkpoint").unwrap()).unwrap();
            checkpoints.push(file);
        });
        acknowledged.extend(seen);
        // Stops are spread among the kills.
        if life % lives.div_ceil(plan.stops.max(1)) == 0 && plan.stops > 0 {
            assert!(running.stop().success());
        } else {
            running.kill();
        }
    }
    let running = Running::service(folder);
    let copy = folder.join("copy");
    let size = mirror(&running.base, &copy);
    let key = get(&running.base, "/audit/key").unwrap();
    let key = String::from_utf8(key).unwrap().trim().to_owned();
    assert!(running.stop().success());
    Audited {
        folder: folder.to_owned(),
        copy,
        key,
        checkpoints,
        acknowledged,
        size,
    }
}

/// Exchanges until `share` were answered, and calls `halfway` once, when half of them were. Then some may still be on
/// their way: the service ends among them.
fn load(
    running: &Running,
    signer: &Arc<Signer>,
    share: usize,
    connections: usize,
    halfway: impl FnOnce(),
) -> BTreeMap<u64, String> {
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let (signer, answered) = (signer.clone(), answered.clone());
            let mut connection = Connection::open(&running.base).unwrap();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                while answered.load(Ordering::SeqCst) < share {
                    let answer = connection.exchange(&signer.token(), PROJECT, "192.0.2.1");
                    let Ok(answer) = answer else { break };
                    assert_eq!(answer.status, 200, "{}", answer.text);
                    let answer: Value = serde_json::from_str(&answer.text).unwrap();
                    let index = answer["audit_index"].as_u64().unwrap();
                    seen.push((index, answer["decision_id"].as_str().unwrap().to_owned()));
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                seen
            })
        })
        .collect();
    while answered.load(Ordering::SeqCst) < share / 2 {
        std::thread::yield_now();
    }
    halfway();
    clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect()
}

/// What a service serves at `path`.
pub fn get(base: &str, path: &str) -> Result<Vec<u8>> {
    let answer = Connection::open(base)?.get_octets(path)?;
    match answer {
        (200, octets) => Ok(octets),
        (status, octets) => {
            let said = String::from_utf8_lossy(&octets).into_owned();
            Err(Error::other(format!("{path}: {status} {said}")))
        }
    }
}

/// Copies everything that is served of a log into `folder`, and answers how many entries it has.
pub fn mirror(base: &str, folder: &Path) -> u64 {
    let put = |place: &str, octets: &[u8]| {
        let file = folder.join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, octets).unwrap();
    };
    let take = |place: &str| put(place, &get(base, &format!("/audit/{place}")).unwrap());
    take("key");
    let checkpoint = get(base, "/audit/checkpoint").unwrap();
    put("checkpoint", &checkpoint);
    let text = String::from_utf8(checkpoint).unwrap();
    let size: u64 = text.lines().nth(1).unwrap().parse().unwrap();
    let mut hashes = size;
    let mut level = 0;
    while hashes > 0 {
        for tile in tiles(hashes) {
            take(&format!("tile/{level}/{tile}"));
            if level == 0 {
                take(&format!("tile/entries/{tile}"));
            }
        }
        hashes /= 256;
        level += 1;
    }
    size
}

/// The names of the tiles of a level with so many hashes (C2SP tlog-tiles, "Merkle Tree").
fn tiles(hashes: u64) -> Vec<String> {
    let mut names: Vec<String> = (0..hashes / 256).map(tile).collect();
    if hashes % 256 > 0 {
        names.push(format!("{}.p/{}", tile(hashes / 256), hashes % 256));
    }
    names
}

/// The name of a tile: groups of three digits, all but the last marked.
pub fn tile(mut number: u64) -> String {
    let mut name = format!("{:03}", number % 1000);
    while number >= 1000 {
        number /= 1000;
        name = format!("x{:03}/{name}", number % 1000);
    }
    name
}

/// The program's own verifier.
pub fn ours(source: &Path, key: &str, since: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(["audit", "verify", "--key", key]);
    if let Some(since) = since {
        command.arg("--since").arg(since);
    }
    command.arg(source).output().unwrap()
}
