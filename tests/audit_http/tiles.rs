//! Tiles and bundles are the log that the checkpoint signs.

use super::*;
use crate::support::merkle::{leaf_hash, root};

/// The leaves of a bundle (C2SP tlog-tiles, "Log entries").
fn leaves(bundle: &[u8]) -> Vec<&[u8]> {
    let mut leaves = Vec::new();
    let mut rest = bundle;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (leaf, after) = after.split_at(u16::from_be_bytes(*length).into());
        leaves.push(leaf);
        rest = after;
    }
    assert!(rest.is_empty());
    leaves
}

/// The names of the tiles of a level that has `count` hashes, for fewer than a thousand tiles.
fn names(count: u64) -> Vec<String> {
    let full = (0..count / 256).map(|tile| format!("{tile:03}"));
    let width = count % 256;
    let partial = (width > 0).then(|| format!("{:03}.p/{width}", count / 256));
    full.chain(partial).collect()
}

/// Every hash of a level.
async fn level(audited: &Audited, level: u32, size: u64) -> Vec<Hash> {
    let mut found = Vec::new();
    for name in names(size >> (8 * level)) {
        let tile = audited.octets(&format!("/audit/tile/{level}/{name}")).await;
        assert_eq!(tile.status, 200, "{name}");
        assert_eq!(tile.headers["content-type"], "application/octet-stream");
        let (hashes, rest) = tile.body.as_chunks::<32>();
        assert!(rest.is_empty());
        found.extend_from_slice(hashes);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_all_tiles_and_bundles_comes_to_the_root_that_is_signed() {
    let audited = Audited::start().await;
    let job = audited.service.job("github-push", "acme/api").await;
    assert_eq!(job.status, 200);
    for size in [255, 256, 257, 511, 512, 513] {
        audited.grow_to(size).await;
        let (signed, signed_root) = audited.checkpoint().await;
        assert_eq!(signed, size);
        let hashes = level(&audited, 0, size).await;
        assert_eq!(hashes.len() as u64, size);
        assert_eq!(root(&hashes), signed_root, "{size} entries");
        let above = level(&audited, 1, size).await;
        let full: Vec<Hash> = hashes.chunks_exact(256).map(root).collect();
        assert_eq!(above, full, "{size} entries");
        let mut entries = Vec::new();
        for name in names(size) {
            let bundle = audited.octets(&format!("/audit/tile/entries/{name}")).await;
            entries.extend(leaves(&bundle.body).into_iter().map(leaf_hash));
        }
        assert_eq!(entries, hashes, "{size} entries");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_is_there_as_soon_as_a_tree_has_it_and_not_before() {
    let audited = Audited::start().await;
    audited.grow_to(300).await;
    for (path, status) in [
        ("0/000", 200),
        ("0/000.p/255", 200),
        ("0/001.p/1", 200),
        ("0/001.p/44", 200),
        ("0/001.p/45", 404),
        ("0/001", 404),
        ("0/002.p/1", 404),
        ("1/000.p/1", 200),
        ("1/000.p/2", 404),
        ("1/000", 404),
        ("2/000.p/1", 404),
        ("8/000.p/1", 404),
        ("63/000.p/1", 404),
        ("entries/001.p/44", 200),
        ("entries/001.p/45", 404),
        ("entries/001", 404),
    ] {
        let tile = audited.octets(&format!("/audit/tile/{path}")).await;
        assert_eq!(tile.status, status, "{path}");
    }
    let part = audited.octets("/audit/tile/0/000.p/255").await.body;
    let full = audited.octets("/audit/tile/0/000").await.body;
    assert_eq!((part.len(), full.len()), (255 * 32, 8192));
    assert!(full.starts_with(&part));
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_keep_tiles_for_long_and_share_them_only_if_they_are_public() {
    let audited = Audited::start().await;
    let keep = async |audited: &Audited, path: &str| {
        let answer = audited.octets(path).await;
        answer.headers["cache-control"].to_str().unwrap().to_owned()
    };
    let private = "private, max-age=31536000, immutable";
    assert_eq!(keep(&audited, "/audit/tile/0/000.p/1").await, private);
    assert_eq!(keep(&audited, "/audit/tile/entries/000.p/1").await, private);
    for changing in ["/audit/checkpoint", "/audit/tile/0/999", "/api/v1/audit"] {
        assert_eq!(keep(&audited, changing).await, "no-store", "{changing}");
    }
    let mut settings = with_token();
    settings.tables.push_str("tiles = \"public\"\n");
    let public = Audited::with(settings).await;
    let kept = keep(&public, "/audit/tile/0/000.p/1").await;
    assert_eq!(kept, "public, max-age=31536000, immutable");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_covers_every_exchange_that_was_answered() {
    let audited = Audited::start().await;
    for _ in 0..3 {
        let job = audited.service.job("github-push", "acme/api").await;
        let index = job.json()["audit_index"].as_u64().unwrap();
        assert!(audited.size().await > index);
    }
    let note = audited.service.get("/audit/checkpoint").await;
    assert_eq!(note.headers["content-type"], "text/plain; charset=utf-8");
    assert!(note.text.starts_with("sts.example.com/audit\n"));
    let key = audited.service.get("/audit/key").await.text;
    assert!(key.starts_with("sts.example.com/audit+") && key.lines().count() == 1);
    let cosigned = audited.service.get("/audit/cosigned-checkpoint").await;
    assert_eq!(
        (cosigned.status, cosigned.reason().as_str()),
        (404, "audit-not-found")
    );
}
