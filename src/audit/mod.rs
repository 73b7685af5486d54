//! The record of what was decided, and of what else an auditor must know.

mod event;
mod record;

pub use event::{Event, EventId, Happening};
pub use record::{DecisionId, InvalidDecisionId, Outcome, Record};
