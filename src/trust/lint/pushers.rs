//! Relationships that give write scopes to whoever may push.

use super::super::asks::{About, Ask, Lens, ask_about};
use super::super::entry::{Relationship, Test};
use super::super::fault::{Problem, Severity};
use super::super::language::Found;
use super::super::who::duration_in_words;
use super::super::{FindingKind, Limits};
use super::{Seen, writing};
use crate::clock::Seconds;
use crate::issuer::profile::{Claim, FieldKind, Form, PullRequests, TrustClass};

/// Over this, a token with write scopes is worth stealing.
const LONG: Seconds = Seconds(3600);

/// What a question does to somebody who may push to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    /// They can satisfy it.
    Nobody,
    /// They can satisfy it, by making a branch or tag whose name matches.
    WhoNamesNoRef,
    /// They cannot, or we do not know.
    Someone,
}

pub(super) fn check(seen: &Seen<'_>, lens: &mut Lens) -> Option<Problem> {
    let relationship = seen.relationship;
    let scopes = writing(&relationship.scopes);
    let marked = matches!(
        relationship.profile.pull_requests,
        PullRequests::Marked(_) | PullRequests::ByOrigin(_)
    );
    // Where pull requests pass for pushes, another finding says so of the branch.
    if scopes.is_empty() || !marked {
        return None;
    }
    let mut firmest = Holds::Nobody;
    let mut chosen = Vec::new();
    for question in &relationship.questions {
        let holds = match &question.test {
            Test::Claim(_) => {
                let ask = ask_about(&seen.asks, &question.claim);
                ask.map_or(Holds::Someone, |ask| of_ask(relationship, ask, lens))
            }
            Test::Field(test) => match test.field.kind {
                FieldKind::ReusableWorkflow | FieldKind::FullRef => Holds::Someone,
                FieldKind::Uuid(_)
                    if test.field.required == crate::issuer::profile::Required::No =>
                {
                    Holds::Someone
                }
                _ if matches!(test.field.name, "environment" | "branch") => Holds::Someone,
                _ => continue,
            },
            Test::Issuer(_) | Test::Requirement(..) => continue,
        };
        if question.kind == FindingKind::Condition {
            chosen.push(format!("`{}`", question.claim));
        }
        firmest = firmest.max(holds);
    }
    if firmest == Holds::Someone {
        return None;
    }
    let at = relationship.at.scopes.unwrap_or(relationship.at.header);
    let scopes = scopes.join(", ");
    let message = match (chosen.is_empty(), firmest) {
        (true, _) => {
            format!("whoever may push a branch gets {scopes}: nothing is asked of the job")
        }
        (false, Holds::WhoNamesNoRef) => {
            format!("whoever may make a branch or tag whose name matches gets {scopes}")
        }
        (false, _) => format!(
            "whoever may push gets {scopes}: the conditions rest only on what they choose ({})",
            chosen.join(", ")
        ),
    };
    let severity = match firmest {
        Holds::WhoNamesNoRef => Severity::Note,
        _ => Severity::Warning,
    };
    Some(
        Problem::new(
            "pusher-chooses",
            at.into(),
            message,
            "given to whoever may push",
        )
        .of(severity)
        .because("many more may push a branch, or edit a workflow on one, than may release")
        .mend(mend(relationship)),
    )
}

/// What would keep them out, in the words of the profile.
fn mend(relationship: &Relationship) -> String {
    let profile = relationship.profile;
    let mut ways = Vec::new();
    let refs = profile
        .claims
        .iter()
        .find(|claim| claim.form == Form::FullRef);
    if let Some(claim) = refs {
        ways.push(match profile.field("ref") {
            Some(_) => "`ref = \"refs/heads/main\"` beside the issuer".to_owned(),
            None => format!(
                "`{} = \"refs/heads/main\"` under `[trust.claims]`",
                quoted(claim)
            ),
        });
    }
    if profile.field("environment").is_some() {
        ways.push("an `environment` with protection rules".to_owned());
    }
    if profile.claim("ref_protected").is_some() {
        ways.push("`ref_protected = \"true\"` under `[trust.claims]`".to_owned());
    }
    if let Some(claim) = profile
        .claims
        .iter()
        .find(|claim| claim.trust == TrustClass::Administrator && claim.name.contains('/'))
    {
        ways.push(format!(
            "`{} = \"…\"` under `[trust.claims]`",
            quoted(claim)
        ));
    }
    format!(
        "ask for what only few can bring about: {}",
        ways.join(", or ")
    )
}

/// The claim's name as a key of TOML.
fn quoted(claim: &Claim) -> String {
    if claim.name.contains(['.', '/', ':']) {
        format!("\"{}\"", claim.name)
    } else {
        claim.name.to_owned()
    }
}

fn of_ask(relationship: &Relationship, ask: &Ask<'_>, lens: &mut Lens) -> Holds {
    let About::Claim(name) = ask.about else {
        return Holds::Someone;
    };
    let Some(claim) = relationship.profile.claim(name) else {
        return Holds::Someone;
    };
    if matches!(claim.form, Form::FullRef | Form::BareRef) {
        return of_ref(claim, ask, lens);
    }
    if !ask.is_positive() {
        // What must only not be something is satisfied by anything else, unless all that they can bring about is out.
        return match claim.by_pushing {
            [] => Holds::Nobody,
            values if values.iter().any(|value| lens.lets_in(ask, value)) => Holds::Nobody,
            _ => Holds::Someone,
        };
    }
    match claim.trust {
        TrustClass::System | TrustClass::Administrator if !claim.by_pushing.is_empty() => {
            if claim
                .by_pushing
                .iter()
                .any(|value| lens.lets_in(ask, value))
            {
                Holds::Nobody
            } else {
                Holds::Someone
            }
        }
        TrustClass::Chosen | TrustClass::OfRun | TrustClass::System => Holds::Nobody,
        TrustClass::Administrator | TrustClass::ImmutableId | TrustClass::ReusableName => {
            Holds::Someone
        }
    }
}

/// A ref by its whole name is the operator's to protect; one that only matches is anybody's to make.
fn of_ref(claim: &Claim, ask: &Ask<'_>, lens: &mut Lens) -> Holds {
    if ask.absent || !ask.is_positive() {
        return Holds::Nobody;
    }
    if ask.exact().is_some() {
        return Holds::Someone;
    }
    let every_branch: &[&str] = if claim.form == Form::FullRef {
        &["refs/heads/?*"]
    } else {
        &["?*"]
    };
    let all = lens.covers(ask, every_branch);
    match lens.meets(ask, &["?**"]) {
        Found::No => Holds::Someone,
        _ if all => Holds::Nobody,
        _ => Holds::WhoNamesNoRef,
    }
}

/// A token with write scopes that lives over an hour.
pub(super) fn lifetime(relationship: &Relationship, limits: Limits) -> Option<Problem> {
    let scopes = writing(&relationship.scopes);
    let given = relationship.lifetime;
    let lives = given
        .unwrap_or(limits.default_lifetime)
        .min(limits.maximum_lifetime);
    if scopes.is_empty() || lives <= LONG {
        return None;
    }
    let at = match given {
        Some(_) => relationship.at.lifetime,
        None => relationship.at.scopes,
    };
    let whose = match given {
        Some(_) => "",
        None => ", by the service's default",
    };
    let at = at.unwrap_or(relationship.at.header);
    Some(
        Problem::new(
            "lifetime-long",
            at.into(),
            format!(
                "a token with {} lives {}{whose}",
                scopes.join(", "),
                duration_in_words(lives)
            ),
            "over an hour",
        )
        .of(Severity::Warning)
        .because("a token that leaks from a log, a cache or a machine works until it expires")
        .mend("write `lifetime = \"1h\"` or less; a long job can exchange again where its CI gives it a fresh token"),
    )
}
