//! Names without ids, and the ids that their first use pins to them.
//!
//! A name can be given up and registered by somebody else. Where a policy gives a name without its id, the id of the first
//! allowed exchange is remembered, and from then on the same name with another id is refused. What is remembered belongs
//! to the store; this is its form, and what a decision reads of it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::clock::{Seconds, UnixTime};

/// Names that a policy gives without their ids: what a pin is kept under. Neither the name of the relationship nor the
/// file matters, so that editing a policy loses no pin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Names {
    /// The project's path.
    pub project: String,
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// Every name that the relationship gives, by identity field, without case where it compares so.
    pub names: BTreeMap<String, String>,
}

/// What is remembered of [`Names`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameState {
    /// When a policy with these names was first loaded, in milliseconds since the epoch.
    pub first_loaded_millis: i64,
    /// The ids of their first use, if they were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
}

/// The ids that belong to names since their first use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// By identity field: `owner-id`, `repository-id`.
    pub ids: BTreeMap<String, String>,
    /// When they were pinned, in milliseconds since the epoch.
    pub since_millis: i64,
    /// The decision of the exchange that pinned them.
    pub decision_id: String,
}

/// Names that an exchange uses and the ids that its token has for them: compared with the pin inside the commit that
/// spends, or pinned there if these names have none. No ids means that the token has none to pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinWish {
    /// The names.
    pub names: Names,
    /// The ids, by identity field.
    pub ids: BTreeMap<String, String>,
}

/// What a decision reads of the world beside policy and claims.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// The moment of the decision.
    pub now: UnixTime,
    /// What is remembered of the names that [`super::ProjectPolicy::names_used`] answered for the claims.
    pub names: HashMap<Names, NameState>,
    /// How long names may go unused after their first load.
    pub pin_window: Seconds,
}

/// How long names may go unused after their first load, where the configuration does not say: 30 days.
pub const PIN_WINDOW: Seconds = Seconds(30 * 24 * 60 * 60);

impl Circumstances {
    /// Nothing is remembered of any name: no pin is known, and none is expired.
    pub fn unremembered(now: UnixTime) -> Self {
        Self {
            now,
            names: HashMap::new(),
            pin_window: PIN_WINDOW,
        }
    }
}
