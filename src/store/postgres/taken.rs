//! Which changes go into one batch.

use std::collections::HashSet;

use super::batch::{Change, MOST_CHANGES, MOST_OCTETS};
use crate::ledger::BEHIND_AT_MOST;

/// What a batch holds so far.
#[derive(Default)]
pub(super) struct Taken {
    changes: usize,
    octets: usize,
    keys: HashSet<[u8; 32]>,
    /// Names that a change looks at, and those that one changes.
    names: HashSet<[u8; 32]>,
    changed: HashSet<[u8; 32]>,
    times: Option<(i64, i64)>,
}

impl Taken {
    pub(super) fn is_full(&self) -> bool {
        self.changes >= MOST_CHANGES || self.octets >= MOST_OCTETS
    }

    /// Takes a change, if it can be with those that were taken.
    pub(super) fn take(&mut self, change: &Change) -> bool {
        let octets = change.octets();
        let alike = |key| self.keys.contains(key);
        let meets = change.pins.iter().any(|pin| {
            self.changed.contains(&pin.id) || pin.state.is_some() && self.names.contains(&pin.id)
        });
        let times = change.entries.iter().map(|sealed| sealed.marks.at_millis);
        let times = times.fold(self.times, |times, at| {
            Some(times.map_or((at, at), |(first, last)| (at.min(first), at.max(last))))
        });
        let apart = times.is_some_and(|(first, last)| last.saturating_sub(first) > BEHIND_AT_MOST);
        if self.changes > 0
            && (change.key().is_some_and(alike)
                || meets
                || apart
                || self.octets + octets > MOST_OCTETS)
        {
            // Who comes later and is about the same must not overtake it.
            self.remember(change);
            return false;
        }
        self.times = times;
        self.changes += 1;
        self.octets += octets;
        self.remember(change);
        true
    }

    fn remember(&mut self, change: &Change) {
        self.keys.extend(change.key());
        for pin in &change.pins {
            self.names.insert(pin.id);
            if pin.state.is_some() {
                self.changed.insert(pin.id);
            }
        }
    }
}
