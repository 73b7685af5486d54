//! What happened beside decisions, as it is kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::DecisionId;
use crate::clock::UnixTime;
use crate::trust::Names;

/// The name of one event. Like those of decisions, they sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(DecisionId);

impl EventId {
    /// A new name for something that happened at `now`.
    pub fn new(now: UnixTime) -> Self {
        Self(DecisionId::new(now))
    }

    /// The 16 octets, which sort by time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Something that changed who is let in, and was no edit of a policy. Written in the commit that changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The version of this form.
    pub version: u32,
    /// Its name.
    pub event_id: EventId,
    /// When, in milliseconds since the epoch.
    pub at_millis: i64,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Happening {
    /// Names were used with ids that nothing was pinned to before.
    PinMade {
        /// The names.
        names: Names,
        /// The ids that were pinned now, by identity field.
        ids: BTreeMap<String, String>,
        /// The exchange that pinned them.
        decision_id: DecisionId,
    },
    /// An operator let the next exchange pin other ids.
    PinReset {
        /// The names.
        names: Names,
        /// The ids that were pinned until now; none if the names had not been used.
        ids: BTreeMap<String, String>,
        /// Who asked for it.
        by: String,
    },
}

impl Event {
    /// Says that `what` happened at `now`.
    pub fn new(what: Happening, now: UnixTime) -> Self {
        Self {
            version: 1,
            event_id: EventId::new(now),
            at_millis: now.millis(),
            what,
        }
    }
}
