//! Denials that are only counted, on their way to the disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::draft::Draft;
use super::keys;
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

/// Adds `counts` to what is on disk.
pub(super) fn add(counts: &Pending, draft: &mut Draft<'_>) -> Result<(), sled::Error> {
    for ((what, hour), count) in counts {
        let key = keys::aggregate(*hour, &what.issuer, what.reason);
        let sum = read(draft.get(&key)?.as_deref()).saturating_add(*count);
        draft.put(key, sum.to_be_bytes().to_vec());
    }
    Ok(())
}

/// The number that stands in a value.
pub(super) fn read(value: Option<&[u8]>) -> u64 {
    let octets = value.and_then(|value| value.first_chunk::<8>());
    octets.map_or(0, |octets| u64::from_be_bytes(*octets))
}
