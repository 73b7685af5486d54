//! Judges the relationships of one policy where they stand: by their own questions, and by the guard rails above them.

use super::condition::Sense;
use super::entry::{Relationship, Tally, judge, tally};
use super::{Finding, Judgement, ProjectPolicy};
use crate::subject::VerifiedClaims;

/// What a relationship is judged by.
#[derive(Clone, Copy)]
pub(super) struct Court<'a> {
    pub(super) policy: &'a ProjectPolicy,
    pub(super) claims: &'a VerifiedClaims,
}

impl Court<'_> {
    /// Judges without words.
    pub(super) fn tally(self, relationship: &Relationship) -> Tally {
        let mut tally = tally(&relationship.questions, self.claims, Sense::Trust);
        if !tally.other_issuer {
            tally.failed += self.policy.breaches_of(relationship).len();
        }
        tally
    }

    /// Judges in words.
    pub(super) fn judge(self, relationship: &Relationship) -> Judgement {
        let name = &relationship.name;
        let mut judgement = judge(name, &relationship.questions, self.claims, Sense::Trust);
        let tally = self.tally(relationship);
        if !tally.other_issuer {
            judgement.findings.extend(self.beyond(relationship));
        }
        judgement.holds = tally.holds();
        judgement.identity_holds = !tally.stranger;
        judgement
    }

    /// The findings that no line of the relationship asks for.
    fn beyond(self, relationship: &Relationship) -> Vec<Finding> {
        let breaches = self.policy.breaches_of(relationship).iter();
        breaches.map(super::Breach::finding).collect()
    }
}
