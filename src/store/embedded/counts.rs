//! Denials that are only counted, on their way to the disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::draft::{Draft, Fault};
use super::keys;
use crate::audit::{Event, Happening, Sealed};
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

/// Makes an entry of the log of each count on disk whose hour is over at `now`, and forgets the count.
pub(super) fn settle(draft: &mut Draft<'_>, now: UnixTime) -> Result<(), Fault> {
    for (key, value) in draft.scan(&[keys::AGGREGATE])? {
        let Some((hour, issuer, reason)) = keys::read_aggregate(&key) else {
            continue;
        };
        if hour >= now.hour() {
            // They are in the order of their hours.
            break;
        }
        let counted = Happening::DenialsCounted {
            issuer,
            reason,
            hour_millis: hour.millis(),
            count: read(Some(&value)),
        };
        draft.put_entry(Sealed::of_event(Event::new(counted, now))?)?;
        draft.remove(key);
    }
    Ok(())
}

/// The number that stands in a value.
fn read(value: Option<&[u8]>) -> u64 {
    let octets = value.and_then(|value| value.first_chunk::<8>());
    octets.map_or(0, |octets| u64::from_be_bytes(*octets))
}
