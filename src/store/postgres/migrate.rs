//! The tables, brought to the form that this program writes. Forward only, and by one instance at a time.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row, Transaction};

use super::fault::{PostgresError, in_words};
use crate::digest::{hex, sha256};

/// One step from an older form to a newer one. A step that was released is never changed.
struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// All steps, in their order. The version of a database is how many it has had.
const MIGRATIONS: [Migration; 2] = [
    Migration {
        name: "store",
        sql: include_str!("migrations/0001_store.sql"),
    },
    Migration {
        name: "settings",
        sql: include_str!("migrations/0002_settings.sql"),
    },
];

/// What instances agree on to take turns: the octets of `ctrsign`.
const TURN: i64 = 0x63_74_72_73_69_67_6e;

/// How long to wait for the turn, unless somebody says otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The steps that a database has had.
const TAKEN: &str = "SELECT name, digest FROM countersign.migrations ORDER BY version";

/// Brings the tables of the database to the newest form. Each step is one transaction with the note that it was taken, so
/// an instance that is stopped in it leaves nothing half done. Instances that start at once wait for each other, so long at
/// most.
pub(super) async fn migrate(
    client: &mut Client,
    database: &str,
    patience: Duration,
) -> Result<(), PostgresError> {
    let newest = MIGRATIONS.len();
    let failed = |version: usize, fault: &tokio_postgres::Error| {
        PostgresError::Failed(database.to_owned(), version, in_words(fault))
    };
    loop {
        let transaction = client
            .transaction()
            .await
            .map_err(|fault| failed(newest, &fault))?;
        turn(&transaction, patience).await.map_err(|fault| {
            if fault.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
                let whose = who_has_it(patience);
                return PostgresError::Failed(database.to_owned(), newest, whose);
            }
            failed(newest, &fault)
        })?;
        transaction
            .batch_execute(
                "CREATE SCHEMA IF NOT EXISTS countersign;
                 CREATE TABLE IF NOT EXISTS countersign.migrations (
                     version integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,
                     taken timestamptz NOT NULL DEFAULT clock_timestamp())",
            )
            .await
            .map_err(|fault| failed(newest, &fault))?;
        let taken = transaction
            .query(TAKEN, &[])
            .await
            .map_err(|fault| failed(newest, &fault))?;
        check_steps(&taken, database)?;
        let version = taken.len() + 1;
        let Some(next) = MIGRATIONS.get(taken.len()) else {
            return transaction
                .commit()
                .await
                .map_err(|fault| failed(version, &fault));
        };
        let step = async {
            transaction.batch_execute(next.sql).await?;
            let digest = hex(&sha256(next.sql.as_bytes()));
            let number = i32::try_from(version).unwrap_or(i32::MAX);
            transaction
                .execute(
                    "INSERT INTO countersign.migrations (version, name, digest) VALUES ($1, $2, $3)",
                    &[&number, &next.name, &digest],
                )
                .await?;
            transaction.commit().await
        };
        step.await.map_err(|fault| failed(version, &fault))?;
        tracing::info!(
            version,
            name = next.name,
            "the tables of the database were made or changed"
        );
    }
}

/// Waits for its turn, and says so if another session has it. Not for ever: any session can hold the lock, and a start that
/// fails is seen.
async fn turn(
    transaction: &Transaction<'_>,
    patience: Duration,
) -> Result<(), tokio_postgres::Error> {
    let asked = format!("SELECT pg_try_advisory_xact_lock({TURN})");
    if transaction.query_one(&asked, &[]).await?.try_get(0)? {
        return Ok(());
    }
    tracing::info!(
        "another session looks after the tables of the database; waiting {patience:?} at most"
    );
    let waiting = format!(
        "SET LOCAL lock_timeout = {}; SELECT pg_advisory_xact_lock({TURN}); SET LOCAL lock_timeout = 0",
        patience.as_millis()
    );
    transaction.batch_execute(&waiting).await
}

/// Who has the turn, in a sentence. The server shows the number of such a lock in two halves.
fn who_has_it(patience: Duration) -> String {
    format!(
        "another session has had the turn at them for {patience:?}; `SELECT pid FROM pg_locks WHERE locktype = 'advisory' \
         AND classid = {} AND objid = {} AND objsubid = 1 AND granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())` tells which",
        TURN >> 32,
        TURN & 0xffff_ffff
    )
}

/// Whether the tables are those that this program writes. Nothing is made or changed.
pub(super) async fn check(client: &Client, database: &str) -> Result<(), PostgresError> {
    let unreadable = |fault| PostgresError::Unreachable(database.to_owned(), in_words(&fault));
    let there = "SELECT to_regclass('countersign.migrations') IS NOT NULL";
    let there = client.query_one(there, &[]).await.map_err(unreadable)?;
    let taken = if there.get(0) {
        client.query(TAKEN, &[]).await.map_err(unreadable)?
    } else {
        Vec::new()
    };
    check_steps(&taken, database)?;
    let (found, known) = (taken.len(), MIGRATIONS.len());
    match found {
        0 => Err(PostgresError::Empty(database.to_owned())),
        _ if found < known => Err(PostgresError::Older(database.to_owned(), found, known)),
        _ => Ok(()),
    }
}

/// Whether the steps that were taken are the first of those that this program knows.
fn check_steps(taken: &[Row], database: &str) -> Result<(), PostgresError> {
    let (found, known) = (taken.len(), MIGRATIONS.len());
    if found > known {
        return Err(PostgresError::Newer(database.to_owned(), found, known));
    }
    for (number, (row, known)) in (1..).zip(taken.iter().zip(&MIGRATIONS)) {
        let (name, digest): (String, String) = (row.get(0), row.get(1));
        if name != known.name || digest != hex(&sha256(known.sql.as_bytes())) {
            return Err(PostgresError::Foreign(database.to_owned(), number, name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::BEHIND_AT_MOST;

    #[test]
    fn the_database_lets_an_entry_be_as_far_behind_as_the_program_does() {
        let refused = format!("oldest < last_at - {BEHIND_AT_MOST} THEN");
        let steps = MIGRATIONS.iter().filter(|step| step.sql.contains(&refused));
        assert_eq!(steps.count(), 1);
    }
}
