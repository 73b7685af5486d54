//! The decision: every relationship and every deny is asked, and what comes of it is data.

use std::sync::Arc;

use super::condition::Sense;
use super::court::Court;
use super::entry::{Mode, Relationship, Tally, judge};
use super::policy::ProjectPolicy;
use super::{Circumstances, Decision, Grant, Judgement, Refusal, Scopes, Shadow, Wish};
use crate::clock::Seconds;
use crate::subject::VerifiedClaims;

/// The most relationships that a decision lists; of a large policy the nearest.
const MOST_LISTED: usize = 64;

/// How long project tokens live.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Where no relationship says.
    pub default_lifetime: Seconds,
    /// Whatever a relationship says.
    pub maximum_lifetime: Seconds,
}

/// Asks the policy whether these claims may act for the project.
///
/// Where a relationship holds, only those that could hold are judged; where none does, all are, so that the decision
/// explains itself.
pub fn decide(
    policy: &ProjectPolicy,
    claims: &VerifiedClaims,
    wish: &Wish,
    limits: &Limits,
    circumstances: &Circumstances,
) -> Decision {
    let court = Court {
        policy,
        claims,
        circumstances,
    };
    let candidates: Vec<&Relationship> = policy
        .index
        .candidates(claims)
        .into_iter()
        .filter_map(|place| policy.relationships.get(place))
        .collect();
    let (enforced, shadow) = by_mode(candidates);
    let holding: Vec<&Relationship> = enforced
        .iter()
        .copied()
        .filter(|relationship| court.tally(relationship).holds())
        .collect();
    let (considered, shadow) = if holding.is_empty() {
        by_mode(policy.relationships.iter().collect())
    } else {
        (enforced, shadow)
    };
    let refusal = holding.is_empty().then(|| court.refusal(&considered));
    let listed = nearest_first(considered, court);
    let (denies, shadow_denies) = judge_denies(policy, claims);
    let deny = denies.iter().find(|deny| deny.holds);
    let outcome = match (refusal, deny) {
        (Some(refusal), _) => Err(refusal),
        (None, Some(deny)) => Err(Refusal::DeniedByRule(deny.name.clone())),
        (None, None) => grant(court, &holding, wish, *limits),
    };
    Decision {
        relationships: listed.judgements,
        denies,
        proven: listed.proven,
        not_listed: listed.left_out,
        shadow: in_the_shadow(shadow, shadow_denies, court),
        outcome,
    }
}

/// Those that have an effect, and those in shadow mode.
fn by_mode(relationships: Vec<&Relationship>) -> (Vec<&Relationship>, Vec<&Relationship>) {
    relationships
        .into_iter()
        .partition(|relationship| relationship.mode == Mode::Enforce)
}

fn in_the_shadow(
    relationships: Vec<&Relationship>,
    denies: Vec<Judgement>,
    court: Court<'_>,
) -> Shadow {
    let judged = nearest_first(relationships, court).judgements;
    let (trust, others) = judged.into_iter().partition(|judged| judged.holds);
    Shadow {
        trust,
        denies,
        others,
    }
}

/// The decision about a project that does not exist: to the caller the same as one that does not trust it.
pub fn no_such_project() -> Decision {
    Decision {
        relationships: Vec::new(),
        denies: Vec::new(),
        proven: false,
        not_listed: 0,
        shadow: Shadow::default(),
        outcome: Err(Refusal::NotTrusted),
    }
}

struct Listed {
    judgements: Vec<Judgement>,
    proven: bool,
    left_out: usize,
}

/// Judges all, and puts the nearest into words: those whose identity holds, then those of which the fewest findings fail,
/// then as in the file.
fn nearest_first(relationships: Vec<&Relationship>, court: Court<'_>) -> Listed {
    let mut tallies: Vec<(Tally, &Relationship)> = relationships
        .into_iter()
        .map(|relationship| (court.tally(relationship), relationship))
        .collect();
    tallies.sort_by_key(|(tally, _)| *tally);
    Listed {
        proven: tallies.iter().any(|(tally, _)| !tally.stranger),
        left_out: tallies.len().saturating_sub(MOST_LISTED),
        judgements: tallies
            .into_iter()
            .take(MOST_LISTED)
            .map(|(_, relationship)| court.judge(relationship))
            .collect(),
    }
}

/// Judges every deny for the token's issuer: those that have an effect, the ones that hold first, and those in shadow mode
/// that hold.
fn judge_denies(
    policy: &ProjectPolicy,
    claims: &VerifiedClaims,
) -> (Vec<Judgement>, Vec<Judgement>) {
    let (mut judged, mut shadow) = (Vec::new(), Vec::new());
    for deny in policy.all_denies() {
        let Some(questions) = deny.questions(claims) else {
            continue;
        };
        let judgement = judge(&deny.name, questions, claims, Sense::Deny);
        match deny.mode {
            Mode::Enforce => judged.push(judgement),
            Mode::Shadow if judgement.holds => shadow.push(judgement),
            Mode::Shadow => {}
        }
    }
    judged.sort_by_key(|judgement| !judgement.holds);
    (judged, shadow)
}

/// What the relationships that hold give together, cut to what was asked.
fn grant(
    court: Court<'_>,
    holding: &[&Relationship],
    wish: &Wish,
    limits: Limits,
) -> Result<Grant, Refusal> {
    let mut given = Scopes::default();
    for relationship in holding {
        given.extend(&relationship.scopes);
    }
    let scopes = match wish.scopes.as_ref().filter(|asked| !asked.is_empty()) {
        None => given,
        Some(asked) => {
            let exceeding = asked.without(&given);
            if !exceeding.is_empty() {
                return Err(Refusal::ScopeExceedsGrant {
                    exceeding,
                    granted: given,
                });
            }
            asked.clone()
        }
    };
    if let Some(resource) = &wish.resource {
        let allowed = holding
            .iter()
            .any(|relationship| relationship.resources.contains(resource));
        if !allowed {
            return Err(Refusal::ResourceNotAllowed(resource.clone()));
        }
    }
    let shortest = holding
        .iter()
        .filter(|relationship| relationship.scopes.meets(&scopes))
        .map(|relationship| {
            let lifetime = relationship.lifetime.unwrap_or(limits.default_lifetime);
            let above = court.policy.guard_rails();
            let most = above.and_then(|above| above.longest_for(&relationship.issuer));
            lifetime.min(most.unwrap_or(lifetime))
        })
        .min()
        .unwrap_or(limits.default_lifetime);
    let mut trust: Vec<Arc<str>> = holding
        .iter()
        .map(|relationship| relationship.name.clone())
        .collect();
    trust.sort();
    Ok(Grant {
        trust,
        scopes,
        lifetime: shortest.min(limits.maximum_lifetime),
        resource: wish.resource.clone(),
        pins: court.pins(holding),
    })
}
