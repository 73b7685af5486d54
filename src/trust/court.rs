//! Judges the relationships of one policy where they stand: by their own questions, by the guard rails above them, and by
//! what is remembered of the names that they give without ids.

use std::sync::Arc;

use super::condition::Sense;
use super::decision::{Finding, FindingKind, Judgement, Refusal};
use super::entry::{Deny, Relationship, Tally, judge, tally};
use super::guard_rails::Breach;
use super::names::{Remembered, united};
use super::{Circumstances, PinWish, ProjectPolicy};
use crate::subject::VerifiedClaims;

/// What a relationship is judged by.
#[derive(Clone, Copy)]
pub(super) struct Court<'a> {
    pub(super) policy: &'a ProjectPolicy,
    pub(super) claims: &'a VerifiedClaims,
    pub(super) circumstances: &'a Circumstances,
}

impl<'a> Court<'a> {
    /// Judges without words.
    pub(super) fn tally(self, relationship: &Relationship) -> Tally {
        let mut tally = tally(&relationship.questions, self.claims, Sense::Trust);
        if tally.other_issuer {
            return tally;
        }
        tally.failed += self.policy.breaches_of(relationship).len();
        for finding in self.remembered(relationship) {
            if finding.holds {
                continue;
            }
            tally.failed += 1;
            tally.remembered += 1;
            tally.stranger |= finding.kind == FindingKind::Pin;
        }
        tally
    }

    /// Whether a deny keeps the token out.
    pub(super) fn denies(self, deny: &Deny) -> bool {
        let questions = deny.questions(self.claims);
        questions.is_some_and(|questions| tally(questions, self.claims, Sense::Deny).holds())
    }

    /// What a relationship asks of names that have changed, while their ids agree.
    pub(super) fn renamed(self, held: &'a Relationship) -> impl Iterator<Item = &'a Arc<str>> {
        let asked = held.questions.iter();
        let renamed = asked.filter(move |question| question.is_renamed(self.claims));
        renamed.map(|question| &question.asked)
    }

    /// Judges in words.
    pub(super) fn judge(self, relationship: &Relationship) -> Judgement {
        let name = &relationship.name;
        let mut judgement = judge(name, &relationship.questions, self.claims, Sense::Trust);
        let tally = self.tally(relationship);
        if !tally.other_issuer {
            let breaches = self.policy.breaches_of(relationship).iter();
            judgement.findings.extend(breaches.map(Breach::finding));
            judgement.findings.extend(self.remembered(relationship));
        }
        judgement.holds = tally.holds();
        judgement.identity_holds = !tally.stranger;
        judgement
    }

    /// Why none of these holds, of which none does: if nothing but what is remembered of its names stops one of them, that
    /// is the reason.
    pub(super) fn refusal(self, relationships: &[&'a Relationship]) -> Refusal {
        let stopped_by_memory = relationships.iter().filter(|relationship| {
            let tally = self.tally(relationship);
            tally.failed > 0 && tally.failed == tally.remembered
        });
        let mut expired = None;
        for relationship in stopped_by_memory {
            let Some(remembered) = self.memory(relationship) else {
                continue;
            };
            if let Some(changed) = remembered.changed() {
                return Refusal::IdentityChanged {
                    relationship: relationship.name.clone(),
                    changed,
                };
            }
            let is_expired = |finding: &Finding| finding.kind == FindingKind::Expired;
            if expired.is_none() && remembered.findings().iter().any(is_expired) {
                expired = Some(relationship.name.clone());
            }
        }
        expired.map_or(Refusal::NotTrusted, Refusal::RelationshipExpired)
    }

    /// What the commit of an exchange must compare with the pins, or pin.
    pub(super) fn pins(self, holding: &[&'a Relationship]) -> Vec<PinWish> {
        let remembered = holding.iter().filter_map(|held| self.memory(held));
        united(remembered.map(Remembered::wish))
    }

    fn memory(self, relationship: &'a Relationship) -> Option<Remembered<'a>> {
        let project = self.policy.path().as_str();
        Remembered::of(relationship, project, self.claims, self.circumstances)
    }

    fn remembered(self, relationship: &Relationship) -> Vec<Finding> {
        if self.circumstances.names.is_empty() {
            return Vec::new();
        }
        let project = self.policy.path().as_str();
        Remembered::of(relationship, project, self.claims, self.circumstances)
            .map(|remembered| remembered.findings())
            .unwrap_or_default()
    }
}
