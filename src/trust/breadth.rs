//! What a relationship leaves open: the claims that it does not ask for and could, and those for which it lets in more than
//! one value. Compared with what jobs had, this says how a relationship could be narrowed.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::ProjectPolicy;
use super::asks::Ask;
use super::condition::quoted;
use super::entry::{Mode, Question, Relationship, Test};
use super::identity::workflow_file;
use crate::issuer::Profile;
use crate::issuer::profile::{Claim, ClaimType, Form, Source, TrustClass};

/// One relationship, and what it leaves open.
#[derive(Debug, Clone)]
pub struct Breadth {
    /// Its name.
    pub name: Arc<str>,
    /// The issuer's name in the configuration.
    pub issuer: Arc<str>,
    /// The line of the file on which it begins, from 1.
    pub line: usize,
    /// Whether it is only watched, and gives nothing.
    pub shadow: bool,
    /// Whether it is off, since it breaks a guard rail.
    pub off: bool,
    /// What it leaves open.
    pub open: Vec<Open>,
}

/// One claim, or identity field, of which a relationship lets in more than one value.
#[derive(Debug, Clone)]
pub struct Open {
    /// How the policy calls it.
    pub key: Arc<str>,
    /// What is let in, in words; `None` if anything is.
    pub allows: Option<Arc<str>>,
    /// How many values the policy names, if it names them all.
    pub named: Option<usize>,
    found: Found,
}

/// Where the value of a token stands.
#[derive(Debug, Clone)]
enum Found {
    /// That of an identity field.
    Field(Source),
    /// A claim, or a member of one by its JSON Pointer (RFC 6901).
    Claim(Arc<str>),
}

impl Open {
    /// What a job with these claims has for it. `None` if it has nothing, or nothing that a policy names by one value.
    pub fn value(&self, claims: &Map<String, Value>) -> Option<String> {
        match &self.found {
            Found::Claim(name) => text(claims, name),
            Found::Field(Source::WorkflowFile { claim, repository }) => {
                let (path, repository) = (text(claims, claim)?, text(claims, repository)?);
                workflow_file(&path, &repository).map(str::to_owned)
            }
            Found::Field(Source::Within { claim, parent }) => {
                let (path, parent) = (text(claims, claim)?, text(claims, parent)?);
                let rest = path.get(parent.len()..)?;
                rest.strip_prefix('/').map(str::to_owned)
            }
            Found::Field(source) => text(claims, source.claim()),
        }
    }

    /// The line of a policy that lets in these values alone.
    pub fn narrowed_to(&self, values: &[&str]) -> String {
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let key = if self.key.bytes().all(bare) {
            self.key.to_string()
        } else {
            quoted(&self.key)
        };
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        match values.as_slice() {
            [single] => format!("{key} = {single}"),
            several => format!("{key} = [{}]", several.join(", ")),
        }
    }

    /// Where that line stands.
    pub fn place(&self) -> &'static str {
        match self.found {
            Found::Field(_) => "beside `issuer`",
            Found::Claim(_) => "under `[trust.claims]`",
        }
    }
}

/// What each relationship of `policy` leaves open, in the order of the file.
pub fn breadth(policy: &ProjectPolicy) -> Vec<Breadth> {
    let relationships = policy.relationships.iter();
    relationships
        .map(|relationship| Breadth {
            name: relationship.name.clone(),
            issuer: relationship.issuer.clone(),
            line: policy
                .file()
                .position(Range::from(relationship.at.header).start)
                .0,
            shadow: relationship.mode == Mode::Shadow,
            off: !policy.breaches_of(relationship).is_empty(),
            open: open(relationship),
        })
        .collect()
}

fn open(relationship: &Relationship) -> Vec<Open> {
    let profile = relationship.profile;
    let questions = &relationship.questions;
    let mut found: Vec<Open> = questions
        .iter()
        .filter_map(|question| wide(question, profile))
        .collect();
    let asked: HashSet<&str> = questions
        .iter()
        .filter(|question| matches!(question.test, Test::Field(_) | Test::Claim(_)))
        .map(|question| &*question.claim)
        .collect();
    let unasked = profile
        .claims
        .iter()
        .filter(|claim| !asked.contains(claim.name) && is_worth_asking(claim, profile));
    found.extend(unasked.map(|claim| unasked_claim(claim, profile)));
    found
}

/// What a question lets in, if that is more than one value.
fn wide(question: &Question, profile: &Profile) -> Option<Open> {
    let ask = Ask::of(question)?;
    let named = ask.exact().map(|values| values.len());
    let personal = profile
        .claim(&question.claim)
        .is_some_and(|claim| claim.personal);
    if ask.absent || ask.not_texts || personal || named == Some(1) {
        return None;
    }
    Some(Open {
        key: question.asked.clone(),
        allows: Some(question.wanted.clone()),
        named,
        found: match &question.test {
            Test::Field(test) => Found::Field(test.field.source),
            _ => Found::Claim(question.claim.clone()),
        },
    })
}

/// Whether a condition on the claim says something about a job that its identity does not, and that stays the same from run
/// to run.
fn is_worth_asking(claim: &Claim, profile: &Profile) -> bool {
    use TrustClass::{Administrator, Chosen, System};
    let is_text = matches!(
        claim.kind,
        ClaimType::Text | ClaimType::Id | ClaimType::BooleanText
    );
    let of_job = matches!(claim.trust, Administrator | Chosen | System);
    if !is_text || !of_job || claim.personal || claim.form == Form::Digest {
        return false;
    }
    let reference = profile.facts.reference;
    let starts = profile.wording.started_by;
    // Whether a ref is a branch is told by the ref.
    let told = starts != Some(claim.name)
        && profile.consequences.iter().any(|consequence| {
            consequence.when.0 == claim.name && Some(consequence.then.0) == reference
        });
    let is_field = field_of(claim, profile).is_some();
    let known = [reference, starts].contains(&Some(claim.name));
    !told && (known || is_field || !claim.by_pushing.is_empty())
}

/// A claim that nothing is asked of.
fn unasked_claim(claim: &Claim, profile: &Profile) -> Open {
    let (key, found) = match field_of(claim, profile) {
        Some((name, source)) => (name, Found::Field(source)),
        None => (claim.name, Found::Claim(claim.name.into())),
    };
    Open {
        key: key.into(),
        allows: None,
        named: None,
        found,
    }
}

/// The identity field that reads a claim. A reusable workflow is no such field: every job has a value, and most have none.
fn field_of(claim: &Claim, profile: &Profile) -> Option<(&'static str, Source)> {
    let mut fields = profile.fields.iter();
    fields
        .find(|field| {
            field.source.claim() == claim.name && !matches!(field.source, Source::WorkflowPath(_))
        })
        .map(|field| (field.name, field.source))
}

/// The text of a claim, or of a member of it.
fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    let value = match name.strip_prefix('/') {
        None => claims.get(name)?,
        Some(path) => {
            let (first, rest) = path.split_once('/').unwrap_or((path, ""));
            let first = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
            if rest.is_empty() {
                first
            } else {
                first.pointer(&format!("/{rest}"))?
            }
        }
    };
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        _ => None,
    }
}
