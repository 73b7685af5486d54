//! Names without ids: what a use of them pins, and which other ids it may not have. Every store asks this inside the commit
//! that spends.

use std::collections::BTreeMap;

use super::RememberedNames;
use crate::audit::{DecisionId, Happening};
use crate::clock::UnixTime;
use crate::trust::{NameState, Names, Pin, PinWish};

/// The decision for which ids are compared and pinned.
#[derive(Debug, Clone, Copy)]
pub struct PinnedFor {
    /// Its name.
    pub decision_id: DecisionId,
    /// When it was made.
    pub at: UnixTime,
}

/// What a commit pins.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// What will be remembered.
    pub now: RememberedNames,
    /// The ids that are new in it.
    added: BTreeMap<String, String>,
    /// Whether it differs from what was remembered.
    changed: bool,
}

/// What is remembered of names whose window begins at `now`.
pub fn fresh(now: UnixTime) -> NameState {
    NameState {
        first_loaded_millis: now.millis(),
        pin: None,
    }
}

/// What the wishes for a decision would pin, given what `remembered` says of names; or the first names to which other ids
/// are pinned.
pub fn compare<E>(
    wishes: &[PinWish],
    decision: PinnedFor,
    mut remembered: impl FnMut(&Names) -> Result<Option<NameState>, E>,
) -> Result<Result<Vec<Pinned>, Names>, E> {
    let mut pinned: BTreeMap<&Names, (Option<NameState>, Pinned)> = BTreeMap::new();
    for wish in wishes {
        if !pinned.contains_key(&wish.names) {
            let before = remembered(&wish.names)?;
            let state = before.clone().unwrap_or_else(|| fresh(decision.at));
            let known = Pinned {
                now: RememberedNames {
                    names: wish.names.clone(),
                    state,
                },
                added: BTreeMap::new(),
                changed: false,
            };
            pinned.insert(&wish.names, (before, known));
        }
        let agrees = pinned.get_mut(&wish.names);
        if !agrees.is_some_and(|(_, pinned)| pinned.pin(&wish.ids, decision)) {
            return Ok(Err(wish.names.clone()));
        }
    }
    let all = pinned.into_values().map(|(before, pinned)| Pinned {
        changed: before.as_ref() != Some(&pinned.now.state),
        ..pinned
    });
    Ok(Ok(all.collect()))
}

impl Pinned {
    /// Adds those of `ids` that are not pinned yet. Answers false if a pinned one differs, or is left out.
    fn pin(&mut self, ids: &BTreeMap<String, String>, decision: PinnedFor) -> bool {
        let pin = self.now.state.pin.get_or_insert_with(|| Pin {
            ids: BTreeMap::new(),
            since_millis: decision.at.millis(),
            decision_id: decision.decision_id.to_string(),
        });
        if pin.ids.iter().any(|(field, id)| ids.get(field) != Some(id)) {
            return false;
        }
        // Names that were used without ids are pinned by the first use that has some.
        if pin.ids.is_empty() && !ids.is_empty() {
            pin.since_millis = decision.at.millis();
            pin.decision_id = decision.decision_id.to_string();
        }
        for (field, id) in ids {
            if pin.ids.insert(field.clone(), id.clone()).is_none() {
                self.added.insert(field.clone(), id.clone());
            }
        }
        true
    }

    /// Whether what is remembered differs from before.
    pub fn is_change(&self) -> bool {
        self.changed
    }

    /// What the log says of it, if ids are new.
    pub fn event(&self, decision: PinnedFor) -> Option<Happening> {
        (!self.added.is_empty()).then(|| Happening::PinMade {
            names: self.now.names.clone(),
            ids: self.added.clone(),
            decision_id: decision.decision_id,
        })
    }
}
