//! The store on PostgreSQL as what is copied, and as a copy in the making.
//!
//! A copy is made in one transaction: until it is there as a whole, nobody sees anything of it, and an end in the middle
//! leaves nothing. Nothing here is in the way of an exchange: whoever copies has the database alone.

mod original;
mod unfinished;

use tokio_postgres::Client;

use super::super::copy::CopyError;
use super::fault::in_words;
use super::{PostgresError, PostgresSettings};
use crate::ledger::StoreUnavailable;

pub(in super::super) use original::Original;
pub(in super::super) use unfinished::Unfinished;

/// What those who copy are called in the server, so that they are not taken for instances.
const NAME: &str = "store copy";

/// How long to wait for whoever else writes.
const PATIENCE: &str = "5s";

/// A connection for somebody who copies, for whom a statement may take its time.
async fn connect(settings: &PostgresSettings) -> Result<Client, PostgresError> {
    let shown = settings.shown();
    let mut config = settings.config()?;
    config.application_name(NAME);
    let connecting = config.connect(settings.tls()?);
    let (client, connection) = connecting
        .await
        .map_err(|fault| PostgresError::Unreachable(shown, in_words(&fault)))?;
    tokio::spawn(async move {
        if let Err(fault) = connection.await {
            tracing::debug!(fault = in_words(&fault), "a connection ended");
        }
    });
    let settings = format!(
        "SET search_path = pg_catalog; SET default_transaction_isolation = 'read committed';
         SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '{PATIENCE}'"
    );
    client.batch_execute(&settings).await.map_err(unavailable)?;
    Ok(client)
}

/// Refuses a database that instances are connected to.
async fn need_nobody(client: &Client, shown: &str) -> Result<(), CopyError> {
    let connected = client
        .query_one(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'countersign%'",
            &[],
        )
        .await
        .map_err(unavailable)?;
    match connected.get::<_, i64>(0) {
        0 => Ok(()),
        count => Err(CopyError::InUse(shown.to_owned(), count)),
    }
}

fn unavailable(fault: impl Into<tokio_postgres::Error>) -> StoreUnavailable {
    StoreUnavailable(in_words(&fault.into()))
}
