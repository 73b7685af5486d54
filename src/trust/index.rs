//! Finds the few relationships that could hold for a token among the thousands of a policy.
//!
//! Each relationship is filed under one exact value that a token must have for it to hold: of the identity fields that it
//! gives, the one whose value the fewest others give. So no relationship that could hold is missed, and a project that
//! trusts a thousand repositories looks at one of them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::FindingKind;
use super::entry::{Question, Relationship, Test};
use super::identity::{Reading, read};
use crate::subject::VerifiedClaims;

/// The relationships of one policy by the values that they ask for.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<Arc<str>, OfIssuer>);

#[derive(Debug, Default)]
struct OfIssuer {
    /// By field; few, since a profile has few.
    fields: Vec<OfField>,
    /// Those that name no exact value.
    others: Vec<usize>,
}

#[derive(Debug)]
struct OfField {
    /// A question that reads this field, of any of its relationships.
    reads: Question,
    by_value: HashMap<String, Vec<usize>>,
}

/// A field and a value of it, as in the file.
type Anchor<'a> = (&'a Arc<str>, &'a Arc<str>, String);

impl Index {
    /// Files `relationships` by their places in the list.
    pub(super) fn new(relationships: &[Relationship]) -> Self {
        let mut shared: HashMap<Anchor<'_>, usize> = HashMap::new();
        for relationship in relationships {
            for question in &relationship.questions {
                for value in exact_values(question).into_iter().flatten() {
                    *shared
                        .entry((&relationship.issuer, &question.asked, value))
                        .or_default() += 1;
                }
            }
        }
        let mut index = Self::default();
        for (at, relationship) in relationships.iter().enumerate() {
            let crowd = |question: &Question, value: String| {
                let anchor = (&relationship.issuer, &question.asked, value);
                shared.get(&anchor).copied().unwrap_or(usize::MAX)
            };
            let rarest = relationship
                .questions
                .iter()
                .filter_map(|question| Some((question, exact_values(question)?)))
                .min_by_key(|(question, values)| {
                    let crowds = values.iter().map(|value| crowd(question, value.clone()));
                    crowds.max().unwrap_or(usize::MAX)
                });
            let of_issuer = index.0.entry(relationship.issuer.clone()).or_default();
            match rarest {
                Some((question, values)) => of_issuer.file(question, values, at),
                None => of_issuer.others.push(at),
            }
        }
        index
    }

    /// The places of all relationships that could hold for these claims, in the order of the file.
    pub(super) fn candidates(&self, claims: &VerifiedClaims) -> Vec<usize> {
        let Some(of_issuer) = self.0.get(&claims.trusted().name) else {
            return Vec::new();
        };
        let mut places = of_issuer.others.clone();
        for field in &of_issuer.fields {
            for value in found_values(&field.reads, claims) {
                places.extend(field.by_value.get(&value).into_iter().flatten());
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }
}

impl OfIssuer {
    fn file(&mut self, question: &Question, values: Vec<String>, at: usize) {
        let known = self
            .fields
            .iter()
            .position(|field| field.reads.asked == question.asked);
        let place = known.unwrap_or_else(|| {
            self.fields.push(OfField {
                reads: question.clone(),
                by_value: HashMap::new(),
            });
            self.fields.len() - 1
        });
        if let Some(field) = self.fields.get_mut(place) {
            for value in values {
                field.by_value.entry(value).or_default().push(at);
            }
        }
    }
}

/// The values of which a token must have one for the question to hold, without case where they compare so.
fn exact_values(question: &Question) -> Option<Vec<String>> {
    match (&question.test, question.kind) {
        (Test::Field(test), FindingKind::Identity) => {
            let fold = test.field.fold;
            let values = test.exact()?.iter();
            Some(values.map(|value| normal(value, fold)).collect())
        }
        (Test::Claim(condition), FindingKind::Identity) => {
            let values = condition.exact_texts()?;
            let values = values.into_iter();
            Some(values.map(|value| normal(value, condition.fold)).collect())
        }
        _ => None,
    }
}

/// The values that a token has for the question.
fn found_values(question: &Question, claims: &VerifiedClaims) -> Vec<String> {
    match &question.test {
        Test::Field(test) => match read(test.field.source, claims) {
            Reading::Text(found) => vec![normal(&found, test.field.fold)],
            Reading::Absent | Reading::Odd => Vec::new(),
        },
        Test::Claim(condition) => {
            let texts = match claims.get(&question.claim) {
                Some(Value::String(text)) => vec![text.as_str()],
                Some(Value::Array(members)) => members.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            let texts = texts.into_iter();
            texts.map(|text| normal(text, condition.fold)).collect()
        }
        Test::Issuer(_) | Test::Requirement(..) => Vec::new(),
    }
}

fn normal(text: &str, fold: bool) -> String {
    if fold {
        text.to_ascii_lowercase()
    } else {
        text.to_owned()
    }
}
