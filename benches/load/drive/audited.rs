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
    /// Proofs that some of them are there (C2SP tlog-proof), with the leaves that they are of.
    pub proofs: Vec<(PathBuf, PathBuf)>,
    /// How many entries the log has.
    pub size: u64,
}

/// Whether the verifiers said of each thing what they should.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// How many did.
    pub right: usize,
    /// Those that did not.
    pub wrong: Vec<String>,
}

/// How many proofs are asked for.
const PROOFS: usize = 20;

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
    let sample = acknowledged
        .keys()
        .step_by(acknowledged.len().div_ceil(PROOFS).max(1));
    let proofs = sample.map(|index| {
        let proof = get(&running.base, &format!("/api/v1/audit/proof/{index}")).unwrap();
        let files = [format!("{index}.tlog-proof"), format!("{index}.json")];
        let [proof_file, leaf_file] = files.map(|name| folder.join(name));
        std::fs::write(&proof_file, proof).unwrap();
        std::fs::write(&leaf_file, leaf(&copy, size, *index)).unwrap();
        (proof_file, leaf_file)
    });
    let proofs = proofs.collect();
    assert!(running.stop().success());
    Audited {
        proofs,
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
    if !hashes.is_multiple_of(256) {
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

/// The bundle with the entry `index`: its file, and how many entries stand before this one.
fn bundle(copy: &Path, size: u64, index: u64) -> (PathBuf, usize) {
    let (number, before) = (index / 256, index % 256);
    let full = size / 256 > number;
    let part = if full {
        String::new()
    } else {
        format!(".p/{}", size % 256)
    };
    let file = copy.join(format!("tile/entries/{}{part}", tile(number)));
    (file, usize::try_from(before).unwrap())
}

/// Where the leaf number `before` lies in a bundle.
fn place(bundle: &[u8], before: usize) -> std::ops::Range<usize> {
    let mut at = 0;
    for _ in 0..before {
        at += 2 + length(bundle, at);
    }
    at + 2..at + 2 + length(bundle, at)
}

fn length(bundle: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bundle[at], bundle[at + 1]]))
}

/// The leaf of the entry `index`.
pub fn leaf(copy: &Path, size: u64, index: u64) -> Vec<u8> {
    let (file, before) = bundle(copy, size, index);
    let bundle = std::fs::read(file).unwrap();
    bundle[place(&bundle, before)].to_vec()
}

/// Asks both verifiers of the log as it is and of every change that they must not miss.
pub fn judge(log: &Audited) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for (index, decision) in &log.acknowledged {
        let leaf: Value = serde_json::from_slice(&leaf(&log.copy, log.size, *index)).unwrap();
        verdicts.note(leaf["decision_id"] == **decision, || {
            format!("entry {index} is not the decision {decision} that was acknowledged")
        });
    }
    let data = log.folder.join("data");
    let whole = |verdicts: &mut Verdicts, since: Option<&Path>| {
        verdicts.expect(true, "as it is, ours", &ours(&log.copy, &log.key, since));
        verdicts.expect(
            true,
            "as it is, ours, of the data folder",
            &ours(&data, &log.key, since),
        );
        verdicts.expect(
            true,
            "as it is, in Python",
            &python(&log.copy, &log.key, since),
        );
    };
    whole(&mut verdicts, None);
    for since in &log.checkpoints {
        whole(&mut verdicts, Some(since));
    }
    for (proof, leaf) in &log.proofs {
        verdicts.expect(true, "a proof", &proven(&log.key, proof, leaf));
        let (_, other) = log.proofs.iter().find(|(other, _)| other != proof).unwrap();
        verdicts.expect(
            false,
            "a proof of something else",
            &proven(&log.key, proof, other),
        );
    }
    for (what, file, change) in changes_of_a_copy(log) {
        changed(&file, &*change, || {
            verdicts.expect(
                false,
                &format!("{what}, ours"),
                &ours(&log.copy, &log.key, None),
            );
            verdicts.expect(
                false,
                &format!("{what}, in Python"),
                &python(&log.copy, &log.key, None),
            );
        });
    }
    for (what, file, change) in changes_of_a_folder(&data) {
        changed(&file, &*change, || {
            verdicts.expect(
                false,
                &format!("{what}, ours"),
                &ours(&data, &log.key, None),
            );
        });
    }
    whole(&mut verdicts, None);
    verdicts
}

impl Verdicts {
    fn note(&mut self, is_right: bool, what: impl FnOnce() -> String) {
        if is_right {
            self.right += 1;
        } else {
            self.wrong.push(what());
        }
    }

    fn expect(&mut self, accepts: bool, what: &str, output: &Output) {
        let code = i32::from(!accepts);
        self.note(output.status.code() == Some(code), || {
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            format!(
                "{what}: {}: {}",
                output.status,
                String::from_utf8_lossy(&said)
            )
        });
    }
}

/// What becomes of a file.
type Change = Box<dyn Fn(&mut Vec<u8>)>;

/// Changes a file while `look` looks.
fn changed(file: &Path, change: &dyn Fn(&mut Vec<u8>), look: impl FnOnce()) {
    let whole = std::fs::read(file).unwrap();
    let mut other = whole.clone();
    change(&mut other);
    assert_ne!(whole, other, "nothing changed in {}", file.display());
    std::fs::write(file, other).unwrap();
    look();
    std::fs::write(file, whole).unwrap();
}

/// One bit of the octet `at`, counted from the end if it is negative.
fn flip(at: isize) -> Change {
    Box::new(move |octets| {
        let length = isize::try_from(octets.len()).unwrap();
        let at = usize::try_from(at.rem_euclid(length)).unwrap();
        octets[at] ^= 1;
    })
}

fn changes_of_a_copy(log: &Audited) -> Vec<(&'static str, PathBuf, Change)> {
    let middle = log.size / 2;
    let (entries, before) = bundle(&log.copy, log.size, middle);
    let entry = place(&std::fs::read(&entries).unwrap(), before);
    let within = isize::try_from(entry.start + 40).unwrap();
    let first_tile = |level: u32| {
        let hashes = log.size >> (8 * level);
        let part = if hashes >= 256 {
            String::new()
        } else {
            format!(".p/{hashes}")
        };
        log.copy.join(format!("tile/{level}/000{part}"))
    };
    let checkpoint = log.copy.join("checkpoint");
    let swap: Change = Box::new(|octets| {
        let (one, two) = (place(octets, 3), place(octets, 4));
        let swapped = [
            &octets[two.start - 2..two.end],
            &octets[one.start - 2..one.end],
        ]
        .concat();
        octets[one.start - 2..two.end].copy_from_slice(&swapped);
    });
    let drop_last: Change = Box::new(|octets| {
        let mut at = 0;
        while at + 2 + length(octets, at) < octets.len() {
            at += 2 + length(octets, at);
        }
        octets.truncate(at);
    });
    vec![
        ("an octet of an entry", entries.clone(), flip(within)),
        ("two entries in each other's place", entries.clone(), swap),
        ("an entry that is gone", entries, drop_last),
        ("an octet of a hash", first_tile(0), flip(100)),
        ("an octet of a hash one level up", first_tile(1), flip(10)),
        ("an octet of the origin", checkpoint.clone(), flip(3)),
        ("an octet of the size", checkpoint.clone(), size_digit()),
        ("an octet of the root", checkpoint.clone(), root_digit()),
        ("an octet of the signature", checkpoint, flip(-20)),
    ]
}

/// Another last digit of the size.
fn size_digit() -> Change {
    Box::new(|octets| {
        let lines = octets
            .iter()
            .enumerate()
            .filter(|(_, octet)| **octet == b'\n');
        let end = lines.map(|(at, _)| at).nth(1).unwrap();
        octets[end - 1] = if octets[end - 1] == b'9' {
            b'8'
        } else {
            octets[end - 1] + 1
        };
    })
}

/// Another letter in the root.
fn root_digit() -> Change {
    Box::new(|octets| {
        let lines = octets
            .iter()
            .enumerate()
            .filter(|(_, octet)| **octet == b'\n');
        let end = lines.map(|(at, _)| at).nth(1).unwrap();
        octets[end + 5] = if octets[end + 5] == b'A' { b'B' } else { b'A' };
    })
}

fn changes_of_a_folder(data: &Path) -> Vec<(&'static str, PathBuf, Change)> {
    let records = data.join(format!("records/{:020}", 0));
    vec![
        ("an octet of an entry on disk", records.clone(), flip(5000)),
        (
            "an octet of the last entry on disk",
            records.clone(),
            flip(-9),
        ),
        (
            "the end of the entries is gone",
            records,
            Box::new(|octets| octets.truncate(octets.len() - 700)),
        ),
        ("an octet of a hash on disk", data.join("tree/0"), flip(700)),
        (
            "an octet of a hash one level up on disk",
            data.join("tree/1"),
            flip(5),
        ),
        (
            "an octet of the checkpoint on disk",
            data.join("checkpoint"),
            flip(-20),
        ),
    ]
}

/// The verifier in Python.
pub fn python(copy: &Path, key: &str, since: Option<&Path>) -> Output {
    let mut command = script();
    command.arg(copy).args(["--key", key]);
    if let Some(since) = since {
        command.arg("--since").arg(since);
    }
    command.output().unwrap()
}

/// The verifier in Python, of one proof.
fn proven(key: &str, proof: &Path, leaf: &Path) -> Output {
    let mut command = script();
    command.args(["--key", key, "--proof"]).arg(proof);
    command.arg("--entry").arg(leaf).output().unwrap()
}

fn script() -> Command {
    let mut command = Command::new("python3");
    command.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/verifier/verify.py"
    ));
    command
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
