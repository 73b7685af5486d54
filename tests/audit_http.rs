//! The log as an auditor reads it: over HTTP, with arithmetic of its own.

mod access;
mod attacks;
mod damage;
mod list;
mod proofs;
mod tiles;

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::audit::Happening;
use countersign::clock::Clock as _;
use countersign::http::Patience;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::support::merkle::{Hash, sha256};
use crate::support::service::{Answer, Settings, TestService, answer};

const TOKEN: &str = "6f1c3a5e7d9b0842c4e6a8f0b2d4c6e8";

/// An answer whose body is no text.
struct Octets {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// `[audit]` with a token.
fn with_token() -> Settings {
    Settings {
        tables: format!(
            "[audit]\ntoken-sha256 = \"{}\"\n",
            hex(&sha256(TOKEN.as_bytes()))
        ),
        ..Settings::default()
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

/// A service whose log an auditor reads.
struct Audited {
    service: TestService,
}

impl Audited {
    async fn start() -> Self {
        Self::with(with_token()).await
    }

    async fn with(settings: Settings) -> Self {
        let service = TestService::with(settings).await;
        Self { service }
    }

    /// Asks as an auditor.
    async fn get(&self, path: &str) -> Answer {
        answer(self.service.reading(path).bearer_auth(TOKEN)).await
    }

    /// The JSON of an answer that is one.
    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    async fn octets(&self, path: &str) -> Octets {
        let request = self.service.reading(path).bearer_auth(TOKEN);
        let answer = request.send().await.unwrap();
        Octets {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await.unwrap().to_vec(),
        }
    }

    /// Adds `count` entries.
    async fn add(&self, count: usize) {
        let events = (0..count).map(|number| Happening::SigningKeyRetired {
            key_id: format!("key {number}"),
        });
        let now = self.service.clock.now();
        let log = &self.service.parts.service.log;
        log.append(events.collect(), now).await.unwrap();
    }

    /// Adds entries until there are `size`.
    async fn grow_to(&self, size: u64) {
        let there = self.size().await;
        assert!(there <= size, "the log begins with {there} entries");
        self.add(usize::try_from(size - there).unwrap()).await;
    }

    async fn size(&self) -> u64 {
        self.checkpoint().await.0
    }

    /// How many entries the checkpoint signs, and their root. The signature is checked.
    async fn checkpoint(&self) -> (u64, Hash) {
        let note = self.service.get("/audit/checkpoint").await;
        assert_eq!(note.status, 200, "{}", note.text);
        let key = self.service.get("/audit/key").await.text;
        signed(&note.text, key.trim_end())
    }

    /// The numbers of the entries on the pages of a list, until its end.
    async fn indexes(&self, query: &str) -> Vec<u64> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self
                .json(&format!("/api/v1/audit?{query}&cursor={cursor}"))
                .await;
            found.extend(indexes(&page));
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return found,
            }
        }
    }
}

fn indexes(page: &Value) -> Vec<u64> {
    let entries = page["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["index"].as_u64().unwrap())
        .collect()
}

/// Size and root of a checkpoint that the verifier key signed (C2SP signed-note, tlog-checkpoint).
fn signed(note: &str, vkey: &str) -> (u64, Hash) {
    let [name, id, key] = vkey.splitn(3, '+').collect::<Vec<_>>()[..] else {
        panic!("{vkey}");
    };
    let key = STANDARD.decode(key).unwrap();
    assert_eq!(key[0], 1, "Ed25519");
    let made_of = [name.as_bytes(), b"\n", &key].concat();
    assert_eq!(hex(&sha256(&made_of)[..4]), id);
    let (text, signatures) = note.split_once("\n\n").unwrap();
    let text = format!("{text}\n");
    let signature = signatures
        .lines()
        .find_map(|line| line.strip_prefix(&format!("— {name} ")))
        .unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    assert_eq!(hex(&signature[..4]), id);
    let public =
        aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &key[1..]);
    public.verify(text.as_bytes(), &signature[4..]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, name));
    (lines[1].parse().unwrap(), hash(lines[2]))
}

fn hash(base64: &str) -> Hash {
    STANDARD.decode(base64).unwrap().try_into().unwrap()
}

fn hashes(list: &Value) -> Vec<Hash> {
    let list = list.as_array().unwrap().iter();
    list.map(|text| hash(text.as_str().unwrap())).collect()
}

/// As many as may read at the same time: none.
fn nobody_reads() -> Patience {
    Patience {
        audit_looks: 0,
        audit_searches: 0,
        audit_exports: 0,
        audit_wait: Duration::ZERO,
        ..Patience::default()
    }
}
