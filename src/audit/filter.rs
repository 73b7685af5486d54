//! Which entries somebody wants to see.

use serde::{Deserialize, Serialize};

use super::facts::{mark, relationship_bits};
use super::{Entry, Facts, Marks, Outcome};
use crate::clock::UnixTime;

/// What an entry must be to be listed; whatever is not given does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// `decision`, or the kind of an event.
    pub kind: Option<String>,
    /// The path of a project.
    pub project: Option<String>,
    /// An organization.
    pub organization: Option<String>,
    /// An issuer's name in the configuration.
    pub issuer: Option<String>,
    /// `sub` of the subject token.
    pub subject: Option<String>,
    /// The repository.
    pub repository: Option<String>,
    /// The name of a relationship that held or came nearest, or of a deny that held.
    pub relationship: Option<String>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// The code of a denial's reason.
    pub reason: Option<String>,
    /// The name of a decision or event.
    pub id: Option<String>,
    /// `jti` of a project token.
    pub token_id: Option<String>,
    /// The first moment, in milliseconds since the epoch.
    pub since_millis: Option<i64>,
    /// The moment before which, in milliseconds since the epoch.
    pub until_millis: Option<i64>,
}

/// The same as marks: what a store compares before it reads an entry. 0 stands for what does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The marks; `at_millis` means nothing.
    pub marks: Marks,
    /// The first moment, in milliseconds since the epoch.
    pub since_millis: i64,
    /// The moment before which, in milliseconds since the epoch.
    pub until_millis: i64,
}

impl Filter {
    /// Whether `entry` is wanted.
    pub fn matches(&self, entry: &Entry) -> bool {
        let facts = Facts::of(entry);
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        let relationship = self.relationship.as_deref();
        is(&self.kind, Some(facts.kind))
            && is(&self.project, facts.project)
            && is(&self.organization, facts.organization)
            && is(&self.issuer, facts.issuer)
            && is(&self.subject, facts.subject)
            && is(&self.repository, facts.repository)
            && is(&self.reason, facts.reason)
            && is(&self.token_id, facts.token_id)
            && is(&self.id, facts.id.map(|id| id.to_string()).as_deref())
            && relationship.is_none_or(|name| facts.relationships.contains(&name))
            && self
                .outcome
                .is_none_or(|outcome| facts.outcome == Some(outcome))
            && self.span().contains(facts.at)
    }

    /// The filter as a store asks it. Names and token ids say when they were made (RFC 9562, section 5.7), and narrow the
    /// time.
    pub fn wanted(&self) -> Wanted {
        let optional =
            |fact, text: &Option<String>| text.as_deref().map_or(0, |text| mark(fact, text));
        let span = self.span();
        Wanted {
            marks: Marks {
                at_millis: 0,
                id: optional("id", &self.id),
                kind: optional("kind", &self.kind),
                outcome: match self.outcome {
                    None => 0,
                    Some(Outcome::Allowed) => 1,
                    Some(Outcome::Denied) => 2,
                },
                project: optional("project", &self.project),
                organization: optional("organization", &self.organization),
                issuer: optional("issuer", &self.issuer),
                subject: optional("subject", &self.subject),
                repository: optional("repository", &self.repository),
                reason: optional("reason", &self.reason),
                token_id: optional("token_id", &self.token_id),
                relationships: self.relationship.as_deref().map_or(0, relationship_bits),
            },
            since_millis: span.since,
            until_millis: span.until,
        }
    }

    fn span(&self) -> Span {
        let mut span = Span {
            since: self.since_millis.unwrap_or(i64::MIN),
            until: self.until_millis.unwrap_or(i64::MAX),
        };
        for name in [&self.id, &self.token_id].into_iter().flatten() {
            if let Some(made) = made_at(name) {
                span.since = span.since.max(made);
                span.until = span.until.min(made.saturating_add(1));
            }
        }
        span
    }
}

/// From one moment on until before another.
struct Span {
    since: i64,
    until: i64,
}

impl Span {
    fn contains(&self, at: UnixTime) -> bool {
        (self.since..self.until).contains(&at.millis())
    }
}

/// The milliseconds in a UUID of version 7.
fn made_at(name: &str) -> Option<i64> {
    let name = uuid::Uuid::parse_str(name).ok()?;
    let (seconds, nanos) = name
        .get_timestamp()
        .filter(|_| name.get_version_num() == 7)?
        .to_unix();
    let seconds = i64::try_from(seconds).ok()?;
    Some(seconds * 1000 + i64::from(nanos / 1_000_000))
}

impl Wanted {
    /// Whether an entry with these marks may be wanted. If not, it is not.
    pub fn may_be(&self, found: &Marks) -> bool {
        let wanted = &self.marks;
        let is = |wanted: u32, found: u32| wanted == 0 || wanted == found;
        (wanted.outcome == 0 || wanted.outcome == found.outcome)
            && is(wanted.id, found.id)
            && is(wanted.kind, found.kind)
            && is(wanted.project, found.project)
            && is(wanted.organization, found.organization)
            && is(wanted.issuer, found.issuer)
            && is(wanted.subject, found.subject)
            && is(wanted.repository, found.repository)
            && is(wanted.reason, found.reason)
            && is(wanted.token_id, found.token_id)
            && found.relationships & wanted.relationships == wanted.relationships
            && (self.since_millis..self.until_millis).contains(&found.at_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Event, Happening, PolicyLoaded, Record};

    fn decision() -> Entry {
        Entry::Decision(Box::new(Record {
            issuer: Some("github".into()),
            subject: Some("repo:acme/api:ref:refs/heads/main".into()),
            repository: Some("acme/api".into()),
            project: Some("acme/api".into()),
            trust: vec!["release".into(), "nightly".into()],
            token_id: Some("01a1f8d9-b1bb-7e7d-8dff-50e2be8db5b0".into()),
            ..Record::new(Outcome::Allowed, UnixTime::from_millis(1_795_003_200_123))
        }))
    }

    fn denial() -> Entry {
        Entry::Decision(Box::new(Record {
            project: Some("acme/web".into()),
            reason: Some("denied-by-rule".into()),
            nearest: Some("release".into()),
            denied_by: Some("no forks".into()),
            ..Record::new(Outcome::Denied, UnixTime::from_millis(1_795_003_200_123))
        }))
    }

    fn event() -> Entry {
        let loaded = Happening::PolicyLoaded(PolicyLoaded {
            file: "acme/api.toml".into(),
            organization: "acme".into(),
            project: Some("acme/api".into()),
            ..PolicyLoaded::default()
        });
        Entry::Event(Event::new(loaded, UnixTime::from_seconds(1_795_003_200)))
    }

    /// Whether the entry is wanted; its marks never say otherwise.
    fn wants(filter: &Filter, entry: &Entry) -> bool {
        let wanted = filter.matches(entry);
        let may_be = filter.wanted().may_be(&Facts::of(entry).marks());
        assert!(may_be || !wanted, "{filter:?} lost {entry:?}");
        assert_eq!(may_be, wanted, "marks of such few texts do not meet");
        wanted
    }

    #[test]
    fn each_fact_is_asked_for_by_itself() {
        let json = |text: &str| serde_json::from_str::<Filter>(text).unwrap();
        let (decision, denial, event) = (decision(), denial(), event());
        for (filter, wanted) in [
            ("{}", [true, true, true]),
            (r#"{"kind": "decision"}"#, [true, true, false]),
            (r#"{"kind": "policy-loaded"}"#, [false, false, true]),
            (r#"{"project": "acme/api"}"#, [true, false, true]),
            (r#"{"project": "acme/ap"}"#, [false, false, false]),
            (r#"{"organization": "acme"}"#, [true, true, true]),
            (r#"{"issuer": "github"}"#, [true, false, false]),
            (
                r#"{"subject": "repo:acme/api:ref:refs/heads/main"}"#,
                [true, false, false],
            ),
            (r#"{"repository": "acme/api"}"#, [true, false, false]),
            (r#"{"relationship": "release"}"#, [true, true, false]),
            (r#"{"relationship": "nightly"}"#, [true, false, false]),
            (r#"{"relationship": "no forks"}"#, [false, true, false]),
            (r#"{"outcome": "denied"}"#, [false, true, false]),
            (r#"{"reason": "denied-by-rule"}"#, [false, true, false]),
            (r#"{"since_millis": 1795003200001}"#, [true, true, false]),
            (r#"{"until_millis": 1795003200001}"#, [false, false, true]),
            (
                r#"{"project": "acme/api", "outcome": "denied"}"#,
                [false, false, false],
            ),
        ] {
            let filter = json(filter);
            let found = [&decision, &denial, &event].map(|entry| wants(&filter, entry));
            assert_eq!(found, wanted, "{filter:?}");
        }
    }

    #[test]
    fn a_name_that_says_when_it_was_made_narrows_the_time() {
        let entry = decision();
        let filter = Filter {
            id: Some(Facts::of(&entry).id.unwrap().to_string()),
            ..Filter::default()
        };
        assert!(wants(&filter, &entry));
        let wanted = filter.wanted();
        assert_eq!(
            (wanted.since_millis, wanted.until_millis),
            (1_795_003_200_123, 1_795_003_200_124)
        );
        let other = Filter {
            id: Some("01a1f8d9-b1bb-7e7d-8dff-50e2be8db5b0".into()),
            ..Filter::default()
        };
        assert!(!other.matches(&entry));
    }

    #[test]
    fn a_misspelt_question_is_no_question() {
        assert!(serde_json::from_str::<Filter>(r#"{"projekt": "acme/api"}"#).is_err());
    }
}
