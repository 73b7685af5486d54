//! Which relationships are not used, or let in more than their use needs.

mod watched;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::policy::change;
use super::seen::Seen;
use super::walk::{each_decision, walk};
use super::{ReadingError, Sources, Wish};
use crate::audit::{Entry, Filter, Outcome};
use crate::trust::{GuardRails, ProjectPath, Shared};

use watched::Watched;

/// How the file of an organization's guard rails ends.
const GUARD_RAILS: &str = "/_organization.toml";

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
