//! What entries say of the log itself, which only all of them together can bear out: whose log it is, and which withheld
//! values were deleted.

use super::report::{Fault, What};

/// What one entry says of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// From here on the log is signed under this name, with this key.
    Named {
        /// The origin of its checkpoints.
        origin: String,
        /// The verifier key.
        key: String,
    },
    /// The withheld values of the entries before `until` were deleted.
    Removed {
        /// The number of the first entry that still has its values.
        until: u64,
    },
}

/// Follows what entries say of the log, in their order.
#[derive(Debug, Default)]
pub struct Across {
    name: Option<(u64, String, String)>,
    /// The entries before this one have lost their withheld values.
    pub until: u64,
    /// Whether some entry could not be read, which may have said anything.
    pub has_gaps: bool,
}

impl Across {
    /// Takes what the entry `index` says, and says what is wrong with it.
    pub fn next(&mut self, index: u64, says: Says) -> Option<Fault> {
        match says {
            Says::Named { origin, key } => {
                self.name = Some((index, origin, key));
                None
            }
            Says::Removed { until } => {
                let before = self.until;
                let what = What::Removed { until, before };
                let is_wrong = until < before || until > index;
                // What it says wrongly stands for nothing.
                self.until = if is_wrong { before } else { until };
                is_wrong.then(|| Fault::of_entry(index, what))
            }
        }
    }

    /// What is wrong if the log goes by this name and key at its end.
    pub fn other_name(&self, origin: &str, key: &str) -> Option<Fault> {
        match &self.name {
            Some((_, named, with)) if named == origin && with == key => None,
            Some((index, named, with)) => {
                let (origin, key) = (named.clone(), with.clone());
                Some(Fault::of_entry(*index, What::OtherName { origin, key }))
            }
            None if self.has_gaps => None,
            None => Some(Fault::of_log(What::Nameless)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(key: &str) -> Says {
        let (origin, key) = ("sts.example.com/audit".to_owned(), key.to_owned());
        Says::Named { origin, key }
    }

    #[test]
    fn the_last_name_counts() {
        let mut across = Across::default();
        let judged = |across: &Across| {
            let judged = across.other_name("sts.example.com/audit", "two");
            judged.map(|fault| (fault.what.code(), fault.index))
        };
        assert_eq!(judged(&across), Some(("log-not-named", None)));
        across.next(0, named("one"));
        assert_eq!(judged(&across), Some(("log-other-name", Some(0))));
        across.next(7, named("two"));
        assert_eq!(judged(&across), None);
        let other = across.other_name("sts.example.org/audit", "two");
        assert_eq!(other.unwrap().index, Some(7));
    }

    #[test]
    fn a_name_that_may_stand_in_a_gap_is_not_missed() {
        let across = Across {
            has_gaps: true,
            ..Across::default()
        };
        assert_eq!(across.other_name("sts.example.com/audit", "one"), None);
    }

    #[test]
    fn values_that_were_deleted_stay_deleted_and_are_of_entries_before() {
        let mut across = Across::default();
        let mut wrong = |index, until| across.next(index, Says::Removed { until }).is_some();
        assert!(!wrong(10, 5));
        assert!(!wrong(11, 5));
        assert!(!wrong(12, 12));
        assert!(wrong(13, 11));
        assert!(wrong(14, 15));
        assert_eq!(across.until, 12);
    }
}
