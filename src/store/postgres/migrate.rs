//! The tables, brought to the form that this program writes. Forward only, and by one instance at a time.

use tokio_postgres::Client;

use super::fault::{PostgresError, in_words};
use crate::digest::{hex, sha256};

/// One step from an older form to a newer one. A step that was released is never changed.
struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// All steps, in their order. The version of a database is how many it has had.
const MIGRATIONS: [Migration; 1] = [Migration {
    name: "store",
    sql: include_str!("migrations/0001_store.sql"),
}];

/// What instances agree on to take turns: the octets of `ctrsign`.
const TURN: i64 = 0x63_74_72_73_69_67_6e;

/// Brings the tables of the database to the newest form. Each step is one transaction with the note that it was taken, so
/// an instance that is stopped in it leaves nothing half done. Instances that start at once wait for each other.
pub(super) async fn migrate(client: &mut Client, database: &str) -> Result<(), PostgresError> {
    let failed = |version: usize, fault: &tokio_postgres::Error| {
        PostgresError::Failed(database.to_owned(), version, in_words(fault))
    };
    loop {
        let transaction = client
            .transaction()
            .await
            .map_err(|fault| failed(0, &fault))?;
        transaction
            .batch_execute(&format!(
                "SELECT pg_advisory_xact_lock({TURN});
                 CREATE SCHEMA IF NOT EXISTS countersign;
                 CREATE TABLE IF NOT EXISTS countersign.migrations (
                     version integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,
                     taken timestamptz NOT NULL DEFAULT clock_timestamp())"
            ))
            .await
            .map_err(|fault| failed(0, &fault))?;
        let taken = transaction
            .query(
                "SELECT name, digest FROM countersign.migrations ORDER BY version",
                &[],
            )
            .await
            .map_err(|fault| failed(0, &fault))?;
        if taken.len() > MIGRATIONS.len() {
            let (found, known) = (taken.len(), MIGRATIONS.len());
            return Err(PostgresError::Newer(database.to_owned(), found, known));
        }
        for (number, (row, known)) in taken.iter().zip(&MIGRATIONS).enumerate() {
            let (name, digest): (String, String) = (row.get(0), row.get(1));
            if name != known.name || digest != hex(&sha256(known.sql.as_bytes())) {
                return Err(PostgresError::Foreign(
                    database.to_owned(),
                    number + 1,
                    name,
                ));
            }
        }
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
