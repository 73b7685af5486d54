//! Who got a token, by which relationship, in a period.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::seen::{Seen, insert};
use super::walk::each_decision;
use super::{ReadingError, Sources, Wish};
use crate::audit::{Outcome, Record};
use crate::clock::UnixTime;
use crate::issuer::Registry;

/// How many rows are kept until it is known which got most; beyond them, those that the walk sees first, the newest.
const MOST_ROWS: usize = 5000;

/// How many refs of one row are listed, and how many scopes.
const MOST_VALUES: usize = 20;

/// Who got tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The first moment that was looked at; none if that is the beginning of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The moment before which was looked at.
    pub until: String,
    /// How many tokens were issued in this time.
    pub tokens: u64,
    /// To whom, those that got most first. A token that several relationships gave stands with each.
    pub rows: Vec<WhoGotTokens>,
    /// How many tokens stand in rows that are not listed, since there are more than the limit; one that several
    /// relationships gave counts with each.
    pub not_listed: u64,
}

/// One job, or what can be told of it, and one relationship that let it in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoGotTokens {
    /// The project for which the tokens are.
    pub project: String,
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// The repository of the jobs, where the profile knows which claim that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// `sub` of the jobs, if no repository is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The relationship that held.
    pub relationship: String,
    /// How many tokens.
    pub tokens: u64,
    /// When the first one was issued, RFC 3339.
    pub first_at: String,
    /// When the last one was.
    pub last_at: String,
    /// The decision that issued the last one.
    pub last_decision_id: String,
    /// The scopes of all of them.
    pub scopes: Vec<String>,
    /// The refs of the jobs, where the profile knows which claim that is.
    pub refs: Seen,
}

/// Who got the tokens that `wish` is about.
pub async fn who(sources: Sources<'_>, wish: &Wish) -> Result<Who, ReadingError> {
    let mut tally = Tally::new(sources.registry, wish);
    let mut filter = wish.filter.clone();
    if filter.outcome == Some(Outcome::Denied) {
        return Ok(tally.answer(wish));
    }
    filter.outcome = Some(Outcome::Allowed);
    each_decision(sources.log, filter, |record| tally.note(record)).await?;
    Ok(tally.answer(wish))
}

/// What a row is about: project, issuer, repository or subject, relationship.
type Key = (String, String, (Option<String>, Option<String>), String);

/// The rows as they come together.
struct Tally<'r> {
    registry: &'r Registry,
    most: usize,
    /// The one that is asked about, if one is.
    relationship: Option<String>,
    rows: HashMap<Key, WhoGotTokens>,
    tokens: u64,
    not_listed: u64,
}

impl<'r> Tally<'r> {
    fn new(registry: &'r Registry, wish: &Wish) -> Self {
        Self {
            registry,
            most: wish.limit,
            relationship: wish.filter.relationship.clone(),
            rows: HashMap::new(),
            tokens: 0,
            not_listed: 0,
        }
    }

    /// Takes in an allowed exchange, which is not later than those before.
    fn note(&mut self, record: &Record) {
        self.tokens += 1;
        let issuer = record.issuer.clone().unwrap_or_default();
        let subject = match &record.repository {
            Some(_) => None,
            None => record.subject.clone(),
        };
        let profile = self.registry.named(&issuer).map(|issuer| issuer.profile);
        let claim = profile.and_then(|profile| profile.facts.reference);
        let reference = claim.and_then(|claim| record.claims.get(claim)?.as_str());
        let at = UnixTime::from_millis(record.at_millis).to_string();
        let asked = self.relationship.as_ref();
        let held = record.trust.iter();
        for relationship in held.filter(|held| asked.is_none_or(|asked| asked == *held)) {
            let project = record.project.clone().unwrap_or_default();
            let key = (
                project.clone(),
                issuer.clone(),
                (record.repository.clone(), subject.clone()),
                relationship.clone(),
            );
            let most = MOST_ROWS.max(self.most);
            if self.rows.len() >= most && !self.rows.contains_key(&key) {
                self.not_listed += 1;
                continue;
            }
            let row = self.rows.entry(key).or_insert_with(|| WhoGotTokens {
                project,
                issuer: issuer.clone(),
                repository: record.repository.clone(),
                subject: subject.clone(),
                relationship: relationship.clone(),
                last_at: at.clone(),
                last_decision_id: record.decision_id.to_string(),
                ..WhoGotTokens::default()
            });
            row.tokens += 1;
            row.first_at.clone_from(&at);
            for scope in &record.scopes {
                insert(&mut row.scopes, scope, MOST_VALUES);
            }
            if claim.is_some() {
                row.refs.add(reference, MOST_VALUES);
            }
        }
    }

    fn answer(self, wish: &Wish) -> Who {
        let mut rows: Vec<WhoGotTokens> = self.rows.into_values().collect();
        rows.sort_by(|one, other| {
            let by_tokens = other.tokens.cmp(&one.tokens);
            by_tokens.then_with(|| place(one).cmp(&place(other)))
        });
        let others = rows.split_off(self.most.min(rows.len()));
        let others: u64 = others.iter().map(|row| row.tokens).sum();
        Who {
            since: wish.since(),
            until: wish.until(),
            tokens: self.tokens,
            rows,
            not_listed: self.not_listed + others,
        }
    }
}

fn place(row: &WhoGotTokens) -> (&str, &str, Option<&str>, Option<&str>, &str) {
    (
        &row.project,
        &row.issuer,
        row.repository.as_deref(),
        row.subject.as_deref(),
        &row.relationship,
    )
}
