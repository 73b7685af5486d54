//! Denials that are only counted, on their way to the disk.

pub(super) use super::super::counts::{Counts, Pending};
use super::draft::{Draft, Fault};
use super::keys;
use crate::audit::{Event, Happening, Sealed};
use crate::clock::UnixTime;

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
