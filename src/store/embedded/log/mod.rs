//! The log: what its files are, what is read from them, and the promises of it.
//!
//! | folder | what | file |
//! |---|---|---|
//! | `records` | the leaves (`heap.rs`) | of at most 256 MiB |
//! | `withheld` | what leaves do not hold (`heap.rs`) | of at most 64 MiB and a day, deleted as a whole (`retention.rs`) |
//! | `rows` | one row for each entry (`row.rs`, `rows.rs`) | of 2²⁰ rows |
//! | `tree` | the hashes of the tree (`levels.rs`) | one for each level |
//!
//! The follower writes them (`whole.rs`). They have no buffer of their own and no index beside them: what comes next, and
//! where, follows from where the log ends. What is looked for is looked for in the rows (`search.rs`). Nothing in them is
//! ever written over with something else, but the marks of what is deleted. Whether they are as they were written is
//! looked at when they are opened and all the time after (`scrub.rs`).

mod copied;
mod fault;
mod files;
mod heap;
mod levels;
mod policies;
mod promises;
mod retention;
mod row;
mod rows;
mod scrub;
mod search;
mod whole;

use super::draft::Fault;
use crate::audit::{Event, Happening, Sealed, Unsealable};
use crate::clock::UnixTime;

pub(super) use copied::{copied, end, withholds};
pub(super) use fault::FaultKeeper;
pub(super) use heap::Place;
pub(super) use row::{ROW, Row};
pub(super) use scrub::{Scrub, look_at_end};
pub(super) use search::decision;
#[cfg(test)]
pub(super) use whole::sealed;
pub(super) use whole::{
    Added, Erased, LONGEST_WITHHELD, LogFiles, WITHHELD_FILE, placed_leaf, placed_withheld,
};

/// Events, ready for the log. They are sealed by who asks, and not by the one thread that all wait for.
pub(super) fn sealed_events(
    events: impl IntoIterator<Item = Happening>,
    now: UnixTime,
) -> Result<Vec<Sealed>, Fault> {
    let sealed = events
        .into_iter()
        .map(|what| fitting(Sealed::of_event(Event::new(what, now))));
    sealed.collect()
}

/// An entry that can be placed. Asked before anything is put into a commit, so that nothing of a refused job is in it.
pub(super) fn fitting(sealed: Result<Sealed, Unsealable>) -> Result<Sealed, Fault> {
    let sealed = sealed?;
    let length = sealed.withheld.len();
    if length > LONGEST_WITHHELD {
        let why = format!("an entry withholds {length} octets, which is too much to keep");
        return Err(Fault::Refused(why));
    }
    Ok(sealed)
}
