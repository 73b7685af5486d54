//! Many subjects that are denied for one reason within a short time.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use super::grouped::Grouped;
use super::{AlarmKind, Thresholds, note};
use crate::audit::{Record, RecordedClaims};

/// How many denials of one issuer and reason are looked at together. More than these within one window are many.
const MOST: usize = 2000;

/// Reasons that are no fault of the caller.
const OURS: [&str; 3] = ["issuer-unreachable", "store-unavailable", "rate-limited"];

/// The denials of the last window, by issuer and reason.
pub(super) struct Crowds {
    thresholds: Thresholds,
    hasher: RandomState,
    windows: HashMap<(String, String), Window>,
}

/// The denials of one window. The walk goes back in time, so the newest stand first.
#[derive(Default)]
struct Window {
    denials: VecDeque<Denied>,
    /// How many denials each of their subjects has.
    subjects: HashMap<u64, usize>,
    /// Whether there are many now.
    crowded: bool,
    /// How many times there were many, which tells one crowd from another.
    crowds: usize,
}

struct Denied {
    subject: u64,
    told: bool,
    record: Record,
}

impl Crowds {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds: Thresholds {
                subjects: thresholds.subjects.min(MOST),
                ..thresholds
            },
            hasher: RandomState::new(),
            windows: HashMap::new(),
        }
    }

    /// Takes in a denial. If that makes many, all of the window belong to one alarm.
    pub(super) fn note(&mut self, record: &Record, grouped: &mut Grouped) {
        let reason = record.reason.clone().unwrap_or_default();
        if OURS.contains(&reason.as_str()) {
            return;
        }
        let key = (record.issuer.clone().unwrap_or_default(), reason);
        let window = self.windows.entry(key).or_default();
        window.make_room(record.at_millis, self.thresholds.window.as_millis());
        let subject = self.hasher.hash_one(whoever(record));
        *window.subjects.entry(subject).or_default() += 1;
        window.denials.push_back(Denied {
            subject,
            told: false,
            record: without_claims(record),
        });
        let many = window.subjects.len() >= self.thresholds.subjects;
        if many && !window.crowded {
            window.crowds += 1;
        }
        window.crowded = many;
        if many {
            window.tell(grouped);
        }
    }
}

impl Window {
    /// Lets go of what is too far from `at`, and of the newest if there are too many.
    fn make_room(&mut self, at_millis: i64, span: i64) {
        while let Some(newest) = self.denials.front() {
            let apart = newest.record.at_millis.saturating_sub(at_millis);
            if apart <= span && self.denials.len() < MOST {
                return;
            }
            let Some(gone) = self.denials.pop_front() else {
                return;
            };
            if let Some(count) = self.subjects.get_mut(&gone.subject) {
                *count -= 1;
                if *count == 0 {
                    self.subjects.remove(&gone.subject);
                }
            }
        }
    }

    /// Adds the denials that are not part of the alarm yet to it.
    fn tell(&mut self, grouped: &mut Grouped) {
        let crowd = self.crowds.to_string();
        for denied in self.denials.iter_mut().filter(|denied| !denied.told) {
            denied.told = true;
            let kind = AlarmKind::ManySubjects;
            if let Some(alarm) = grouped.alarm(kind, &denied.record, &crowd) {
                note(alarm, &denied.record);
            }
        }
    }
}

/// Whom a denial is about: the subject of a token that verified, else whatever is known of the caller.
fn whoever(record: &Record) -> &str {
    let known = record.subject.as_ref().or(record.client_address.as_ref());
    let known = known.or(record.unverified_issuer.as_ref());
    known.map_or("", String::as_str)
}

/// The record without what takes room and is not asked for.
fn without_claims(record: &Record) -> Record {
    Record {
        claims: RecordedClaims::default(),
        explanation: None,
        ..record.clone()
    }
}
