//! Names without ids.

use super::super::FindingKind;
use super::super::entry::{Question, Test};
use super::super::fault::{Problem, Severity};
use super::super::identity::Named;
use super::Seen;
use crate::issuer::profile::{ClaimType, FieldKind};

pub(super) fn check(seen: &Seen<'_>) -> Vec<Problem> {
    let questions = &seen.relationship.questions;
    let of_fields = questions
        .iter()
        .filter_map(|question| of_field(seen, question));
    let of_claims = questions
        .iter()
        .filter_map(|question| of_claim(seen, question));
    let mut found: Vec<Problem> = of_fields.chain(of_claims).collect();
    found.extend(without_any_id(seen));
    found
}

/// A name whose id the profile knows, and the relationship does not give.
fn of_field(seen: &Seen<'_>, question: &Question) -> Option<Problem> {
    let Test::Field(test) = &question.test else {
        return None;
    };
    let relationship = seen.relationship;
    let profile = relationship.profile;
    let id = profile
        .fields
        .iter()
        .find(|id| id.id_of == Some(test.field.name))?;
    let gives = |name: &str| relationship.questions.iter().any(|own| &*own.asked == name);
    if gives(id.name) {
        return None;
    }
    let single = matches!(&test.named, Named::Exact(values) if values.len() == 1);
    // Below an owner whose id is given, only that owner can give a name to something else.
    let below_an_owner =
        profile.wording.place_id == Some(id.name) && profile.wording.owner_id.is_some_and(gives);
    if below_an_owner && !single {
        return None;
    }
    let severity = if below_an_owner {
        Severity::Note
    } else {
        Severity::Warning
    };
    let ask_for = if id.always {
        String::new()
    } else {
        format!("; the job asks for it with `--claim {}`", id.source.claim())
    };
    let mend = if single || id.id_of.is_none() {
        format!(
            "add `{} = \"…\"`: {}{ask_for}. `countersign policy pin --write` writes what was pinned",
            id.name, id.found_at
        )
    } else {
        format!(
            "write one relationship for each name, each with its `{}`{ask_for}",
            id.name
        )
    };
    Some(
        Problem::new(
            "id-missing",
            question.at.value.into(),
            format!("`{}` stands without `{}`", question.asked, id.name),
            "a name alone",
        )
        .of(severity)
        .because(if id.always {
            "a name can be given up and registered by somebody else. its id is pinned at first use; until then, \
            whoever has the name comes first"
        } else {
            "a name can be given up and registered by somebody else. its id is pinned by the first job that asks for \
            it; until then, whoever has the name comes in"
        })
        .mend(mend),
    )
}

/// A condition on a name where the same token has the id.
fn of_claim(seen: &Seen<'_>, question: &Question) -> Option<Problem> {
    let Test::Claim(condition) = &question.test else {
        return None;
    };
    if question.kind != FindingKind::Condition || condition.exact_texts().is_none() {
        return None;
    }
    let relationship = seen.relationship;
    let claim = relationship.profile.claim(&question.claim)?;
    let id = claim.id?;
    let mut questions = relationship.questions.iter();
    if questions.any(|own| &*own.claim == id) || is_identity(seen, id) {
        return None;
    }
    let kind = relationship.profile.claim(id).map(|id| id.kind);
    let example = if kind == Some(ClaimType::Number) {
        "…"
    } else {
        "\"…\""
    };
    Some(
        Problem::new(
            "id-missing",
            question.at.value.into(),
            format!("`{}` is a name, and the token has its id: `{id}`", claim.name),
            "a name alone",
        )
        .of(Severity::Note)
        .because("a name can be changed, given up and registered by somebody else; nothing pins this one")
        .mend(format!("write `{id} = {example}` instead, or beside it")),
    )
}

/// Whether an identity field of the profile reads the claim.
fn is_identity(seen: &Seen<'_>, id: &str) -> bool {
    let mut fields = seen.relationship.profile.fields.iter();
    fields.any(|field| field.kind == FieldKind::Id && field.source.claim() == id)
}

/// A CI system that has no ids at all: worth knowing, and nothing to be done.
fn without_any_id(seen: &Seen<'_>) -> Option<Problem> {
    let profile = seen.relationship.profile;
    let names = profile.wording.place_name?;
    if profile.wording.place_id.is_some() || profile.wording.owner_id.is_some() {
        return None;
    }
    let mut questions = seen.relationship.questions.iter();
    let question = questions.find(|question| &*question.asked == names)?;
    Some(
        Problem::new(
            "id-missing",
            question.at.value.into(),
            format!("tokens of {} hold no id beside `{names}`", profile.title),
            "a name alone",
        )
        .of(Severity::Note)
        .because("if it is deleted, somebody else may make one of the same name")
        .mend("when you delete or rename it, take it out here first"),
    )
}
