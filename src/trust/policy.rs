//! The policy of one project, read and checked.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::entry::{Deny, Question, Relationship, Silence, Test};
use super::identity::Named;
use super::index::Index;
use super::{Breach, Case, FindingKind, GuardRails, PolicyFile, ProjectPath};
use crate::digest::{hex, sha256};
use crate::issuer::profile::{Requirement, Source};

/// The trust relationships and denies of one project, and the guard rails above them. Only [`super::read_policy`] makes
/// one.
#[derive(Debug, Clone)]
pub struct ProjectPolicy {
    path: ProjectPath,
    file: PolicyFile,
    digest: Arc<str>,
    pub(super) relationships: Arc<[Relationship]>,
    pub(super) denies: Arc<[Deny]>,
    pub(super) index: Index,
    cases: Arc<[Case]>,
    /// Findings about the file as a whole that are accepted.
    pub(super) silence: Arc<[Silence]>,
    guard_rails: Option<Arc<GuardRails>>,
    breaches: Vec<Breach>,
    /// By relationship, its stretch of `breaches`.
    off: HashMap<Arc<str>, Range<usize>>,
}

/// What stands in a policy file.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) relationships: Vec<Relationship>,
    pub(super) denies: Vec<Deny>,
    pub(super) cases: Vec<Case>,
    pub(super) silence: Vec<Silence>,
}

impl ProjectPolicy {
    pub(super) fn new(path: ProjectPath, file: PolicyFile, entries: Entries) -> Self {
        Self {
            path,
            digest: digest(file.text()).into(),
            file,
            index: Index::new(&entries.relationships),
            relationships: entries.relationships.into(),
            denies: entries.denies.into(),
            cases: entries.cases.into(),
            silence: entries.silence.into(),
            guard_rails: None,
            breaches: Vec::new(),
            off: HashMap::new(),
        }
    }

    /// The same policy under these guard rails, in place of those that it was under. A relationship that breaks them is
    /// off.
    #[must_use]
    pub fn under(&self, guard_rails: Option<Arc<GuardRails>>) -> Self {
        let (mut breaches, mut off) = (Vec::new(), HashMap::new());
        for relationship in self.relationships.iter() {
            let Some(above) = &guard_rails else { break };
            let before = breaches.len();
            breaches.extend(above.broken_by(relationship));
            if breaches.len() > before {
                off.insert(relationship.name.clone(), before..breaches.len());
            }
        }
        Self {
            guard_rails,
            breaches,
            off,
            ..self.clone()
        }
    }

    /// The same policy without the text of its file, for who decides by it and shows none of it. Its digest stays.
    #[must_use]
    pub fn without_text(self) -> Self {
        Self {
            file: PolicyFile::new(self.file.name(), ""),
            ..self
        }
    }

    /// The guard rails that it is under.
    pub fn guard_rails(&self) -> Option<&Arc<GuardRails>> {
        self.guard_rails.as_ref()
    }

    /// The relationships that break a guard rail, and in what, in the order of the file.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// In what this relationship breaks a guard rail.
    pub(super) fn breaches_of(&self, relationship: &Relationship) -> &[Breach] {
        let stretch = self.off.get(&relationship.name).cloned();
        stretch
            .and_then(|stretch| self.breaches.get(stretch))
            .unwrap_or_default()
    }

    /// The denies of the project, and then those of the organization.
    pub(super) fn all_denies(&self) -> impl Iterator<Item = &Deny> {
        let above = self.guard_rails.iter().flat_map(|above| &above.denies);
        self.denies.iter().chain(above)
    }

    /// The project.
    pub fn path(&self) -> &ProjectPath {
        &self.path
    }

    /// The file, with its text, unless it was let go of.
    pub fn file(&self) -> &PolicyFile {
        &self.file
    }

    /// `sha256:` and the digest of the file's text in hexadecimal: which version of a policy decided.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether no relationship could ever hold, since there is none.
    pub fn is_empty(&self) -> bool {
        self.relationships.is_empty()
    }

    /// How many trust relationships there are.
    pub fn len(&self) -> usize {
        self.relationships.len()
    }

    /// The cases that travel with the policy, in the order of the file.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The names of the issuers whose tokens its relationships are for.
    pub fn issuers_named(&self) -> BTreeSet<&str> {
        let relationships = self.relationships.iter();
        relationships
            .map(|relationship| &*relationship.issuer)
            .collect()
    }

    /// The organizations that the relationships name, as (name of the issuer, UUID), for issuers whose `iss` names the
    /// organization: the keys of no other organization's issuer need ever be asked for.
    pub fn organizations_named(&self) -> impl Iterator<Item = (&str, &str)> {
        let named: BTreeSet<(&str, &str)> = self
            .relationships
            .iter()
            .flat_map(|relationship| {
                organizations(&relationship.questions).map(|uuid| (&*relationship.issuer, uuid))
            })
            .collect();
        named.into_iter()
    }
}

/// The values of the field that reads the claim which must agree with the organization in `iss`.
fn organizations(questions: &[Question]) -> impl Iterator<Item = &str> {
    let claim = questions.iter().find_map(|question| match question.test {
        Test::Requirement(Requirement::OrganizationOfIssuer(claim), _) => Some(*claim),
        _ => None,
    });
    questions.iter().flat_map(move |question| {
        let values: &[Box<str>] = match &question.test {
            Test::Field(test) if question.kind == FindingKind::Identity => {
                match (&test.named, test.field.source) {
                    (Named::Exact(values), Source::Claim(name)) if Some(name) == claim => values,
                    _ => &[],
                }
            }
            _ => &[],
        };
        values.iter().map(|value| &**value)
    })
}

/// `sha256:` and the digest of a file's text in hexadecimal.
pub fn digest(text: &str) -> String {
    format!("sha256:{}", hex(&sha256(text.as_bytes())))
}
