//! The promise of the audit log: what is in it stays as it is, in its place.

use std::ops::Range;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::StoreUnavailable;
use crate::audit::tree::Hash;
use crate::audit::{Filter, Happening, LoggedEntry};
use crate::clock::UnixTime;

/// How many entries there are, and the root of their tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// How many.
    pub size: u64,
    /// The Merkle tree hash of all of them (RFC 6962, section 2.1).
    pub root: Hash,
}

/// A page of entries ends once it has so many octets, leaves and withheld values together.
pub const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// Some entries, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Those that a filter wants.
    pub entries: Vec<LoggedEntry>,
    /// Where the next page begins: before the entry of this number. `None` if nothing is left. A page may have fewer
    /// entries than were asked for, or none, and still not be the last: one question looks at a bounded part of the log, and
    /// answers no more than [`LARGEST_PAGE`] and one entry.
    pub next: Option<u64>,
}

/// Something in the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFault {
    /// What is wrong and where: which entry, hash or checkpoint, in which file at which octet.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

/// A checkpoint that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The last one that was signed.
    Signed,
    /// The last one that a witness cosigned.
    Cosigned,
}

/// The log: every decision and event, in the order in which they were committed, numbered from 0 without a gap.
///
/// Decisions and events with an effect on the store are added by the calls that have the effect, in the same commit.
pub trait AuditLog: Send + Sync {
    /// Adds events, in one commit, and answers the number of the first. Durable when this returns.
    fn append(
        &self,
        events: Vec<Happening>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<u64, StoreUnavailable>>;

    /// The tree over every entry that was acknowledged before this call, and maybe some more. It is durable, and every
    /// entry and hash of it can be read from here on, also after a crash.
    fn tree(&self) -> BoxFuture<'_, Result<TreeHead, StoreUnavailable>>;

    /// The Merkle tree hash of each of these ranges of leaves, see [`crate::audit::tree`]. Fails if one goes beyond the
    /// tree that was last answered.
    fn hashes(&self, ranges: Vec<Range<u64>>)
    -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>>;

    /// The hashes `range` of a level of tiles (C2SP tlog-tiles, "Merkle Tree"), those that there are.
    fn tile_hashes(
        &self,
        level: u8,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>>;

    /// The entries of a range, in order, those that there are.
    fn entries(
        &self,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<LoggedEntry>, StoreUnavailable>>;

    /// At most `limit` entries that `filter` wants, the newest first, from before the entry `before` or from the end.
    fn search(
        &self,
        filter: Filter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreUnavailable>>;

    /// Deletes the withheld values of entries from before `before`, as far as whole files of them are older, and the
    /// marks of those that are personal; says so in an entry. Answers whether there was something to delete.
    fn remove_personal_values(
        &self,
        before: UnixTime,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>>;

    /// What was found to be not as it was written, if anything was. As long as there is something, no checkpoint is to be
    /// signed.
    fn fault(&self) -> Option<LogFault>;

    /// The key that signs checkpoints, as it was kept.
    fn checkpoint_key(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>>;

    /// Keeps the key that signs checkpoints in place of `before`, in one commit with an event, and answers whether that was
    /// done: it is not if another key, or none, is kept than `before`. So of several instances that start at once one makes
    /// the key, and the others read it.
    fn keep_checkpoint_key(
        &self,
        before: Option<Vec<u8>>,
        sealed: Vec<u8>,
        event: Happening,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>>;

    /// A checkpoint that was kept: a signed note (C2SP tlog-checkpoint).
    fn checkpoint(&self, which: Kept) -> BoxFuture<'_, Result<Option<String>, StoreUnavailable>>;

    /// Keeps a checkpoint in place of the one before, unless that one is over more entries
    /// ([`size_of_checkpoint`]): then that one stays, so that what is kept never goes back, whichever instance is slow.
    /// Durable when this returns.
    fn keep_checkpoint(
        &self,
        which: Kept,
        note: String,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>>;
}

/// How far the time of an entry may be behind the latest of those before it, in milliseconds: the clocks of several threads
/// and instances are not one. Whatever is further behind says that a clock was put back.
pub const BEHIND_AT_MOST: i64 = 60_000;

/// Over how many entries a checkpoint is (C2SP tlog-checkpoint: the second line). A text that does not say so is over none.
pub fn size_of_checkpoint(note: &str) -> u64 {
    let size = note.lines().nth(1).and_then(|line| line.parse().ok());
    size.unwrap_or(0)
}

/// The newest entry of a kind, if there is one: what the log says last of something.
pub async fn newest(
    log: &dyn AuditLog,
    kind: &str,
) -> Result<Option<LoggedEntry>, StoreUnavailable> {
    let filter = Filter {
        kind: Some(kind.to_owned()),
        ..Filter::default()
    };
    let mut before = None;
    loop {
        let mut page = log.search(filter.clone(), before, 1).await?;
        if let Some(found) = page.entries.pop() {
            return Ok(Some(found));
        }
        before = page.next;
        if before.is_none() {
            return Ok(None);
        }
    }
}
