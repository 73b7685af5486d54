//! What is done now and then, by every instance: counted denials are written down, what has expired is forgotten, and the
//! database is asked for the time.

use std::sync::Arc;

use deadpool_postgres::Pool;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::counts::Counts;
use super::connect::Connector;
use super::fault::{Fault, sealed_events};
use super::time::DatabaseClock;
use super::transact::transact;
use super::{POOL_PATIENCE, PostgresOptions, read_from};
use crate::audit::Happening;
use crate::clock::{HOUR, Seconds, UnixTime};
use crate::ledger::StoreUnavailable;

/// How many keys one statement forgets. What it locks nobody else wants: they have expired.
const FORGOTTEN_AT_ONCE: i64 = 1000;

/// How long after the end of an hour its denials are summed up: by then every instance has written down its own.
const LATE: Seconds = Seconds(30);

/// What tidies.
#[derive(Clone)]
pub(super) struct Tidy {
    pub(super) pool: Pool,
    pub(super) soon: Pool,
    pub(super) connector: Arc<Connector>,
    pub(super) counts: Arc<Counts>,
    pub(super) clock: Arc<DatabaseClock>,
    pub(super) options: PostgresOptions,
}

impl Tidy {
    /// Tidies until the store is closed, and then writes down what was counted.
    pub(super) async fn run(self, mut closed: watch::Receiver<bool>) {
        loop {
            let closing = timeout(self.options.idle, closed.wait_for(|closed| *closed))
                .await
                .is_ok();
            if closing {
                // Nobody waits long for this: a crash may lose it too.
                let written = timeout(POOL_PATIENCE, self.write_counts()).await;
                if let Ok(Err(error)) = written {
                    tracing::warn!(%error, "counted denials were not written down");
                }
                return;
            }
            let open = || !*closed.borrow();
            if let Err(error) = self.until(open).await {
                tracing::warn!(%error, "the database could not be tidied");
            }
        }
    }

    fn count_connections(&self) {
        let pools = [self.pool.status(), self.soon.status()];
        let open = pools.iter().map(|pool| pool.size).sum();
        let idle = pools.iter().map(|pool| pool.available).sum();
        self.options.metrics.connections(open, idle);
    }

    /// Does all of it once.
    pub(super) async fn once(&self) -> Result<(), StoreUnavailable> {
        self.until(|| true).await
    }

    /// The same, but leaves what has expired to the next time once it may not go on.
    async fn until(&self, goes_on: impl Fn() -> bool) -> Result<(), StoreUnavailable> {
        self.count_connections();
        self.ask_the_time().await?;
        self.write_counts().await?;
        self.sum_up().await?;
        while self.forget_spent().await? && goes_on() {}
        while self.forget_denials().await? && goes_on() {}
        Ok(())
    }

    /// Asks the database for the time.
    pub(super) async fn ask_the_time(&self) -> Result<(), StoreUnavailable> {
        let clock = self.clock.clone();
        let asked = read_from(&self.pool, &self.connector, POOL_PATIENCE, move |client| {
            async move {
                let asked = client
                    .prepare_cached("SELECT countersign.now_millis()")
                    .await?;
                let before = clock.machine();
                let theirs: i64 = client.query_one(&asked, &[]).await?.try_get(0)?;
                clock.measured(before, UnixTime::from_millis(theirs), clock.machine());
                Ok(())
            }
            .boxed()
        });
        asked.await
    }

    /// Adds what was counted here to what is counted in the database.
    async fn write_counts(&self) -> Result<(), StoreUnavailable> {
        let counts = self.counts.take();
        if counts.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<_> = counts.iter().collect();
        // In the same order by everybody, so that no two wait for each other.
        rows.sort_by_key(|((what, hour), _)| (*hour, what.issuer.clone(), what.reason));
        let hours: Vec<i64> = rows.iter().map(|((_, hour), _)| hour.millis()).collect();
        let issuers = rows.iter().map(|((what, _), _)| what.issuer.clone());
        let issuers: Vec<String> = issuers.collect();
        let reasons: Vec<&str> = rows.iter().map(|((what, _), _)| what.reason).collect();
        let numbers = rows.iter().map(|(_, count)| (**count).cast_signed());
        let numbers: Vec<i64> = numbers.collect();
        let written = transact(&self.pool, &self.connector, move |transaction| {
            async move {
                transaction
                    .execute(
                        "INSERT INTO countersign.denial_counts AS c (hour, issuer, reason, count)
                         SELECT w.hour, w.issuer, w.reason, w.count
                         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])
                             AS w (hour, issuer, reason, count)
                         ON CONFLICT (hour, issuer, reason) DO UPDATE SET count = c.count + excluded.count",
                        &[&hours, &issuers, &reasons, &numbers],
                    )
                    .await?;
                Ok(((), Vec::new()))
            }
            .boxed()
        });
        written.await.map(|_| ()).inspect_err(|_| {
            // What became of it is not known if the connection was lost: counted twice is better than not at all.
            self.counts.put_back(counts);
        })
    }

    /// Makes an entry of the log of each count whose hour is over, and forgets the count.
    async fn sum_up(&self) -> Result<(), StoreUnavailable> {
        let over = read_from(
            &self.pool,
            &self.connector,
            self.options.reads(),
            |client| {
                async move {
                    let asked = client
                    .prepare_cached(
                        "SELECT countersign.now_millis(), min(hour) FROM countersign.denial_counts",
                    )
                    .await?;
                    let row = client.query_one(&asked, &[]).await?;
                    let (now, first): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
                    let over = UnixTime::from_millis(now).minus(HOUR).minus(LATE).millis();
                    Ok(first
                        .is_some_and(|first| first <= over)
                        .then_some((now, over)))
                }
                .boxed()
            },
        );
        let Some((now, over)) = over.await? else {
            return Ok(());
        };
        let summed = transact(&self.pool, &self.connector, move |transaction| {
            async move {
                let rows = transaction
                    .query(
                        "WITH over AS (
                             SELECT hour, issuer, reason FROM countersign.denial_counts WHERE hour <= $1
                             ORDER BY hour, issuer, reason FOR UPDATE
                         ), gone AS (
                             DELETE FROM countersign.denial_counts c USING over o
                             WHERE (c.hour, c.issuer, c.reason) = (o.hour, o.issuer, o.reason)
                             RETURNING c.hour, c.issuer, c.reason, c.count
                         )
                         SELECT hour, issuer, reason, count FROM gone ORDER BY hour, issuer, reason",
                        &[&over],
                    )
                    .await?;
                let mut counted = Vec::with_capacity(rows.len());
                for row in &rows {
                    let count: i64 = row.try_get(3)?;
                    counted.push(Happening::DenialsCounted {
                        hour_millis: row.try_get(0)?,
                        issuer: row.try_get(1)?,
                        reason: row.try_get(2)?,
                        count: count.unsigned_abs(),
                    });
                }
                Ok(((), sealed_events(counted, UnixTime::from_millis(now))?))
            }
            .boxed()
        });
        summed.await.map(|_| ())
    }

    /// Forgets some spent tokens whose time is over, and notes how far. Answers whether there may be more of them.
    async fn forget_spent(&self) -> Result<bool, StoreUnavailable> {
        self.forget(
            "WITH due AS (
                 SELECT key FROM countersign.spent_tokens
                 WHERE until < (SELECT countersign.now_millis())
                 ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED
             ), gone AS (
                 DELETE FROM countersign.spent_tokens s USING due d WHERE s.key = d.key RETURNING s.until
             ), noted AS (
                 INSERT INTO countersign.forgotten AS f (until)
                 SELECT max(g.until) FROM gone g HAVING count(*) > 0
                 ON CONFLICT (one) DO UPDATE SET until = greatest(f.until, excluded.until)
             )
             SELECT count(*) FROM gone",
        )
        .await
    }

    /// Forgets the keys of some denials whose time is over. Answers whether there may be more of them.
    async fn forget_denials(&self) -> Result<bool, StoreUnavailable> {
        self.forget(
            "WITH due AS (
                 SELECT key FROM countersign.denials
                 WHERE until < (SELECT countersign.now_millis())
                 ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED
             ), gone AS (
                 DELETE FROM countersign.denials s USING due d WHERE s.key = d.key RETURNING s.key
             )
             SELECT count(*) FROM gone",
        )
        .await
    }

    async fn forget(&self, statement: &'static str) -> Result<bool, StoreUnavailable> {
        let gone = transact(&self.pool, &self.connector, move |transaction| {
            async move {
                // Lost by a crash, it is done again.
                transaction
                    .batch_execute("SET LOCAL synchronous_commit = off")
                    .await?;
                let statement = transaction.prepare_cached(statement).await?;
                let row = transaction
                    .query_one(&statement, &[&FORGOTTEN_AT_ONCE])
                    .await?;
                let gone: i64 = row.try_get(0)?;
                Ok::<_, Fault>((gone, Vec::new()))
            }
            .boxed()
        });
        Ok(gone.await?.0 >= FORGOTTEN_AT_ONCE)
    }
}
