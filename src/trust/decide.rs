//! The decision: every relationship and every deny is asked, and what comes of it is data.

use std::sync::Arc;

use super::condition::Sense;
use super::court::Court;
use super::entry::{Mode, Relationship, Tally, judge};
use super::policy::ProjectPolicy;
use super::{Answer, Circumstances, Decision, Grant, Judgement, Refusal, Scopes, Shadow, Wish};
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

/// Asks the policy whether these claims may act for the project, and has every relationship say why.
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
    let heard = hear(court, wish, *limits);
    let listed = nearest_first(heard.considered, court);
    let (denies, shadow_denies) = judge_denies(court);
    Decision {
        relationships: listed.judgements,
        denies,
        proven: listed.proven,
        not_listed: listed.left_out,
        shadow: in_the_shadow(heard.shadow, shadow_denies, court),
        outcome: heard.outcome,
    }
}

/// The same without the reasons, which take longer to put into words than the answer takes to find: for the many exchanges
/// that are allowed, whose records say nothing else.
pub fn answer(
    policy: &ProjectPolicy,
    claims: &VerifiedClaims,
    wish: &Wish,
    limits: &Limits,
    circumstances: &Circumstances,
) -> Answer {
    let court = Court {
        policy,
        claims,
        circumstances,
    };
    let heard = hear(court, wish, *limits);
    let in_shadow = heard
        .shadow
        .into_iter()
        .filter(|relationship| court.tally(relationship).holds());
    let denies = policy.all_denies();
    let shadow_denies = denies.filter(|deny| deny.mode == Mode::Shadow && court.denies(deny));
    let mut renamed = sorted(heard.holding.iter().flat_map(|held| court.renamed(held)));
    renamed.dedup();
    Answer {
        renamed,
        shadow_trust: sorted(in_shadow.map(|relationship| &relationship.name)),
        shadow_denies: sorted(shadow_denies.map(|deny| &deny.name)),
        proven: heard.proven,
        outcome: heard.outcome,
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Vec<String> {
    let mut names: Vec<String> = names.map(ToString::to_string).collect();
    names.sort();
    names
}

/// What comes of asking, and who was asked.
struct Heard<'a> {
    outcome: Result<Grant, Refusal>,
    /// See [`Decision::proven`].
    proven: bool,
    /// The relationships that have an effect and hold.
    holding: Vec<&'a Relationship>,
    /// Those that have an effect and were asked: all of them, if none that could hold does.
    considered: Vec<&'a Relationship>,
    /// Those in shadow mode beside them.
    shadow: Vec<&'a Relationship>,
}

/// Finds the outcome, by tallies alone.
fn hear<'a>(court: Court<'a>, wish: &Wish, limits: Limits) -> Heard<'a> {
    let relationships = &court.policy.relationships;
    let candidates = court.policy.index.candidates(court.claims).into_iter();
    let (considered, shadow) = by_mode(candidates.filter_map(|place| relationships.get(place)));
    let holding: Vec<&Relationship> = considered
        .iter()
        .copied()
        .filter(|relationship| court.tally(relationship).holds())
        .collect();
    if holding.is_empty() {
        let (considered, shadow) = by_mode(relationships.iter());
        let mut proven = false;
        let mut stopped_by_memory = considered.clone();
        stopped_by_memory.retain(|relationship| {
            let tally = court.tally(relationship);
            proven |= !tally.stranger;
            tally.remembered > 0
        });
        return Heard {
            outcome: Err(court.refusal(&stopped_by_memory)),
            proven,
            holding,
            considered,
            shadow,
        };
    }
    let mut enforced = court
        .policy
        .all_denies()
        .filter(|deny| deny.mode == Mode::Enforce);
    let outcome = match enforced.find(|deny| court.denies(deny)) {
        Some(deny) => Err(Refusal::DeniedByRule(deny.name.clone())),
        None => grant(court, &holding, wish, limits),
    };
    Heard {
        outcome,
        proven: true,
        holding,
        considered,
        shadow,
    }
}

/// Those that have an effect, and those in shadow mode.
fn by_mode<'a>(
    relationships: impl Iterator<Item = &'a Relationship>,
) -> (Vec<&'a Relationship>, Vec<&'a Relationship>) {
    relationships.partition(|relationship| relationship.mode == Mode::Enforce)
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
fn judge_denies(court: Court<'_>) -> (Vec<Judgement>, Vec<Judgement>) {
    let (mut judged, mut shadow) = (Vec::new(), Vec::new());
    for deny in court.policy.all_denies() {
        let Some(questions) = deny.questions(court.claims) else {
            continue;
        };
        let judgement = judge(&deny.name, questions, court.claims, Sense::Deny);
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
