//! How many entries of an audit log are verified in a second.
//!
//! Writes a log of 1,000,000 entries of about 1.7 KB in both forms, a data folder and a copy in tiles, and verifies each.
//! `cargo bench --bench verify -- 100000` says how many entries there are instead.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement says what it found, and stops at the unexpected"
)]

#[path = "../tests/verifier/writer.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod writer;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use countersign::verifier::{Copy, DataFolder, Question, Source, Tiles, VerifierKey, verify};
use serde_json::{Map, Value, json};
use writer::{Beside, Hash, Signer, bundle, leaf_hash, put, record, root, tile_path};

/// How many octets a file of entries has at most.
const LIMIT: usize = 256 << 20;

fn main() {
    let size = std::env::args().find_map(|given| given.parse().ok());
    let size: u64 = size.unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::log(7);
    let octets = write(folder.path(), size, &signer);
    println!("{size} entries of {} octets on average", octets / size);
    let data = DataFolder::new(&folder.path().join("data"));
    let tiles = Tiles::new(Copy::new(&folder.path().join("tiles")), false);
    for (name, source) in [("data folder", &data as &dyn Source), ("tiles", &tiles)] {
        for _ in 0..3 {
            measure(name, source, &signer, size);
        }
    }
}

fn measure(name: &str, source: &dyn Source, signer: &Signer, size: u64) {
    let question = Question {
        key: VerifierKey::parse(&signer.vkey()).unwrap(),
        since: None,
        witnesses: Vec::new(),
    };
    let (start, busy) = (Instant::now(), processor_seconds());
    let report = verify(source, &question, &|_, _| {}).unwrap();
    let (taken, busy) = (start.elapsed(), processor_seconds() - busy);
    assert!(report.is_whole(), "{:?}", report.faults.first());
    let rate = u128::from(size) * 1_000_000 / taken.as_micros().max(1);
    println!(
        "{name}: {} ms, {rate} entries/s; {busy:.1} s of processor time",
        taken.as_millis()
    );
}

/// What this process has used of all processors, which says more than the clock where others are at work (proc(5)).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
        .sum()
}

/// An allowed decision as long as GitHub's are, with all its claims.
fn entry(number: u64) -> Vec<u8> {
    if number == 0 {
        return writer::entry(0).to_string().into_bytes();
    }
    let at = writer::START + i64::try_from(number / 100).unwrap();
    let mut entry = writer::allowed(number, at);
    let claims: Map<String, Value> = [
        ("aud", "https://sts.example.com"),
        ("base_ref", ""),
        ("environment", "production"),
        ("event_name", "push"),
        ("head_ref", ""),
        ("iss", "https://token.actions.githubusercontent.com"),
        (
            "job_workflow_ref",
            "acme/api/.github/workflows/release.yml@refs/heads/main",
        ),
        (
            "job_workflow_sha",
            "5b3cc1b8f5e4a6a3e0b4f6e0ab1c6a8d0e7c4f12",
        ),
        ("ref", "refs/heads/main"),
        ("ref_protected", "true"),
        ("ref_type", "branch"),
        ("repository", "acme/api"),
        ("repository_id", "74"),
        ("repository_owner", "acme"),
        ("repository_owner_id", "65"),
        ("repository_visibility", "private"),
        ("run_attempt", "1"),
        ("runner_environment", "github-hosted"),
        ("sha", "5b3cc1b8f5e4a6a3e0b4f6e0ab1c6a8d0e7c4f12"),
        ("workflow", "Release"),
        (
            "workflow_ref",
            "acme/api/.github/workflows/release.yml@refs/heads/main",
        ),
        ("workflow_sha", "5b3cc1b8f5e4a6a3e0b4f6e0ab1c6a8d0e7c4f12"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), json!(value)))
    .collect();
    entry["claims"] = Value::Object(claims);
    entry["claims"]["exp"] = json!(at / 1000 + 300);
    entry["claims"]["iat"] = json!(at / 1000);
    entry["claims"]["run_id"] = json!(number.to_string());
    entry["run_id"] = json!(number.to_string());
    entry["repository"] = json!("acme/api");
    entry["policy_digest"] =
        json!("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
    entry["claims"]["jti"] = json!(writer::id(at, number));
    entry["claims"]["sub"] = json!("repo:acme/api:environment:production");
    entry["claims"]["enterprise"] = json!("acme-corporation");
    entry["claims"]["check_run_id"] = json!(number.to_string());
    entry["withheld"]["/claims/actor_id"] = entry["withheld"]["/claims/actor"].clone();
    entry["withheld"]["/client_address"] = entry["withheld"]["/claims/actor"].clone();
    entry["user_agent"] = json!("countersign/0.1.0");
    entry.to_string().into_bytes()
}

/// Writes both forms, tile by tile, and says how many octets the entries have.
fn write(folder: &Path, size: u64, signer: &Signer) -> u64 {
    let (data, tiles) = (folder.join("data"), folder.join("tiles"));
    let mut hashes: Vec<Hash> = Vec::new();
    let mut records = Records::new(&data);
    let mut beside = Beside::new(&data, 60 << 20);
    let mut octets = 0;
    for (number, first) in (0..size).step_by(256).enumerate() {
        let leaves: Vec<Vec<u8>> = (first..size.min(first + 256)).map(entry).collect();
        for leaf in &leaves {
            octets += leaf.len() as u64;
            hashes.push(leaf_hash(leaf));
            let place = records.add(&record(leaf));
            beside.add(place, leaf);
        }
        put(
            &tiles.join(tile_path("entries", number, leaves.len())),
            &bundle(&leaves),
        );
    }
    records.file.flush().unwrap();
    beside.write();
    let note = |root: Hash| {
        use base64::Engine as _;
        let root = base64::engine::general_purpose::STANDARD.encode(root);
        signer.note(&format!("{}\n{size}\n{root}\n", writer::ORIGIN))
    };
    let checkpoint = note(root(&hashes));
    for form in [&data, &tiles] {
        put(&form.join("checkpoint"), checkpoint.as_bytes());
    }
    for level in 0u8.. {
        put(&data.join(format!("tree/{level}")), &hashes.concat());
        for (number, tile) in hashes.chunks(256).enumerate() {
            put(
                &tiles.join(tile_path(&level.to_string(), number, tile.len())),
                &tile.concat(),
            );
        }
        hashes = hashes
            .as_chunks::<256>()
            .0
            .iter()
            .map(|tile| root(tile))
            .collect();
        if hashes.is_empty() {
            break;
        }
    }
    octets
}

/// The files of entries.
struct Records<'f> {
    folder: &'f Path,
    number: u64,
    length: usize,
    file: BufWriter<File>,
}

impl<'f> Records<'f> {
    fn new(folder: &'f Path) -> Self {
        Self {
            folder,
            number: 0,
            length: 0,
            file: Self::open(folder, 0),
        }
    }

    fn open(folder: &Path, number: u64) -> BufWriter<File> {
        let path = folder.join(format!("records/{number:020}"));
        put(&path, b"");
        BufWriter::new(File::create(path).unwrap())
    }

    /// Adds one and says where.
    fn add(&mut self, record: &[u8]) -> u64 {
        if self.length + record.len() > LIMIT {
            self.number += 1;
            self.length = 0;
            self.file.flush().unwrap();
            self.file = Self::open(self.folder, self.number);
        }
        let place = (self.number << 28) + self.length as u64;
        self.length += record.len();
        self.file.write_all(record).unwrap();
        place
    }
}
