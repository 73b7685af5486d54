//! What a reviewer asks of the log: the entries themselves, and questions over many of them.
//!
//! Each question is a [`Wish`], read once from the parameters of an address or the options of a command, and has an answer
//! that is plain data, so that `http` and `cli` show the same. What a question thinks about entries stands apart from the
//! walk over them. A walk goes through the log in pages, the newest first, keeps a bounded part of what it saw whatever the
//! log's size, and lets other work in between two pages.
//!
//! Withheld values may be deleted: an entry without them is read as what is left of it.

mod alarms;
mod export;
mod list;
mod moment;
mod policy;
mod seen;
mod usage;
mod walk;
mod who;
mod wish;

pub use alarms::{Alarm, AlarmKind, Alarms, Thresholds};
pub use export::{COLUMNS, Export, ExportForm};
pub use list::{Listed, NumberedEntry};
pub use policy::{FileHistory, InForce, PolicyAnswer, PolicyChange};
pub use seen::{Seen, SeenValue};
pub use usage::{OpenClaim, RelationshipUse, UnreadPolicy, Usage, UseFinding};
pub use who::{Who, WhoGotTokens};
pub use wish::{InvalidWish, LONGEST_PAGE, Question, Wish};

use serde::{Deserialize, Serialize};

use crate::audit::InvalidEntry;
use crate::directory::PolicyHistory;
use crate::issuer::Registry;
use crate::ledger::{AuditLog, StoreUnavailable};

/// Where answers come from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The log.
    pub log: &'a dyn AuditLog,
    /// The text of every policy that was in force.
    pub policies: &'a dyn PolicyHistory,
    /// The issuers, whose profiles say what their claims mean.
    pub registry: &'a Registry,
}

/// A question has no answer at this moment.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// The store does not answer.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
    /// An entry is not what was written.
    #[error(transparent)]
    Entry(#[from] InvalidEntry),
}

impl ReadingError {
    /// A name for dashboards, tests and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "store-unavailable",
            Self::Entry(_) => "entry-unreadable",
        }
    }
}

/// The answer to a [`Wish`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// To [`Question::List`].
    List(Listed),
    /// To [`Question::Who`].
    Who(Who),
    /// To [`Question::Use`].
    Use(Usage),
    /// To [`Question::Alarms`].
    Alarms(Alarms),
    /// To [`Question::Policy`].
    Policy(Box<PolicyAnswer>),
}

impl Answer {
    /// Reads an answer to `question` that another program gave.
    pub fn read(question: Question, json: &[u8]) -> serde_json::Result<Self> {
        match question {
            Question::List => serde_json::from_slice(json).map(Self::List),
            Question::Who => serde_json::from_slice(json).map(Self::Who),
            Question::Use => serde_json::from_slice(json).map(Self::Use),
            Question::Alarms => serde_json::from_slice(json).map(Self::Alarms),
            Question::Policy => serde_json::from_slice(json).map(Self::Policy),
        }
    }
}

/// Answers `wish`.
pub async fn answer(sources: Sources<'_>, wish: &Wish) -> Result<Answer, ReadingError> {
    match wish.question {
        Question::List => list(sources.log, wish).await.map(Answer::List),
        Question::Who => who(sources, wish).await.map(Answer::Who),
        Question::Use => usage(sources, wish).await.map(Answer::Use),
        Question::Alarms => alarms(sources.log, wish).await.map(Answer::Alarms),
        Question::Policy => policy(sources, wish)
            .await
            .map(Box::new)
            .map(Answer::Policy),
    }
}

pub use alarms::alarms;
pub use list::list;
pub use policy::policy;
pub use usage::usage;
pub use who::who;

#[cfg(test)]
mod tests;
