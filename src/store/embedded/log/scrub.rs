//! Whether the log is as it was written: looked at when it is opened, at its end, and all the time after, everywhere.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::reached::LogEnd;
use super::super::shared::Shared;
use super::fault;
use super::levels::{Levels, count};
use super::row::Row;
use super::whole::{LogFiles, Unreadable, will_pass};
use crate::audit::tree::{Hash, TILE, leaf_hash, root_of_level};
use crate::audit::{InvalidEntry, LoggedEntry};

/// How many blocks could have been read in the rest after all of them were: an hour of rests of 250 ms.
const REST_AFTER_ALL: u32 = 14_400;

/// The shortest such rest.
const SHORTEST_REST: Duration = Duration::from_millis(10);

/// The thread that reads the log from its beginning to its end, again and again, at an easy pace.
pub(in super::super) struct Scrub {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Scrub {
    /// Starts it; it rests so long between two blocks of 256 entries.
    pub(in super::super) fn start(shared: Arc<Shared>, rest: Duration) -> io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("store-scrub".into())
            .spawn(move || {
                let (mut block, mut pause) = (0, rest);
                while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    pause = rest;
                    if shared.fault.get().is_some() {
                        // There is nothing to be found beside the first.
                        pause = rest.max(Duration::from_secs(1));
                    } else if block * TILE >= shared.progress.applied().log.size {
                        block = 0;
                        pause = rest.saturating_mul(REST_AFTER_ALL).max(SHORTEST_REST);
                    } else {
                        look_at(&shared, block);
                        block += 1;
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Looks at what comes next to what is added, on which that is built: the last entries, and the last full tile of each
/// level. Looks at the place of a fault that was found earlier too, and forgets it if that is whole again.
pub(in super::super) fn look_at_end(shared: &Shared) {
    if let Some(noted) = fault::noted(&shared.folder) {
        look_at(shared, noted.index / TILE);
        if shared.fault.get().is_none() {
            tracing::info!(
                was = noted.fault.what,
                "the log is whole again in that place"
            );
            if let Err(error) = shared.folder.remove(fault::FILE) {
                tracing::warn!(%error, "the note of it was not deleted");
            }
        }
    }
    let size = shared.progress.applied().log.size;
    let Some(last) = size.checked_sub(1) else {
        return;
    };
    look_at(shared, last / TILE);
    // The block that filled the last full tile of a level is looked at together with that tile.
    for level in 1.. {
        match count(level, size) {
            0 => return,
            tiles => look_at(shared, (tiles << (8 * (level - 1))) - 1),
        }
    }
}

/// Looks at one block of 256 entries, and at the tiles that it filled.
fn look_at(shared: &Shared, block: u64) {
    let looked = shared.in_log(|files, log| match inspect(files, log, block) {
        Err(Unreadable::Failed(error)) if !will_pass(&error) => {
            let (first, last) = (block * TILE, (block + 1) * TILE - 1);
            Err(Unreadable::Damaged {
                index: first,
                what: format!(
                    "rows or hashes of entries {first} to {last} cannot be read: {error}"
                ),
            })
        }
        looked => looked,
    });
    if let Err(what) = looked {
        tracing::debug!(what, block, "a block of the log is not whole");
    }
}

fn inspect(files: &LogFiles, log: &LogEnd, block: u64) -> Result<(), Unreadable> {
    let range = block * TILE..((block + 1) * TILE).min(log.size);
    let entries = files.entries(range.clone(), log)?;
    let Some(tree) = &files.tree else {
        return Ok(());
    };
    let hashes = tree.read(0, range.clone())?;
    for (entry, hash) in entries.iter().zip(&hashes) {
        if leaf_hash(&entry.leaf) != *hash {
            return Err(differs(files, tree, entry));
        }
        let values = entry.values();
        values.map_err(|fault| strange(files, entry, &fault))?;
    }
    if range.end - range.start < TILE {
        return Ok(());
    }
    let (mut level, mut index) = (1, block);
    loop {
        if !holds(tree, level, index)? {
            return Err(blamed(tree, level, index)?);
        }
        if (index + 1) % TILE != 0 {
            return Ok(());
        }
        level += 1;
        index /= TILE;
    }
}

/// Whether a hash is that of the tile below it.
fn holds(tree: &Levels, level: u64, index: u64) -> io::Result<bool> {
    let tile: Vec<Hash> = tree.read(level - 1, index * TILE..(index + 1) * TILE)?;
    let above = tree.read(level, index..index + 1)?;
    Ok(above == [root_of_level(&tile)])
}

/// Which hash it is that is damaged, if this one is not that of the tile below it. Those of level 0 agree with the leaves.
fn blamed(tree: &Levels, level: u64, index: u64) -> io::Result<Unreadable> {
    let (mut level, mut index) = (level, index);
    if level > 1 {
        for below in index * TILE..(index + 1) * TILE {
            if !holds(tree, level - 1, below)? {
                (level, index) = (level - 1, below);
                break;
            }
        }
    }
    let place = tree.name(level, index);
    let end = (index + 1) << (8 * level);
    let (first, last) = (index << (8 * level), end - 1);
    Ok(Unreadable::Damaged {
        index: last,
        what: format!(
            "hash {index} of level {level} of the tree is not that of entries {first} to {last}: {place}"
        ),
    })
}

/// Values whose checksum holds, and which are not those of their leaf.
fn strange(files: &LogFiles, entry: &LoggedEntry, fault: &InvalidEntry) -> Unreadable {
    let row = files.row(entry.index);
    let place = row.map(|row| files.withheld.name(row.withheld));
    Unreadable::Damaged {
        index: entry.index,
        what: format!("{fault}: {}", place.unwrap_or_default()),
    }
}

fn differs(files: &LogFiles, tree: &Levels, entry: &LoggedEntry) -> Unreadable {
    let index = entry.index;
    let row = files.rows.read(index..index + 1);
    let row = row
        .ok()
        .and_then(|read| read.iter().next().map(|(_, row)| Row::read(row)));
    let leaf = row
        .map(|row| files.records.name(row.leaf))
        .unwrap_or_default();
    let hash = tree.name(0, index);
    Unreadable::Damaged {
        index,
        what: format!(
            "entry {index} and its hash in the tree do not agree: the hash is in {hash}; the leaf, whose checksum holds, in {leaf}"
        ),
    }
}
