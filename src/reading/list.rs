//! The entries themselves.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ReadingError, Wish};
use crate::audit::{Filter, InvalidEntry, LoggedEntry};
use crate::ledger::{AuditLog, LARGEST_PAGE};

/// How many entries are read at once of those that follow a number: values beside them may be long.
const STEP: u64 = 16;

/// An entry with its number in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberedEntry {
    /// Its number, from 0.
    pub index: u64,
    /// The entry as it was written, with the withheld values back in their places as long as they are kept.
    pub entry: Value,
}

/// A page of entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The entries: the newest first, or in the order of the log if the wish says from where on.
    pub entries: Vec<NumberedEntry>,
    /// What `before` (or `from`) is to be for the next page. None at the beginning of the log; there is always more to
    /// come at its end. A page may have fewer entries than were asked for, or none, and still not be the last.
    pub next: Option<u64>,
}

impl NumberedEntry {
    fn of(logged: &LoggedEntry) -> Result<Self, InvalidEntry> {
        Ok(Self {
            index: logged.index,
            entry: logged.restored()?,
        })
    }
}

/// A page of the entries that `wish` is about. It ends once it has [`LARGEST_PAGE`] octets, however many were asked for.
pub async fn list(log: &dyn AuditLog, wish: &Wish) -> Result<Listed, ReadingError> {
    if let Some(from) = wish.from {
        return onward(log, &wish.filter, from, wish.limit).await;
    }
    let page = log
        .search(wish.filter.clone(), wish.before, wish.limit)
        .await?;
    let entries = page.entries.iter().map(NumberedEntry::of);
    Ok(Listed {
        entries: entries.collect::<Result<_, _>>()?,
        next: page.next,
    })
}

/// What of the next `limit` entries from `from` on is wanted: for who follows the log as it grows.
async fn onward(
    log: &dyn AuditLog,
    filter: &Filter,
    from: u64,
    limit: usize,
) -> Result<Listed, ReadingError> {
    let to = from.saturating_add(limit as u64);
    let (mut at, mut octets) = (from, 0);
    let mut entries = Vec::new();
    while at < to && octets < LARGEST_PAGE {
        let some = log.entries(at..to.min(at.saturating_add(STEP))).await?;
        let Some(last) = some.last() else {
            break;
        };
        at = last.index.saturating_add(1);
        for logged in &some {
            if filter.matches(&logged.entry()?) {
                octets += logged.octets();
                entries.push(NumberedEntry::of(logged)?);
            }
        }
    }
    let next = Some(at);
    Ok(Listed { entries, next })
}
