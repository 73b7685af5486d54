//! What somebody asks, from the parameters of an address or the options of a command.

use super::Thresholds;
use super::moment::moment;
use crate::audit::{Filter, Outcome};
use crate::clock::{HOUR, Seconds, UnixTime};
use crate::trust::ProjectPath;

/// The most entries that one page holds.
pub const LONGEST_PAGE: usize = 1000;

/// How many entries a page holds if nobody says.
const PAGE: usize = 100;

/// How many rows an answer has if nobody says, and at most.
const ROWS: usize = 1000;
/// The most rows that an answer may have, which bounds what a walk remembers.
const MOST_ROWS: usize = 10_000;

/// How far back a question looks if nobody says.
const A_MONTH: Seconds = Seconds(30 * 24 * HOUR.0);
/// The same for what is used seldom: a release job may run once a quarter.
const A_QUARTER: Seconds = Seconds(90 * 24 * HOUR.0);

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Which entries there are.
    List,
    /// Who got tokens, by which relationship.
    Who,
    /// Which relationships are not used, or wider than their use.
    Use,
    /// Which denials and exchanges look like an attack.
    Alarms,
    /// Which policy was in force at a moment.
    Policy,
}

/// A question with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What is asked.
    pub question: Question,
    /// About which entries. Who reads for one organization alone is held to it here.
    pub filter: Filter,
    /// List: before the entry of this number, the newest first.
    pub before: Option<u64>,
    /// List: from the entry of this number on, in the order of the log.
    pub from: Option<u64>,
    /// The most entries of a page, or rows of an answer.
    pub limit: usize,
    /// The moment of the question; what has no end ends here.
    pub now: UnixTime,
    /// Policy: the moment that is asked about.
    pub at: UnixTime,
    /// Alarms: from when on something is one.
    pub thresholds: Thresholds,
}

/// A wish that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWish {
    /// There is no such parameter for this question.
    #[error("there is no `{name}` here; there are {known}")]
    Unknown {
        /// What was written.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A parameter is given twice.
    #[error("`{0}` is given twice")]
    Repeated(String),
    /// A parameter has a value that it cannot have.
    #[error("`{name}` cannot be `{value}`: {why}")]
    Value {
        /// Its name.
        name: String,
        /// What was written.
        value: String,
        /// What it can be.
        why: &'static str,
    },
    /// A parameter is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Two parameters exclude each other.
    #[error("`before` and `from` exclude each other")]
    BothWays,
}

/// The parameters by which entries are chosen.
const FILTERS: [&str; 14] = [
    "kind",
    "project",
    "organization",
    "issuer",
    "subject",
    "repository",
    "relationship",
    "outcome",
    "reason",
    "id",
    "decision",
    "token",
    "since",
    "until",
];

impl Question {
    /// The question of this name, as it stands in an address: empty for the list itself.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "" => Some(Self::List),
            "who" => Some(Self::Who),
            "use" => Some(Self::Use),
            "alarms" => Some(Self::Alarms),
            "policy" => Some(Self::Policy),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "",
            Self::Who => "who",
            Self::Use => "use",
            Self::Alarms => "alarms",
            Self::Policy => "policy",
        }
    }

    /// The parameters that it has.
    pub fn parameters(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Self::List => &["before", "from", "limit"],
            Self::Who => &["limit"],
            Self::Use => {
                return vec!["project", "organization", "since", "until", "limit"];
            }
            Self::Alarms => &["limit", "window", "subjects", "counted"],
            Self::Policy => return vec!["project", "at"],
        };
        FILTERS.iter().chain(own).copied().collect()
    }
}

impl Wish {
    /// The question with nothing else said, at `now`.
    pub fn new(question: Question, now: UnixTime) -> Self {
        let back = match question {
            Question::List | Question::Policy => None,
            Question::Who | Question::Alarms => Some(A_MONTH),
            Question::Use => Some(A_QUARTER),
        };
        let filter = Filter {
            since_millis: back.map(|back| now.minus(back).millis()),
            ..Filter::default()
        };
        Self {
            question,
            filter,
            before: None,
            from: None,
            limit: if question == Question::List {
                PAGE
            } else {
                ROWS
            },
            now,
            at: now,
            thresholds: Thresholds::default(),
        }
    }

    /// Reads the parameters of a question that is asked at `now`. Times are RFC 3339, or a span such as `30d`, which is so
    /// long before `now`.
    pub fn read<'p>(
        question: Question,
        parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
        now: UnixTime,
    ) -> Result<Self, InvalidWish> {
        let mut wish = Self::new(question, now);
        let known = question.parameters();
        let mut given: Vec<&str> = Vec::new();
        for (name, value) in parameters {
            if !known.contains(&name) {
                return Err(InvalidWish::Unknown {
                    name: name.to_owned(),
                    known: known.join(", "),
                });
            }
            // `decision` is another word for `id`.
            let place = if name == "decision" { "id" } else { name };
            if given.contains(&place) {
                return Err(InvalidWish::Repeated(name.to_owned()));
            }
            given.push(place);
            wish.take(name, value).map_err(|why| InvalidWish::Value {
                name: name.to_owned(),
                value: value.to_owned(),
                why,
            })?;
        }
        if wish.before.is_some() && wish.from.is_some() {
            return Err(InvalidWish::BothWays);
        }
        if question == Question::Policy && wish.filter.project.is_none() {
            return Err(InvalidWish::Missing("project"));
        }
        Ok(wish)
    }

    /// Before which entry a list begins: who counts entries itself is answered where the next page begins, and not with a
    /// cursor.
    fn end(&self) -> Option<u64> {
        let counts = self.question == Question::List && self.from.is_none();
        self.before.or_else(|| counts.then_some(u64::MAX))
    }

    /// The same wish as parameters, for who asks another program. Its times are moments, so that every page is about the
    /// same.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let filter = &self.filter;
        let moment = |millis: i64| UnixTime::from_millis(millis).to_string();
        let outcome = filter.outcome.map(|outcome| match outcome {
            Outcome::Allowed => "allowed".to_owned(),
            Outcome::Denied => "denied".to_owned(),
        });
        let is = |question| self.question == question;
        let alarms = is(Question::Alarms);
        let all = [
            ("kind", filter.kind.clone()),
            ("project", filter.project.clone()),
            ("organization", filter.organization.clone()),
            ("issuer", filter.issuer.clone()),
            ("subject", filter.subject.clone()),
            ("repository", filter.repository.clone()),
            ("relationship", filter.relationship.clone()),
            ("outcome", outcome),
            ("reason", filter.reason.clone()),
            ("id", filter.id.clone()),
            ("token", filter.token_id.clone()),
            ("since", filter.since_millis.map(moment)),
            ("until", filter.until_millis.map(moment)),
            ("before", self.end().map(|end| end.to_string())),
            ("from", self.from.map(|from| from.to_string())),
            (
                "limit",
                (!is(Question::Policy)).then(|| self.limit.to_string()),
            ),
            ("at", is(Question::Policy).then(|| self.at.to_string())),
            (
                "window",
                alarms.then(|| format!("{}s", self.thresholds.window.0)),
            ),
            (
                "subjects",
                alarms.then(|| self.thresholds.subjects.to_string()),
            ),
            (
                "counted",
                alarms.then(|| self.thresholds.counted.to_string()),
            ),
        ];
        let given = all.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let filter = &mut self.filter;
        let text = || {
            if value.is_empty() {
                Err("it is empty; leave it out to mean any")
            } else {
                Ok(Some(value.to_owned()))
            }
        };
        match name {
            "kind" => filter.kind = text()?,
            "project" => {
                ProjectPath::parse(value)
                    .map_err(|_| "a project is written as organization/project")?;
                filter.project = text()?;
            }
            "organization" => filter.organization = text()?,
            "issuer" => filter.issuer = text()?,
            "subject" => filter.subject = text()?,
            "repository" => filter.repository = text()?,
            "relationship" => filter.relationship = text()?,
            "reason" => filter.reason = text()?,
            "outcome" => {
                filter.outcome = Some(match value {
                    "allowed" => Outcome::Allowed,
                    "denied" => Outcome::Denied,
                    _ => return Err("it is allowed or denied"),
                });
            }
            "id" | "decision" => filter.id = Some(uuid(value)?),
            "token" => filter.token_id = Some(uuid(value)?),
            "since" => filter.since_millis = Some(moment(value, self.now)?.millis()),
            "until" => filter.until_millis = Some(moment(value, self.now)?.millis()),
            "at" => self.at = moment(value, self.now)?,
            "before" => self.before = Some(number(value)?),
            "from" => self.from = Some(number(value)?),
            "limit" => {
                let most = match self.question {
                    Question::List => LONGEST_PAGE,
                    _ => MOST_ROWS,
                };
                self.limit = at_least_one(value)?.min(most);
            }
            "window" => {
                let span = humantime::parse_duration(value)
                    .map_err(|_| "it is a span of time, such as `1h`")?;
                let seconds = u32::try_from(span.as_secs()).map_err(|_| "it is too long")?;
                self.thresholds.window = Seconds(seconds.max(1));
            }
            "subjects" => self.thresholds.subjects = at_least_one(value)?,
            "counted" => self.thresholds.counted = number(value)?,
            _ => {}
        }
        Ok(())
    }

    /// The first moment that is looked at, in RFC 3339; none if there is none.
    pub(super) fn since(&self) -> Option<String> {
        let since = self.filter.since_millis?;
        Some(UnixTime::from_millis(since).to_string())
    }

    /// The moment before which is looked at, in RFC 3339.
    pub(super) fn until(&self) -> String {
        let until = self.filter.until_millis.unwrap_or(self.now.millis());
        UnixTime::from_millis(until).to_string()
    }
}

/// Names are written in one way and asked for in any.
fn uuid(value: &str) -> Result<String, &'static str> {
    uuid::Uuid::parse_str(value)
        .map(|uuid| uuid.as_hyphenated().to_string())
        .map_err(|_| "it is a UUID, such as `019aa2f3-1c5e-7b1f-8c8e-0123456789ab`")
}

fn number(value: &str) -> Result<u64, &'static str> {
    value.parse().map_err(|_| "it is a whole number")
}

fn at_least_one(value: &str) -> Result<usize, &'static str> {
    match value.parse() {
        Ok(0) | Err(_) => Err("it is a whole number, at least 1"),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> UnixTime {
        UnixTime::from_seconds(1_795_003_200)
    }

    fn read(question: Question, parameters: &[(&str, &str)]) -> Result<Wish, InvalidWish> {
        Wish::read(question, parameters.iter().copied(), noon())
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_name() {
        let fault = |question, parameters: &[(&str, &str)]| {
            read(question, parameters).unwrap_err().to_string()
        };
        assert!(fault(Question::List, &[("projct", "x")]).starts_with("there is no `projct` here"));
        assert_eq!(fault(Question::Policy, &[]), "`project` is missing");
        assert_eq!(
            fault(Question::List, &[("project", "acme")]),
            "`project` cannot be `acme`: a project is written as organization/project"
        );
        assert_eq!(
            fault(
                Question::List,
                &[
                    ("id", "019aa2f3-1c5e-7b1f-8c8e-0123456789ab"),
                    ("decision", "x")
                ]
            ),
            "`decision` is given twice"
        );
        assert_eq!(
            fault(Question::List, &[("before", "3"), ("from", "1")]),
            "`before` and `from` exclude each other"
        );
        assert!(fault(Question::List, &[("limit", "0")]).ends_with("at least 1"));
        assert!(
            fault(Question::Use, &[("reason", "not-trusted")]).starts_with("there is no `reason`")
        );
    }

    #[test]
    fn a_question_over_many_entries_looks_back_a_while_unless_told() {
        let since = |question| Wish::new(question, noon()).since();
        assert_eq!(since(Question::List), None);
        assert_eq!(since(Question::Who).unwrap(), "2026-10-19T12:00:00.000Z");
        assert_eq!(since(Question::Use).unwrap(), "2026-08-20T12:00:00.000Z");
    }

    #[test]
    fn a_wish_that_is_passed_on_is_the_same_wish() {
        let id = "019aa2f3-1c5e-7b1f-8c8e-0123456789ab";
        let filters = [
            ("kind", "decision"),
            ("project", "acme/api"),
            ("organization", "acme"),
            ("issuer", "github"),
            ("subject", "repo:o/r:ref:refs/heads/main"),
            ("repository", "o/r"),
            ("relationship", "release"),
            ("outcome", "denied"),
            ("reason", "not-trusted"),
            ("id", id),
            ("token", id),
            ("since", "30d"),
            ("until", "2026-11-18T13:00:00+01:00"),
        ];
        let own: [(Question, &[(&str, &str)]); 4] = [
            (Question::List, &[("before", "7"), ("limit", "3")]),
            (Question::List, &[("from", "7")]),
            (Question::Who, &[]),
            (
                Question::Alarms,
                &[("window", "2h"), ("subjects", "3"), ("counted", "5")],
            ),
        ];
        for (question, own) in own {
            let wish = read(question, &[&filters, own].concat()).unwrap();
            let passed_on = wish.parameters();
            let passed_on = passed_on
                .iter()
                .map(|(name, value)| (*name, value.as_str()));
            assert_eq!(Wish::read(question, passed_on, noon()).unwrap(), wish);
        }
    }

    #[test]
    fn a_page_is_never_longer_than_a_page_may_be() {
        let wish = read(Question::List, &[("limit", "1000000")]).unwrap();
        assert_eq!(wish.limit, LONGEST_PAGE);
    }
}
