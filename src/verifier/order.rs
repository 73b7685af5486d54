//! The order of time: entries stand in the order of their commits, and each has a time of its own.

use super::leaf::Moment;
use super::report::{Fault, What};

/// How far an entry may be behind the latest before it, in milliseconds: requests overlap.
const OVERLAP: i64 = 60_000;

/// Follows the times of entries, in their order.
#[derive(Debug, Default)]
pub struct Order {
    latest: Option<i64>,
}

impl Order {
    /// Takes the next entry, `None` if its time cannot be read, and says what is wrong with its time.
    pub fn next(&mut self, index: u64, moment: Option<Moment>) -> Option<Fault> {
        let Moment { at, put_back_from } = moment?;
        let latest = self.latest.replace(at);
        let latest = latest?;
        if let Some(before) = put_back_from {
            let what = What::PutBack { before, latest };
            return (before != latest).then(|| Fault::of_entry(index, what));
        }
        self.latest = Some(latest.max(at));
        let behind = latest.saturating_sub(at) > OVERLAP;
        behind.then(|| Fault::of_entry(index, What::Behind { at, latest }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_763_000_000_000;

    fn faults(times: &[(i64, Option<i64>)]) -> Vec<u64> {
        let mut order = Order::default();
        let mut found = Vec::new();
        for (index, (at, from)) in (0..).zip(times) {
            let moment = Moment {
                at: START + at,
                put_back_from: from.map(|from| START + from),
            };
            found.extend(
                order
                    .next(index, Some(moment))
                    .and_then(|fault| fault.index),
            );
        }
        found
    }

    #[test]
    fn requests_may_overlap_by_a_minute() {
        let times = [(0, None), (70_000, None), (10_000, None), (69_999, None)];
        assert!(faults(&times).is_empty());
        assert_eq!(faults(&[(0, None), (70_000, None), (9_999, None)]), [2]);
    }

    #[test]
    fn a_clock_that_was_put_back_begins_anew_where_the_log_says_so() {
        let announced = [(500_000, None), (0, Some(500_000)), (1, None), (2, None)];
        assert!(faults(&announced).is_empty());
        let wrong = [(500_000, None), (0, Some(400_000)), (1, None)];
        assert_eq!(faults(&wrong), [1]);
    }
}
