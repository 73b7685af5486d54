//! The tables, brought to the form that this program writes. Forward only, and by one instance at a time.

use tokio_postgres::Client;

use super::InvalidSettings;
use crate::digest::{hex, sha256};
use crate::ledger::StoreUnavailable;

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

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The settings.
    #[error("the settings of the store: {0}")]
    Settings(#[from] InvalidSettings),
    /// The server does not answer, or refuses us.
    #[error("the database `{0}` cannot be used: {1}")]
    Unreachable(String, String),
    /// A newer program made the tables.
    #[error(
        "the database `{0}` has tables of version {1} and this program knows up to {2}; use the newer program"
    )]
    Newer(String, usize, usize),
    /// A step was not what it is in this program.
    #[error(
        "the database `{0}` was made by another program: its step {1}, `{2}`, is not the one that this program knows"
    )]
    Foreign(String, usize, String),
    /// The tables cannot be made or changed.
    #[error("the tables in `{0}` cannot be brought to version {1}: {2}; nothing was changed")]
    Failed(String, usize, String),
    /// The store does not answer.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
}

impl PostgresError {
    /// A name for dashboards, tests and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(_) => "database-settings",
            Self::Unreachable(..) => "database-unreachable",
            Self::Newer(..) => "database-newer",
            Self::Foreign(..) => "database-foreign",
            Self::Failed(..) => "database-not-migrated",
            Self::Unavailable(_) => "store-unavailable",
        }
    }
}

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

/// What the server says, or what kept us from asking it. Never a parameter of a statement.
pub(super) fn in_words(fault: &tokio_postgres::Error) -> String {
    if let Some(said) = fault.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut words = fault.to_string();
    let mut source = std::error::Error::source(fault);
    while let Some(deeper) = source {
        let deeper_words = deeper.to_string();
        if !words.contains(&deeper_words) {
            words = format!("{words}: {deeper_words}");
        }
        source = deeper.source();
    }
    words
}
