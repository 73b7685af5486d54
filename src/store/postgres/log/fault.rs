//! What was found to be not as it was written: kept until it is again, for all instances.

use std::sync::{Mutex, PoisonError};

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::super::fault::Fault;
use crate::ledger::LogFault;
use crate::metrics::{StoreFault, StoreMetrics};

/// A fault, and where to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    /// An entry of the block of entries in which it was found.
    pub(super) index: u64,
    /// What it is.
    pub(super) fault: LogFault,
}

/// The first fault that was found.
pub(super) struct FaultKeeper {
    kept: Mutex<Kept>,
    metrics: StoreMetrics,
}

#[derive(Default)]
struct Kept {
    /// By this instance, since it was started.
    own: Option<LogFault>,
    /// By any of them, as the database has it.
    noted: Option<LogFault>,
}

/// What all instances are to know; the first of them wins.
const NOTE: &str = "INSERT INTO countersign.log_fault (entry, what, mend) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
const NOTED: &str = "SELECT f.entry, f.what, f.mend FROM countersign.log_fault f";
const FORGET: &str = "DELETE FROM countersign.log_fault WHERE entry = $1 AND what = $2";

const MEND: &str = "stop all instances, put that place back as a backup of the database has it (what is in the log is never \
                    changed), and start them again; no checkpoint is signed until then";

impl FaultKeeper {
    /// Nothing was found yet; what is, is counted.
    pub(super) fn new(metrics: StoreMetrics) -> Self {
        Self {
            kept: Mutex::default(),
            metrics,
        }
    }

    /// The fault, if there is one.
    pub(super) fn get(&self) -> Option<LogFault> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.own.as_ref().or(kept.noted.as_ref()).cloned()
    }

    /// Keeps a fault that was found, if it is the first. Answers what is to be noted then.
    pub(super) fn keep(&self, what: String) -> Option<LogFault> {
        let fault = LogFault {
            what,
            mend: MEND.into(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.own.is_some() {
            return None;
        }
        kept.own = Some(fault.clone());
        self.metrics.failed(StoreFault::Damaged);
        tracing::error!(what = fault.what, mend = fault.mend, "the log is damaged");
        Some(fault)
    }

    /// Keeps a fault that was found at an entry, if it is the first; also for the other instances and the next start.
    pub(super) async fn found(&self, client: &impl GenericClient, index: u64, what: String) {
        let Some(fault) = self.keep(what) else {
            return;
        };
        let entry = super::batches::signed(index);
        let noted = client
            .execute(NOTE, &[&entry, &fault.what, &fault.mend])
            .await;
        if let Err(error) = noted {
            let error = super::super::fault::in_words(&error);
            tracing::warn!(
                error,
                "the fault of the log was not noted for other instances"
            );
        }
    }

    /// Whether this instance found one itself.
    pub(super) fn is_own(&self) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.own.is_some()
    }

    /// Learns what an instance has noted, as it was read beside something else.
    pub(super) fn learn(&self, noted: Option<LogFault>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.noted = noted;
    }
}

/// What is noted, in three columns of a row from this one on.
pub(super) fn read(row: &Row, column: usize) -> Result<Option<Noted>, Fault> {
    let entry: Option<i64> = row.try_get(column)?;
    let Some(entry) = entry else {
        return Ok(None);
    };
    let index = u64::try_from(entry).unwrap_or_default();
    let (what, mend) = (row.try_get(column + 1)?, row.try_get(column + 2)?);
    let fault = LogFault { what, mend };
    Ok(Some(Noted { index, fault }))
}

/// What an instance has noted.
pub(super) async fn noted(client: &impl GenericClient) -> Result<Option<Noted>, Fault> {
    let row = client.query_opt(NOTED, &[]).await?;
    row.map_or(Ok(None), |row| read(&row, 0))
}

/// Forgets what was noted, as that place is whole again.
pub(super) async fn forget(client: &impl GenericClient, noted: &Noted) -> Result<(), Fault> {
    let entry = super::batches::signed(noted.index);
    client.execute(FORGET, &[&entry, &noted.fault.what]).await?;
    Ok(())
}
