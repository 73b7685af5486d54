//! The use of relationships as it comes together.

use std::collections::HashMap;

use super::{OpenClaim, RelationshipUse, UnreadPolicy, Usage, UseFinding};
use crate::audit::Record;
use crate::clock::UnixTime;
use crate::reading::Wish;
use crate::reading::policy::PolicyChange;
use crate::reading::seen::Seen;
use crate::trust::{Breadth, Open, ProjectPolicy, breadth};

/// How many values of one claim are remembered.
const MOST_VALUES: usize = 10;

/// Of how many values a narrower line is put together.
const MOST_NAMED: usize = 5;

/// How many uses each of these values must stand for: of three jobs that were alike, nothing follows for the fourth.
const ENOUGH: u64 = 5;

/// The relationships that are watched, by project and name.
pub(super) struct Watched {
    most: usize,
    relationships: HashMap<String, HashMap<String, OneUse>>,
    count: usize,
    /// How many of them it is not known of yet since when they are there.
    pub(super) unknown: usize,
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
    pub(super) fn new(wish: &Wish) -> Self {
        Self {
            most: wish.limit,
            relationships: HashMap::new(),
            count: 0,
            unknown: 0,
            not_listed: 0,
            unread: Vec::new(),
        }
    }

    pub(super) fn unread(&mut self, file: String, why: String) {
        self.unread.push(UnreadPolicy { file, why });
    }

    pub(super) fn add(&mut self, policy: &ProjectPolicy) {
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
    pub(super) fn changed(&mut self, file: &str, change: &PolicyChange) {
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
    pub(super) fn note(&mut self, record: &Record) {
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

    pub(super) fn answer(self, wish: &Wish) -> Usage {
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
