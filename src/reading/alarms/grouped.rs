//! Alarms as they come together: what is alike is one alarm.

use std::collections::{BTreeMap, HashMap};

use super::meaning::{look_at, meaning};
use super::{Alarm, AlarmKind, Seen};
use crate::audit::Record;
use crate::clock::UnixTime;

/// What makes two occurrences of one kind one alarm: the issuer, the reason, and where.
type Key = (Option<String>, Option<String>, String);

/// How many groups of counted denials are kept until it is known which of them are many: more than there are reasons for a
/// hundred issuers.
const MOST_COUNTED: usize = 5000;

pub(super) struct Grouped {
    /// How many alarms are listed, and so how many of each kind are kept: the walk does not know yet what is still to come.
    most: usize,
    kinds: BTreeMap<AlarmKind, HashMap<Key, Alarm>>,
    not_listed: u64,
}

impl Grouped {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            kinds: BTreeMap::new(),
            not_listed: 0,
        }
    }

    /// The alarm that this record belongs to; none if there are too many of its kind.
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
            1,
        )
    }

    /// Takes in denials that were counted.
    pub(super) fn counted(&mut self, issuer: &str, reason: &str, count: u64, at: &str, id: &str) {
        let issuer = Some(issuer.to_owned()).filter(|issuer| issuer != "-");
        let kind = AlarmKind::DenialsCounted;
        if let Some(alarm) = self.of(kind, issuer, Some(reason.to_owned()), "", at, count) {
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
        times: u64,
    ) -> Option<&mut Alarm> {
        let key = (issuer, reason, place.to_owned());
        let most = match kind {
            AlarmKind::DenialsCounted => MOST_COUNTED,
            _ => self.most,
        };
        let alarms = self.kinds.entry(kind).or_default();
        if alarms.len() >= most && !alarms.contains_key(&key) {
            self.not_listed += times;
            return None;
        }
        let alarm = alarms.entry(key).or_insert_with_key(|key| {
            let (issuer, reason, _) = key;
            Alarm {
                kind,
                meaning: meaning(kind, reason.as_deref()),
                look_at: look_at(kind).to_owned(),
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

    /// The alarms, the gravest kind first and of a kind the newest; and how many occurrences belong to those that find no
    /// place. So many counted denials as `counted` are an alarm.
    pub(super) fn done(mut self, counted: u64) -> (Vec<Alarm>, u64) {
        let mut listed = Vec::new();
        for (kind, alarms) in self.kinds {
            let mut alarms: Vec<Alarm> = alarms.into_values().collect();
            if kind == AlarmKind::DenialsCounted {
                alarms.retain(|alarm| alarm.count >= counted.max(1));
            }
            alarms.sort_by(|one, other| other.last_at.cmp(&one.last_at));
            let left = self.most - listed.len();
            let without_place = alarms.split_off(left.min(alarms.len()));
            self.not_listed += without_place.iter().map(|alarm| alarm.count).sum::<u64>();
            listed.extend(alarms);
        }
        (listed, self.not_listed)
    }
}
