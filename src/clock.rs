//! The one source of time.
//!
//! Time is a value: `now` is read once per request from a [`Clock`] and handed down, so a test can stand at any second.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

/// A span of whole seconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(pub u32);

impl Seconds {
    /// The span in milliseconds.
    pub fn as_millis(self) -> i64 {
        i64::from(self.0) * 1000
    }
}

impl fmt::Display for Seconds {
    /// Writes the span as a person would: `10m`, `1h 30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = std::time::Duration::from_secs(u64::from(self.0));
        write!(f, "{}", humantime::format_duration(span))
    }
}

/// One hour.
pub const HOUR: Seconds = Seconds(3600);

/// A moment, in milliseconds since 1970-01-01T00:00:00Z without leap seconds.
///
/// Tokens speak in whole seconds (`NumericDate`, RFC 7519, section 2); records are ordered by milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The moment `seconds` after the epoch. Saturates far outside any real date.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The moment `millis` milliseconds after the epoch.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Whole seconds since the epoch, rounded down: the value of a `NumericDate`.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Milliseconds since the epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// The beginning of the hour in which this moment is.
    #[must_use]
    pub fn hour(self) -> Self {
        let millis = HOUR.as_millis();
        Self(self.0.div_euclid(millis).saturating_mul(millis))
    }

    /// The moment `span` later.
    #[must_use]
    pub fn plus(self, span: Seconds) -> Self {
        Self(self.0.saturating_add(span.as_millis()))
    }

    /// The moment `span` earlier.
    #[must_use]
    pub fn minus(self, span: Seconds) -> Self {
        Self(self.0.saturating_sub(span.as_millis()))
    }
}

impl fmt::Display for UnixTime {
    /// Writes RFC 3339 in UTC with milliseconds, or the bare number of milliseconds for a moment before 1970.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0) {
            // The year 9999 is as far as RFC 3339 goes.
            Ok(millis) if millis < 253_402_300_800_000 => {
                let moment = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
                write!(f, "{}", humantime::format_rfc3339_millis(moment))
            }
            _ => write!(f, "{} ms", self.0),
        }
    }
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> UnixTime;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    fn now(&self) -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixTime(since.map_or(0, |span| {
            i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
        }))
    }
}

/// A clock that stands still until it is moved, for tests and for judging a recorded moment again.
#[derive(Debug)]
pub struct FrozenClock(AtomicI64);

impl FrozenClock {
    /// A clock that stands at `now`.
    pub fn at(now: UnixTime) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Seconds) {
        self.0.fetch_add(span.as_millis(), Ordering::SeqCst);
    }

    /// Puts the clock at `now`, forward or back.
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for FrozenClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_rfc_3339() {
        assert_eq!(
            UnixTime::from_seconds(1_794_996_000).to_string(),
            "2026-11-18T10:00:00.000Z"
        );
    }

    #[test]
    fn a_moment_before_the_epoch_rounds_down_to_its_second() {
        assert_eq!(UnixTime::from_millis(-1).seconds(), -1);
    }

    #[test]
    fn absurd_seconds_do_not_overflow() {
        let far = UnixTime::from_seconds(i64::MAX).plus(Seconds(u32::MAX));
        assert!(far > UnixTime::from_seconds(0));
        assert!(far.to_string().ends_with(" ms"));
    }
}
