//! What an entry is found by.
//!
//! A store keeps of each fact a mark, four octets of a digest. A filter is asked of the marks first and then of the entry
//! itself, so two facts that share a mark cost a look and never an answer.

use serde_json::Value;

use super::{DecisionId, Entry, Event, Happening, Outcome, Record};
use crate::clock::UnixTime;
use crate::digest::sha256_of;

/// The facts of one entry that a filter can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The name of the decision or event; only what this program does not know can lack it.
    pub id: Option<DecisionId>,
    /// When.
    pub at: UnixTime,
    /// `decision`, or the kind of the event.
    pub kind: &'a str,
    /// What came of a decision.
    pub outcome: Option<Outcome>,
    /// The path of the project.
    pub project: Option<&'a str>,
    /// The organization.
    pub organization: Option<&'a str>,
    /// The issuer's name in the configuration, or its address where an event is about that.
    pub issuer: Option<&'a str>,
    /// `sub`.
    pub subject: Option<&'a str>,
    /// The repository.
    pub repository: Option<&'a str>,
    /// The relationships that held, or the one that came nearest, and the deny that held.
    pub relationships: Vec<&'a str>,
    /// The reason of a denial.
    pub reason: Option<&'a str>,
    /// `jti` of the issued token.
    pub token_id: Option<&'a str>,
}

/// The marks of one entry. 0 stands for a fact that it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// When, in milliseconds since the epoch.
    pub at_millis: i64,
    /// Of the name.
    pub id: u32,
    /// Of the kind.
    pub kind: u32,
    /// 1 for allowed, 2 for denied.
    pub outcome: u8,
    /// Of the project.
    pub project: u32,
    /// Of the organization.
    pub organization: u32,
    /// Of the issuer.
    pub issuer: u32,
    /// Of the subject.
    pub subject: u32,
    /// Of the repository.
    pub repository: u32,
    /// Of the reason.
    pub reason: u32,
    /// Of the token.
    pub token_id: u32,
    /// Two bits for each of the relationships.
    pub relationships: u64,
}

/// How many octets the written form of [`Marks`] has.
pub const MARKS: usize = 56;

impl Marks {
    /// The marks of nothing.
    pub const NONE: Self = Self {
        at_millis: 0,
        id: 0,
        kind: 0,
        outcome: 0,
        project: 0,
        organization: 0,
        issuer: 0,
        subject: 0,
        repository: 0,
        reason: 0,
        token_id: 0,
        relationships: 0,
    };

    /// As they are written: `at_millis`, the bits of the relationships, the nine marks of four octets (id, kind, project,
    /// organization, issuer, subject, repository, reason, token id), the outcome, and three octets of nothing. Numbers are
    /// little-endian.
    pub fn write(&self) -> [u8; MARKS] {
        let mut octets = [0; MARKS];
        let (times, rest) = octets.split_at_mut(16);
        let (first, second) = times.split_at_mut(8);
        first.copy_from_slice(&self.at_millis.to_le_bytes());
        second.copy_from_slice(&self.relationships.to_le_bytes());
        let marks = [
            self.id,
            self.kind,
            self.project,
            self.organization,
            self.issuer,
            self.subject,
            self.repository,
            self.reason,
            self.token_id,
            u32::from(self.outcome),
        ];
        for (place, mark) in rest.chunks_exact_mut(4).zip(marks) {
            place.copy_from_slice(&mark.to_le_bytes());
        }
        octets
    }

    /// Reads them back.
    pub fn read(octets: &[u8; MARKS]) -> Self {
        let mut rest = octets.as_slice();
        let at_millis = i64::from_le_bytes(take(&mut rest));
        let relationships = u64::from_le_bytes(take(&mut rest));
        let mut mark = || u32::from_le_bytes(take(&mut rest));
        Self {
            at_millis,
            id: mark(),
            kind: mark(),
            project: mark(),
            organization: mark(),
            issuer: mark(),
            subject: mark(),
            repository: mark(),
            reason: mark(),
            token_id: mark(),
            outcome: rest.first().copied().unwrap_or_default(),
            relationships,
        }
    }
}

/// The next octets of `rest`, which has them.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let Some((taken, after)) = rest.split_first_chunk() else {
        return [0; N];
    };
    *rest = after;
    *taken
}

impl<'a> Facts<'a> {
    /// The facts of an entry.
    pub fn of(entry: &'a Entry) -> Self {
        match entry {
            Entry::Decision(record) => Self::of_decision(record),
            Entry::Event(event) => Self::of_event(event),
            Entry::Unknown(members) => Self::of_unknown(entry.at(), members),
        }
    }

    /// What an entry that this program does not know says in members that mean the same in every entry.
    fn of_unknown(at: UnixTime, entry: &'a Value) -> Self {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        let id = text("event_id").or_else(|| text("decision_id"));
        let project = text("project");
        let relationships = entry.get("trust").and_then(Value::as_array);
        let relationships = relationships
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let others = ["nearest", "denied_by"].into_iter().filter_map(text);
        Self {
            id: id.and_then(|id| DecisionId::parse(id).ok()),
            at,
            kind: text("kind").unwrap_or_default(),
            outcome: match text("outcome") {
                Some("allowed") => Some(Outcome::Allowed),
                Some("denied") => Some(Outcome::Denied),
                _ => None,
            },
            project,
            organization: text("organization").or_else(|| project.and_then(organization)),
            issuer: text("issuer"),
            subject: text("subject"),
            repository: text("repository"),
            relationships: relationships.chain(others).collect(),
            reason: text("reason"),
            token_id: text("token_id"),
        }
    }

    /// The facts of a decision.
    pub fn of_decision(record: &'a Record) -> Self {
        let relationships = record.trust.iter();
        let others = record.nearest.iter().chain(&record.denied_by);
        let project = record.project.as_deref();
        Self {
            id: Some(record.decision_id),
            at: UnixTime::from_millis(record.at_millis),
            kind: "decision",
            outcome: Some(record.outcome),
            project,
            organization: project.and_then(organization),
            issuer: record.issuer.as_deref(),
            subject: record.subject.as_deref(),
            repository: record.repository.as_deref(),
            relationships: relationships.chain(others).map(String::as_str).collect(),
            reason: record.reason.as_deref(),
            token_id: record.token_id.as_deref(),
        }
    }

    /// The facts of an event.
    pub fn of_event(event: &'a Event) -> Self {
        let mut facts = Self {
            id: Some(event.event_id.into()),
            at: UnixTime::from_millis(event.at_millis),
            kind: event.what.kind(),
            outcome: None,
            project: None,
            organization: None,
            issuer: None,
            subject: None,
            repository: None,
            relationships: Vec::new(),
            reason: None,
            token_id: None,
        };
        match &event.what {
            Happening::PinMade { names, .. } | Happening::PinReset { names, .. } => {
                facts.project = Some(&names.project);
                facts.organization = organization(&names.project);
                facts.issuer = Some(&names.issuer);
            }
            Happening::DenialsCounted { issuer, reason, .. } => {
                facts.issuer = Some(issuer);
                facts.reason = Some(reason);
            }
            Happening::PolicyLoaded(loaded) => {
                facts.project = loaded.project.as_deref();
                facts.organization = Some(&loaded.organization);
            }
            Happening::PolicyRefused { file, .. } | Happening::PolicyRemoved { file, .. } => {
                facts.organization = organization(file);
                facts.project = file
                    .strip_suffix(".toml")
                    .filter(|path| !path.ends_with("/_organization"));
            }
            Happening::IssuerKeysChanged { issuer, .. } => facts.issuer = Some(issuer),
            _ => {}
        }
        facts
    }

    /// What a store keeps of them.
    pub fn marks(&self) -> Marks {
        Marks {
            at_millis: self.at.millis(),
            id: self.id.map_or(0, |id| mark("id", &id.to_string())),
            kind: mark("kind", self.kind),
            outcome: match self.outcome {
                None => 0,
                Some(Outcome::Allowed) => 1,
                Some(Outcome::Denied) => 2,
            },
            project: optional("project", self.project),
            organization: optional("organization", self.organization),
            issuer: optional("issuer", self.issuer),
            subject: optional("subject", self.subject),
            repository: optional("repository", self.repository),
            reason: optional("reason", self.reason),
            token_id: optional("token_id", self.token_id),
            relationships: self
                .relationships
                .iter()
                .fold(0, |bits, name| bits | relationship_bits(name)),
        }
    }
}

/// The part of a project's path, or of the path of its file, before the slash.
fn organization(path: &str) -> Option<&str> {
    path.split_once('/').map(|(organization, _)| organization)
}

fn optional(fact: &str, text: Option<&str>) -> u32 {
    text.map_or(0, |text| mark(fact, text))
}

/// The mark of a fact, never 0.
pub(super) fn mark(fact: &str, text: &str) -> u32 {
    let digest = sha256_of(&[fact.as_bytes(), &[0], text.as_bytes()]);
    let first = digest.first_chunk().copied().unwrap_or_default();
    u32::from_be_bytes(first).max(1)
}

/// The two bits of a relationship's name.
pub(super) fn relationship_bits(name: &str) -> u64 {
    let mark = mark("relationship", name);
    1 << (mark & 63) | 1 << ((mark >> 6) & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_back_as_they_were_written() {
        let marks = Marks {
            at_millis: -7,
            id: 1,
            kind: 2,
            outcome: 2,
            project: 3,
            organization: 4,
            issuer: 5,
            subject: 6,
            repository: 7,
            reason: 8,
            token_id: u32::MAX,
            relationships: 1 << 63,
        };
        let octets = marks.write();
        assert_eq!(Marks::read(&octets), marks);
        assert_eq!(octets[..8], (-7_i64).to_le_bytes());
        assert_eq!(octets[16..20], [1, 0, 0, 0]);
        assert_eq!(octets[52..], [2, 0, 0, 0]);
        assert_eq!(Marks::read(&[0; MARKS]), Marks::NONE);
    }
}
