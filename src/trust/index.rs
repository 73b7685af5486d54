//! Finds the few relationships that could hold for a token among the thousands of a policy.
//!
//! Each relationship is filed under one exact value that a token must have for it to hold: of the identity fields that it
//! gives, the one whose value the fewest others give. So no relationship that could hold is missed, and a project that
//! trusts a thousand repositories looks at one of them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;

use super::FindingKind;
use super::entry::{Asks, Relationship, Test};
use super::identity::{Reading, read};
use crate::subject::VerifiedClaims;

/// The relationships of one policy by the values that they ask for; by issuer, of which a policy names few.
#[derive(Debug, Clone)]
pub(super) struct Index(Arc<[OfIssuer]>);

#[derive(Debug)]
struct OfIssuer {
    issuer: Arc<str>,
    /// For each field under which some are filed, a question that reads it, of any of them. Few, since a profile has few.
    fields: Vec<Arc<Asks>>,
    /// Where they stand, by what they are filed under; sorted.
    filed: Vec<(Anchor, usize)>,
    /// Those that name no exact value.
    others: Vec<usize>,
}

/// A digest of a field and a value of it. Who is found by a digest is asked in full, so two values that share one cost a
/// moment and no more.
type Anchor = u64;

impl Index {
    /// Files `relationships` by their places in the list.
    pub(super) fn new(relationships: &[Relationship]) -> Self {
        let exact: Vec<Vec<(&Arc<Asks>, Vec<Anchor>)>> = relationships
            .iter()
            .map(|relationship| {
                let questions = relationship.questions.iter();
                questions
                    .filter_map(|question| Some((&question.asks, anchors(question)?)))
                    .collect()
            })
            .collect();
        let mut crowds: HashMap<(&str, Anchor), usize> = HashMap::new();
        for (relationship, asks) in relationships.iter().zip(&exact) {
            for anchor in asks.iter().flat_map(|(_, anchors)| anchors) {
                *crowds.entry((&relationship.issuer, *anchor)).or_default() += 1;
            }
        }
        let mut index: BTreeMap<&Arc<str>, OfIssuer> = BTreeMap::new();
        for (at, (relationship, asks)) in relationships.iter().zip(exact).enumerate() {
            let crowd = |anchor| crowds.get(&(&*relationship.issuer, anchor)).copied();
            let rarest = asks.into_iter().min_by_key(|(_, anchors)| {
                let largest = anchors.iter().filter_map(|anchor| crowd(*anchor)).max();
                largest.unwrap_or(usize::MAX)
            });
            let issuer = &relationship.issuer;
            let of_issuer = index.entry(issuer).or_insert_with(|| OfIssuer::of(issuer));
            of_issuer.file(rarest, at);
        }
        Self(index.into_values().map(OfIssuer::sorted).collect())
    }

    /// The places of all relationships that could hold for these claims, in the order of the file.
    pub(super) fn candidates(&self, claims: &VerifiedClaims) -> Vec<usize> {
        let mut of_issuers = self.0.iter();
        let Some(of_issuer) = of_issuers.find(|one| one.issuer == claims.trusted().name) else {
            return Vec::new();
        };
        let mut places = of_issuer.others.clone();
        for field in &of_issuer.fields {
            for value in found_values(field, claims) {
                places.extend(of_issuer.filed_under(anchor(field, &value)));
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }
}

impl OfIssuer {
    fn of(issuer: &Arc<str>) -> Self {
        Self {
            issuer: issuer.clone(),
            fields: Vec::new(),
            filed: Vec::new(),
            others: Vec::new(),
        }
    }

    fn file(&mut self, rarest: Option<(&Arc<Asks>, Vec<Anchor>)>, at: usize) {
        let Some((asks, anchors)) = rarest else {
            self.others.push(at);
            return;
        };
        if !self.fields.iter().any(|field| field.asked == asks.asked) {
            self.fields.push(asks.clone());
        }
        self.filed
            .extend(anchors.into_iter().map(|anchor| (anchor, at)));
    }

    fn sorted(mut self) -> Self {
        self.filed.sort_unstable();
        self.filed.shrink_to_fit();
        self.fields.shrink_to_fit();
        self.others.shrink_to_fit();
        self
    }

    fn filed_under(&self, anchor: Anchor) -> impl Iterator<Item = usize> {
        let first = self.filed.partition_point(|(filed, _)| *filed < anchor);
        let from_there = self.filed.iter().skip(first);
        from_there
            .take_while(move |(filed, _)| *filed == anchor)
            .map(|(_, at)| *at)
    }
}

/// What a relationship that asks this is filed under: of these values a token must have one for it to hold.
fn anchors(asks: &Asks) -> Option<Vec<Anchor>> {
    let values = exact_values(asks)?.into_iter();
    Some(values.map(|value| anchor(asks, &value)).collect())
}

fn anchor(asks: &Asks, value: &str) -> Anchor {
    let mut hasher = DefaultHasher::new();
    (&*asks.asked, value).hash(&mut hasher);
    hasher.finish()
}

/// The values of which a token must have one for the question to hold, without case where they compare so.
fn exact_values(asks: &Asks) -> Option<Vec<String>> {
    match (&asks.test, asks.kind) {
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
fn found_values(asks: &Asks, claims: &VerifiedClaims) -> Vec<String> {
    match &asks.test {
        Test::Field(test) => match read(test.field.source, claims) {
            Reading::Text(found) => vec![normal(&found, test.field.fold)],
            Reading::Absent | Reading::Odd => Vec::new(),
        },
        Test::Claim(condition) => {
            let texts = match claims.get(&asks.claim) {
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
