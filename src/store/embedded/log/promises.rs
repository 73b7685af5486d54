//! The promises of the audit log.

use std::io;
use std::ops::Range;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::queue::Share;
use super::super::shared::Shared;
use super::super::{EmbeddedStore, Step, keys};
use super::levels::count;
use super::search::search;
use super::{retention, sealed_events};
use crate::audit::tree::Hash;
use crate::audit::{Filter, Happening, LoggedEntry};
use crate::clock::UnixTime;
use crate::ledger::{
    AuditLog, Kept, LogFault, Page, StoreUnavailable, TreeHead, size_of_checkpoint,
};

impl AuditLog for EmbeddedStore {
    fn append(
        &self,
        events: Vec<Happening>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<u64, StoreUnavailable>> {
        let events = sealed_events(events, now);
        self.ask(Share::Whole, move |draft| {
            let first = draft.put_entries(events?)?;
            Ok(first.unwrap_or(draft.log().size))
        })
    }

    fn tree(&self) -> BoxFuture<'_, Result<TreeHead, StoreUnavailable>> {
        self.read_log(|shared| {
            let size = shared.progress.applied().log.size;
            let tree = shared.log.tree.as_ref().ok_or(NO_TREE)?;
            let root = tree.hash(0..size).map_err(|error| unread(&error))?;
            Ok(TreeHead { size, root })
        })
    }

    fn hashes(
        &self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>> {
        self.read_log(move |shared| hashes(shared, ranges))
    }

    fn tile_hashes(
        &self,
        level: u8,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>> {
        self.read_log(move |shared| {
            let tree = shared.log.tree.as_ref().ok_or(NO_TREE)?;
            let there = count(level.into(), shared.progress.applied().log.size);
            let range = range.start..range.end.min(there);
            let hashes = tree.read(level.into(), range);
            hashes.map_err(|error| unread(&error))
        })
    }

    fn entries(
        &self,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<LoggedEntry>, StoreUnavailable>> {
        self.read_log(move |shared| shared.in_log(|files, log| files.entries(range.clone(), log)))
    }

    fn search(
        &self,
        filter: Filter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreUnavailable>> {
        self.read_log(move |shared| search(shared, &filter, before, limit))
    }

    fn remove_personal_values(
        &self,
        before: UnixTime,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        retention::remove(self, before, now).boxed()
    }

    fn fault(&self) -> Option<LogFault> {
        self.0.fault.get()
    }

    fn checkpoint_key(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        self.read(|draft| {
            let text = draft.text(keys::CHECKPOINT_KEY);
            text.map_err(|error| error.to_string())
        })
    }

    fn keep_checkpoint_key(
        &self,
        before: Option<Vec<u8>>,
        sealed: Vec<u8>,
        event: Happening,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        let events = sealed_events([event], now);
        self.ask(Share::Whole, move |draft| {
            if draft.text(keys::CHECKPOINT_KEY)? != before {
                return Ok(false);
            }
            draft.put_entries(events?)?;
            draft.replace_text(keys::CHECKPOINT_KEY, &sealed)?;
            Ok(true)
        })
    }

    fn checkpoint(&self, which: Kept) -> BoxFuture<'_, Result<Option<String>, StoreUnavailable>> {
        self.read_log(move |shared| read_checkpoint(shared, which))
    }

    fn keep_checkpoint(
        &self,
        which: Kept,
        note: String,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let options = self.0.options.clone();
        self.read_log(move |shared| {
            let step = |renamed| {
                options.reach(if renamed {
                    Step::CheckpointRenamed
                } else {
                    Step::CheckpointWritten
                })
            };
            let name = file_of(which);
            // The log has one thread, so nobody keeps another one meanwhile. What cannot be read is no checkpoint.
            let before = read_checkpoint(shared, which).ok().flatten();
            let before = before.as_deref().map_or(0, size_of_checkpoint);
            if before > size_of_checkpoint(&note) {
                return Ok(());
            }
            let kept = shared.folder.replace(name, note.as_bytes(), step);
            kept.map_err(|error| format!("the file `{name}` cannot be written: {error}"))
        })
    }
}

const NO_TREE: &str = "this store has no tree";

fn file_of(which: Kept) -> &'static str {
    match which {
        Kept::Signed => "checkpoint",
        Kept::Cosigned => "checkpoint.cosigned",
    }
}

fn read_checkpoint(shared: &Shared, which: Kept) -> Result<Option<String>, String> {
    let name = file_of(which);
    match std::fs::read(shared.folder.file(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("the file `{name}` cannot be read: {error}")),
        Ok(note) => String::from_utf8(note).map(Some).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("the file `{name}` is no checkpoint: octet {at} is of no text")
        }),
    }
}

fn unread(error: &io::Error) -> String {
    format!("the tree cannot be read: {error}")
}

fn hashes(shared: &Shared, ranges: Vec<Range<u64>>) -> Result<Vec<Hash>, String> {
    let tree = shared.log.tree.as_ref().ok_or(NO_TREE)?;
    let size = shared.progress.applied().log.size;
    if let Some(beyond) = ranges.iter().find(|range| range.end > size) {
        let end = beyond.end;
        return Err(format!(
            "the tree has {size} leaves, and {end} were asked for"
        ));
    }
    let hashes = ranges.into_iter().map(|range| tree.hash(range));
    let hashes: Result<_, io::Error> = hashes.collect();
    hashes.map_err(|error| unread(&error))
}
