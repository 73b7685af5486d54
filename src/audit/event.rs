//! What happened beside decisions, as it is kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use serde_json::Value;

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

impl From<EventId> for DecisionId {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Something other than a decision that an auditor must know. Written in the commit of its effect, or before it.
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
    /// The digests of the values that the leaf does not hold, by their places in it (RFC 6901).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withheld: BTreeMap<String, String>,
}

/// What happened. Members that may be so long that a leaf does not hold them can be missing once they were deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Happening {
    /// Names were used with ids that nothing was pinned to before.
    PinMade {
        /// The names.
        names: Names,
        /// The ids that were pinned now, by identity field.
        #[serde(default)]
        ids: BTreeMap<String, String>,
        /// The exchange that pinned them.
        decision_id: DecisionId,
    },
    /// An operator let the next exchange pin other ids.
    PinReset {
        /// The names.
        names: Names,
        /// The ids that were pinned until now; none if the names had not been used.
        #[serde(default)]
        ids: BTreeMap<String, String>,
        /// Who asked for it.
        by: String,
    },
    /// Denials that were counted and not recorded one by one, since the last entry like it.
    DenialsCounted {
        /// The issuer's name in the configuration, or `-`.
        issuer: String,
        /// The reason's code.
        reason: String,
        /// The beginning of the hour in which they were counted, in milliseconds since the epoch.
        hour_millis: i64,
        /// How many.
        count: u64,
    },
    /// A file of the trust policies is in force from here on.
    PolicyLoaded(PolicyLoaded),
    /// A file of the trust policies could not be used as it stands.
    PolicyRefused {
        /// The file, below the folder of the policies.
        file: String,
        /// The digest of the file; none if it cannot be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// What is wrong with it, in one line; if nothing of it is in force, also what that means.
        #[serde(default)]
        message: String,
        /// The digest of what stays in force; none if nothing is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_force: Option<String>,
    },
    /// A file of the trust policies is gone, and nothing of it in force.
    PolicyRemoved {
        /// The file, below the folder of the policies.
        file: String,
        /// The digest of what was in force; none if nothing was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
    },
    /// The service runs with this configuration from here on.
    ConfigurationLoaded {
        /// The version of the program.
        program: String,
        /// SHA-256 of `settings` as compact JSON with sorted keys, in hexadecimal.
        digest: String,
        /// The digest of the configuration before; none at the first start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// Whatever of the configuration matters for who is let in. No secret.
        #[serde(default)]
        settings: Value,
    },
    /// A key was made that will sign project tokens.
    SigningKeyMade {
        /// Its `kid`.
        key_id: String,
        /// The algorithm's name (RFC 7518, section 3.1).
        algorithm: String,
        /// From when on it signs, in milliseconds since the epoch; the key before it signs until then.
        signs_from_millis: i64,
        /// Its public half as a JWK (RFC 7517).
        #[serde(default)]
        public_key: Value,
    },
    /// A key for project tokens is gone: none of its tokens is about any more, or it never signed one.
    SigningKeyRetired {
        /// Its `kid`.
        key_id: String,
    },
    /// The keys of an issuer that are believed from here on.
    IssuerKeysChanged {
        /// The text of `iss`.
        issuer: String,
        /// Those that are new.
        #[serde(default)]
        added: Vec<IssuerKey>,
        /// Those that are believed no more.
        #[serde(default)]
        removed: Vec<IssuerKey>,
    },
    /// The log has this name and is signed with this key from here on.
    LogNamed {
        /// The first line of its checkpoints (C2SP tlog-checkpoint).
        origin: String,
        /// The verifier key (C2SP signed-note).
        key: String,
    },
    /// The withheld values of the entries before `until` were deleted, as the retention setting asks.
    PersonalValuesRemoved {
        /// The number of the first entry that still has its values.
        until: u64,
    },
    /// The machine's clock was put back: entries from here on may say earlier times than those before.
    ClockPutBack {
        /// The latest time that an entry before says, in milliseconds since the epoch.
        before_millis: i64,
    },
}

/// A file of the trust policies that came into force, and what changed by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLoaded {
    /// The file, below the folder of the policies.
    pub file: String,
    /// The organization.
    pub organization: String,
    /// The project's path; none of a file of guard rails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The project's text id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// SHA-256 of the file, under which its content is kept.
    pub digest: String,
    /// The digest of what was in force before; none if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The entries that were not there before, by kind and name: `trust release`, `deny no pushes`, and `require 1` for the
    /// first without a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Those that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Those that say something else: a key or value of them differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// A key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IssuerKey {
    /// Its `kid`.
    pub key_id: String,
    /// SHA-256 of the public key, in hexadecimal: its thumbprint (RFC 7638), so that it can be computed from the set that
    /// the issuer publishes.
    pub sha256: String,
}

impl Happening {
    /// The word in `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PinMade { .. } => "pin-made",
            Self::PinReset { .. } => "pin-reset",
            Self::DenialsCounted { .. } => "denials-counted",
            Self::PolicyLoaded(_) => "policy-loaded",
            Self::PolicyRefused { .. } => "policy-refused",
            Self::PolicyRemoved { .. } => "policy-removed",
            Self::ConfigurationLoaded { .. } => "configuration-loaded",
            Self::SigningKeyMade { .. } => "signing-key-made",
            Self::SigningKeyRetired { .. } => "signing-key-retired",
            Self::IssuerKeysChanged { .. } => "issuer-keys-changed",
            Self::LogNamed { .. } => "log-named",
            Self::PersonalValuesRemoved { .. } => "personal-values-removed",
            Self::ClockPutBack { .. } => "clock-put-back",
        }
    }
}

impl Event {
    /// Says that `what` happened at `now`.
    pub fn new(what: Happening, now: UnixTime) -> Self {
        Self {
            version: 1,
            event_id: EventId::new(now),
            at_millis: now.millis(),
            what,
            withheld: BTreeMap::new(),
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
