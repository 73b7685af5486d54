//! What an entry asks of each claim, seen as a set of texts. Lint, and the answers to "who could get in", think in these.

use std::collections::HashMap;

use super::FindingKind;
use super::condition::{Alternatives, Asked, Condition, Scalar, Sense};
use super::entry::{Deny, DenyAsks, Question, Relationship, Test};
use super::glob::{Glob, Globs};
use super::identity::{FieldTest, Named};
use super::language::{Found, Languages, Member, find};
use crate::issuer::Profile;
use crate::issuer::profile::{ClaimType, Requirement, SituationKind, Source};

/// What is compared: a claim, or what an identity field puts together from claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum About<'a> {
    Claim(&'a str),
    Field(&'static str),
}

/// What one question asks of a claim.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    pub(super) question: &'a Question,
    pub(super) about: About<'a>,
    /// That the claim is absent.
    pub(super) absent: bool,
    /// The texts of which it has to be one; `None` if any will do.
    pub(super) one_of: Option<Vec<Member<'a>>>,
    /// The texts of which it may be none.
    pub(super) none_of: Vec<Member<'a>>,
    /// Whether numbers or booleans are asked for: then it is no question of texts.
    pub(super) not_texts: bool,
}

/// Whether jobs of some kind could satisfy a relationship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inside {
    /// No: because of this claim.
    No(&'static str),
    /// Yes; with a value that a claim could have, if one is asked.
    Yes(Option<String>),
    /// It would take too long to tell.
    Unknown,
}

/// The first of `asks` that is about this claim.
pub(super) fn ask_about<'s, 'a>(asks: &'s [Ask<'a>], claim: &str) -> Option<&'s Ask<'a>> {
    asks.iter().find(|ask| ask.about == About::Claim(claim))
}

/// Answers questions about sets of texts, and remembers the answers.
#[derive(Default)]
pub(super) struct Lens {
    languages: Languages,
    globs: Globs,
    known: HashMap<String, Found>,
}

impl<'a> Ask<'a> {
    /// What `question` asks; `None` if it asks nothing of one claim's text.
    pub(super) fn of(question: &'a Question) -> Option<Self> {
        match &question.test {
            Test::Field(test) if question.kind == FindingKind::Identity => {
                Self::of_field(question, test)
            }
            Test::Claim(condition) => Some(Self::of_condition(question, condition)),
            Test::Field(_) | Test::Issuer(_) | Test::Requirement(..) => None,
        }
    }

    fn of_field(question: &'a Question, test: &'a FieldTest) -> Option<Self> {
        let fold = test.field.fold;
        let one_of = match &test.named {
            Named::Exact(values) => values
                .iter()
                .map(|value| Member::Text(value, fold))
                .collect(),
            Named::Like(globs) => globs.iter().map(|glob| of_glob(glob)).collect(),
            Named::Workflow(_) => return None,
        };
        let about = match test.field.source {
            Source::Claim(claim) | Source::FullRef { claim, .. } => About::Claim(claim),
            Source::Within { .. } | Source::WorkflowFile { .. } | Source::WorkflowPath(_) => {
                About::Field(test.field.name)
            }
        };
        Some(Self {
            question,
            about,
            absent: false,
            one_of: Some(one_of),
            none_of: Vec::new(),
            not_texts: false,
        })
    }

    fn of_condition(question: &'a Question, condition: &'a Condition) -> Self {
        let mut ask = Self {
            question,
            about: About::Claim(&question.claim),
            absent: false,
            one_of: None,
            none_of: Vec::new(),
            not_texts: false,
        };
        match &condition.asked {
            Asked::Absent => ask.absent = true,
            Asked::Present { one_of, none_of } => {
                let both = one_of.iter().chain(none_of);
                ask.not_texts = both
                    .flat_map(|asked| &asked.exact)
                    .any(|value| !matches!(value, Scalar::Text(_)));
                ask.one_of = one_of.as_ref().map(|asked| members(asked, condition.fold));
                ask.none_of = none_of
                    .as_ref()
                    .map(|asked| members(asked, condition.fold))
                    .unwrap_or_default();
            }
        }
        ask
    }

    /// The exact texts, if nothing else is let in.
    pub(super) fn exact(&self) -> Option<Vec<&'a str>> {
        let one_of = self.one_of.as_ref().filter(|_| !self.not_texts)?;
        one_of
            .iter()
            .map(|member| match member {
                Member::Text(text, _) => Some(*text),
                Member::Glob(..) => None,
            })
            .collect()
    }

    /// The globs that let in.
    pub(super) fn globs(&self) -> impl Iterator<Item = &'a str> {
        self.one_of
            .iter()
            .flatten()
            .filter_map(|member| match member {
                Member::Glob(text, _) => Some(*text),
                Member::Text(..) => None,
            })
    }

    /// The exact texts that let in, beside what globs do.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'a str> {
        self.one_of
            .iter()
            .flatten()
            .filter_map(|member| match member {
                Member::Text(text, _) => Some(*text),
                Member::Glob(..) => None,
            })
    }

    /// Whether the claim may be a list, of which one member has to match.
    fn may_be_list(&self) -> bool {
        matches!(&self.question.test, Test::Claim(condition)
            if matches!(condition.kind, None | Some(ClaimType::TextList)))
    }

    /// Whether this asks for some values, rather than only against some.
    pub(super) fn is_positive(&self) -> bool {
        self.one_of.is_some()
    }
}

/// What a glob matches; one without `*` and `?` is a text.
fn of_glob(glob: &Glob) -> Member<'_> {
    let (text, fold) = (glob.as_str(), glob.folds());
    if text.contains(['*', '?']) {
        Member::Glob(text, fold)
    } else {
        Member::Text(text, fold)
    }
}

fn members(asked: &Alternatives, fold: bool) -> Vec<Member<'_>> {
    let exact = asked.exact.iter().filter_map(|value| match value {
        Scalar::Text(text) => Some(Member::Text(text, fold)),
        Scalar::Number(_) | Scalar::Boolean(_) => None,
    });
    let globs = asked.globs.iter();
    exact.chain(globs.map(|glob| of_glob(glob))).collect()
}

/// What a relationship asks, question by question.
pub(super) fn asks_of(relationship: &Relationship) -> Vec<Ask<'_>> {
    relationship.questions.iter().filter_map(Ask::of).collect()
}

impl Lens {
    /// Looks for a text that `ask` lets in and that one of `globs` matches.
    pub(super) fn meets(&mut self, ask: &Ask<'_>, globs: &[&str]) -> Found {
        if ask.absent || ask.not_texts {
            return Found::No;
        }
        let globs: Vec<Member<'_>> = globs.iter().map(|glob| Member::Glob(glob, false)).collect();
        self.find(&[ask.one_of.as_deref(), Some(&globs)], &ask.none_of)
    }

    /// Whether `value` is let in.
    pub(super) fn lets_in(&mut self, ask: &Ask<'_>, value: &str) -> bool {
        !ask.absent
            && !ask.not_texts
            && ask
                .one_of
                .as_ref()
                .is_none_or(|members| self.is_one_of(value, members))
            && !self.is_one_of(value, &ask.none_of)
    }

    /// Looks for a text that `ask` lets in and none of `globs` matches.
    pub(super) fn escapes(&mut self, ask: &Ask<'_>, globs: &[&str]) -> Found {
        if ask.absent || ask.not_texts {
            return Found::No;
        }
        let mut without: Vec<Member<'_>> = ask.none_of.clone();
        without.extend(globs.iter().map(|glob| Member::Glob(glob, false)));
        self.find(&[ask.one_of.as_deref()], &without)
    }

    /// Whether all that one of `globs` matches is among what `ask` asks for, whatever it excludes.
    pub(super) fn covers(&mut self, ask: &Ask<'_>, globs: &[&str]) -> bool {
        let globs: Vec<Member<'_>> = globs.iter().map(|glob| Member::Glob(glob, false)).collect();
        match &ask.one_of {
            None => true,
            Some(members) => self.find(&[Some(&globs)], members) == Found::No,
        }
    }

    /// Looks for a text that the one glob matches and the other one does not.
    pub(super) fn beyond(&mut self, wide: &str, narrow: &str) -> Found {
        let (wide, narrow) = (Member::Glob(wide, false), Member::Glob(narrow, false));
        self.find(&[Some(&[wide])], &[narrow])
    }

    /// Whether some of `members` match the one glob and not the other one.
    pub(super) fn between(&mut self, members: &[Member<'_>], wide: &str, narrow: &str) -> bool {
        let (wide, narrow) = (Member::Glob(wide, false), Member::Glob(narrow, false));
        matches!(
            self.find(&[Some(members), Some(&[wide])], &[narrow]),
            Found::Yes(_)
        )
    }

    /// Whether some of `members` match the glob.
    pub(super) fn some_match(&mut self, members: &[Member<'_>], glob: &str) -> bool {
        let glob = Member::Glob(glob, false);
        matches!(
            self.find(&[Some(members), Some(&[glob])], &[]),
            Found::Yes(_)
        )
    }

    /// Whether some text matches the glob and one of `globs`.
    pub(super) fn some_match_any(&mut self, glob: &str, globs: &[&str]) -> bool {
        let glob = Member::Glob(glob, false);
        let globs: Vec<Member<'_>> = globs.iter().map(|glob| Member::Glob(glob, false)).collect();
        self.find(&[Some(&[glob]), Some(&globs)], &[]) != Found::No
    }

    /// Whether `ask` lets nothing in at all.
    pub(super) fn is_empty(&mut self, ask: &Ask<'_>) -> bool {
        !ask.absent
            && !ask.not_texts
            && !ask.none_of.is_empty()
            && self.find(&[ask.one_of.as_deref()], &ask.none_of) == Found::No
    }

    /// Whether whatever satisfies `narrow` is sure to satisfy `wide`.
    pub(super) fn implies(&mut self, narrow: &Ask<'_>, wide: &Ask<'_>, sense: Sense) -> bool {
        if narrow.about != wide.about {
            return false;
        }
        if narrow.question.wanted == wide.question.wanted {
            return true;
        }
        if narrow.absent {
            return sense == Sense::Deny && wide.one_of.is_none();
        }
        if wide.absent || narrow.not_texts || wide.not_texts {
            return false;
        }
        let within = narrow.one_of.as_deref();
        let in_wide = wide.one_of.as_ref().is_none_or(|wide| {
            let without: Vec<Member<'_>> = narrow.none_of.iter().chain(wide).cloned().collect();
            self.find(&[within], &without) == Found::No
        });
        // One member of a list is within bounds; what the others are is only said by a `not`.
        let within = within.filter(|_| !wide.may_be_list());
        in_wide
            && (wide.none_of.is_empty()
                || self.find(&[within, Some(&wide.none_of)], &narrow.none_of) == Found::No)
    }

    /// Looks for a text that is in all sets of `within` (`None` holds every text) and not in `without`.
    fn find(&mut self, within: &[Option<&[Member<'_>]>], without: &[Member<'_>]) -> Found {
        let mut bounds: Vec<&[Member<'_>]> = within.iter().copied().flatten().collect();
        // Where a few texts are all that there is, looking at each is much cheaper than automata.
        if let Some(at) = bounds.iter().position(|set| all_exact(set)) {
            let texts = bounds.remove(at);
            let hit = texts.iter().find_map(|member| match member {
                Member::Text(text, _) => {
                    let inside = bounds.iter().all(|set| self.is_one_of(text, set))
                        && !self.is_one_of(text, without);
                    inside.then(|| (*text).to_owned())
                }
                Member::Glob(..) => None,
            });
            return hit.map_or(Found::No, Found::Yes);
        }
        let key = format!("{bounds:?} {without:?}");
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let answer = self.find_by_automata(&bounds, without);
        self.known.insert(key, answer.clone());
        answer
    }

    fn find_by_automata(&mut self, within: &[&[Member<'_>]], without: &[Member<'_>]) -> Found {
        let sets: Option<Vec<_>> = within.iter().map(|set| self.languages.of(set)).collect();
        let out: Option<Vec<_>> = without
            .iter()
            .map(|member| self.languages.of(std::slice::from_ref(member)))
            .collect();
        match (sets, out) {
            (Some(sets), Some(out)) => find(
                &sets.iter().collect::<Vec<_>>(),
                &out.iter().collect::<Vec<_>>(),
            ),
            _ => Found::Unknown,
        }
    }

    fn is_one_of(&mut self, value: &str, members: &[Member<'_>]) -> bool {
        members.iter().any(|member| match *member {
            Member::Text(text, fold) => super::condition::same_text(text, value, fold),
            Member::Glob(text, fold) => {
                self.globs
                    .compile(text, fold)
                    .is_ok_and(|glob| glob.matches(value))
                    || text.is_empty() && value.is_empty()
            }
        })
    }

    /// Whether a job of that kind could satisfy the relationship; `None` if tokens do not tell such jobs from others.
    pub(super) fn situation(
        &mut self,
        relationship: &Relationship,
        asks: &[Ask<'_>],
        kind: SituationKind,
    ) -> Option<Inside> {
        let situation = relationship.profile.situation(kind)?;
        let mut examples = Vec::new();
        for &(claim, globs) in situation.claims {
            for ask in asks.iter().filter(|ask| ask.about == About::Claim(claim)) {
                match self.meets(ask, globs) {
                    Found::No => return Some(Inside::No(claim)),
                    Found::Yes(value) => examples.push(value),
                    Found::Unknown => return Some(Inside::Unknown),
                }
            }
            if relationship.questions.iter().any(|question| {
                matches!(&question.test, Test::Requirement(requirement, named)
                    if requirement.claim() == claim && !is_met_by(**requirement, named, globs))
            }) {
                return Some(Inside::No(claim));
            }
        }
        Some(Inside::Yes(examples.into_iter().next()))
    }

    /// Whether every token that satisfies `relationship` is sure to satisfy `question`.
    pub(super) fn is_implied(
        &mut self,
        question: &Question,
        relationship: &Relationship,
        asks: &[Ask<'_>],
        sense: Sense,
    ) -> bool {
        let profile = relationship.profile;
        let gives = |field: &str| {
            relationship
                .questions
                .iter()
                .any(|own| &*own.asked == field)
        };
        match &question.test {
            Test::Issuer(name) => *name == relationship.issuer,
            Test::Requirement(requirement, named) => {
                meets_requirement(**requirement, named, relationship)
            }
            Test::Field(test) => match (test.label_of, &test.named) {
                (Some(id), _) if sense == Sense::Deny => id.always || gives(id.name),
                (Some(_), _) => test.field.always || gives(test.field.name),
                (None, Named::Workflow(path)) => relationship.questions.iter().any(|own| {
                    matches!(&own.test, Test::Field(FieldTest { named: Named::Workflow(own), .. })
                        if own.repository.eq_ignore_ascii_case(&path.repository)
                            && own.file == path.file
                            && (path.reference.is_none() || own.reference == path.reference))
                }),
                (None, _) => self.any_implies(question, asks, sense),
            },
            Test::Claim(_) => {
                self.any_implies(question, asks, sense) || only_presence(question, profile)
            }
        }
    }

    fn any_implies(&mut self, question: &Question, asks: &[Ask<'_>], sense: Sense) -> bool {
        let Some(wide) = Ask::of(question) else {
            return false;
        };
        asks.iter().any(|narrow| self.implies(narrow, &wide, sense))
    }
}

/// Whether a requirement lets in one of these values, which are words rather than globs.
fn is_met_by(requirement: Requirement, named: &[Scalar], words: &[&str]) -> bool {
    match requirement {
        Requirement::OneOfUnlessNamed { values, .. } => words
            .iter()
            .any(|word| values.contains(word) || is_named(named, word)),
        _ => true,
    }
}

fn is_named(named: &[Scalar], word: &str) -> bool {
    named
        .iter()
        .any(|value| matches!(value, Scalar::Text(text) if **text == *word))
}

/// Whether a condition asks no more than that a claim is there which is always there.
fn only_presence(question: &Question, profile: &Profile) -> bool {
    let always = profile
        .claim(&question.claim)
        .is_some_and(|claim| claim.always);
    always
        && Ask::of(question).is_some_and(|ask| {
            ask.none_of.is_empty()
                && ask.one_of.as_ref().is_some_and(|members| {
                    members
                        .iter()
                        .any(|member| matches!(member, Member::Glob("**", _)))
                })
        })
}

/// Whether a relationship is sure to meet what another one's profile requires of it: because it requires the same, with
/// no more values named.
fn meets_requirement(
    requirement: Requirement,
    named: &[Scalar],
    relationship: &Relationship,
) -> bool {
    relationship.questions.iter().any(|own| {
        matches!(&own.test, Test::Requirement(of_own, own_named)
            if **of_own == requirement
                && own_named.iter().all(|value| named.contains(value) || lets_in_unasked(requirement, value)))
    })
}

fn lets_in_unasked(requirement: Requirement, value: &Scalar) -> bool {
    match (requirement, value) {
        (Requirement::OneOfUnlessNamed { values, .. }, Scalar::Text(text)) => {
            values.contains(&&**text)
        }
        (Requirement::FalseUnlessNamed(_), Scalar::Boolean(value)) => !value,
        _ => false,
    }
}

/// Whether all members are exact texts that compare exactly.
fn all_exact(members: &[Member<'_>]) -> bool {
    members
        .iter()
        .all(|member| matches!(member, Member::Text(_, false)))
}

/// The questions that a deny asks of tokens of a relationship's issuer.
pub(super) fn deny_questions<'d>(
    deny: &'d Deny,
    relationship: &Relationship,
) -> Option<&'d [Question]> {
    match &deny.asks {
        DenyAsks::OneIssuer { issuer, questions } => {
            (*issuer == relationship.issuer).then_some(questions.as_slice())
        }
        DenyAsks::EveryIssuer(profiles) => profiles
            .iter()
            .find(|(profile, _)| *profile == relationship.profile.name)
            .or(profiles.first())
            .map(|(_, questions)| questions.as_slice()),
    }
}
