//! Fills the log of a database as commits do, without deciding anything.

use countersign::audit::{Event, Happening, Sealed};
use countersign::clock::UnixTime;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// Where the log ends.
pub struct Filler<'a> {
    client: &'a Client,
    size: i64,
    latest: i64,
    latest_since: i64,
    put_back: i64,
}

/// What one batch adds.
#[derive(Default)]
pub struct Batch {
    leaf_ends: Vec<i32>,
    withheld_ends: Vec<i32>,
    hashes: Vec<u8>,
    marks: Vec<u8>,
    leaves: Vec<u8>,
    withheld: Vec<u8>,
    newest: Option<i64>,
}

impl Batch {
    pub fn add(&mut self, sealed: &Sealed) {
        self.leaves.extend(&sealed.leaf);
        self.withheld.extend(&sealed.withheld);
        self.leaf_ends
            .push(i32::try_from(self.leaves.len()).unwrap());
        let end = i32::try_from(self.withheld.len()).unwrap();
        self.withheld_ends.push(end);
        self.hashes.extend(sealed.leaf_hash);
        self.marks.extend(sealed.marks.write());
        self.newest = self.newest.max(Some(sealed.marks.at_millis));
    }

    pub fn len(&self) -> usize {
        self.leaf_ends.len()
    }

    /// Writes it as the entries from `first` on; `latest` is the latest time of these and all before, and of those since
    /// the clock was put back, which the last number says.
    pub async fn write(
        &self,
        client: &Client,
        first: i64,
        (latest, latest_since): (i64, i64),
        put_back: i64,
    ) {
        let count = i32::try_from(self.len()).unwrap();
        let insert = client.prepare_typed(
            "INSERT INTO countersign.log_batches (first, count, latest, latest_since, put_back, leaf_ends, withheld_ends,
                hashes, marks, leaves)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[],
        );
        let insert = insert.await.unwrap();
        let values: [&(dyn ToSql + Sync); 10] = [
            &first,
            &count,
            &latest,
            &latest_since,
            &put_back,
            &self.leaf_ends,
            &self.withheld_ends,
            &self.hashes,
            &self.marks,
            &self.leaves,
        ];
        client.execute(&insert, &values).await.unwrap();
        if !self.withheld.is_empty() {
            let insert = "INSERT INTO countersign.log_withheld (first, withheld) VALUES ($1, $2)";
            let values: [&(dyn ToSql + Sync); 2] = [&first, &self.withheld];
            client.execute(insert, &values).await.unwrap();
        }
    }
}

impl<'a> Filler<'a> {
    /// Goes on where the log ends.
    pub async fn new(client: &'a Client) -> Self {
        let head = "SELECT size, latest, latest_since, put_back FROM countersign.log_head";
        let row = client.query_one(head, &[]).await.unwrap();
        Self {
            client,
            size: row.get(0),
            latest: row.get(1),
            latest_since: row.get(2),
            put_back: row.get(3),
        }
    }

    /// Adds entries in one batch, after one that says that the clock was put back if they say an earlier time.
    pub async fn add(&mut self, entries: &[Sealed]) {
        let mut batch = Batch::default();
        let at = entries.iter().map(|sealed| sealed.marks.at_millis);
        let (oldest, newest) = (at.clone().min().unwrap(), at.max().unwrap());
        if self.size > 0 && oldest < self.latest_since.saturating_sub(60_000) {
            let before_millis = self.latest_since;
            let put_back = Happening::ClockPutBack { before_millis };
            let put_back = Event::new(put_back, UnixTime::from_millis(oldest));
            batch.add(&Sealed::of_event(put_back).unwrap());
            self.put_back = self.size;
            self.latest_since = oldest;
        }
        for sealed in entries {
            batch.add(sealed);
        }
        self.latest = self.latest.max(newest);
        self.latest_since = self.latest_since.max(newest);
        assert!(
            oldest >= self.latest_since - 60_000,
            "no commit has such entries"
        );
        let latest = (self.latest, self.latest_since);
        batch
            .write(self.client, self.size, latest, self.put_back)
            .await;
        self.size += i64::try_from(batch.len()).unwrap();
    }

    /// How many entries the log has now.
    pub fn size(&self) -> u64 {
        u64::try_from(self.size).unwrap()
    }
}
