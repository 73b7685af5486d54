//! Entries that are alike are packed together, and read as they were written.

use std::io::{Seek, SeekFrom, Write};

use super::*;

/// Entries of jobs that are alike, as those of one commit are.
fn alike(count: u32) -> Vec<Sealed> {
    (0..count).map(|_| personal(noon())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_alike_in_the_entries_of_a_batch_is_kept_once() {
    let database = Database::new().await;
    let store = database.store();
    let made = alike(16);
    let mut batch = Filler::new(&database.client).await;
    batch.add(&made).await;
    let entries = store.entries(0..16).await.unwrap();
    for (entry, sealed) in entries.iter().zip(&made) {
        assert_eq!(entry.leaf, sealed.leaf);
        assert_eq!(entry.withheld.as_ref(), Some(&sealed.withheld));
    }
    for (table, column) in [("log_batches", "leaves"), ("log_withheld", "withheld")] {
        let packed = format!(
            "SELECT count(*) FROM countersign.{table}
             WHERE pg_column_compression({column}) = 'lz4' AND pg_column_size({column}) * 2 < length({column})"
        );
        assert_eq!(database.number(&packed).await, 1, "{table}");
    }
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn octets_that_the_server_cannot_unpack_are_a_fault_of_the_log_with_their_place() {
    let cluster = Cluster::new("fsync = off");
    let server = cluster.start();
    let url = cluster.database();
    let database = Database::at(&url).await;
    let made = alike(300);
    let mut batch = Filler::new(&database.client).await;
    batch.add(&made[..100]).await;
    batch.add(&made[100..]).await;
    let stored = "SELECT pg_relation_filepath(c.reltoastrelid) FROM pg_class c
                  WHERE c.oid = 'countersign.log_batches_0'::regclass";
    let stored: String = database.client.query_one(stored, &[]).await.unwrap().get(0);
    database.run("CHECKPOINT").await;
    drop(database);
    server.stop();
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).open(cluster.data().join(stored)).unwrap();
    // Of the first piece of the first batch, at the end of the first page.
    file.seek(SeekFrom::Start(8192 - 700)).unwrap();
    file.write_all(&[0xff; 400]).unwrap();
    file.sync_all().unwrap();
    let server = cluster.start();
    let store = open(&url);
    let _ = store.look_through().await;
    let fault = store.fault().unwrap();
    assert!(
        fault
            .what
            .contains("entries from number 0 on, before 256, cannot be read"),
        "{}",
        fault.what
    );
    let one = store.entries(7..8).await.unwrap_err();
    assert!(
        one.0.contains("entries from number 7 on, before 8"),
        "{one}"
    );
    assert_eq!(store.entries(100..110).await.unwrap().len(), 10);
    close(store).await;
    server.stop();
}
