//! Why something was not done.

use tokio_postgres::error::{DbError, Severity, SqlState};

use super::migrate::in_words;
use crate::audit::{Event, Happening, Sealed, Unsealable};
use crate::clock::UnixTime;
use crate::ledger::StoreUnavailable;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// It cannot be done, whoever is asked. Nothing was written.
    Refused(String),
    /// The server answers, and has another log than we know, or less of it. Nothing was asked of it.
    Behind(String),
    /// The server says why not: nothing was written.
    Said(tokio_postgres::Error),
    /// The connection ended, or never began. What was under way may have been done or not.
    Lost(String),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // The server ends the connection too, and says so: whether before or after the commit is not known.
            Some(said) if ends_connection(said) => Self::Lost(in_words(&error)),
            Some(_) => Self::Said(error),
            // A parameter that cannot be written down never left this machine.
            None if error.to_string().contains("serializing parameter") => {
                Self::Refused(in_words(&error))
            }
            None => Self::Lost(in_words(&error)),
        }
    }
}

impl From<Unsealable> for Fault {
    fn from(error: Unsealable) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(format!("it cannot be written: {error}"))
    }
}

impl From<StoreUnavailable> for Fault {
    fn from(StoreUnavailable(why): StoreUnavailable) -> Self {
        Self::Refused(why)
    }
}

impl From<Fault> for StoreUnavailable {
    fn from(fault: Fault) -> Self {
        Self(match fault {
            Fault::Refused(why) | Fault::Behind(why) => why,
            Fault::Said(error) => format!("the database says: {}", in_words(&error)),
            Fault::Lost(why) => format!("the database does not answer: {why}"),
        })
    }
}

/// Whether a server that says this has ended the connection, or does not know itself what became of the commit (PostgreSQL
/// documentation, appendix A).
fn ends_connection(said: &DbError) -> bool {
    let ended = matches!(
        said.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    );
    let code = said.code().code();
    ended || code.starts_with("08") || code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN.code()
}

/// How many octets one entry may withhold. A batch of the log is one row, which has its limits.
const LONGEST_WITHHELD: usize = 16 << 20;

/// An entry that can be committed.
pub(super) fn fitting(sealed: Result<Sealed, Unsealable>) -> Result<Sealed, Fault> {
    let sealed = sealed?;
    let length = sealed.withheld.len();
    if length > LONGEST_WITHHELD {
        return Err(Fault::Refused(format!(
            "an entry withholds {length} octets, which is too much to keep"
        )));
    }
    Ok(sealed)
}

/// Events as entries that can be committed.
pub(super) fn sealed_events(
    events: impl IntoIterator<Item = Happening>,
    now: UnixTime,
) -> Result<Vec<Sealed>, Fault> {
    let sealed = events
        .into_iter()
        .map(|what| fitting(Sealed::of_event(Event::new(what, now))));
    sealed.collect()
}
