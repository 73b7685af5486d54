//! The record of what was decided.

mod record;

pub use record::{DecisionId, InvalidDecisionId, Outcome, Record};
