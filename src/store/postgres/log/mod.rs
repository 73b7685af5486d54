//! The log: what is read of it, and what is packed behind.
//!
//! | table | what | written |
//! |---|---|---|
//! | `log_batches` | leaves, their hashes and marks (`batches.rs`) | by the commit of an entry |
//! | `log_withheld` | what leaves do not hold, deleted when its time is over (`retention.rs`) | by the same |
//! | `log_nodes` | the hashes of whole subtrees (`tree.rs`) | chunk by chunk, behind (`pack.rs`) |
//! | `log_chunks`, `log_postings` | what entries are found by (`places.rs`, `terms.rs`) | by the same |
//! | `log_fault` | damage that was found (`fault.rs`) | by whoever finds it (`scrub.rs`) |
//!
//! The first two are in parts of 2^27 entries, of which one is made ahead of need (`pack.rs`).
//!
//! A chunk is 4096 entries. What is not packed yet is looked through by the marks in its batches (`search.rs`), so an entry is
//! found from the moment it is committed. Nothing is ever written over with something else, but the marks of what is deleted,
//! and what was packed of those. Whether all that is as it was written is looked at when the store is opened and all the time
//! after.

mod batches;
mod fault;
mod keeper;
mod pack;
mod places;
mod promises;
mod retention;
mod scrub;
mod search;
mod terms;
mod tree;

use self::places::CHUNK;
use super::fault::Fault;
use crate::metrics::StoreMetrics;

pub(super) use keeper::Keeper;

/// What an instance remembers of the log: hashes that never change, and damage.
pub(super) struct Log {
    nodes: tree::Remembered,
    fault: fault::FaultKeeper,
}

impl Log {
    /// Nothing is known of the log yet. Damage that is found is counted.
    pub(super) fn new(metrics: StoreMetrics) -> Self {
        Self {
            nodes: tree::Remembered::default(),
            fault: fault::FaultKeeper::new(metrics),
        }
    }
}
