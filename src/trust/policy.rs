//! The policy of one project, read and checked.

use std::collections::BTreeSet;

use super::entry::{Deny, Question, Relationship, Silence, Test};
use super::identity::Named;
use super::index::Index;
use super::{Case, FindingKind, PolicyFile, ProjectPath};
use crate::issuer::profile::{Requirement, Source};

/// The trust relationships and denies of one project. Only [`super::read_policy`] makes one.
#[derive(Debug)]
pub struct ProjectPolicy {
    path: ProjectPath,
    file: PolicyFile,
    digest: String,
    pub(super) relationships: Vec<Relationship>,
    pub(super) denies: Vec<Deny>,
    pub(super) index: Index,
    cases: Vec<Case>,
    /// Findings about the file as a whole that are accepted.
    pub(super) silence: Vec<Silence>,
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
        let index = Index::new(&entries.relationships);
        Self {
            path,
            digest: digest(file.text()),
            file,
            relationships: entries.relationships,
            denies: entries.denies,
            index,
            cases: entries.cases,
            silence: entries.silence,
        }
    }

    /// The project.
    pub fn path(&self) -> &ProjectPath {
        &self.path
    }

    /// The file, with its text.
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
        Test::Requirement(Requirement::OrganizationOfIssuer(claim), _) => Some(claim),
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

fn digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}
