//! A log that is not what was written any more.

use super::*;

/// Changes one octet of an entry that holds `text`, in the files of a service that is stopped.
fn flip_octet_of(folder: &std::path::Path, text: &str) {
    let records = folder.join("data/records");
    for file in std::fs::read_dir(records).unwrap() {
        let file = file.unwrap().path();
        let mut octets = std::fs::read(&file).unwrap();
        let mut windows = octets.windows(text.len());
        if let Some(at) = windows.position(|window| window == text.as_bytes()) {
            octets[at] ^= 1;
            return std::fs::write(file, octets).unwrap();
        }
    }
    panic!("no entry has {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_entry_is_named_and_nothing_is_signed_any_more() {
    let audited = Audited::start().await;
    audited.grow_to(100).await;
    let folder = audited.service.stop().await;
    flip_octet_of(folder.path(), "key 42");
    let service = TestService::in_folder(folder, with_token()).await;
    let audited = Audited { service };
    let job = audited.service.job("github-push", "acme/api").await;
    assert_eq!(job.status, 200, "exchanges go on: {}", job.text);

    let bundle = "/audit/tile/entries/000.p/100";
    for path in [
        bundle,
        "/api/v1/audit?limit=1000",
        "/audit/checkpoint",
        "/api/v1/audit/proof/1",
    ] {
        let answer = audited.get(path).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (503, "audit-log-damaged"),
            "{path}"
        );
        assert!(answer.headers.contains_key("retry-after"));
        assert!(
            answer.description().contains("entry"),
            "{path}: {}",
            answer.text
        );
        assert!(!answer.text.contains("key 4"), "{path}: {}", answer.text);
    }
    // What is whole can still be looked at.
    assert_eq!(audited.get("/api/v1/audit/entries/0").await.status, 200);
    let ready = audited.service.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json()["status"].as_str()),
        (200, Some("degraded"))
    );
    assert!(
        ready.json()["log"].as_str().unwrap().contains("entry"),
        "{}",
        ready.text
    );
}
