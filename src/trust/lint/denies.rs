//! Denies that keep out less than they look: a deny that does not hold fails open.

use super::super::asks::{About, Ask, Lens};
use super::super::entry::{Deny, DenyAsks, Question, Test};
use super::super::fault::{Problem, Severity};
use super::claims;
use crate::issuer::Profile;
use crate::issuer::profile::Form;

/// `profiles` are those of the issuers that the deny is for.
pub(super) fn check(deny: &Deny, profiles: &[&'static Profile], lens: &mut Lens) -> Vec<Problem> {
    let questions = match &deny.asks {
        DenyAsks::OneIssuer { questions, .. } => questions.as_slice(),
        DenyAsks::EveryIssuer(of_profiles) => of_profiles
            .first()
            .map_or(&[][..], |(_, questions)| questions.as_slice()),
    };
    let mut found = Vec::new();
    for question in questions {
        found.extend(claims::unknown(question, profiles).map(|problem| {
            problem.because("a deny on a claim that is never there keeps out nobody, or everybody")
        }));
        found.extend(optional(question, profiles));
        // Of several issuers, each has its own values.
        let (Some(ask), [profile]) = (Ask::of(question), profiles) else {
            continue;
        };
        let form = match ask.about {
            About::Claim(name) => profile.claim(name).map_or(Form::Any, |claim| claim.form),
            About::Field(_) => Form::Any,
        };
        found.extend(claims::values(
            &ask,
            form,
            lens,
            "no token has it, so the deny keeps out nobody by it",
        ));
        found.extend(claims::subject_form(profile, &ask, lens));
    }
    found
}

/// A value of a claim that the job itself decides whether to have.
fn optional(question: &Question, profiles: &[&'static Profile]) -> Option<Problem> {
    if !matches!(question.test, Test::Claim(_)) || !Ask::of(question)?.is_positive() {
        return None;
    }
    let mut known = profiles
        .iter()
        .filter_map(|profile| Some((profile, profile.claim(&question.claim)?)));
    let (profile, claim) = known.find(|(_, claim)| claim.on_request)?;
    let instead = claim.id.is_none().then(|| {
        let mut named = profile.claims.iter();
        named.find(|name| name.id == Some(claim.name) && name.always)
    });
    let mend = match instead.flatten() {
        Some(name) => format!(
            "deny `{}` too, which every token has, or add a deny with `{} = {{ absent = true }}`",
            name.name, claim.name
        ),
        None => format!("add a deny with `{} = {{ absent = true }}`", claim.name),
    };
    Some(
        Problem::new(
            "deny-optional-claim",
            question.at.key.into(),
            format!(
                "a job of {} escapes this deny by not asking for `{}`",
                profile.title, claim.name
            ),
            "the job decides whether it is there",
        )
        .of(Severity::Warning)
        .because("a deny with a plain value does not hold for a token without the claim")
        .mend(mend),
    )
}
