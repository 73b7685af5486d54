//! The promises of the audit log.

use std::ops::Range;

use deadpool_postgres::{GenericClient, Object};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_postgres::types::ToSql;

use super::super::PostgresStore;
use super::super::fault::{Fault, sealed_events};
use super::batches::{self, Unreadable};
use super::{Log, fault, retention, search, tree};
use crate::audit::tree::Hash;
use crate::audit::{DecisionId, Filter, Happening, LoggedEntry, Record};
use crate::clock::UnixTime;
use crate::ledger::{
    AuditLog, Kept, LogFault, Page, StoreUnavailable, TreeHead, size_of_checkpoint,
};

/// Where the log ends, and what was noted of its damage.
const HEAD: &str = "
SELECT h.size, p.packed, h.withheld_from, f.entry, f.what, f.mend
FROM countersign.log_head h CROSS JOIN countersign.log_progress p
LEFT JOIN countersign.log_fault f ON true";

const CHECKPOINT_KEY: &str = "SELECT k.sealed FROM countersign.checkpoint_key k";
const KEEP_FIRST_KEY: &str =
    "INSERT INTO countersign.checkpoint_key (sealed) VALUES ($1) ON CONFLICT DO NOTHING";
const KEEP_NEXT_KEY: &str = "UPDATE countersign.checkpoint_key SET sealed = $1 WHERE sealed = $2";

const CHECKPOINT: &str = "SELECT c.note FROM countersign.checkpoints c WHERE c.which = $1";
/// Instances sign at the same time; the larger one stays.
const KEEP_CHECKPOINT: &str = "
INSERT INTO countersign.checkpoints AS c (which, size, note) VALUES ($1, $2, $3)
ON CONFLICT (which) DO UPDATE SET size = excluded.size, note = excluded.note WHERE c.size <= excluded.size";

impl AuditLog for PostgresStore {
    fn append(
        &self,
        events: Vec<Happening>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<u64, StoreUnavailable>> {
        async move {
            let events = sealed_events(events, now)?;
            match self.add(events).await? {
                Some(first) => Ok(first),
                None => self.in_log(size).await,
            }
        }
        .boxed()
    }

    fn tree(&self) -> BoxFuture<'_, Result<TreeHead, StoreUnavailable>> {
        self.in_log(|client, log| async move { log.head(client).await }.boxed())
    }

    fn hashes(
        &self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>> {
        self.in_log(|client, log| async move { log.hashes(client, &ranges).await }.boxed())
    }

    fn tile_hashes(
        &self,
        level: u8,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>> {
        self.in_log(move |client, log| {
            async move {
                let end = batches::end(client).await?;
                let there = tree::count(level, end.size);
                let wanted = (level, range.start..range.end.min(there));
                let found = tree::levels(client, &log.nodes, &end, &[wanted]).await?;
                Ok(found.into_iter().flatten().collect())
            }
            .boxed()
        })
    }

    fn entries(
        &self,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<LoggedEntry>, StoreUnavailable>> {
        self.in_log(move |client, _| {
            async move {
                let end = batches::end(client).await?.size;
                let found = batches::range(client, range.start..range.end.min(end)).await?;
                Ok(found.into_iter().map(|found| found.entry).collect())
            }
            .boxed()
        })
    }

    fn search(
        &self,
        filter: Filter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreUnavailable>> {
        self.in_log(move |client, _| {
            async move { search::search(client, &filter, before, limit).await }.boxed()
        })
    }

    fn remove_personal_values(
        &self,
        before: UnixTime,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        retention::remove(self, before, now).boxed()
    }

    fn fault(&self) -> Option<LogFault> {
        self.0.log.fault.get()
    }

    fn checkpoint_key(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        self.in_log(|client, _| {
            async move {
                let row = client.query_opt(CHECKPOINT_KEY, &[]).await?;
                Ok(row.map(|row| row.try_get(0)).transpose()?)
            }
            .boxed()
        })
    }

    fn keep_checkpoint_key(
        &self,
        before: Option<Vec<u8>>,
        sealed: Vec<u8>,
        event: Happening,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        async move {
            let events = sealed_events([event], now)?;
            let kept = self.transact(move |transaction| {
                async move {
                    let kept = match before {
                        None => transaction.execute(KEEP_FIRST_KEY, &[&sealed]).await?,
                        Some(before) => {
                            let parameters: [&(dyn ToSql + Sync); 2] = [&sealed, &before];
                            transaction.execute(KEEP_NEXT_KEY, &parameters).await?
                        }
                    };
                    let events = if kept > 0 { events } else { Vec::new() };
                    Ok((kept > 0, events))
                }
                .boxed()
            });
            kept.await.map(|(kept, _)| kept)
        }
        .boxed()
    }

    fn checkpoint(&self, which: Kept) -> BoxFuture<'_, Result<Option<String>, StoreUnavailable>> {
        self.in_log(move |client, _| {
            async move {
                let statement = client.prepare_cached(CHECKPOINT).await?;
                let row = client.query_opt(&statement, &[&name(which)]).await?;
                Ok(row.map(|row| row.try_get(0)).transpose()?)
            }
            .boxed()
        })
    }

    fn keep_checkpoint(
        &self,
        which: Kept,
        note: String,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        async move {
            let kept = self.transact(move |transaction| {
                async move {
                    let statement = transaction.prepare_cached(KEEP_CHECKPOINT).await?;
                    let size = batches::signed(size_of_checkpoint(&note));
                    let parameters: [&(dyn ToSql + Sync); 3] = [&name(which), &size, &note];
                    transaction.execute(&statement, &parameters).await?;
                    Ok(((), Vec::new()))
                }
                .boxed()
            });
            kept.await.map(|_| ())
        }
        .boxed()
    }
}

impl PostgresStore {
    /// The record of a decision.
    #[doc(hidden)]
    pub fn recorded(
        &self,
        id: DecisionId,
    ) -> BoxFuture<'_, Result<Option<Record>, StoreUnavailable>> {
        self.in_log(move |client, _| async move { search::decision(client, id).await }.boxed())
    }

    /// What `read` finds in the log. What turns out to be damaged is kept as a fault.
    pub(super) fn in_log<T, F>(&self, read: F) -> BoxFuture<'_, Result<T, StoreUnavailable>>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Object, &'a Log) -> BoxFuture<'a, Result<T, Unreadable>>
            + Send
            + 'static,
    {
        let log = self.0.log.clone();
        self.read(move |client| {
            async move {
                let read = read(client, &log).await;
                log.looked(client, read).await
            }
            .boxed()
        })
    }
}

impl Log {
    /// Keeps damage that was met as a fault.
    pub(super) async fn looked<T>(
        &self,
        client: &impl GenericClient,
        looked: Result<T, Unreadable>,
    ) -> Result<T, Fault> {
        match looked {
            Ok(found) => Ok(found),
            Err(Unreadable::Failed(fault)) => Err(fault),
            Err(Unreadable::Damaged { index, what }) => {
                self.fault.found(client, index, what.clone()).await;
                Err(Fault::Refused(what))
            }
        }
    }

    async fn head(&self, client: &Object) -> Result<TreeHead, Unreadable> {
        let statement = client.prepare_cached(HEAD).await?;
        let row = client.query_one(&statement, &[]).await?;
        let end = batches::End {
            size: batches::unsigned(&row, 0)?,
            packed: batches::unsigned(&row, 1)? * super::CHUNK,
            withheld_from: batches::unsigned(&row, 2)?,
        };
        let noted = fault::read(&row, 3)?;
        self.fault.learn(noted.map(|noted| noted.fault));
        let size = end.size;
        let all = 0..size;
        let ranges = std::slice::from_ref(&all);
        let mut roots = tree::hashes(client, &self.nodes, &end, ranges).await?;
        let root = roots.pop().unwrap_or_default();
        Ok(TreeHead { size, root })
    }

    async fn hashes(
        &self,
        client: &Object,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Hash>, Unreadable> {
        let end = batches::end(client).await?;
        if let Some(beyond) = ranges.iter().find(|range| range.end > end.size) {
            let (size, asked) = (end.size, beyond.end);
            let what = format!("the tree has {size} leaves, and {asked} were asked for");
            return Err(Fault::Refused(what).into());
        }
        tree::hashes(client, &self.nodes, &end, ranges).await
    }
}

fn size<'a>(client: &'a Object, _: &'a Log) -> BoxFuture<'a, Result<u64, Unreadable>> {
    async move { Ok(batches::end(client).await?.size) }.boxed()
}

/// The key of a checkpoint.
fn name(which: Kept) -> &'static str {
    match which {
        Kept::Signed => "signed",
        Kept::Cosigned => "cosigned",
    }
}
