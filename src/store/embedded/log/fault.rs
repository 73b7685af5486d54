//! What was found to be not as it was written: kept until it is again.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::super::folder::Folder;
use crate::ledger::LogFault;
use crate::metrics::{StoreFault, StoreMetrics};

/// The file in the data folder that keeps a fault.
pub(super) const FILE: &str = "fault";

/// A fault, and where to look again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Found {
    /// An entry of the block of entries in which it was found.
    pub(super) index: u64,
    /// What it is.
    pub(super) fault: LogFault,
}

/// The first fault that was found.
pub(in super::super) struct FaultKeeper {
    found: Mutex<Option<Found>>,
    metrics: StoreMetrics,
}

impl FaultKeeper {
    /// Nothing was found yet; what is, is counted.
    pub(in super::super) fn new(metrics: StoreMetrics) -> Self {
        Self {
            found: Mutex::default(),
            metrics,
        }
    }

    /// The fault, if there is one.
    pub(in super::super) fn get(&self) -> Option<LogFault> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().map(|found| found.fault.clone())
    }

    /// Keeps a fault that was found at an entry, if it is the first; also for the next start.
    pub(super) fn found(&self, folder: &Folder, index: u64, what: String) {
        let mut kept = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_some() {
            return;
        }
        let mend = "stop the service, put that place back as a backup of the data folder has it (what is in the log is never \
                    changed), and start it again; no checkpoint is signed until then";
        let found = Found {
            index,
            fault: LogFault {
                what,
                mend: mend.into(),
            },
        };
        let fault = &found.fault;
        self.metrics.failed(StoreFault::Damaged);
        tracing::error!(what = fault.what, mend = fault.mend, "the log is damaged");
        let json = serde_json::to_vec(&found).map_err(std::io::Error::other);
        let written = json.and_then(|json| folder.replace(FILE, &json, |_| Ok(())));
        if let Err(error) = written {
            tracing::warn!(%error, "the fault of the log was not noted for the next start");
        }
        *kept = Some(found);
    }
}

/// The fault that an earlier process found.
pub(super) fn noted(folder: &Folder) -> Option<Found> {
    let json = std::fs::read(folder.file(FILE)).ok()?;
    serde_json::from_slice(&json).ok()
}
