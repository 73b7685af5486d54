//! Alarms as they come together: what is alike is one alarm.

use std::collections::HashMap;

use super::meaning::{look_at, meaning};
use super::{Alarm, AlarmKind, Seen};
use crate::audit::Record;
use crate::clock::UnixTime;

/// What makes two occurrences one alarm: the kind, the issuer, the reason, and where.
type Key = (AlarmKind, Option<String>, Option<String>, String);

pub(super) struct Grouped {
    most: usize,
    alarms: HashMap<Key, Alarm>,
    not_listed: u64,
}

impl Grouped {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            alarms: HashMap::new(),
            not_listed: 0,
        }
    }

    /// The alarm that this record belongs to; none if there are too many.
    pub(super) fn alarm(
        &mut self,
        kind: AlarmKind,
        record: &Record,
        place: &str,
    ) -> Option<&mut Alarm> {
        let at = UnixTime::from_millis(record.at_millis).to_string();
        self.of(
            kind,
            record.issuer.clone(),
            record.reason.clone(),
            place,
            &at,
        )
    }

    /// Takes in denials that were counted.
    pub(super) fn counted(&mut self, issuer: &str, reason: &str, count: u64, at: &str, id: &str) {
        let issuer = Some(issuer.to_owned()).filter(|issuer| issuer != "-");
        let kind = AlarmKind::DenialsCounted;
        if let Some(alarm) = self.of(kind, issuer, Some(reason.to_owned()), "", at) {
            alarm.count += count;
            at.clone_into(&mut alarm.first_at);
            super::example(alarm, id);
        }
    }

    fn of(
        &mut self,
        kind: AlarmKind,
        issuer: Option<String>,
        reason: Option<String>,
        place: &str,
        at: &str,
    ) -> Option<&mut Alarm> {
        let key = (kind, issuer, reason, place.to_owned());
        if self.alarms.len() >= self.most && !self.alarms.contains_key(&key) {
            self.not_listed += 1;
            return None;
        }
        let alarm = self.alarms.entry(key).or_insert_with_key(|key| {
            let (kind, issuer, reason, _) = key;
            Alarm {
                kind: *kind,
                meaning: meaning(*kind, reason.as_deref()),
                look_at: look_at(*kind).to_owned(),
                issuer: issuer.clone(),
                reason: reason.clone(),
                count: 0,
                first_at: at.to_owned(),
                last_at: at.to_owned(),
                projects: Seen::default(),
                repositories: Seen::default(),
                subjects: Seen::default(),
                addresses: Seen::default(),
                runs: Seen::default(),
                examples: Vec::new(),
            }
        });
        Some(alarm)
    }

    pub(super) fn done(self) -> (Vec<Alarm>, u64) {
        (self.alarms.into_values().collect(), self.not_listed)
    }
}
