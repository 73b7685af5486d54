//! A small log, written from the specifications for these tests: it shares nothing with the program but its libraries for
//! SHA-256 and Ed25519.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub type Hash = [u8; 32];

pub const ORIGIN: &str = "sts.example.com/audit";

/// The time of the first entry.
pub const START: i64 = 1_763_000_000_000;

pub fn sha256(octets: &[u8]) -> Hash {
    digest(&SHA256, octets).as_ref().try_into().unwrap()
}

pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf].concat())
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left[..], right].concat())
}

/// RFC 6962, section 2.1.
pub fn root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => sha256(b""),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(split(more.len()));
            node(&root(left), &root(right))
        }
    }
}

fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// The proof that leaf `index` is in the tree, RFC 6962, section 2.1.1.
pub fn inclusion(index: usize, hashes: &[Hash]) -> Vec<Hash> {
    if hashes.len() < 2 {
        return Vec::new();
    }
    let (left, right) = hashes.split_at(split(hashes.len()));
    let (mut path, other) = if index < left.len() {
        (inclusion(index, left), root(right))
    } else {
        (inclusion(index - left.len(), right), root(left))
    };
    path.push(other);
    path
}

/// The proof that the first `size` leaves are those of an earlier tree, RFC 6962, section 2.1.2.
pub fn consistency(size: usize, hashes: &[Hash]) -> Vec<Hash> {
    fn part(size: usize, hashes: &[Hash], is_known: bool) -> Vec<Hash> {
        if size == hashes.len() {
            return if is_known {
                Vec::new()
            } else {
                vec![root(hashes)]
            };
        }
        let (left, right) = hashes.split_at(split(hashes.len()));
        let (mut path, other) = if size <= left.len() {
            (part(size, left, is_known), root(right))
        } else {
            (part(size - left.len(), right, false), root(left))
        };
        path.push(other);
        path
    }
    part(size, hashes, true)
}

/// A key that signs notes, or cosigns them.
pub struct Signer {
    name: String,
    kind: u8,
    pair: Ed25519KeyPair,
}

impl Signer {
    pub fn log(seed: u8) -> Self {
        Self::new(ORIGIN, 1, seed)
    }

    pub fn new(name: &str, kind: u8, seed: u8) -> Self {
        let name = name.to_owned();
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Self { name, kind, pair }
    }

    fn material(&self) -> Vec<u8> {
        [&[self.kind], self.pair.public_key().as_ref()].concat()
    }

    fn id(&self) -> Vec<u8> {
        let hashed = [self.name.as_bytes(), b"\n", &self.material()].concat();
        sha256(&hashed)[..4].to_vec()
    }

    pub fn vkey(&self) -> String {
        let id = u32::from_be_bytes(self.id().try_into().unwrap());
        format!(
            "{}+{id:08x}+{}",
            self.name,
            STANDARD.encode(self.material())
        )
    }

    fn line(&self, signature: &[u8]) -> String {
        let signature = STANDARD.encode([&self.id()[..], signature].concat());
        format!("— {} {signature}\n", self.name)
    }

    /// The signed note of this text.
    pub fn note(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        format!("{text}\n{}", self.line(signature.as_ref()))
    }

    /// The note, cosigned at `time`.
    pub fn cosigned(&self, note: &str, time: u64) -> String {
        let (text, _) = note.rsplit_once("\n\n").unwrap();
        let message = format!("cosignature/v1\ntime {time}\n{text}\n");
        let signature = self.pair.sign(message.as_bytes());
        let stamped = [&time.to_be_bytes()[..], signature.as_ref()].concat();
        format!("{note}{}", self.line(&stamped))
    }
}

/// A UUID of version 7 for this time.
pub fn id(at: i64, number: u64) -> String {
    let hex = format!("{at:012x}");
    format!("{}-{}-7000-8000-{number:012x}", &hex[..8], &hex[8..])
}

/// A withheld value: what stands in the leaf, and what is kept beside it.
pub fn withhold(number: u64, value: &Value) -> (String, Value) {
    let salt = &sha256(&number.to_be_bytes())[..16];
    let json = value.to_string();
    let digest = sha256(&[salt, json.as_bytes()].concat());
    (
        STANDARD.encode(digest),
        json!({"salt": STANDARD.encode(salt), "json": json}),
    )
}

/// An allowed decision.
pub fn allowed(number: u64, at: i64) -> Value {
    let (actor, _) = withhold(number, &json!("mona"));
    json!({
        "version": 1, "kind": "decision", "at_millis": at, "decision_id": id(at, number), "outcome": "allowed",
        "verified": true, "issuer": "github", "subject": "repo:acme/api:ref:refs/heads/main", "audience": "acme/api",
        "claims": {"ref": "refs/heads/main", "repository_id": "74", "run_attempt": number, "nested": {"a": [1, null]}},
        "project": "acme/api", "project_id": "p7f3", "trust": ["release"], "scopes": ["read_registry"],
        "token_id": id(at, number), "token_expires": at / 1000 + 3600, "use_number": 1,
        "withheld": {"/claims/actor": actor},
    })
}

/// A denial.
pub fn denied(number: u64, at: i64) -> Value {
    let (explanation, _) = withhold(number, &json!({"description": "`ref` differs"}));
    json!({
        "version": 1, "kind": "decision", "at_millis": at, "decision_id": id(at, number), "outcome": "denied",
        "reason": "not-trusted", "verified": true, "issuer": "github", "subject": "repo:acme/api:pull_request",
        "audience": "acme/api", "withheld": {"/explanation": explanation},
    })
}

/// An event, with what one of its kind must have.
pub fn event(kind: &str, number: u64, at: i64) -> Value {
    let mut event =
        json!({"version": 1, "kind": kind, "at_millis": at, "event_id": id(at, number)});
    let members = match kind {
        "log-named" => json!({"origin": ORIGIN, "key": Signer::log(7).vkey()}),
        "policy-loaded" => {
            json!({"file": "acme/api.toml", "organization": "acme", "digest": "9f86d0"})
        }
        "personal-values-removed" => json!({"until": 0}),
        "pin-reset" => json!({
            "names": {"project": "acme/api", "issuer": "github", "names": {"owner": "acme"}},
            "ids": {"owner-id": "65"},
            "by": "uid 7",
        }),
        "clock-put-back" => json!({"before_millis": at + 70_000}),
        _ => json!({}),
    };
    let members = members.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(members);
    event
}

/// Entry `number` of a log in which a second passes between two.
pub fn entry(number: u64) -> Value {
    let at = START + 1000 * i64::try_from(number).unwrap();
    match number {
        0 => event("log-named", number, at),
        number if number % 7 == 3 => denied(number, at),
        number if number % 50 == 1 => event("policy-loaded", number, at),
        number => allowed(number, at),
    }
}

/// A log, in memory.
pub struct Log {
    pub leaves: Vec<Vec<u8>>,
    pub signer: Signer,
}

impl Log {
    pub fn of(size: u64) -> Self {
        Self::from(&(0..size).map(entry).collect::<Vec<_>>())
    }

    pub fn from(entries: &[Value]) -> Self {
        Self {
            leaves: entries
                .iter()
                .map(|entry| entry.to_string().into_bytes())
                .collect(),
            signer: Signer::log(7),
        }
    }

    /// All levels of tiles: the hashes of leaves, then the roots of full tiles of the level below.
    pub fn levels(&self) -> Vec<Vec<Hash>> {
        let mut levels = vec![
            self.leaves
                .iter()
                .map(|leaf| leaf_hash(leaf))
                .collect::<Vec<_>>(),
        ];
        while levels.last().unwrap().len() >= 256 {
            let tiles = levels.last().unwrap().as_chunks::<256>().0;
            levels.push(tiles.iter().map(|tile| root(tile)).collect());
        }
        levels
    }

    pub fn checkpoint(&self, size: usize) -> String {
        let root = root(&self.levels()[0][..size]);
        self.signed(size, &root)
    }

    pub fn signed(&self, size: usize, root: &Hash) -> String {
        self.signer
            .note(&format!("{ORIGIN}\n{size}\n{}\n", STANDARD.encode(root)))
    }

    /// The proof that entry `index` is in the log, as C2SP tlog-proof.
    pub fn proof(&self, index: usize) -> String {
        let path = inclusion(index, &self.levels()[0]);
        let lines: String = path
            .iter()
            .map(|hash| STANDARD.encode(hash) + "\n")
            .collect();
        let checkpoint = self.checkpoint(self.leaves.len());
        format!("c2sp.org/tlog-proof@v1\nindex {index}\n{lines}\n{checkpoint}")
    }

    /// Writes the log as tiles.
    pub fn write_tiles(&self, folder: &Path) {
        let put = |kind: &str, number: usize, width: usize, octets: &[u8]| {
            put(&folder.join(tile_path(kind, number, width)), octets);
        };
        for (level, hashes) in self.levels().iter().enumerate() {
            for (number, tile) in hashes.chunks(256).enumerate() {
                put(&level.to_string(), number, tile.len(), &tile.concat());
            }
        }
        for (number, tile) in self.leaves.chunks(256).enumerate() {
            put("entries", number, tile.len(), &bundle(tile));
        }
        self.write_notes(folder);
    }

    fn write_notes(&self, folder: &Path) {
        put(
            &folder.join("checkpoint"),
            self.checkpoint(self.leaves.len()).as_bytes(),
        );
        put(
            &folder.join("key"),
            format!("{}\n", self.signer.vkey()).as_bytes(),
        );
    }

    /// Writes the log as a data folder, in which a file of entries has at most `limit` octets.
    pub fn write_data_folder(&self, folder: &Path, limit: usize) {
        let mut files = vec![Vec::new()];
        for leaf in &self.leaves {
            let record = record(leaf);
            if files.last().unwrap().len() + record.len() > limit {
                files.push(Vec::new());
            }
            files.last_mut().unwrap().extend(record);
        }
        let mut beside = Beside::new(folder, VALUES);
        let mut place = 0;
        let mut ends = files.iter().map(Vec::len);
        let mut end = ends.next().unwrap();
        let mut file = 0;
        for leaf in &self.leaves {
            if place == end {
                (place, end, file) = (0, ends.next().unwrap_or(usize::MAX), file + 1);
            }
            beside.add((file << 28) + place as u64, leaf);
            place += 8 + leaf.len();
        }
        beside.write();
        for (number, file) in files.iter().enumerate() {
            put(&folder.join(format!("records/{number:020}")), file);
        }
        for (level, hashes) in self.levels().iter().enumerate() {
            put(&folder.join(format!("tree/{level}")), &hashes.concat());
        }
        self.write_notes(folder);
    }
}

/// How many octets of withheld values a file has, about.
pub const VALUES: usize = 40_000;

/// The rows and the withheld values of a data folder.
pub struct Beside {
    folder: PathBuf,
    limit: usize,
    number: u64,
    values: Vec<u8>,
    rows: Vec<u8>,
}

impl Beside {
    /// Those of a data folder in which a file of values has about `limit` octets.
    pub fn new(folder: &Path, limit: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            limit,
            number: 0,
            values: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds the row of an entry whose leaf lies at `place`, and what was withheld from it.
    pub fn add(&mut self, place: u64, leaf: &[u8]) {
        let values = values_of(leaf);
        let start = (self.number << 26) + self.values.len() as u64;
        let length = u32::try_from(values.len()).unwrap();
        self.rows.extend(place.to_le_bytes());
        self.rows
            .extend(u16::try_from(leaf.len()).unwrap().to_le_bytes());
        self.rows.extend(start.to_le_bytes());
        self.rows.extend(length.to_le_bytes());
        self.rows.extend([0; 66]);
        if length > 0 {
            self.values.extend(record(&values));
        }
        if self.values.len() >= self.limit {
            self.put_values();
        }
    }

    fn put_values(&mut self) {
        let file = self.folder.join(format!("withheld/{:020}", self.number));
        put(&file, &self.values);
        self.values.clear();
        self.number += 1;
    }

    /// Writes what is not written yet.
    pub fn write(mut self) {
        self.put_values();
        for (number, rows) in self.rows.chunks(88 << 20).enumerate() {
            put(&self.folder.join(format!("rows/{number:020}")), rows);
        }
    }
}

/// The JSON of what was withheld from an entry of this writer; nothing if nothing was.
pub fn values_of(leaf: &[u8]) -> Vec<u8> {
    let entry: Value = serde_json::from_slice(leaf).unwrap_or_default();
    let id = entry["decision_id"].as_str().unwrap_or("0");
    let number = u64::from_str_radix(id.rsplit('-').next().unwrap(), 16).unwrap_or(0);
    let Some(withheld) = entry["withheld"].as_object().filter(|all| !all.is_empty()) else {
        return Vec::new();
    };
    let values = withheld.keys().map(|pointer| {
        let value = match pointer.as_str() {
            "/explanation" => json!({"description": "`ref` differs"}),
            _ => json!("mona"),
        };
        (pointer.clone(), withhold(number, &value).1)
    });
    Value::Object(values.collect()).to_string().into_bytes()
}

/// An entry as it stands in a file of the data folder.
pub fn record(leaf: &[u8]) -> Vec<u8> {
    let length = u32::try_from(leaf.len()).unwrap().to_le_bytes();
    [&length[..], &crc32fast::hash(leaf).to_le_bytes(), leaf].concat()
}

pub fn bundle(leaves: &[Vec<u8>]) -> Vec<u8> {
    let entries = leaves.iter().map(|leaf| {
        let length = u16::try_from(leaf.len()).unwrap().to_be_bytes();
        [&length[..], leaf].concat()
    });
    entries.collect::<Vec<_>>().concat()
}

pub fn tile_path(kind: &str, number: usize, width: usize) -> String {
    let thousands = match number / 1000 {
        0 => String::new(),
        thousands => format!("x{thousands:03}/"),
    };
    let partial = if width < 256 {
        format!(".p/{width}")
    } else {
        String::new()
    };
    format!("tile/{kind}/{thousands}{:03}{partial}", number % 1000)
}

pub fn put(path: &Path, octets: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, octets).unwrap();
}
