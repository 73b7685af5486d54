//! Which relationships are not used, or let in more than their use needs.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::policy::{PolicyChange, change};
use super::seen::Seen;
use super::walk::{each_decision, walk};
use super::{ReadingError, Sources, Wish};
use crate::audit::{Entry, Filter, Outcome, Record};
use crate::clock::UnixTime;
use crate::trust::{Breadth, GuardRails, Open, ProjectPath, ProjectPolicy, Shared, breadth};

/// How the file of an organization's guard rails ends.
const GUARD_RAILS: &str = "/_organization.toml";

/// How many values of one claim are remembered.
const MOST_VALUES: usize = 10;

/// Of how many values a narrower line is put together.
const MOST_NAMED: usize = 5;

/// How many uses each of these values must stand for: of three jobs that were alike, nothing follows for the fourth.
const ENOUGH: u64 = 5;

/// The use of relationships.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The first moment that was looked at; none if that is the beginning of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The moment before which was looked at.
    pub until: String,
    /// The relationships that are in force: unused ones first, then those that could be narrower.
    pub relationships: Vec<RelationshipUse>,
    /// How many are in force and not listed, since there are more than the limit.
    pub not_listed: u64,
    /// Policies in force that cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<UnreadPolicy>,
}

/// A policy that cannot be read here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadPolicy {
    /// The file.
    pub file: String,
    /// Why not.
    pub why: String,
}

/// What there is to say of a relationship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UseFinding {
    /// It was not used.
    Unused,
    /// It lets in more than its use needs.
    Wider,
    /// Nothing.
    Fits,
}

/// The use of one relationship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationshipUse {
    /// The project.
    pub project: String,
    /// Its name.
    pub relationship: String,
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// The line of the policy's file on which it begins, from 1.
    pub line: usize,
    /// Whether it is only watched, and gives nothing.
    pub shadow: bool,
    /// Whether it is off, since it breaks a guard rail.
    pub off: bool,
    /// What there is to say of it.
    pub finding: UseFinding,
    /// Since when there is a relationship of this name, RFC 3339; none if the log does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_since: Option<String>,
    /// When it was changed last, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<String>,
    /// How many exchanges it let in.
    pub uses: u64,
    /// When it was used first in the time that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<String>,
    /// When it was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<String>,
    /// The decision of its last use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision_id: Option<String>,
    /// What it leaves open, and what its jobs had there.
    pub open: Vec<OpenClaim>,
}

/// A claim, or identity field, of which a relationship lets in more than one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenClaim {
    /// How the policy calls it.
    pub key: String,
    /// What is let in, in words; none if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allows: Option<String>,
    /// What its jobs had.
    pub seen: Seen,
    /// The line of the policy that would let in just that; none if its jobs do not suggest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// What to do with that line, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How the relationships that `wish` is about were used.
pub async fn usage(sources: Sources<'_>, wish: &Wish) -> Result<Usage, ReadingError> {
    let mut watched = Watched::new(wish);
    policies_in_force(sources, wish, &mut watched).await?;
    note_changes(sources, wish, &mut watched).await?;
    let filter = Filter {
        kind: Some("decision".into()),
        outcome: Some(Outcome::Allowed),
        ..wish.filter.clone()
    };
    each_decision(sources.log, filter, |record| watched.note(record)).await?;
    Ok(watched.answer(wish))
}

/// Reads the policies that the log says are in force.
async fn policies_in_force(
    sources: Sources<'_>,
    wish: &Wish,
    watched: &mut Watched,
) -> Result<(), ReadingError> {
    let on_record = sources.policies.policies_on_record().await?;
    let in_force = on_record
        .into_iter()
        .filter_map(|(file, on_record)| Some((file, on_record.in_force?)));
    let mut in_force: Vec<(String, String)> = in_force.collect();
    in_force.sort();
    let mut shared = Shared::default();
    let mut guard_rails: HashMap<String, Arc<GuardRails>> = HashMap::new();
    let (above, below): (Vec<_>, Vec<_>) = in_force
        .into_iter()
        .partition(|(file, _)| file.ends_with(GUARD_RAILS));
    for (file, digest) in above.into_iter().chain(below) {
        let organization = file.split('/').next().unwrap_or_default();
        let path = file.strip_suffix(".toml").map(ProjectPath::parse);
        let path = path.and_then(Result::ok);
        let is_above = file.ends_with(GUARD_RAILS);
        if !is_wanted(&wish.filter, organization, path.as_ref(), is_above) {
            continue;
        }
        let text = sources.policies.policy_text(digest).await?;
        let Some(text) = text.and_then(|text| String::from_utf8(text).ok()) else {
            watched.unread(file, "its text was not kept".to_owned());
            continue;
        };
        let read = match path {
            Some(path) if !is_above => shared
                .read_policy(path, &file, &text, sources.registry)
                .map(|policy| watched.add(&policy.under(guard_rails.get(organization).cloned()))),
            _ => shared
                .read_guard_rails(organization, &file, &text, sources.registry)
                .map(|read| {
                    guard_rails.insert(organization.to_owned(), Arc::new(read));
                }),
        };
        if let Err(fault) = read {
            watched.unread(file, fault.to_string());
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Whether a file has a part in the answer. Guard rails are above every project of their organization.
fn is_wanted(
    filter: &Filter,
    organization: &str,
    path: Option<&ProjectPath>,
    is_above: bool,
) -> bool {
    let asked = filter.organization.as_deref();
    let of_project = filter.project.as_deref();
    let of_organization = of_project.and_then(|project| project.split('/').next());
    let ours = [asked, of_organization].into_iter().flatten();
    if is_above {
        return ours.into_iter().all(|asked| asked == organization);
    }
    path.is_some_and(|path| {
        of_project.is_none_or(|project| project == path.as_str())
            && asked.is_none_or(|asked| asked == path.organization())
    })
}

/// Finds in the log since when each relationship is there, and when it was changed.
async fn note_changes(
    sources: Sources<'_>,
    wish: &Wish,
    watched: &mut Watched,
) -> Result<(), ReadingError> {
    let filter = Filter {
        kind: Some("policy-loaded".into()),
        project: wish.filter.project.clone(),
        organization: wish.filter.organization.clone(),
        ..Filter::default()
    };
    walk(sources.log, &filter, |index, entry| {
        if let Entry::Event(event) = entry
            && let Some((file, change)) = change(index, event)
        {
            watched.changed(&file, &change);
        }
        if watched.unknown == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await
}

/// The relationships that are watched, by project and name.
struct Watched {
    most: usize,
    relationships: HashMap<String, HashMap<String, OneUse>>,
    count: usize,
    /// How many of them it is not known of yet since when they are there.
    unknown: usize,
    not_listed: u64,
    unread: Vec<UnreadPolicy>,
}

/// One relationship, as far as its use is known.
struct OneUse {
    breadth: Breadth,
    in_force_since: Option<String>,
    changed_at: Option<String>,
    uses: u64,
    first_at: Option<i64>,
    last: Option<(i64, String)>,
    seen: Vec<Seen>,
}

impl Watched {
    fn new(wish: &Wish) -> Self {
        Self {
            most: wish.limit,
            relationships: HashMap::new(),
            count: 0,
            unknown: 0,
            not_listed: 0,
            unread: Vec::new(),
        }
    }

    fn unread(&mut self, file: String, why: String) {
        self.unread.push(UnreadPolicy { file, why });
    }

    fn add(&mut self, policy: &ProjectPolicy) {
        let mut of_project = HashMap::new();
        for breadth in breadth(policy) {
            if self.count == self.most {
                self.not_listed += 1;
                continue;
            }
            self.count += 1;
            self.unknown += 1;
            let seen = vec![Seen::default(); breadth.open.len()];
            of_project.insert(
                breadth.name.to_string(),
                OneUse {
                    breadth,
                    in_force_since: None,
                    changed_at: None,
                    uses: 0,
                    first_at: None,
                    last: None,
                    seen,
                },
            );
        }
        self.relationships
            .insert(policy.path().to_string(), of_project);
    }

    /// Takes in a version of a file, which is not later than those before.
    fn changed(&mut self, file: &str, change: &PolicyChange) {
        let project = file.strip_suffix(".toml").unwrap_or(file);
        let Some(of_project) = self.relationships.get_mut(project) else {
            return;
        };
        for (name, one) in of_project {
            if one.in_force_since.is_some() {
                continue;
            }
            if change.changed.contains(name) && one.changed_at.is_none() {
                one.changed_at = Some(change.at.clone());
            }
            if change.added.contains(name) {
                one.in_force_since = Some(change.at.clone());
                self.unknown -= 1;
            }
        }
    }

    /// Takes in an allowed exchange, which is not later than those before.
    fn note(&mut self, record: &Record) {
        let project = record.project.as_deref().unwrap_or_default();
        let Some(of_project) = self.relationships.get_mut(project) else {
            return;
        };
        for name in record.trust.iter().chain(&record.shadow_trust) {
            if let Some(one) = of_project.get_mut(name) {
                one.note(record);
            }
        }
    }

    fn answer(self, wish: &Wish) -> Usage {
        let mut relationships: Vec<RelationshipUse> = self
            .relationships
            .into_iter()
            .flat_map(|(project, of_project)| {
                let all = of_project.into_values();
                all.map(move |one| one.answer(project.clone()))
            })
            .collect();
        relationships.sort_by(|one, other| {
            let place = |used: &RelationshipUse| (used.finding, used.project.clone(), used.line);
            place(one).cmp(&place(other))
        });
        Usage {
            since: wish.since(),
            until: wish.until(),
            relationships,
            not_listed: self.not_listed,
            unread: self.unread,
        }
    }
}

impl OneUse {
    fn note(&mut self, record: &Record) {
        self.uses += 1;
        self.first_at = Some(record.at_millis);
        if self.last.is_none() {
            self.last = Some((record.at_millis, record.decision_id.to_string()));
        }
        for (open, seen) in self.breadth.open.iter().zip(&mut self.seen) {
            let value = open.value(&record.claims);
            seen.add(value.as_deref(), MOST_VALUES);
        }
    }

    fn answer(self, project: String) -> RelationshipUse {
        let uses = self.uses;
        let open = self.breadth.open.iter().zip(self.seen);
        let mut open: Vec<OpenClaim> = open
            .map(|(open, seen)| open_claim(open, seen, uses))
            .collect();
        // What can be done comes first.
        open.sort_by_key(|open| open.line.is_none());
        let finding = if uses == 0 {
            UseFinding::Unused
        } else if open.iter().any(|open| open.line.is_some()) {
            UseFinding::Wider
        } else {
            UseFinding::Fits
        };
        let at = |millis: i64| UnixTime::from_millis(millis).to_string();
        let (last_at, last_decision_id) = self.last.map(|(millis, id)| (at(millis), id)).unzip();
        RelationshipUse {
            project,
            relationship: self.breadth.name.to_string(),
            issuer: self.breadth.issuer.to_string(),
            line: self.breadth.line,
            shadow: self.breadth.shadow,
            off: self.breadth.off,
            finding,
            in_force_since: self.in_force_since,
            changed_at: self.changed_at,
            uses,
            first_at: self.first_at.map(at),
            last_at,
            last_decision_id,
            open,
        }
    }
}

/// What its jobs had for a claim, and the line that would let in just that.
fn open_claim(open: &Open, seen: Seen, uses: u64) -> OpenClaim {
    let line = narrower(open, &seen, uses);
    let advice = line.as_ref().map(|line| advice(open, &seen, uses, line));
    OpenClaim {
        key: open.key.to_string(),
        allows: open.allows.as_ref().map(ToString::to_string),
        seen,
        line,
        advice,
    }
}

/// The line that lets in what was seen, if that is less than what is let in now, and enough was seen to say so.
fn narrower(open: &Open, seen: &Seen, uses: u64) -> Option<String> {
    let mut values: Vec<&str> = seen.texts().filter(|text| !text.is_empty()).collect();
    // A job that had no value would be kept out.
    let all_had_one = values.len() == seen.len() && seen.others == 0;
    let few = !values.is_empty() && values.len() <= MOST_NAMED;
    let enough = uses >= ENOUGH.saturating_mul(values.len() as u64);
    let fewer = open.named.is_none_or(|named| values.len() < named);
    values.sort_unstable();
    (all_had_one && few && enough && fewer).then(|| open.narrowed_to(&values))
}

/// "allows any `ref`; all 1,234 uses were `refs/heads/main`: add `ref = "refs/heads/main"` under `[trust.claims]`".
fn advice(open: &Open, seen: &Seen, uses: u64, line: &str) -> String {
    let key = &open.key;
    let allows = match &open.allows {
        None => format!("allows any `{key}`"),
        Some(allowed) => format!("allows `{key}` to be {allowed}"),
    };
    let values: Vec<String> = seen.texts().map(|text| format!("`{text}`")).collect();
    let all = if uses == 1 {
        "its one use was".to_owned()
    } else {
        format!("all {} uses were", with_commas(uses))
    };
    let verb = if open.allows.is_none() {
        "add"
    } else {
        "write"
    };
    format!(
        "{allows}; {all} {}: {verb} `{line}` {}",
        values.join(" or "),
        open.place()
    )
}

/// `1,234`.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
