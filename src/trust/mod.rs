//! The trust policy: which jobs may act for a project, and why.
//!
//! A policy file is read into a [`ProjectPolicy`]; [`decide()`] asks it about [`crate::subject::VerifiedClaims`] and
//! answers with a [`Decision`]: every relationship, every condition, what was wanted and what was found, as data
//! ([`answer()`] says what comes of it and no more). The audit record, the explanation and the error text are renderings of
//! that one value.
//!
//! `read/` turns text into entries, `entry` judges by them, `condition` and `identity` are the questions they ask, and
//! `glob` is the only file that knows what a glob matches. `court` judges a relationship where it stands: below the
//! `guard_rails` of its organization, and with what is remembered of its `names`. `explain` and `mend` put a decision into
//! words, and `schema` describes the language to editors. `asks` sees a question as a set of texts and `language` answers
//! questions about such sets: `lint`, `who` and `breadth` think in them.

mod asks;
mod breadth;
mod case;
mod condition;
mod court;
mod decide;
mod decision;
mod describe;
mod entries;
mod entry;
mod explain;
mod fault;
mod glob;
mod guard_rails;
mod identity;
mod index;
mod language;
mod lint;
mod mend;
mod names;
mod pin;
mod place;
mod policy;
mod project;
mod read;
mod schema;
mod scope;
mod shared;
mod who;

pub use breadth::{Breadth, Open, breadth};
pub use case::{Case, CaseStart, Expectation};
pub use decide::{Limits, answer, decide, no_such_project};
pub use decision::{
    Answer, ChangedId, Decision, Finding, FindingKind, Grant, Judgement, Refusal, Shadow, Wish,
};
pub use entries::entries_by_name;
pub use explain::{Explanation, Recorded, Verdict};
pub use fault::{PolicyFault, Problem, Report, Severity};
pub use guard_rails::{Breach, GuardRails};
pub use lint::{LINTS, Linter, Renamed};
pub use pin::{Circumstances, NameState, Names, PIN_WINDOW, Pin, PinWish};
pub use place::PolicyFile;
pub use policy::{ProjectPolicy, digest as digest_of};
pub use project::{InvalidProjectPath, ProjectPath};
pub use read::{read_guard_rails, read_policy};
pub use schema::{guard_rails_schema, policy_schema};
pub use scope::{InvalidScope, KNOWN_SCOPES, Scope, Scopes};
pub use shared::Shared;
pub use who::{Inclusion, WhoGetsIn, who};

#[cfg(test)]
mod tests;
