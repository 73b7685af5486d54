//! One entry of a policy, a trust relationship or a deny: a list of questions, and the judgement of a token by them.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value;

use super::condition::{Condition, Scalar, Sense};
use super::identity::{Answer, FieldTest, Reading, read};
use super::place::Place;
use super::{Finding, FindingKind, Judgement, Scopes};
use crate::clock::Seconds;
use crate::issuer::profile::{IdentityField, Profile, Requirement};
use crate::subject::VerifiedClaims;

/// The longest value of a token that a finding repeats, in bytes. The record of a decision has every claim in full; were
/// a long one repeated in each finding, a denial could fill a disk.
const LONGEST_FOUND: usize = 256;

/// A trust relationship.
#[derive(Debug)]
pub(super) struct Relationship {
    pub(super) name: Arc<str>,
    pub(super) issuer: Arc<str>,
    pub(super) profile: &'static Profile,
    pub(super) questions: Box<[Question]>,
    /// The ids that its first use pins, since it gives names without them.
    pub(super) ids_to_pin: Box<[&'static IdentityField]>,
    pub(super) scopes: Scopes,
    pub(super) lifetime: Option<Seconds>,
    pub(super) resources: Box<[String]>,
    pub(super) mode: Mode,
    pub(super) silence: Box<[Silence]>,
    pub(super) at: EntryPlaces,
}

/// A deny.
#[derive(Debug)]
pub(super) struct Deny {
    pub(super) name: Arc<str>,
    pub(super) asks: DenyAsks,
    pub(super) mode: Mode,
    pub(super) silence: Vec<Silence>,
    pub(super) at: EntryPlaces,
}

/// Whether what an entry answers has an effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// It has.
    #[default]
    Enforce,
    /// It is judged and recorded, grants nothing and denies nothing.
    Shadow,
}

/// A finding of lint that an operator has seen and accepts, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) code: Box<str>,
    pub(super) because: Box<str>,
    pub(super) at: Place,
}

/// Where an entry and the values of its plain keys stand in their file. Identity fields and claims are questions, which
/// have places of their own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EntryPlaces {
    /// `[[trust]]` or `[[deny]]`.
    pub(super) header: Place,
    pub(super) name: Place,
    pub(super) issuer: Option<Place>,
    pub(super) scopes: Option<Place>,
    pub(super) lifetime: Option<Place>,
}

/// What a deny asks, and of whom.
#[derive(Debug)]
pub(super) enum DenyAsks {
    /// Tokens of one issuer.
    OneIssuer {
        issuer: Arc<str>,
        questions: Vec<Question>,
    },
    /// Tokens of every issuer. What a claim is compared with depends on the profile, so the questions stand once for
    /// each, under its name; the first are those of a profile that knows no claims.
    EveryIssuer(Vec<(&'static str, Vec<Question>)>),
}

/// One question that an entry asks of a token, and where it stands. Among a million questions few differ in more than their
/// place, so what they ask is held once.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) asks: Arc<Asks>,
    pub(super) at: QuestionPlaces,
}

impl Deref for Question {
    type Target = Asks;

    fn deref(&self) -> &Asks {
        &self.asks
    }
}

/// What a question asks, wherever it stands.
#[derive(Debug, PartialEq)]
pub(super) struct Asks {
    /// The key in the policy file.
    pub(super) asked: Arc<str>,
    /// The claim that a person would look at.
    pub(super) claim: Arc<str>,
    pub(super) kind: FindingKind,
    /// What would satisfy it, in words.
    pub(super) wanted: Arc<str>,
    pub(super) test: Test,
}

impl Eq for Asks {}

impl Hash for Asks {
    /// By its words: what differs and is put into the same words, since claims differ in their types, is rare.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.asked.hash(state);
        self.wanted.hash(state);
    }
}

/// Where a question stands in its file. What no line asks stands where the issuer does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QuestionPlaces {
    pub(super) key: Place,
    pub(super) value: Place,
}

/// How a question is answered.
#[derive(Debug, PartialEq)]
pub(super) enum Test {
    /// The token is from the issuer that the configuration calls so.
    Issuer(Arc<str>),
    /// An identity field of the profile.
    Field(FieldTest),
    /// What the profile requires, with the values that the relationship names literally.
    Requirement(&'static Requirement, Vec<Scalar>),
    /// A condition on the claim.
    Claim(Condition),
}

/// A judgement without its words: enough to decide, and to find the nearest relationships among thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tally {
    /// Not all findings of identity hold. (First, so that tallies sort from near to far.)
    pub(super) stranger: bool,
    /// The token is from another issuer.
    pub(super) other_issuer: bool,
    /// How many findings do not hold.
    pub(super) failed: usize,
    /// How many of them are about what is remembered of its names.
    pub(super) remembered: usize,
}

impl Tally {
    /// Whether every finding holds.
    pub(super) fn holds(self) -> bool {
        self.failed == 0
    }
}

impl Asks {
    fn answer(&self, claims: &VerifiedClaims, sense: Sense) -> Answer {
        match &self.test {
            Test::Issuer(name) => Answer::plain(claims.trusted().name == *name),
            Test::Field(field) => field.answer(claims, sense),
            Test::Requirement(requirement, named) => {
                Answer::plain(is_met(**requirement, named, claims))
            }
            Test::Claim(condition) => {
                Answer::plain(condition.holds(claims.get(&self.claim), sense))
            }
        }
    }

    /// Whether a trust that asks this holds only because an id was given, while the name differs.
    pub(super) fn is_renamed(&self, claims: &VerifiedClaims) -> bool {
        self.kind == FindingKind::Label && self.answer(claims, Sense::Trust).renamed
    }

    fn finding(&self, claims: &VerifiedClaims, sense: Sense) -> Finding {
        let answer = self.answer(claims, sense);
        Finding {
            asked: self.asked.clone(),
            claim: self.claim.clone(),
            kind: self.kind,
            wanted: self.wanted.clone(),
            found: self.found(claims).as_deref().map(clipped),
            holds: answer.holds,
            renamed: answer.renamed,
        }
    }

    /// The claim's value; for a field that is put together from other claims, what came of them.
    fn found<'a>(&self, claims: &'a VerifiedClaims) -> Option<Cow<'a, Value>> {
        if let Some(found) = claims.get(&self.claim) {
            return Some(Cow::Borrowed(found));
        }
        match &self.test {
            Test::Field(test) => match read(test.field.source, claims) {
                Reading::Text(built) => Some(Cow::Owned(Value::String(built.into_owned()))),
                Reading::Absent | Reading::Odd => None,
            },
            _ => None,
        }
    }

    /// Whether the answer tells who the token is from, rather than what its job does.
    fn is_of_identity(&self) -> bool {
        match self.kind {
            FindingKind::Issuer | FindingKind::Identity | FindingKind::Label | FindingKind::Pin => {
                true
            }
            FindingKind::Profile => matches!(
                self.test,
                Test::Requirement(Requirement::OrganizationOfIssuer(_), _)
            ),
            FindingKind::Condition | FindingKind::GuardRail | FindingKind::Expired => false,
        }
    }
}

/// Judges by every question, in order, without words. A token of another issuer is not asked what its own issuer's claims
/// would say: a claim of the same name there is another claim.
pub(super) fn tally(questions: &[Question], claims: &VerifiedClaims, sense: Sense) -> Tally {
    let mut tally = Tally {
        stranger: false,
        other_issuer: false,
        failed: 0,
        remembered: 0,
    };
    for question in questions {
        if question.answer(claims, sense).holds {
            continue;
        }
        tally.failed += 1;
        tally.stranger |= question.is_of_identity();
        if question.kind == FindingKind::Issuer {
            tally.other_issuer = true;
            break;
        }
    }
    tally
}

/// Judges by every question, in words; of a token of another issuer only that is said.
pub(super) fn judge(
    name: &Arc<str>,
    questions: &[Question],
    claims: &VerifiedClaims,
    sense: Sense,
) -> Judgement {
    let tally = tally(questions, claims, sense);
    let asked = if tally.other_issuer {
        1
    } else {
        questions.len()
    };
    Judgement {
        name: name.clone(),
        holds: tally.holds(),
        identity_holds: !tally.stranger,
        findings: questions
            .iter()
            .take(asked)
            .map(|question| question.finding(claims, sense))
            .collect(),
    }
}

impl Deny {
    /// The questions that this deny asks of a token; `None` if it is not for the token's issuer.
    pub(super) fn questions(&self, claims: &VerifiedClaims) -> Option<&[Question]> {
        let trusted = claims.trusted();
        match &self.asks {
            DenyAsks::OneIssuer { issuer, questions } => {
                (*issuer == trusted.name).then_some(questions.as_slice())
            }
            DenyAsks::EveryIssuer(profiles) => profiles
                .iter()
                .find(|(profile, _)| *profile == trusted.profile.name)
                .or(profiles.first())
                .map(|(_, questions)| questions.as_slice()),
        }
    }
}

/// Whether a token is what its profile requires.
fn is_met(requirement: Requirement, named: &[Scalar], claims: &VerifiedClaims) -> bool {
    let named_text = |found: &str| {
        named
            .iter()
            .any(|value| matches!(value, Scalar::Text(text) if **text == *found))
    };
    match requirement {
        Requirement::Present(claim) => claims.get(claim).is_some(),
        Requirement::OneOfUnlessNamed { claim, values } => claims
            .text(claim)
            .is_some_and(|found| values.contains(&found) || named_text(found)),
        Requirement::FalseUnlessNamed(claim) => match claims.get(claim) {
            Some(Value::Bool(false)) => true,
            Some(Value::Bool(true)) => named.contains(&Scalar::Boolean(true)),
            _ => false,
        },
        Requirement::OrganizationOfIssuer(claim) => claims
            .organization_of_issuer()
            .is_none_or(|organization| claims.text(claim) == Some(organization)),
        Requirement::SameProject {
            claim,
            equals,
            source,
            value,
            ..
        } => match claims.get(claim) {
            Some(found) => found.is_string() && Some(found) == claims.get(equals),
            None => claims.text(source).is_some_and(|found| found != value),
        },
    }
}

/// What a requirement asks, in words.
pub(super) fn requirement_in_words(requirement: Requirement) -> String {
    match requirement {
        Requirement::Present(_) => "there, as in every token of a CI job".to_owned(),
        Requirement::OneOfUnlessNamed { claim, values } => format!(
            "one of {}, or one that the relationship names under `{claim}`",
            values
                .iter()
                .map(|value| format!("\"{value}\""))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        Requirement::FalseUnlessNamed(_) => "false, unless the relationship names true".to_owned(),
        Requirement::OrganizationOfIssuer(_) => "the organization in `iss`".to_owned(),
        Requirement::SameProject {
            equals,
            source,
            value,
            lifted_by,
            ..
        } => format!(
            "equal to `{equals}`, and there if `{source}` is \"{value}\", unless `{lifted_by} = true`"
        ),
    }
}

/// The value, cut if it is long.
fn clipped(found: &Value) -> Value {
    let text = match found {
        Value::String(text) if text.len() > LONGEST_FOUND => text.clone(),
        Value::Array(_) | Value::Object(_) => match found.to_string() {
            long if long.len() > LONGEST_FOUND => long,
            _ => return found.clone(),
        },
        short => return short.clone(),
    };
    let kept: String = text.chars().take(LONGEST_FOUND / 4).collect();
    Value::String(format!("{kept}… ({} bytes)", text.len()))
}
