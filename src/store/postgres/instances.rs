//! Which instances run on the database, by its time.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::PostgresStore;
use crate::ledger::{Instances, Presence, SEEN_WITHIN, StoreUnavailable};

/// Says who we are, forgets who was not seen for an hour, and answers who else was seen lately. What it writes need not
/// outlive a crash, so nobody waits for a disk or a standby.
const MEET: &str = "
WITH gone AS (
    DELETE FROM countersign.instances WHERE id IN (
        SELECT i.id FROM countersign.instances i
        WHERE i.id <> $1 AND i.seen < countersign.now_millis() - 3600000
        ORDER BY i.id FOR UPDATE SKIP LOCKED)
), myself AS (
    INSERT INTO countersign.instances (id, name, program, policies, settings, seen)
    VALUES ($1, $2, $3, $4, $6, countersign.now_millis())
    ON CONFLICT (id) DO UPDATE
        SET name = excluded.name, program = excluded.program, policies = excluded.policies,
            settings = excluded.settings, seen = excluded.seen
)
SELECT i.name, i.program, i.policies, i.settings, set_config('synchronous_commit', 'off', true)
    FROM (SELECT 1) AS always
    LEFT JOIN countersign.instances i ON i.id <> $1 AND i.seen > countersign.now_millis() - $5
    ORDER BY i.name, i.program, i.policies, i.settings";

impl Instances for PostgresStore {
    fn meet(&self, myself: Presence) -> BoxFuture<'_, Result<Vec<Presence>, StoreUnavailable>> {
        let id = self.0.instance;
        let lately = i64::from(SEEN_WITHIN.0) * 1000;
        self.read(move |client| {
            async move {
                let statement = client.prepare_cached(MEET).await?;
                let Presence {
                    name,
                    program,
                    policies,
                    settings,
                } = myself;
                let rows = client
                    .query(
                        &statement,
                        &[&id, &name, &program, &policies, &lately, &settings],
                    )
                    .await?;
                let mut others = Vec::new();
                for row in rows {
                    // One row without a name says that there is nobody else.
                    if let Some(name) = row.try_get(0)? {
                        others.push(Presence {
                            name,
                            program: row.try_get(1)?,
                            policies: row.try_get(2)?,
                            settings: row.try_get(3)?,
                        });
                    }
                }
                Ok(others)
            }
            .boxed()
        })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let id = self.0.instance;
        self.read(move |client| {
            async move {
                let statement = client
                    .prepare_cached("DELETE FROM countersign.instances WHERE id = $1")
                    .await?;
                client.execute(&statement, &[&id]).await?;
                Ok(())
            }
            .boxed()
        })
    }
}
