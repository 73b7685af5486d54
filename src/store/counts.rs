//! Denials that are only counted, on their way to the disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::UnixTime;
use crate::ledger::Unrecorded;

/// Counts by what was denied and by the beginning of the hour.
pub(super) type Pending = HashMap<(Unrecorded, UnixTime), u64>;

/// How many counts may be pending. Issuers and reasons come from the configuration and the program, so this is never
/// reached unless time runs wild; what comes on top is not counted.
const MOST_PENDING: usize = 10_000;

/// Counts that are not in a commit yet.
#[derive(Default)]
pub(super) struct Counts(Mutex<Pending>);

impl Counts {
    pub(super) fn count(&self, what: Unrecorded, at: UnixTime) {
        let hour = at.hour();
        let mut pending = self.lock();
        if pending.len() < MOST_PENDING {
            *pending.entry((what, hour)).or_default() += 1;
        } else if let Some(count) = pending.get_mut(&(what, hour)) {
            *count += 1;
        }
    }

    pub(super) fn take(&self) -> Pending {
        std::mem::take(&mut *self.lock())
    }

    pub(super) fn put_back(&self, counts: Pending) {
        let mut pending = self.lock();
        for (what, count) in counts {
            *pending.entry(what).or_default() += count;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
