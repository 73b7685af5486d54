//! Why something was not done.

use tokio_postgres::error::{DbError, Severity, SqlState};

use super::InvalidSettings;
use crate::audit::{Event, Happening, Sealed, Unsealable};
use crate::clock::UnixTime;
use crate::ledger::StoreUnavailable;
use crate::metrics::StoreFault;

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The settings.
    #[error("the settings of the store: {0}")]
    Settings(#[from] InvalidSettings),
    /// The server does not answer, or refuses us.
    #[error("the database `{0}` cannot be used: {1}")]
    Unreachable(String, String),
    /// There are no tables yet, and they are not to be made.
    #[error("there is no store in the database `{0}` yet")]
    Empty(String),
    /// An older program made the tables, and they are not to be changed.
    #[error(
        "the database `{0}` has tables of version {1} and this program those of version {2}; use the program of the service, \
         or start this one as the service first"
    )]
    Older(String, usize, usize),
    /// A newer program made the tables.
    #[error(
        "the database `{0}` has tables of version {1} and this program knows up to {2}; use the newer program"
    )]
    Newer(String, usize, usize),
    /// A step was not what it is in this program.
    #[error(
        "the database `{0}` was made by another program: its step {1}, `{2}`, is not the one that this program knows"
    )]
    Foreign(String, usize, String),
    /// The tables cannot be made or changed.
    #[error("the tables in `{0}` cannot be brought to version {1}: {2}; nothing was changed")]
    Failed(String, usize, String),
    /// The store does not answer.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
}

impl PostgresError {
    /// A name for dashboards, tests and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(_) => "database-settings",
            Self::Unreachable(..) => "database-unreachable",
            Self::Empty(_) => "database-empty",
            Self::Older(..) => "database-older",
            Self::Newer(..) => "database-newer",
            Self::Foreign(..) => "database-foreign",
            Self::Failed(..) => "database-not-migrated",
            Self::Unavailable(_) => "store-unavailable",
        }
    }
}

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

impl Fault {
    /// What it is counted as.
    pub(super) fn kind(&self) -> StoreFault {
        match self {
            Self::Lost(_) => StoreFault::Connection,
            Self::Behind(_) => StoreFault::Damaged,
            Self::Refused(_) => StoreFault::Other,
            Self::Said(error) => match error.code().map_or("", SqlState::code) {
                code if code.starts_with("53") || code.starts_with("58") => StoreFault::Disk,
                // Data or an index is corrupted.
                "XX001" | "XX002" => StoreFault::Damaged,
                code if code.starts_with("40") || code == "CS001" => StoreFault::Aborted,
                _ => StoreFault::Other,
            },
        }
    }
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

/// What the server says, or what kept us from asking it. Never a parameter of a statement.
pub(super) fn in_words(fault: &tokio_postgres::Error) -> String {
    if let Some(said) = fault.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut words = fault.to_string();
    let mut source = std::error::Error::source(fault);
    while let Some(deeper) = source {
        let deeper_words = deeper.to_string();
        if !words.contains(&deeper_words) {
            words = format!("{words}: {deeper_words}");
        }
        source = deeper.source();
    }
    words
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
