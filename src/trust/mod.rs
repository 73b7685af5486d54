//! The trust policy: which jobs may act for a project, and why.
//!
//! A policy file is read into a [`ProjectPolicy`]; [`decide`] asks it about [`crate::subject::VerifiedClaims`] and
//! answers with a [`Decision`]: every relationship, every condition, what was wanted and what was found, as data. The
//! audit record, the explanation and the error text are renderings of that one value.

mod decision;
mod project;
mod scope;

pub use decision::{Decision, Finding, FindingKind, Grant, Judgement, Refusal, Wish};
pub use project::{InvalidProjectPath, ProjectPath};
pub use scope::{InvalidScope, Scope, Scopes};
