//! Globs that are wider than they look.

use super::super::asks::{About, Ask, Inside, Lens};
use super::super::entry::Relationship;
use super::super::fault::{Problem, Severity};
use super::super::language::Found;
use super::super::who::{form, other_owner};
use super::{Seen, writing};
use crate::issuer::profile::{Form, SituationKind};

pub(super) fn check(seen: &Seen<'_>, lens: &mut Lens) -> Vec<Problem> {
    let mut found = Vec::new();
    for ask in &seen.asks {
        if ask.globs().next().is_none() {
            continue;
        }
        let form = form(seen.relationship, ask);
        found.extend(crosses(ask, form, lens));
        found.extend(owners(seen.relationship, ask, lens));
        if form == Form::FullRef {
            found.extend(refs(seen, ask, lens));
        }
    }
    found
}

/// A `**` that begins or ends within a segment, which one reads as the end of a word.
fn crosses(ask: &Ask<'_>, form: Form, lens: &mut Lens) -> Option<Problem> {
    if form == Form::LowerCase {
        return None;
    }
    let glob = ask.globs().find(|glob| splits_a_segment(glob))?;
    let narrow = glob.replace("**", "*");
    let Found::Yes(example) = lens.beyond(glob, &narrow) else {
        return None;
    };
    Some(
        Problem::new(
            "glob-crosses-segments",
            ask.question.at.value.into(),
            format!("`{glob}` also matches `{example}`"),
            "`**` goes on after a `/`",
        )
        .of(Severity::Warning)
        .because("it reads like the end of one name, and takes in every folder below")
        .mend(format!("write `{narrow}`, which stops at a `/`")),
    )
}

fn splits_a_segment(glob: &str) -> bool {
    let part_of_a_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '?');
    glob.match_indices("**").any(|(at, stars)| {
        let before = glob.get(..at).and_then(|text| text.chars().next_back());
        let after = glob
            .get(at + stars.len()..)
            .and_then(|text| text.chars().next());
        before.is_some_and(part_of_a_word) || after.is_some_and(part_of_a_word)
    })
}

fn owners(relationship: &Relationship, ask: &Ask<'_>, lens: &mut Lens) -> Option<Problem> {
    let example = other_owner(relationship, ask, lens)?;
    let profile = relationship.profile;
    let place = profile
        .wording
        .place_name
        .and_then(|field| profile.field(field));
    let bounded = place.is_some_and(|field| ask.about == About::Claim(field.source.claim()));
    let (severity, why) = if bounded {
        (
            Severity::Note,
            "only the ids beside it keep the others out: the glob promises more than it does",
        )
    } else {
        (
            Severity::Warning,
            "whoever registers a name that matches brings their own code and settings",
        )
    };
    let glob = ask.globs().next().unwrap_or_default();
    Some(
        Problem::new(
            "glob-other-owners",
            ask.question.at.value.into(),
            format!("`{glob}` also matches {example}, which belongs to somebody else"),
            "the owner is not written out",
        )
        .of(severity)
        .because(why)
        .mend("write the owner's name whole, and a `*` only in what comes after its `/`"),
    )
}

/// A glob of refs that takes in those of pull requests, where the relationship does not speak of them.
fn refs(seen: &Seen<'_>, ask: &Ask<'_>, lens: &mut Lens) -> Option<Problem> {
    let relationship = seen.relationship;
    let situation = relationship.profile.situation(SituationKind::PullRequest)?;
    let of_refs = |claim: &str| ask.about == About::Claim(claim);
    let (_, globs) = situation.claims.iter().find(|(claim, _)| of_refs(claim))?;
    let Found::Yes(example) = lens.meets(ask, globs) else {
        return None;
    };
    let spoken_of = seen.asks.iter().any(|other| {
        let of_another = situation
            .claims
            .iter()
            .find(|(claim, _)| other.about == About::Claim(claim));
        of_another.is_some_and(|(_, values)| other.texts().any(|text| values.contains(&text)))
    });
    let inside = lens.situation(relationship, &seen.asks, SituationKind::PullRequest);
    if spoken_of || !matches!(inside, Some(Inside::Yes(_))) {
        return None;
    }
    let glob = ask.globs().next().unwrap_or_default();
    let severity = if writing(&relationship.scopes).is_empty() {
        Severity::Note
    } else {
        Severity::Warning
    };
    Some(
        Problem::new(
            "glob-pull-requests",
            ask.question.at.value.into(),
            format!("`{glob}` also matches `{example}`, the ref of a pull request"),
            "pull requests are inside",
        )
        .of(severity)
        .because("what a pull request runs, nobody has reviewed yet")
        .mend("write `refs/heads/…` or `refs/tags/…` in front, or name the events"),
    )
}
