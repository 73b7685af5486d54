//! The time of the database, which all instances share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::{Clock, UnixTime};

/// The time of the database: that of this machine, and what it differs by as far as is known.
pub(super) struct DatabaseClock {
    machine: Arc<dyn Clock>,
    ahead: AtomicI64,
}

impl DatabaseClock {
    pub(super) fn new(machine: Arc<dyn Clock>) -> Self {
        Self {
            machine,
            ahead: AtomicI64::new(0),
        }
    }

    /// The time of this machine.
    pub(super) fn machine(&self) -> UnixTime {
        self.machine.now()
    }

    /// Takes in that the database's time was `theirs` at a moment between `before` and `after` of this machine.
    pub(super) fn measured(&self, before: UnixTime, theirs: UnixTime, after: UnixTime) {
        let ours = before.millis().midpoint(after.millis());
        let ahead = theirs.millis().saturating_sub(ours);
        let known = self.ahead.load(Ordering::Relaxed);
        // What the question took may be off by so much, and time need not jump for that.
        let doubt = after.millis().saturating_sub(before.millis()) / 2;
        if (ahead - known).abs() > doubt {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> UnixTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        UnixTime::from_millis(self.machine.now().millis().saturating_add(ahead))
    }
}

impl fmt::Debug for DatabaseClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseClock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FrozenClock;

    fn at(millis: i64) -> UnixTime {
        UnixTime::from_millis(millis)
    }

    #[test]
    fn the_time_is_that_of_the_database_however_wrong_the_machine_is() {
        let machine = Arc::new(FrozenClock::at(at(1_000)));
        let clock = DatabaseClock::new(machine.clone());
        clock.measured(at(1_000), at(500_000), at(1_010));
        machine.set(at(2_000));
        assert_eq!(clock.now(), at(500_995));
    }

    #[test]
    fn a_difference_that_the_question_itself_explains_moves_nothing() {
        let clock = DatabaseClock::new(Arc::new(FrozenClock::at(at(1_000))));
        clock.measured(at(1_000), at(1_100), at(1_400));
        assert_eq!(clock.now(), at(1_000));
    }
}
