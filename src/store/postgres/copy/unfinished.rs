//! The tables as a copy in the making: one transaction, which is committed when everything is there and was compared.

use std::pin::pin;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::super::super::copy::{
    CopiedEntry, CopyError, Original as Copied, Part, State, Unfinished as InTheMaking,
};
use super::super::PostgresSettings;
use super::super::keeps::by_digest;
use super::super::migrate::{PATIENCE, migrate};
use super::original::Reading;
use super::{connect, need_nobody, unavailable};
use crate::digest::sha256;
use crate::ledger::StoreUnavailable;

/// A store that is made in a database.
pub(in super::super::super) struct Unfinished {
    client: Client,
    state: State,
    /// The latest time of the entries so far, and of those since the last that says that the clock was put back.
    latest: i64,
    latest_since: i64,
}

/// A row, as it is sent.
type Row = Vec<Box<dyn ToSql + Sync + Send>>;

/// The tables in which there must be nothing.
const FILLED: [&str; 15] = [
    "log_batches",
    "log_withheld",
    "log_nodes",
    "spent_tokens",
    "forgotten",
    "denials",
    "denial_counts",
    "names",
    "projects",
    "issuer_keys",
    "signing_keys",
    "checkpoint_key",
    "checkpoints",
    "policies",
    "policy_texts",
];

impl Unfinished {
    /// Begins a store in the database, in which there must be nothing, with what `state` says.
    pub(in super::super::super) async fn create(
        settings: &PostgresSettings,
        state: &State,
    ) -> Result<Self, CopyError> {
        let mut client = connect(settings).await?;
        migrate(&mut client, &settings.shown(), PATIENCE).await?;
        need_nobody(&client, &settings.shown()).await?;
        // An instance that starts meanwhile waits, and finds nothing to begin with.
        client
            .batch_execute("BEGIN; LOCK TABLE countersign.log_about, countersign.log_batches IN ACCESS EXCLUSIVE MODE")
            .await
            .map_err(unavailable)?;
        // One that connected before the lock may have begun already.
        need_nobody(&client, &settings.shown()).await?;
        for table in FILLED {
            let filled = client
                .query_one(
                    &format!("SELECT EXISTS (SELECT FROM countersign.{table})"),
                    &[],
                )
                .await
                .map_err(unavailable)?;
            if filled.get(0) {
                return Err(CopyError::NotEmpty(settings.shown()));
            }
        }
        let copy = Self {
            client,
            state: state.clone(),
            latest: i64::MIN,
            latest_since: i64::MIN,
        };
        copy.put_state().await.map_err(unavailable)?;
        Ok(copy)
    }

    async fn put_state(&self) -> Result<(), tokio_postgres::Error> {
        let (client, state) = (&self.client, &self.state);
        let number = |number: u64| number.cast_signed();
        client
            .execute(
                "UPDATE countersign.log_about SET withheld_from = $1",
                &[&number(state.withheld_from)],
            )
            .await?;
        client
            .execute(
                "SELECT countersign.add_partition(number) FROM generate_series(0, $1::bigint >> 27) AS number",
                &[&number(state.size)],
            )
            .await?;
        if let Some(until) = state.forgotten {
            let insert = "INSERT INTO countersign.forgotten (until) VALUES ($1)";
            client.execute(insert, &[&until.millis()]).await?;
        }
        if let Some(sealed) = &state.checkpoint_key {
            let insert = "INSERT INTO countersign.checkpoint_key (sealed) VALUES ($1)";
            client.execute(insert, &[sealed]).await?;
        }
        for (which, note) in [("signed", &state.signed), ("cosigned", &state.cosigned)] {
            if let Some(note) = note {
                let insert =
                    "INSERT INTO countersign.checkpoints (which, size, note) VALUES ($1, $2, $3)";
                client
                    .execute(insert, &[&which, &size_of(note), note])
                    .await?;
            }
        }
        Ok(())
    }

    /// Puts entries into batches that end where deleted values do.
    async fn put_entries(
        &mut self,
        first: u64,
        entries: &[CopiedEntry],
    ) -> Result<(), tokio_postgres::Error> {
        let (mut batches, mut withheld) = (Vec::new(), Vec::new());
        let (mut at, mut rest) = (first, entries);
        while !rest.is_empty() {
            let count = count_in_batch(rest, self.state.withheld_from.checked_sub(at));
            let (batch, left) = rest.split_at(count);
            let (row, values) = self.batch(at, batch);
            batches.push(row);
            if !values.is_empty() {
                withheld.push(row_of(at.cast_signed(), values));
            }
            at += count as u64;
            rest = left;
        }
        let types = [
            Type::INT8,
            Type::INT4,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT4_ARRAY,
            Type::INT4_ARRAY,
            Type::BYTEA,
            Type::BYTEA,
            Type::BYTEA,
        ];
        let columns = "log_batches (first, count, latest, latest_since, put_back, leaf_ends, withheld_ends, hashes, marks, \
                       leaves)";
        self.send(columns, &types, batches).await?;
        if withheld.is_empty() {
            return Ok(());
        }
        let types = [Type::INT8, Type::BYTEA];
        self.send("log_withheld (first, withheld)", &types, withheld)
            .await
    }

    /// The row of a batch, and what its entries withhold.
    fn batch(&mut self, first: u64, entries: &[CopiedEntry]) -> (Row, Vec<u8>) {
        let (mut leaf_ends, mut withheld_ends) = (Vec::new(), Vec::new());
        let (mut hashes, mut marks) = (Vec::new(), Vec::new());
        let (mut leaves, mut withheld) = (Vec::<u8>::new(), Vec::new());
        let mut put_back = 0;
        for (number, entry) in (first..).zip(entries) {
            hashes.extend(entry.hash);
            marks.extend(entry.marks.write());
            leaves.extend(&entry.leaf);
            withheld.extend(&entry.withheld);
            // A part is bounded far below.
            leaf_ends.push(i32::try_from(leaves.len()).unwrap_or(i32::MAX));
            withheld_ends.push(i32::try_from(withheld.len()).unwrap_or(i32::MAX));
            let at = entry.marks.at_millis;
            self.latest = self.latest.max(at);
            self.latest_since = self.latest_since.max(at);
            // Of those that say that the clock was put back, the last one is known.
            if number > 0 && number == self.state.put_back {
                self.latest_since = at;
            }
            if number >= self.state.put_back {
                put_back = self.state.put_back;
            }
        }
        if first + entries.len() as u64 == self.state.size {
            // From here on it goes on, as it would have.
            self.latest = self.state.latest.unwrap_or(self.latest);
            self.latest_since = self.state.latest_since.unwrap_or(self.latest_since);
        }
        let count = i32::try_from(entries.len()).unwrap_or(i32::MAX);
        let row: Row = vec![
            Box::new(first.cast_signed()),
            Box::new(count),
            Box::new(self.latest),
            Box::new(self.latest_since),
            Box::new(put_back.cast_signed()),
            Box::new(leaf_ends),
            Box::new(withheld_ends),
            Box::new(hashes),
            Box::new(marks),
            Box::new(leaves),
        ];
        (row, withheld)
    }

    async fn put(&mut self, part: Part) -> Result<(), tokio_postgres::Error> {
        match part {
            Part::Entries(first, entries) => self.put_entries(first, &entries).await,
            Part::Spent(all) => {
                let rows = all.into_iter().map(|spent| {
                    let uses = i32::try_from(spent.uses).unwrap_or(i32::MAX);
                    // The decision of its last use is asked for by whoever lost its answer, and nobody waits for one.
                    let mut row = row_of(spent.key.to_vec(), uses);
                    row.push(Box::new(spent.until.millis()));
                    row.push(Box::new(Uuid::nil()));
                    row
                });
                let types = [Type::BYTEA, Type::INT4, Type::INT8, Type::UUID];
                let columns = "spent_tokens (key, uses, until, decision_id)";
                self.send(columns, &types, rows.collect()).await
            }
            Part::Denials(all) => {
                let rows = all.into_iter().map(|denial| {
                    let id = Uuid::from_bytes(*denial.id.as_bytes());
                    let mut row = row_of(denial.key.to_vec(), id);
                    row.push(Box::new(denial.until.millis()));
                    row
                });
                let types = [Type::BYTEA, Type::UUID, Type::INT8];
                let columns = "denials (key, decision_id, until)";
                self.send(columns, &types, rows.collect()).await
            }
            Part::Counted(all) => {
                let rows = all.into_iter().map(|counted| {
                    let mut row = row_of(counted.hour.millis(), counted.issuer);
                    row.push(Box::new(counted.reason));
                    row.push(Box::new(counted.count.cast_signed()));
                    row
                });
                let types = [Type::INT8, Type::TEXT, Type::TEXT, Type::INT8];
                let columns = "denial_counts (hour, issuer, reason, count)";
                self.send(columns, &types, rows.collect()).await
            }
            Part::Names(all) => {
                let rows = all.into_iter().map(|kept| {
                    let names = json(&kept.names);
                    let id = sha256(names.as_bytes()).to_vec();
                    let mut row = row_of(id, kept.names.project);
                    row.push(Box::new(names));
                    row.push(Box::new(json(&kept.state)));
                    row.push(Box::new(1_i64));
                    row
                });
                let types = [Type::BYTEA, Type::TEXT, Type::TEXT, Type::TEXT, Type::INT8];
                let columns = "names (id, project, names, state, version)";
                self.send(columns, &types, rows.collect()).await
            }
            Part::Projects(all) => {
                let rows = all.into_iter().map(|(path, id)| row_of(path, id));
                let types = [Type::TEXT, Type::TEXT];
                self.send("projects (path, id)", &types, rows.collect())
                    .await
            }
            Part::IssuerKeys(all) => {
                let rows = all.into_iter().map(|keys| {
                    let issuer = by_digest(&keys.issuer);
                    let mut row = row_of(issuer, keys.fetched.millis());
                    row.push(Box::new(keys.body));
                    row
                });
                let types = [Type::TEXT, Type::INT8, Type::BYTEA];
                let columns = "issuer_keys (issuer, fetched, body)";
                self.send(columns, &types, rows.collect()).await
            }
            Part::SigningKeys(all) => {
                let rows = all.into_iter().map(|key| row_of(key.id, key.sealed));
                let types = [Type::TEXT, Type::BYTEA];
                self.send("signing_keys (id, sealed)", &types, rows.collect())
                    .await
            }
            Part::Policies(all) => {
                let rows = all.into_iter().map(|kept| {
                    let on_record = json(&kept.on_record);
                    row_of(kept.file, on_record)
                });
                let types = [Type::TEXT, Type::TEXT];
                self.send("policies (file, on_record)", &types, rows.collect())
                    .await
            }
            Part::PolicyTexts(all) => {
                let rows = all.into_iter().map(|(digest, text)| row_of(digest, text));
                let types = [Type::TEXT, Type::BYTEA];
                let columns = "policy_texts (digest, content)";
                self.send(columns, &types, rows.collect()).await
            }
        }
    }

    /// Sends rows into a table.
    async fn send(
        &self,
        columns: &str,
        types: &[Type],
        rows: Vec<Row>,
    ) -> Result<(), tokio_postgres::Error> {
        let copy = format!("COPY countersign.{columns} FROM STDIN (FORMAT binary)");
        let sink = self.client.copy_in(&copy).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
        for row in rows {
            let mut values: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(row.len());
            for value in &row {
                values.push(&**value);
            }
            writer.as_mut().write(&values).await?;
        }
        writer.finish().await?;
        Ok(())
    }

    async fn commit(self) -> Result<(), CopyError> {
        self.client
            .batch_execute("COMMIT")
            .await
            .map_err(unavailable)?;
        // What the server plans by; else the first questions are answered by looking at everything.
        for table in FILLED {
            let analyze = format!("ANALYZE countersign.{table}");
            if let Err(fault) = self.client.batch_execute(&analyze).await {
                tracing::warn!(%fault, table, "the copy is whole, and its statistics are not there yet");
            }
        }
        Ok(())
    }
}

/// The copy, read in the transaction that made it.
struct Written<'a> {
    client: &'a Client,
    reading: Reading,
}

impl Copied for Written<'_> {
    fn state(&mut self) -> BoxFuture<'_, Result<State, StoreUnavailable>> {
        self.reading.state(self.client).boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Part>, StoreUnavailable>> {
        self.reading.next(self.client).boxed()
    }
}

impl InTheMaking for Unfinished {
    fn add(&mut self, part: Part) -> BoxFuture<'_, Result<(), CopyError>> {
        async {
            let put = self.put(part).await.map_err(unavailable);
            Ok(put?)
        }
        .boxed()
    }

    fn as_original(&mut self) -> BoxFuture<'_, Result<Box<dyn Copied + '_>, CopyError>> {
        async {
            let written = Written {
                client: &self.client,
                reading: Reading::default(),
            };
            Ok(Box::new(written) as Box<dyn Copied>)
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), CopyError>> {
        self.commit().boxed()
    }
}

/// How many octets of entries go into one batch, about. To read one of them, all before it are unpacked.
const LARGEST_BATCH: usize = 128 << 10;

/// How many of these entries go into one batch, of which those before number `until` from here on have no values.
fn count_in_batch(entries: &[CopiedEntry], until: Option<u64>) -> usize {
    let mut octets = 0;
    let fitting = entries.iter().take_while(|entry| {
        octets += entry.leaf.len() + entry.withheld.len();
        octets <= LARGEST_BATCH
    });
    let fitting = fitting.count().max(1);
    match until.and_then(|until| usize::try_from(until).ok()) {
        Some(until) if until > 0 => fitting.min(until),
        _ => fitting,
    }
}

fn row_of(
    one: impl ToSql + Sync + Send + 'static,
    other: impl ToSql + Sync + Send + 'static,
) -> Row {
    vec![Box::new(one), Box::new(other)]
}

/// How many entries a checkpoint is of: its second line (C2SP tlog-checkpoint).
fn size_of(note: &str) -> i64 {
    let size = note.lines().nth(1).and_then(|line| line.parse().ok());
    size.unwrap_or(0)
}

fn json<T: serde::Serialize>(value: &T) -> String {
    // What was read from JSON can be written as such.
    serde_json::to_string(value).unwrap_or_default()
}
