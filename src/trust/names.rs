//! Which names a policy gives without their ids, and what is remembered of them: the pure part of pinning.

use std::collections::{BTreeMap, BTreeSet};

use super::condition::same_text;
use super::decision::{ChangedId, Finding, FindingKind};
use super::entry::{Mode, Question, Relationship, Test};
use super::identity::{FieldTest, Named, Reading, read};
use super::pin::{Circumstances, NameState, Names, Pin, PinWish};
use super::policy::ProjectPolicy;
use crate::clock::{Seconds, UnixTime};
use crate::issuer::profile::{IdentityField, Profile};
use crate::subject::VerifiedClaims;

/// The ids that are pinned for a relationship which gives these questions: those of every exact name that stands without
/// its id, and then also the owner's. Empty if every name has its id, or none is exact.
pub(super) fn ids_to_pin(
    profile: &'static Profile,
    questions: &[Question],
) -> Box<[&'static IdentityField]> {
    let given = |name: &str| {
        questions
            .iter()
            .any(|question| field_test(question).is_some_and(|test| test.field.name == name))
    };
    let names_something = |id: &IdentityField| {
        let name = questions.iter().filter_map(field_test);
        let mut named = name.filter(|test| Some(test.field.name) == id.id_of);
        named.any(|test| matches!(test.named, Named::Exact(_)))
    };
    let missing: Vec<&IdentityField> = profile
        .fields
        .iter()
        .filter(|field| !given(field.name))
        .collect();
    if !missing.iter().any(|id| names_something(id)) {
        return Box::default();
    }
    missing
        .into_iter()
        .filter(|id| names_something(id) || profile.owner_id == Some(id.name))
        .collect()
}

fn field_test(question: &Question) -> Option<&FieldTest> {
    match &question.test {
        Test::Field(test) => Some(test),
        Test::Issuer(_) | Test::Requirement(..) | Test::Claim(_) => None,
    }
}

impl Relationship {
    /// The exact names that it gives, for fields that have an id.
    fn exact_names(&self) -> impl Iterator<Item = (&FieldTest, &[Box<str>])> {
        let has_id = |name: &str| {
            let mut fields = self.profile.fields.iter();
            fields.any(|field| field.id_of == Some(name))
        };
        self.questions
            .iter()
            .filter_map(field_test)
            .filter_map(move |test| match &test.named {
                Named::Exact(values) if has_id(test.field.name) => Some((test, &**values)),
                _ => None,
            })
    }

    /// The names under which the ids of this token are pinned; `None` if nothing is to be pinned, or its names are others.
    fn names_for(&self, project: &str, claims: &VerifiedClaims) -> Option<Names> {
        if self.ids_to_pin.is_empty() || self.issuer != claims.trusted().name {
            return None;
        }
        let mut names = BTreeMap::new();
        for (test, values) in self.exact_names() {
            let found = read(test.field.source, claims);
            let is_found = |value: &str| match &found {
                Reading::Text(found) => same_text(value, found, test.field.fold),
                Reading::Absent | Reading::Odd => false,
            };
            // A label is what the file says, whatever its project is called by now.
            let value = match values {
                [label] if test.label_of.is_some() => Some(label),
                values => values.iter().find(|value| is_found(value)),
            };
            names.insert(test.field.name.to_owned(), folded(value?, test.field));
        }
        Some(Names {
            project: project.to_owned(),
            issuer: self.issuer.to_string(),
            names,
        })
    }

    /// Every combination of the names that it gives.
    fn all_names(&self, project: &str) -> Vec<Names> {
        let mut all = vec![BTreeMap::new()];
        for (test, values) in self.exact_names() {
            let longer = all.iter().flat_map(|names: &BTreeMap<String, String>| {
                values.iter().map(|value| {
                    let mut names = names.clone();
                    names.insert(test.field.name.to_owned(), folded(value, test.field));
                    names
                })
            });
            all = longer.collect();
        }
        all.into_iter()
            .map(|names| Names {
                project: project.to_owned(),
                issuer: self.issuer.to_string(),
                names,
            })
            .collect()
    }
}

fn folded(value: &str, field: &IdentityField) -> String {
    if field.fold {
        value.to_ascii_lowercase()
    } else {
        value.to_owned()
    }
}

impl ProjectPolicy {
    /// The names without ids that the relationships use which could hold for these claims: what a decision about them has
    /// to know is what is remembered of these.
    pub fn names_used(&self, claims: &VerifiedClaims) -> Vec<Names> {
        let candidates = self.index.candidates(claims);
        let used: BTreeSet<Names> = candidates
            .into_iter()
            .filter_map(|place| self.relationships.get(place))
            .filter_map(|relationship| relationship.names_for(self.path().as_str(), claims))
            .collect();
        used.into_iter().collect()
    }

    /// Every combination of names that a relationship gives without ids and that could be used today: the time in which
    /// they must be used begins with their first load. What is in shadow mode, or off, cannot be used, so its time has
    /// not begun.
    pub fn names_without_ids(&self) -> Vec<Names> {
        let in_use = self.relationships.iter().filter(|relationship| {
            !relationship.ids_to_pin.is_empty()
                && relationship.mode == Mode::Enforce
                && self.breaches_of(relationship).is_empty()
        });
        let names: BTreeSet<Names> = in_use
            .flat_map(|relationship| relationship.all_names(self.path().as_str()))
            .collect();
        names.into_iter().collect()
    }
}

/// What is remembered of the names of one relationship, and what the token has beside it.
pub(super) struct Remembered<'a> {
    relationship: &'a Relationship,
    names: Names,
    state: Option<&'a NameState>,
    claims: &'a VerifiedClaims,
    pin_window: Seconds,
    now: UnixTime,
}

impl<'a> Remembered<'a> {
    /// `None` if the relationship pins nothing, or is not for the names of this token.
    pub(super) fn of(
        relationship: &'a Relationship,
        project: &str,
        claims: &'a VerifiedClaims,
        circumstances: &'a Circumstances,
    ) -> Option<Self> {
        let names = relationship.names_for(project, claims)?;
        Some(Self {
            state: circumstances.names.get(&names),
            relationship,
            names,
            claims,
            pin_window: circumstances.pin_window,
            now: circumstances.now,
        })
    }

    fn pin(&self) -> Option<&'a Pin> {
        self.state?.pin.as_ref()
    }

    /// One finding for each id that is pinned and that the file does not give; or one that the names are expired.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let Some(pin) = self.pin() else {
            return self.expired().into_iter().collect();
        };
        let since = UnixTime::from_millis(pin.since_millis);
        let ids = self.relationship.ids_to_pin.iter();
        ids.filter_map(|id| {
            let pinned = pin.ids.get(id.name)?;
            let found = read(id.source, self.claims);
            Some(Finding {
                asked: id.name.into(),
                claim: id.source.claim().into(),
                kind: FindingKind::Pin,
                wanted: format!("\"{pinned}\", pinned at {since}").into(),
                found: self.claims.get(id.source.claim()).cloned(),
                holds: matches!(found, Reading::Text(found) if *found == **pinned),
                renamed: false,
            })
        })
        .collect()
    }

    /// That the names were not used in time, if so.
    fn expired(&self) -> Option<Finding> {
        let state = self.state.filter(|state| state.pin.is_none())?;
        let first_load = UnixTime::from_millis(state.first_loaded_millis);
        let last = first_load.plus(self.pin_window);
        if self.now <= last {
            return None;
        }
        let id = self.relationship.ids_to_pin.first()?;
        Some(Finding {
            asked: id.name.into(),
            claim: id.source.claim().into(),
            kind: FindingKind::Expired,
            wanted: format!("given in the file, or pinned by a first use until {last}").into(),
            found: None,
            holds: false,
            renamed: false,
        })
    }

    /// The ids that differ from the pinned ones, if that is to be told: only where the owner's id is known to hold, or
    /// where the token has all that it has right and merely leaves some out.
    pub(super) fn changed(&self) -> Option<Vec<ChangedId>> {
        let pin = self.pin()?;
        let owner_id = self.relationship.profile.owner_id?;
        let mut changed = Vec::new();
        // An owner's id that the file gives is a question of the relationship, and holds where this is asked.
        let mut owner_holds = !self
            .relationship
            .ids_to_pin
            .iter()
            .any(|id| id.name == owner_id);
        for id in &*self.relationship.ids_to_pin {
            let Some(pinned) = pin.ids.get(id.name) else {
                continue;
            };
            let left_out = match read(id.source, self.claims) {
                Reading::Text(found) if *found == **pinned => {
                    owner_holds |= id.name == owner_id;
                    continue;
                }
                Reading::Absent => true,
                Reading::Text(_) | Reading::Odd => false,
            };
            changed.push(ChangedId {
                field: id.name,
                claim: id.source.claim(),
                ask_for: id.ask_for.filter(|_| left_out),
                left_out,
            });
        }
        let only_left_out = changed.iter().all(|id| id.left_out);
        (!changed.is_empty() && (owner_holds || only_left_out)).then_some(changed)
    }

    /// What the commit must compare, or pin. A pinned id that the file gives by now is repeated as it is pinned: the file
    /// has decided on it.
    pub(super) fn wish(self) -> PinWish {
        let mut ids = self.pin().map(|pin| pin.ids.clone()).unwrap_or_default();
        for id in &*self.relationship.ids_to_pin {
            if let Reading::Text(found) = read(id.source, self.claims) {
                ids.insert(id.name.to_owned(), found.into_owned());
            } else {
                ids.remove(id.name);
            }
        }
        PinWish {
            names: self.names,
            ids,
        }
    }
}

/// One wish for each of the names: what several relationships ask of the same names is asked at once.
pub(super) fn united(wishes: impl Iterator<Item = PinWish>) -> Vec<PinWish> {
    let mut united: BTreeMap<Names, BTreeMap<String, String>> = BTreeMap::new();
    for wish in wishes {
        united.entry(wish.names).or_default().extend(wish.ids);
    }
    united
        .into_iter()
        .map(|(names, ids)| PinWish { names, ids })
        .collect()
}
