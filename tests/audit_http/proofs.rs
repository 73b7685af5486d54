//! Proofs, checked with the algorithms of RFC 9162.

use serde_json::json;

use super::*;
use crate::support::merkle::{is_consistent, leaf_hash, root_of_inclusion};

fn of(proof: &Value, name: &str) -> Hash {
    hash(proof[name].as_str().unwrap())
}

/// The root to which an inclusion proof leads.
fn leads_to(proof: &Value) -> Option<Hash> {
    let number = |name: &str| proof[name].as_u64().unwrap();
    let leaf = of(proof, "leaf_hash");
    let hashes = hashes(&proof["hashes"]);
    root_of_inclusion(number("index"), number("size"), leaf, &hashes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_prove_what_it_did() {
    let audited = Audited::start().await;
    let job = audited.service.job("github-push", "acme/api").await.json();
    let index = &job["audit_index"];
    let entry = audited
        .json(&format!("/api/v1/audit/entries/{index}"))
        .await;
    assert_eq!(entry["entry"]["decision_id"], job["decision_id"]);
    assert_eq!(entry["entry"]["outcome"], "allowed");
    assert_eq!(entry["entry"]["client_address"], "127.0.0.1");

    let leaf = entry["leaf"].as_str().unwrap();
    let hashed = leaf_hash(leaf.as_bytes());
    assert_eq!(of(&entry, "leaf_hash"), hashed);
    let path = format!("/api/v1/audit/proof/inclusion?index={index}");
    let proof = audited.json(&path).await;
    assert_eq!(of(&proof, "leaf_hash"), hashed);
    let (size, root) = audited.checkpoint().await;
    assert_eq!(proof["size"], size);
    assert_eq!(leads_to(&proof), Some(root));
    let key = audited.service.get("/audit/key").await.text;
    let checkpoint = proof["checkpoint"].as_str().unwrap();
    assert_eq!(signed(checkpoint, key.trim_end()), (size, root));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withheld_from_a_leaf_is_shown_to_auditors_with_its_salt() {
    let audited = Audited::start().await;
    let job = audited.service.job("github-push", "acme/api").await.json();
    let path = format!("/api/v1/audit/entries/{}", job["audit_index"]);
    let entry = audited.json(&path).await;
    let leaf: Value = serde_json::from_str(entry["leaf"].as_str().unwrap()).unwrap();
    let withheld = entry["withheld"].as_object().unwrap();
    assert!(withheld.contains_key("/client_address") && withheld.contains_key("/claims/actor"));
    for (place, value) in withheld {
        assert_eq!(leaf.pointer(place), None, "{place}");
        let json = value["json"].as_str().unwrap();
        let salt = STANDARD.decode(value["salt"].as_str().unwrap()).unwrap();
        assert_eq!(salt.len(), 16);
        let digest = sha256(&[&salt, json.as_bytes()].concat());
        assert_eq!(leaf["withheld"][place], STANDARD.encode(digest), "{place}");
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(entry["entry"].pointer(place), Some(&value), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_leaf_looks_as_the_published_schema_says() {
    let audited = Audited::start().await;
    let service = &audited.service;
    service.job("github-push", "acme/api").await;
    let dev = service.token("github-push", &[("ref", json!("refs/heads/dev"))]);
    service.exchange(&dev, "acme/api").await;
    service.exchange("no token", "acme/api").await;
    audited.add(1).await;
    let schema = service.get("/audit/schema.json").await;
    assert_eq!(schema.headers["content-type"], "application/schema+json");
    let schema = jsonschema::validator_for(&schema.json()).unwrap();
    for index in 0..audited.size().await {
        let entry = audited
            .json(&format!("/api/v1/audit/entries/{index}"))
            .await;
        let leaf: Value = serde_json::from_str(entry["leaf"].as_str().unwrap()).unwrap();
        let faults: Vec<String> = schema
            .iter_errors(&leaf)
            .map(|fault| fault.to_string())
            .collect();
        assert!(faults.is_empty(), "{leaf}: {faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_is_proven_to_be_in_every_tree_that_has_it() {
    let audited = Audited::start().await;
    audited.grow_to(258).await;
    for size in [1, 2, 3, 7, 8, 200, 255, 256, 257, 258] {
        let tree = format!("/api/v1/audit/proof/consistency?from={size}&to={size}");
        let root = of(&audited.json(&tree).await, "from_root_hash");
        for index in [0, 1, 2, 6, 7, 127, 128, 199, 254, 255, 256, 257] {
            let path = format!("/api/v1/audit/proof/inclusion?index={index}&size={size}");
            let answer = audited.get(&path).await;
            if index < size {
                let proof = answer.json();
                assert_eq!(of(&proof, "root_hash"), root, "{path}");
                assert_eq!(leads_to(&proof), Some(root), "{path}");
                assert!(proof.get("checkpoint").is_none());
            } else {
                assert_eq!(answer.status, 404, "{path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tree_is_proven_to_be_the_begin_of_every_later_one() {
    let audited = Audited::start().await;
    audited.grow_to(258).await;
    let (signed, signed_root) = audited.checkpoint().await;
    let sizes = [0, 1, 2, 3, 64, 100, 255, 256, 257, 258];
    for from in sizes {
        for to in sizes {
            let path = format!("/api/v1/audit/proof/consistency?from={from}&to={to}");
            let answer = audited.get(&path).await;
            if from > to {
                assert_eq!(answer.status, 404, "{path}");
                continue;
            }
            let proof = answer.json();
            let roots = (of(&proof, "from_root_hash"), of(&proof, "to_root_hash"));
            let hashes = hashes(&proof["hashes"]);
            assert!(is_consistent(from, to, roots, &hashes), "{path}: {proof}");
            assert!(to != signed || roots.1 == signed_root, "{path}");
        }
    }
    let whole = audited.json("/api/v1/audit/proof/consistency?from=3").await;
    assert_eq!(whole["to"], json!(signed));
    assert!(
        whole["checkpoint"]
            .as_str()
            .unwrap()
            .contains("sts.example.com/audit")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_in_one_text_is_checked_with_nothing_else_than_leaf_and_key() {
    let audited = Audited::start().await;
    audited.grow_to(100).await;
    let entry = audited.json("/api/v1/audit/entries/42").await;
    let answer = audited.service.get("/api/v1/audit/proof/42").await;
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    let (proof, checkpoint) = answer.text.split_once("\n\n").unwrap();
    let mut lines = proof.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    assert_eq!(lines.next(), Some("index 42"));
    let hashes: Vec<Hash> = lines.map(hash).collect();
    let key = audited.service.get("/audit/key").await.text;
    let (size, root) = signed(checkpoint, key.trim_end());
    let leaf = leaf_hash(entry["leaf"].as_str().unwrap().as_bytes());
    assert_eq!(root_of_inclusion(42, size, leaf, &hashes), Some(root));
}
