//! Our clock as the limiter wants it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, UnixTime};

/// More would not be a leap of a clock, and the limiter counts nanoseconds.
const LONGEST_LEAP: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The time that has passed. It never runs back: were it to follow a clock that was put back by an hour, an address
/// would wait for that hour until it is told again why it fails.
pub(super) struct Elapsed {
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

struct Seen {
    at: UnixTime,
    passed: Duration,
}

impl Elapsed {
    pub(super) fn by(clock: Arc<dyn Clock>) -> Self {
        let seen = Mutex::new(Seen {
            at: clock.now(),
            passed: Duration::ZERO,
        });
        Self { clock, seen }
    }
}

impl governor::clock::Clock for Elapsed {
    type Instant = Duration;

    fn now(&self) -> Duration {
        // The clock is read under the lock, or two readers could count one span twice.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let forward = now.millis().saturating_sub(seen.at.millis());
        let forward = Duration::from_millis(u64::try_from(forward).unwrap_or(0));
        seen.passed += forward.min(LONGEST_LEAP);
        seen.at = now;
        seen.passed
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::Clock as _;

    use super::*;
    use crate::clock::{FrozenClock, Seconds};

    #[test]
    fn time_goes_on_from_where_a_clock_was_put_back_to() {
        let noon = UnixTime::from_seconds(1_795_176_000);
        let clock = Arc::new(FrozenClock::at(noon));
        let elapsed = Elapsed::by(clock.clone());
        clock.advance(Seconds(10));
        assert_eq!(elapsed.now(), Duration::from_secs(10));
        clock.set(noon.minus(Seconds(3600)));
        assert_eq!(elapsed.now(), Duration::from_secs(10));
        clock.advance(Seconds(5));
        assert_eq!(elapsed.now(), Duration::from_secs(15));
    }

    #[test]
    fn absurd_moments_do_no_harm() {
        let clock = Arc::new(FrozenClock::at(UnixTime::from_millis(i64::MIN)));
        let elapsed = Elapsed::by(clock.clone());
        clock.set(UnixTime::from_millis(i64::MAX));
        assert_eq!(elapsed.now(), LONGEST_LEAP);
    }
}
