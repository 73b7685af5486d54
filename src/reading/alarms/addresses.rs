//! Where a token or a run was seen: at one address, or at several.

use std::collections::{HashMap, VecDeque};

use crate::audit::DecisionId;

/// How many tokens or runs are remembered at once. The exchanges of one lie close together, so those that are forgotten are
/// long past.
const MOST: usize = 50_000;

/// The addresses of tokens or runs.
#[derive(Default)]
pub(super) struct Addresses {
    known: HashMap<String, At>,
    order: VecDeque<String>,
}

/// Where something was seen first in the walk, and by which decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) address: String,
    pub(super) decision_id: DecisionId,
}

impl Addresses {
    /// Notes that what `key` names was at `address`. Answers where else it was, if it was.
    pub(super) fn other(&mut self, key: [&str; 3], address: &str, id: DecisionId) -> Option<At> {
        // No part can hold this character: claims that do are refused.
        let key = key.join("\u{0}");
        if let Some(at) = self.known.get(&key) {
            return (at.address != address).then(|| at.clone());
        }
        if self.known.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(key.clone());
        let at = At {
            address: address.to_owned(),
            decision_id: id,
        };
        self.known.insert(key, at);
        None
    }
}
