//! Guard rails: what an organization asks of all its projects, above their own policies.

use std::sync::Arc;

use super::condition::quoted;
use super::decision::{Finding, FindingKind};
use super::entry::{Deny, Question, Relationship, Silence, Test};
use super::fault::Problem;
use super::identity::Named;
use super::place::Place;
use super::policy::digest;
use super::{PolicyFile, Scopes};
use crate::clock::Seconds;

/// The guard rails of one organization. Only [`super::read_guard_rails`] makes them.
#[derive(Debug)]
pub struct GuardRails {
    organization: Arc<str>,
    file: PolicyFile,
    digest: String,
    pub(super) denies: Vec<Deny>,
    pub(super) requires: Vec<Require>,
    /// Findings about the file as a whole that are accepted.
    pub(super) silence: Vec<Silence>,
}

/// What stands in a file of guard rails.
pub(super) struct Rails {
    pub(super) denies: Vec<Deny>,
    pub(super) requires: Vec<Require>,
    pub(super) silence: Vec<Silence>,
}

/// One `[[require]]`: what every trust relationship must keep to.
#[derive(Debug)]
pub(super) struct Require {
    pub(super) name: Option<Arc<str>>,
    /// The issuer whose relationships it is for; every issuer if there is none.
    pub(super) issuer: Option<Arc<str>>,
    /// What a relationship must give, each with its place.
    pub(super) pin: Vec<(Arc<str>, Place)>,
    pub(super) scopes_at_most: Option<(Scopes, Place)>,
    pub(super) lifetime_at_most: Option<(Seconds, Place)>,
    pub(super) silence: Vec<Silence>,
    pub(super) header: Place,
}

/// A relationship that breaks a guard rail, and therefore is off.
#[derive(Debug, Clone)]
pub struct Breach {
    relationship: Arc<str>,
    guard_rail: Arc<str>,
    /// The key in the project's file.
    asked: Arc<str>,
    /// What the guard rail asks, in words.
    wanted: Arc<str>,
    /// What the relationship gives instead.
    given: Option<Arc<str>>,
    mend: String,
    at: Place,
    by: (PolicyFile, Place),
}

impl GuardRails {
    pub(super) fn new(organization: &str, file: PolicyFile, rails: Rails) -> Self {
        Self {
            organization: organization.into(),
            digest: digest(file.text()),
            file,
            denies: rails.denies,
            requires: rails.requires,
            silence: rails.silence,
        }
    }

    /// The organization.
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// The file, with its text.
    pub fn file(&self) -> &PolicyFile {
        &self.file
    }

    /// `sha256:` and the digest of the file's text in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The longest that a token of this issuer's relationships may live.
    pub(super) fn longest_for(&self, issuer: &str) -> Option<Seconds> {
        self.for_issuer(issuer)
            .filter_map(|require| Some(require.lifetime_at_most?.0))
            .min()
    }

    /// Everything in which a relationship breaks these guard rails.
    pub(super) fn broken_by(&self, relationship: &Relationship) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for require in self.for_issuer(&relationship.issuer) {
            for (name, place) in &require.pin {
                if !gives(&relationship.questions, name) {
                    breaches.push(self.not_pinned(require, relationship, name, *place));
                }
            }
            if let Some((scopes, place)) = &require.scopes_at_most {
                let exceeding = relationship.scopes.without(scopes);
                if !exceeding.is_empty() {
                    let at = relationship.at.scopes.unwrap_or(relationship.at.header);
                    breaches.push(Breach {
                        asked: "scopes".into(),
                        wanted: format!("at most `{scopes}`").into(),
                        given: Some(exceeding.to_string().into()),
                        mend: format!("leave out `{exceeding}`"),
                        at,
                        ..self.breach(require, relationship, *place)
                    });
                }
            }
            if let (Some((most, place)), Some(lifetime)) =
                (require.lifetime_at_most, relationship.lifetime)
                && lifetime > most
            {
                let at = relationship.at.lifetime.unwrap_or(relationship.at.header);
                let (most, lifetime) = (in_words(most), in_words(lifetime));
                breaches.push(Breach {
                    asked: "lifetime".into(),
                    wanted: format!("at most `{most}`").into(),
                    given: Some(lifetime.into()),
                    mend: format!("write `lifetime = \"{most}\"`, or leave it out"),
                    at,
                    ..self.breach(require, relationship, place)
                });
            }
        }
        breaches
    }

    fn for_issuer<'a>(&'a self, issuer: &'a str) -> impl Iterator<Item = &'a Require> {
        let is_for = move |require: &&Require| {
            let of_issuer = require.issuer.as_ref();
            of_issuer.is_none_or(|of_issuer| **of_issuer == *issuer)
        };
        self.requires.iter().filter(is_for)
    }

    fn not_pinned(
        &self,
        require: &Require,
        relationship: &Relationship,
        name: &Arc<str>,
        place: Place,
    ) -> Breach {
        let pattern = relationship
            .questions
            .iter()
            .find(|question| question.asked == *name);
        Breach {
            asked: name.clone(),
            wanted: "given, as an exact value".into(),
            given: pattern.map(|pattern| pattern.wanted.clone()),
            mend: format!("add `{name} = \"…\"`"),
            at: pattern.map_or(relationship.at.header, |pattern| pattern.at.key),
            ..self.breach(require, relationship, place)
        }
    }

    /// A breach of which only both sides are known.
    fn breach(&self, require: &Require, relationship: &Relationship, place: Place) -> Breach {
        let (line, _) = self
            .file
            .position(std::ops::Range::from(require.header).start);
        let guard_rail = match &require.name {
            Some(name) => format!("`{name}` ({}:{line})", self.file.name()),
            None => format!("in {}:{line}", self.file.name()),
        };
        Breach {
            relationship: relationship.name.clone(),
            guard_rail: guard_rail.into(),
            asked: "".into(),
            wanted: "".into(),
            given: None,
            mend: String::new(),
            at: relationship.at.header,
            by: (self.file.clone(), place),
        }
    }
}

/// Whether one of the questions asks for an exact value of this identity field. A glob pins nothing.
fn gives(questions: &[Question], name: &str) -> bool {
    questions.iter().any(|question| {
        let of_identity = matches!(question.kind, FindingKind::Identity | FindingKind::Label);
        let exact = match &question.test {
            Test::Field(test) => !matches!(test.named, Named::Like(_)),
            Test::Claim(condition) => condition.exact_texts().is_some(),
            Test::Issuer(_) | Test::Requirement(..) => false,
        };
        of_identity && exact && *question.asked == *name
    })
}

impl Breach {
    /// The name of the relationship that is off.
    pub fn relationship(&self) -> &Arc<str> {
        &self.relationship
    }

    /// The guard rail, in words: its name where it has one, its file and line.
    pub fn guard_rail(&self) -> &str {
        &self.guard_rail
    }

    /// The breach as an error in the project's file, which shows the guard rail too.
    pub fn problem(&self) -> Problem {
        let Self {
            relationship,
            guard_rail,
            asked,
            wanted,
            ..
        } = self;
        let given = match &self.given {
            Some(given) => format!("this gives {}", shown(given)),
            None => format!("no `{asked}` here"),
        };
        let (file, place) = &self.by;
        Problem::new(
            "guard-rail",
            self.at.into(),
            format!(
                "`{relationship}` is off: it breaks the guard rail {guard_rail}, which wants `{asked}` to be {wanted}"
            ),
            given,
        )
        .elsewhere(file, *place, "the guard rail")
        .because("what an organization asks of every project is not left to the project's own file")
        .mend(format!("{}, or ask whoever keeps the guard rails", self.mend))
    }

    /// The breach as a finding of the relationship, which does not hold.
    pub(super) fn finding(&self) -> Finding {
        Finding {
            asked: self.asked.clone(),
            claim: self.asked.clone(),
            kind: FindingKind::GuardRail,
            wanted: format!("{}, by the guard rail {}", self.wanted, self.guard_rail).into(),
            found: self.given.as_deref().map(Into::into),
            holds: false,
            renamed: false,
        }
    }
}

/// The text in backticks, unless it is a pattern, which has quotation marks.
fn shown(given: &str) -> String {
    if given.contains('"') {
        given.to_owned()
    } else {
        quoted(given)
    }
}

/// The span the way a policy writes it.
fn in_words(span: Seconds) -> String {
    humantime::format_duration(std::time::Duration::from_secs(span.0.into())).to_string()
}
