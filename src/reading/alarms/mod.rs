//! Denials and exchanges that look like an attack.

mod addresses;
mod crowds;
mod grouped;
mod meaning;

use serde::{Deserialize, Serialize};

use super::seen::Seen;
use super::walk::walk;
use super::{ReadingError, Wish};
use crate::audit::{Entry, Event, Happening, Outcome, Record};
use crate::clock::{HOUR, Seconds, UnixTime};
use crate::ledger::AuditLog;

use addresses::Addresses;
use crowds::Crowds;
use grouped::Grouped;

/// How many values of one kind an alarm lists.
const MOST_VALUES: usize = 10;

/// How many decisions an alarm names.
const MOST_EXAMPLES: usize = 5;

/// From when on something is an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// How far apart denials of many subjects may be to belong together.
    pub window: Seconds,
    /// How many subjects denied for the same reason within the window are many.
    pub subjects: usize,
    /// How many denials that were counted and not recorded, of one issuer and reason, are many.
    pub counted: u64,
}

impl Default for Thresholds {
    /// Ten subjects in an hour; a hundred counted denials.
    fn default() -> Self {
        Self {
            window: HOUR,
            subjects: 10,
            counted: 100,
        }
    }
}

/// What looks like an attack, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmKind {
    /// A name that was pinned came with another id.
    IdentityChanged,
    /// One token was exchanged from several addresses.
    TokenFromOtherAddress,
    /// A token was shown again that was spent.
    TokenSpent,
    /// One run was given tokens at several addresses.
    RunFromOtherAddress,
    /// Many subjects were denied for the same reason in a short time.
    ManySubjects,
    /// So many denials that they were counted and not recorded.
    DenialsCounted,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarms {
    /// The first moment that was looked at; none if that is the beginning of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The moment before which was looked at.
    pub until: String,
    /// How many exchanges were allowed in this time.
    pub allowed: u64,
    /// How many denials were recorded.
    pub denied: u64,
    /// How many were counted and not recorded.
    pub counted: u64,
    /// What looks like an attack, the gravest kind first.
    pub alarms: Vec<Alarm>,
    /// How many occurrences belong to alarms that are not listed, since there are more than the limit.
    pub not_listed: u64,
}

/// One thing that looks like an attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What.
    pub kind: AlarmKind,
    /// What it may mean, in one sentence.
    pub meaning: String,
    /// What to look at, in one sentence.
    pub look_at: String,
    /// The issuer's name in the configuration; none if it is not registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The reason of the denials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many times.
    pub count: u64,
    /// When first, RFC 3339.
    pub first_at: String,
    /// When last.
    pub last_at: String,
    /// The projects that were asked for.
    pub projects: Seen,
    /// The repositories of the jobs.
    pub repositories: Seen,
    /// `sub` of the tokens.
    pub subjects: Seen,
    /// The addresses of the callers, as long as they are kept.
    pub addresses: Seen,
    /// The runs.
    pub runs: Seen,
    /// Names of decisions or events, the newest first.
    pub examples: Vec<String>,
}

/// What looks like an attack in the entries that `wish` is about.
pub async fn alarms(log: &dyn AuditLog, wish: &Wish) -> Result<Alarms, ReadingError> {
    let mut watch = Watch::new(wish);
    walk(log, &wish.filter, |_, entry| {
        watch.note(&entry);
        std::ops::ControlFlow::Continue(())
    })
    .await?;
    Ok(watch.answer(wish))
}

/// Everything that is watched for, in one walk.
struct Watch {
    allowed: u64,
    denied: u64,
    counted: u64,
    grouped: Grouped,
    crowds: Crowds,
    tokens: Addresses,
    runs: Addresses,
    enough: u64,
}

impl Watch {
    fn new(wish: &Wish) -> Self {
        Self {
            allowed: 0,
            denied: 0,
            counted: 0,
            grouped: Grouped::new(wish.limit),
            crowds: Crowds::new(wish.thresholds),
            tokens: Addresses::default(),
            runs: Addresses::default(),
            enough: wish.thresholds.counted,
        }
    }

    /// Takes in an entry, which is not later than those before.
    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Decision(record) if record.outcome == Outcome::Allowed => self.exchange(record),
            Entry::Decision(record) => self.denial(record),
            Entry::Event(event) => self.event(event),
            Entry::Unknown(_) => {}
        }
    }

    fn exchange(&mut self, record: &Record) {
        self.allowed += 1;
        let (Some(issuer), Some(address)) = (&record.issuer, &record.client_address) else {
            return;
        };
        let token = record.claims.get("jti").and_then(|jti| jti.as_str());
        let run = record.run_id.as_deref();
        let place = record.repository.as_ref().or(record.subject.as_ref());
        let place = place.map(String::as_str).unwrap_or_default();
        let found = [
            (AlarmKind::TokenFromOtherAddress, &mut self.tokens, token),
            (AlarmKind::RunFromOtherAddress, &mut self.runs, run),
        ];
        for (kind, addresses, what) in found {
            let Some(what) = what else { continue };
            // A run's number is only unique within its pipeline, for some CI systems.
            let key = [issuer.as_str(), place, what];
            if let Some(other) = addresses.other(key, address, record.decision_id) {
                let alarm = self.grouped.alarm(kind, record, place);
                let Some(alarm) = alarm else { continue };
                note(alarm, record);
                alarm.addresses.add(Some(&other.address), MOST_VALUES);
                example(alarm, &other.decision_id.to_string());
                // One token at two addresses says all that its run could say.
                break;
            }
        }
    }

    fn denial(&mut self, record: &Record) {
        self.denied += 1;
        let kind = match record.reason.as_deref() {
            Some("identity-changed") => AlarmKind::IdentityChanged,
            Some("token-spent") => AlarmKind::TokenSpent,
            _ => {
                self.crowds.note(record, &mut self.grouped);
                return;
            }
        };
        let place = record.repository.as_ref().or(record.subject.as_ref());
        let place = place.map(String::as_str).unwrap_or_default();
        if let Some(alarm) = self.grouped.alarm(kind, record, place) {
            note(alarm, record);
        }
    }

    fn event(&mut self, event: &Event) {
        if let Happening::DenialsCounted {
            issuer,
            reason,
            count,
            ..
        } = &event.what
        {
            self.counted += count;
            let at = UnixTime::from_millis(event.at_millis).to_string();
            let id = event.event_id.to_string();
            self.grouped.counted(issuer, reason, *count, &at, &id);
        }
    }

    fn answer(self, wish: &Wish) -> Alarms {
        let (alarms, not_listed) = self.grouped.done(self.enough);
        Alarms {
            since: wish.since(),
            until: wish.until(),
            allowed: self.allowed,
            denied: self.denied,
            counted: self.counted,
            alarms,
            not_listed,
        }
    }
}

/// Adds what a record says to its alarm.
fn note(alarm: &mut Alarm, record: &Record) {
    alarm.count += 1;
    alarm.first_at = UnixTime::from_millis(record.at_millis).to_string();
    let project = record.project.as_deref().or(Some(&record.audience));
    for (seen, value) in [
        (&mut alarm.projects, project),
        (&mut alarm.repositories, record.repository.as_deref()),
        (&mut alarm.subjects, record.subject.as_deref()),
        (&mut alarm.addresses, record.client_address.as_deref()),
        (&mut alarm.runs, record.run_id.as_deref()),
    ] {
        if value.is_some() {
            seen.add(value, MOST_VALUES);
        }
    }
    example(alarm, &record.decision_id.to_string());
}

fn example(alarm: &mut Alarm, id: &str) {
    if alarm.examples.len() < MOST_EXAMPLES && !alarm.examples.iter().any(|known| known == id) {
        alarm.examples.push(id.to_owned());
    }
}
