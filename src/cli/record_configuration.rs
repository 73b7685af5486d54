//! Puts on record with which configuration the service runs.

use serde::Deserialize;

use crate::audit::Happening;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::digest::{hex, sha256};
use crate::ledger::{AuditLog, StoreUnavailable, newest};

/// What the log said of a configuration last. Its settings may be withheld, and deleted since.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Said {
    program: String,
    digest: String,
}

/// Says in the log with which configuration and version this program runs, unless the last entry of its kind says so
/// already. Durable when this returns; to be called before anything is done by the configuration that others see.
pub async fn record_configuration(
    config: &Config,
    log: &dyn AuditLog,
    now: UnixTime,
) -> Result<(), StoreUnavailable> {
    let settings = config.on_record();
    let program = env!("CARGO_PKG_VERSION").to_owned();
    let digest = hex(&sha256(settings.to_string().as_bytes()));
    let last = newest(log, "configuration-loaded").await?;
    // What a later version said in another way is not known here, and no reason not to start.
    let before: Option<Said> = last.and_then(|last| serde_json::from_slice(&last.leaf).ok());
    if before
        .as_ref()
        .is_some_and(|before| before.digest == digest && before.program == program)
    {
        return Ok(());
    }
    let loaded = Happening::ConfigurationLoaded {
        program,
        digest,
        before: before.map(|before| before.digest),
        settings,
    };
    log.append(vec![loaded], now).await.map(|_| ())
}
