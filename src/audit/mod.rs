//! The log: what is recorded of a decision and of what else an auditor must know, in which form, and the tree over it.
//!
//! Everything here only thinks. The store keeps the log ([`crate::ledger::AuditLog`]), `http` shows it, and what checks it
//! is another room that shares nothing with this one.

mod entry;
mod event;
mod facts;
mod filter;
mod record;
mod sealed;
pub mod tree;

pub use entry::{Entry, InvalidEntry, LoggedEntry, restore};
pub use event::{Event, EventId, Happening, IssuerKey, PolicyLoaded};
pub use facts::{Facts, MARKS, Marks};
pub use filter::{Filter, Wanted};
pub use record::{
    DecisionId, Explanation, InvalidDecisionId, Outcome, Record, RecordKind, RecordedClaims,
};
pub use sealed::{LONGEST_LEAF, Sealed, Unsealable, WithheldValue};
