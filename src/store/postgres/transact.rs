//! Rare changes: a transaction each, which ends with the entries that say so.

use deadpool_postgres::{Object, Pool, Transaction};
use futures_util::future::BoxFuture;

use super::batch::{self, Batch, Change, Outcome};
use super::connect::Connector;
use super::fault::Fault;
use super::writer::{latest, put_back};
use super::{POOL_PATIENCE, PostgresStore, given_up, leased};
use crate::audit::Sealed;
use crate::ledger::StoreUnavailable;

/// What a transaction came to: its answer, and the entries to be added to the log in it.
pub(super) type Changed<T> = (T, Vec<Sealed>);

impl PostgresStore {
    /// Changes something in one transaction, and adds the entries that say so to the log in the same. Answers what `change`
    /// answered, and the number of the first entry. An error leaves nothing behind, unless it is that the outcome is not
    /// known: then it was done wholly or not at all.
    ///
    /// Rows are to be locked in the order of their keys, tables in the order in which the migrations make them; the end of
    /// the log is locked last, here.
    pub(super) fn transact<T, F>(
        &self,
        change: F,
    ) -> BoxFuture<'_, Result<(T, Option<u64>), StoreUnavailable>>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Transaction<'_>) -> BoxFuture<'a, Result<Changed<T>, Fault>>
            + Send
            + 'static,
    {
        let (pool, connector) = (self.0.pool.clone(), self.0.connector.clone());
        self.run(async move { transact(&pool, &connector, change).await })
    }
}

/// The same, for what runs in the store itself.
pub(super) async fn transact<T, F>(
    pool: &Pool,
    connector: &Connector,
    change: F,
) -> Result<(T, Option<u64>), StoreUnavailable>
where
    F: for<'a> FnOnce(&'a Transaction<'_>) -> BoxFuture<'a, Result<Changed<T>, Fault>>,
{
    let limit = connector.settings().statement_timeout + POOL_PATIENCE;
    let mut client = leased(pool, connector).await?;
    let before = connector.unconfirmed();
    let done = tokio::time::timeout(limit, changed(&mut client, change)).await;
    let done = done.unwrap_or_else(|_| Err(Fault::Lost("there is no answer in time".into())));
    let done = match done {
        Ok(_) if connector.unconfirmed() != before => {
            Err(Fault::Lost("a commit may not be on the standby".into()))
        }
        done => done,
    };
    done.map_err(|fault| given_up(client, connector, fault))
}

async fn changed<T, F>(client: &mut Object, change: F) -> Result<(T, Option<u64>), Fault>
where
    F: for<'a> FnOnce(&'a Transaction<'_>) -> BoxFuture<'a, Result<Changed<T>, Fault>>,
{
    let transaction = client.transaction().await?;
    let (answer, entries) = change(&transaction).await?;
    // A commit that the server gives up while it waits for its standby is done here and maybe not there.
    transaction
        .batch_execute("SET LOCAL statement_timeout = 0; SAVEPOINT entries")
        .await?;
    let first = add(&transaction, entries).await?;
    transaction.commit().await?;
    Ok((answer, first))
}

/// Adds entries to the log in a transaction. From here on everybody else waits for its end.
async fn add(transaction: &Transaction<'_>, entries: Vec<Sealed>) -> Result<Option<u64>, Fault> {
    if entries.is_empty() {
        return Ok(None);
    }
    let adding = Change::adding(entries);
    match added(transaction, &adding, None).await {
        Err(fault) => {
            let latest = latest(&fault).ok_or(fault)?;
            transaction
                .batch_execute("ROLLBACK TO SAVEPOINT entries")
                .await?;
            let entries = adding.entries.iter().map(|sealed| sealed.marks.at_millis);
            let announced = put_back(entries.min().unwrap_or_default(), latest);
            added(transaction, &adding, announced.as_ref()).await
        }
        done => done,
    }
}

async fn added(
    transaction: &Transaction<'_>,
    adding: &Change,
    announced: Option<&(Sealed, i64)>,
) -> Result<Option<u64>, Fault> {
    let statement = batch::prepare_cached(transaction).await?;
    let announced = announced.map(|(sealed, before)| (sealed, *before));
    let batch = Batch::of(std::iter::once(adding), announced);
    let outcomes = batch.send(&**transaction, &statement).await?;
    match outcomes.first() {
        Some(Outcome::Done(first)) => Ok(*first),
        _ => Err(Fault::Refused(
            "the database answers otherwise than it was asked".into(),
        )),
    }
}
