//! Everything that one store holds, brought into another one, and compared there.
//!
//! What is read and what is written are words that both stores have (`parts`): each store says for itself how it reads and
//! writes them. Afterwards the copy is read as if it were to be copied, and what both came to is compared (`summary`).
//! Until then nothing can serve from it.

mod parts;
mod summary;

use std::path::PathBuf;

use futures_util::future::BoxFuture;

use self::summary::Summing;
use super::embedded::{OpenError, Original as FolderOriginal, Unfinished as UnfinishedFolder};
use super::postgres::{
    Original as DatabaseOriginal, PostgresError, PostgresSettings, Unfinished as UnfinishedDatabase,
};
use crate::ledger::StoreUnavailable;

pub(super) use self::parts::{
    CopiedEntry, Counted, IssuerKeys, KeptPolicy, KnownDenial, Part, SpentToken, State,
};
pub use self::summary::Summary;

/// How many octets of the log are brought over at once, about.
pub(super) const LARGEST_PART: usize = 4 << 20;

/// How many entries of the log are brought over at once at most.
pub(super) const MOST_ENTRIES: u64 = 512;

/// How many of what is small are brought over at once.
pub(super) const MOST_SMALL: usize = 4096;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// A data folder.
    Folder(PathBuf),
    /// A database.
    Database(Box<PostgresSettings>),
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copying {
    /// Whether everything is there, and is being compared.
    pub compares: bool,
    /// What is brought over, or read again.
    pub what: &'static str,
    /// How many of them so far.
    pub done: u64,
    /// How many there are, where that is known.
    pub of: Option<u64>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is no store to be copied.
    #[error("there is no store in `{0}`")]
    NotThere(String),
    /// Both are one.
    #[error("`{0}` cannot be copied into itself")]
    Same(String),
    /// There is something where the copy is to be.
    #[error("`{0}` is not empty; name a folder or a database that holds nothing yet")]
    NotEmpty(String),
    /// Somebody serves from a database.
    #[error(
        "{1} connections of countersign to `{0}` are open; stop every instance first, or what it answers meanwhile is not in the copy"
    )]
    InUse(String, i64),
    /// A data folder.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// A database.
    #[error(transparent)]
    Database(#[from] PostgresError),
    /// One of both does not answer, or holds what was not written so.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
    /// What is read from the store is not as it was written.
    #[error("`{0}` is damaged: {1}; nothing was copied")]
    Damaged(String, String),
    /// The copy is not the same.
    #[error("the copy in `{0}` is not the same: {1}; nothing serves from it")]
    Differs(String, String),
}

impl CopyError {
    /// A name for dashboards, tests and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotThere(_) => "copy-source-missing",
            Self::Same(_) => "copy-into-itself",
            Self::NotEmpty(_) => "copy-target-not-empty",
            Self::InUse(..) => "copy-database-in-use",
            Self::Folder(fault) => fault.code(),
            Self::Database(fault) => fault.code(),
            Self::Unavailable(_) => "store-unavailable",
            Self::Damaged(..) => "copy-source-damaged",
            Self::Differs(..) => "copy-differs",
        }
    }
}

impl StorePlace {
    /// The place as a person writes it, without a password.
    pub fn shown(&self) -> String {
        match self {
            Self::Folder(path) => format!("sled:{}", path.display()),
            Self::Database(settings) => settings.shown(),
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(one), Self::Folder(two)) => {
                let there = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
                there(one) == there(two)
            }
            (Self::Database(_), Self::Database(_)) => self.shown() == other.shown(),
            _ => false,
        }
    }
}

/// A store that is read from its beginning to its end. Nobody writes to it meanwhile.
pub(super) trait Original: Send {
    /// What there is once.
    fn state(&mut self) -> BoxFuture<'_, Result<State, StoreUnavailable>>;

    /// What comes next; `None` when that was all. Entries of the log come first, and in order.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Part>, StoreUnavailable>>;
}

/// A store in the making. If this is dropped before it is finished, nothing can serve from it.
pub(super) trait Unfinished: Send {
    /// Adds what comes next. Entries of the log come first, and in order.
    fn add(&mut self, part: Part) -> BoxFuture<'_, Result<(), CopyError>>;

    /// Reads everything that was added, from where it was written to.
    fn as_original(&mut self) -> BoxFuture<'_, Result<Box<dyn Original + '_>, CopyError>>;

    /// Lets services have it: it is durable when this returns.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), CopyError>>;
}

/// Copies everything in the store `from` to `to`, where there must be nothing yet, and compares both. `told` hears how far
/// it is. Durable when this returns; whatever ends it before leaves nothing that a service could start on.
pub async fn copy_store(
    from: &StorePlace,
    to: &StorePlace,
    told: &(dyn Fn(Copying) + Sync),
) -> Result<Summary, CopyError> {
    if from.same_as(to) {
        return Err(CopyError::Same(to.shown()));
    }
    let mut original: Box<dyn Original> = match from {
        StorePlace::Folder(path) => Box::new(FolderOriginal::open(path).await?),
        StorePlace::Database(settings) => Box::new(DatabaseOriginal::open(settings).await?),
    };
    let state = original.state().await?;
    let mut copy: Box<dyn Unfinished> = match to {
        StorePlace::Folder(path) => Box::new(UnfinishedFolder::create(path, &state).await?),
        StorePlace::Database(settings) => {
            Box::new(UnfinishedDatabase::create(settings, &state).await?)
        }
    };
    let damaged = |what| CopyError::Damaged(from.shown(), what);
    let (mut summing, mut teller) = (Summing::default(), Teller::new(told, state.size, false));
    while let Some(part) = original.next().await? {
        summing.add(&part).map_err(damaged)?;
        teller.tell(&part);
        copy.add(part).await?;
    }
    let expected = summing.finish(state).map_err(damaged)?;
    drop(original);
    let differs = |what| CopyError::Differs(to.shown(), what);
    let found = summary(copy.as_original().await?, told, differs).await?;
    if let Some(what) = expected.difference(&found) {
        return Err(differs(what));
    }
    copy.finish().await?;
    Ok(expected)
}

async fn summary(
    mut copy: Box<dyn Original + '_>,
    told: &(dyn Fn(Copying) + Sync),
    differs: impl Fn(String) -> CopyError,
) -> Result<Summary, CopyError> {
    let state = copy.state().await?;
    let (mut summing, mut teller) = (Summing::default(), Teller::new(told, state.size, true));
    while let Some(part) = copy.next().await? {
        summing.add(&part).map_err(&differs)?;
        teller.tell(&part);
    }
    summing.finish(state).map_err(differs)
}

/// Tells how far it is.
struct Teller<'a> {
    told: &'a (dyn Fn(Copying) + Sync),
    entries: u64,
    now: Copying,
}

impl<'a> Teller<'a> {
    fn new(told: &'a (dyn Fn(Copying) + Sync), entries: u64, compares: bool) -> Self {
        let now = Copying {
            compares,
            what: "",
            done: 0,
            of: None,
        };
        Self { told, entries, now }
    }

    fn tell(&mut self, part: &Part) {
        if self.now.what != part.what() {
            self.now.what = part.what();
            self.now.done = 0;
            self.now.of = matches!(part, Part::Entries(..)).then_some(self.entries);
        }
        self.now.done += part.len() as u64;
        (self.told)(self.now);
    }
}
