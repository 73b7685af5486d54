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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object_that_says_its_kind() {
        let names = Names {
            project: "acme/api".into(),
            issuer: "github".into(),
            names: [("owner".to_owned(), "octo-org".to_owned())].into(),
        };
        let reset = Happening::PinReset {
            names,
            ids: [("owner-id".to_owned(), "65".to_owned())].into(),
            by: "uid 7".into(),
        };
        let event = Event::new(reset, UnixTime::from_seconds(1));
        let json = serde_json::to_value(&event).unwrap();
        let expected = serde_json::json!({
            "version": 1,
            "event_id": event.event_id.to_string(),
            "at_millis": 1000,
            "kind": "pin-reset",
            "names": {
                "project": "acme/api",
                "issuer": "github",
                "names": {"owner": "octo-org"},
            },
            "ids": {"owner-id": "65"},
            "by": "uid 7",
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
}
