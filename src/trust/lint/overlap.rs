//! Relationships that change nothing: because another one gives as much, or a deny always holds with them.

use std::collections::HashMap;

use super::super::asks::{Lens, deny_questions};
use super::super::condition::Sense;
use super::super::entry::{Deny, Mode, Relationship};
use super::super::fault::{Problem, Severity};
use super::super::{FindingKind, ProjectPolicy};
use super::Seen;
use crate::clock::Seconds;

/// A value that an identity field or claim must have, folded so that none is missed.
type Anchor = (String, String, String);

/// The findings, by the place of their relationship in the list.
pub(super) fn find(
    seen: &[Seen<'_>],
    policy: &ProjectPolicy,
    lens: &mut Lens,
    default_lifetime: Seconds,
) -> HashMap<usize, Problem> {
    let filed = Filed::new(seen);
    let mut found = HashMap::new();
    for (at, one) in seen.iter().enumerate() {
        if one.relationship.mode == Mode::Shadow {
            continue;
        }
        let mut denies = policy.all_denies();
        let deny = denies.find(|deny| always_holds(deny, one, lens));
        if let Some(deny) = deny {
            found.insert(at, denied(one.relationship, deny, policy));
            continue;
        }
        let other = filed.candidates(one).into_iter().find(|&other| {
            other != at
                && seen.get(other).is_some_and(|wide| {
                    gives_no_more(one.relationship, wide.relationship, default_lifetime)
                        && is_within(one, wide, lens)
                        // Of two that say the same, the later one is too many.
                        && (other < at || !(gives_no_more(wide.relationship, one.relationship, default_lifetime)
                            && is_within(wide, one, lens)))
                })
        });
        if let Some(other) = other.and_then(|other| seen.get(other)) {
            found.insert(at, shadowed(one.relationship, other.relationship));
        }
    }
    found
}

fn denied(relationship: &Relationship, deny: &Deny, policy: &ProjectPolicy) -> Problem {
    let problem = Problem::new(
        "always-denied",
        relationship.at.name.into(),
        format!(
            "`{}` lets nobody in: the deny `{}` always holds with it",
            relationship.name, deny.name
        ),
        "always denied",
    )
    .of(Severity::Warning)
    .because("a deny wins over every trust, in any order")
    .mend("take out the relationship, or let the deny ask for more");
    let above = policy.guard_rails().filter(|above| {
        let mut denies = above.denies.iter();
        denies.any(|own| std::ptr::eq(own, deny))
    });
    match above {
        Some(above) => problem.elsewhere(above.file(), deny.at.name, "this deny wins"),
        None => problem.earlier(deny.at.name.into(), "this deny wins"),
    }
}

fn shadowed(relationship: &Relationship, other: &Relationship) -> Problem {
    Problem::new(
        "shadowed",
        relationship.at.name.into(),
        format!(
            "`{}` gives nothing that `{}` does not give to the same jobs",
            relationship.name, other.name
        ),
        "changes nothing",
    )
    .of(Severity::Warning)
    .earlier(other.at.name.into(), "this one is as wide or wider")
    .because("all relationships that hold count, so the narrower one takes nothing away from the wider one")
    .mend("take it out, or narrow the other one if this is all that should be let in")
}

/// Whether `narrow` gives no scope and no resource beyond those of `wide`, and shortens no lifetime.
fn gives_no_more(narrow: &Relationship, wide: &Relationship, default: Seconds) -> bool {
    wide.mode == Mode::Enforce
        && narrow.scopes.without(&wide.scopes).is_empty()
        && narrow
            .resources
            .iter()
            .all(|resource| wide.resources.contains(resource))
        && narrow.lifetime.unwrap_or(default) >= wide.lifetime.unwrap_or(default)
}

fn is_within(narrow: &Seen<'_>, wide: &Seen<'_>, lens: &mut Lens) -> bool {
    let questions = wide.relationship.questions.iter();
    let mut questions = questions
        .map(|question| lens.is_implied(question, narrow.relationship, &narrow.asks, Sense::Trust));
    questions.all(|implied| implied)
}

fn always_holds(deny: &Deny, seen: &Seen<'_>, lens: &mut Lens) -> bool {
    deny.mode == Mode::Enforce
        && deny_questions(deny, seen.relationship).is_some_and(|questions| {
            let mut questions = questions.iter();
            questions.all(|question| {
                lens.is_implied(question, seen.relationship, &seen.asks, Sense::Deny)
            })
        })
}

/// The relationships by the rarest of the identities that they ask for, so that a large file is not compared each with
/// each. What lies within a relationship asks for the same value.
struct Filed {
    by_anchor: HashMap<Anchor, Vec<usize>>,
    others: Vec<usize>,
}

impl Filed {
    fn new(seen: &[Seen<'_>]) -> Self {
        let mut crowd: HashMap<Anchor, usize> = HashMap::new();
        let all: Vec<Vec<Vec<Anchor>>> = seen.iter().map(anchors).collect();
        for anchor in all.iter().flatten().flatten() {
            *crowd.entry(anchor.clone()).or_default() += 1;
        }
        let mut filed = Self {
            by_anchor: HashMap::new(),
            others: Vec::new(),
        };
        for (at, questions) in all.into_iter().enumerate() {
            let size = |anchors: &Vec<Anchor>| {
                let sizes = anchors
                    .iter()
                    .map(|anchor| crowd.get(anchor).copied().unwrap_or_default());
                sizes.max().unwrap_or_default()
            };
            match questions.into_iter().min_by_key(size) {
                None => filed.others.push(at),
                Some(anchors) => {
                    for anchor in anchors {
                        filed.by_anchor.entry(anchor).or_default().push(at);
                    }
                }
            }
        }
        filed
    }

    fn candidates(&self, seen: &Seen<'_>) -> Vec<usize> {
        let own = anchors(seen).into_iter().flatten();
        let mut places: Vec<usize> = own
            .filter_map(|anchor| self.by_anchor.get(&anchor))
            .flatten()
            .chain(&self.others)
            .copied()
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// For each question that asks for exact values of an identity, those values.
fn anchors(seen: &Seen<'_>) -> Vec<Vec<Anchor>> {
    let issuer = &seen.relationship.issuer;
    let identities = seen
        .asks
        .iter()
        .filter(|ask| ask.question.kind == FindingKind::Identity);
    identities
        .filter_map(|ask| {
            let values = ask.exact()?.into_iter();
            let asked = &ask.question.asked;
            let anchor = |value: &str| {
                (
                    issuer.to_string(),
                    asked.to_string(),
                    value.to_ascii_lowercase(),
                )
            };
            Some(values.map(anchor).collect())
        })
        .collect()
}
