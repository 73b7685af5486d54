//! Names beside ids: one id has one name, wherever it stands.

use std::collections::HashMap;

use super::super::entry::{Relationship, Test};
use super::super::fault::{Problem, Severity};
use super::super::identity::{FieldTest, Named};
use super::super::place::Place;
use super::super::{PolicyFile, ProjectPolicy};

/// The issuer, the field of the id, and the id.
type Key<'p> = (&'p str, &'static str, &'p str);

/// The first name that the policies give an id, and where.
#[derive(Default)]
pub(super) struct Labels<'p> {
    first: HashMap<Key<'p>, Label<'p>>,
    /// By project, relationship and field, what a job called it of late.
    recorded: HashMap<(String, String, String), Renamed>,
}

/// A name that a job had, and that differs from the one in the policy while the id agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The project's path.
    pub project: String,
    /// The relationship that held.
    pub relationship: String,
    /// The identity field.
    pub field: String,
    /// What the token had.
    pub name: String,
    /// The decision in which it was seen.
    pub decision_id: String,
}

struct Label<'p> {
    name: &'p str,
    file: &'p PolicyFile,
    at: Place,
}

/// A name with its id, and its place.
struct Pair<'a> {
    key: Key<'a>,
    field: &'static str,
    fold: bool,
    name: &'a str,
    at: Place,
}

impl<'p> Labels<'p> {
    pub(super) fn of(policies: impl IntoIterator<Item = &'p ProjectPolicy>) -> Self {
        let mut labels = Self::default();
        for policy in policies {
            for pair in policy.relationships.iter().flat_map(pairs) {
                labels.first.entry(pair.key).or_insert_with(|| Label {
                    name: pair.name,
                    file: policy.file(),
                    at: pair.at,
                });
            }
        }
        labels
    }

    pub(super) fn compare_with(&mut self, renamed: Vec<Renamed>) {
        for renamed in renamed {
            let key = (
                renamed.project.clone(),
                renamed.relationship.clone(),
                renamed.field.clone(),
            );
            self.recorded.insert(key, renamed);
        }
    }

    /// The name that a job had of late for what the relationship names otherwise.
    fn of_late(
        &self,
        relationship: &Relationship,
        policy: &ProjectPolicy,
        pair: &Pair<'_>,
    ) -> Option<Problem> {
        let key = (
            policy.path().to_string(),
            relationship.name.to_string(),
            pair.field.to_owned(),
        );
        let renamed = self.recorded.get(&key)?;
        let (_, id_field, id) = &pair.key;
        Some(
            Problem::new(
                "label-differs",
                pair.at.into(),
                format!(
                    "`{id_field}` {id} is called `{}` here, and its jobs say `{}`",
                    pair.name, renamed.name
                ),
                "renamed",
            )
            .of(Severity::Warning)
            .because(format!(
                "the id decides, so the job was let in (decision {}); whoever reads the policy is misled",
                renamed.decision_id
            ))
            .mend(format!("write the new `{}`", pair.field)),
        )
    }

    pub(super) fn check(
        &self,
        relationship: &Relationship,
        policy: &ProjectPolicy,
    ) -> Vec<Problem> {
        let found = pairs(relationship).into_iter().filter_map(|pair| {
            if let Some(problem) = self.of_late(relationship, policy, &pair) {
                return Some(problem);
            }
            let known = self.first.get(&pair.key)?;
            let same = known.name == pair.name
                || (pair.fold && known.name.eq_ignore_ascii_case(pair.name));
            if same {
                return None;
            }
            let (_, id_field, id) = &pair.key;
            let problem = Problem::new(
                "label-differs",
                pair.at.into(),
                format!(
                    "`{id_field}` {id} is called `{}` here, and `{}` elsewhere",
                    pair.name, known.name
                ),
                "another name for the same id",
            )
            .of(Severity::Warning)
            .because("the id decides, so one of the two names misleads whoever reads it: something was renamed, or an id was copied from the wrong place")
            .mend(format!("look up the id, and write the same `{}` in both places", pair.field));
            let label = format!("called `{}` here", known.name);
            Some(if known.file.name() == policy.file().name() {
                problem.earlier(known.at.into(), label)
            } else {
                problem.elsewhere(known.file, known.at, label)
            })
        });
        found.collect()
    }
}

/// The names that stand beside their ids.
fn pairs(relationship: &Relationship) -> Vec<Pair<'_>> {
    let questions = relationship.questions.iter();
    let labels = questions.filter_map(|question| match &question.test {
        Test::Field(test) => Some((question, test, test.label_of?)),
        _ => None,
    });
    labels
        .filter_map(|(question, test, id)| {
            let of_id = relationship
                .questions
                .iter()
                .find_map(|own| match &own.test {
                    Test::Field(own) if own.field.name == id.name => Some(own),
                    _ => None,
                })?;
            let id_value = only_value(of_id)?;
            Some(Pair {
                key: (&relationship.issuer, id.name, id_value),
                field: test.field.name,
                fold: test.field.fold,
                name: only_value(test)?,
                at: question.at.value,
            })
        })
        .collect()
}

/// The value, if the policy names one alone.
fn only_value(test: &FieldTest) -> Option<&str> {
    match &test.named {
        Named::Exact(values) if values.len() == 1 => values.first().map(|value| &**value),
        _ => None,
    }
}
