//! Cases: claims that a policy names beside the answer that they must get. Data for `policy test`; nothing here reads a file
//! or decides.

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::entry::Silence;
use super::place::Place;

/// One `[[case]]` of a policy file.
#[derive(Debug)]
pub struct Case {
    /// Its name, unique among the cases of the file.
    pub name: Arc<str>,
    /// Where its claims begin.
    pub start: CaseStart,
    /// The claims themselves, or changes to those of `start`.
    pub claims: Map<String, Value>,
    /// What must come of it.
    pub expect: Expectation,
    pub(super) at: CasePlaces,
    pub(super) silence: Vec<Silence>,
}

/// The claims that a case starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseStart {
    /// None: it gives all of them.
    Nothing,
    /// A file of claims, relative to the policy file.
    File(String),
    /// A set of claims that this program knows, such as `github-push`.
    Set(String),
}

/// What must come of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// It is allowed, and exactly these relationships hold; sorted.
    Trust(Vec<String>),
    /// It is denied.
    Denied {
        /// The identity fields, claims or denies that must be among what stops it; not every one that does need be named.
        because: Vec<String>,
    },
}

/// Where a case and what it refers to stand in the file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CasePlaces {
    pub(super) header: Place,
    /// The value of `claims-file`, `from` or `claims`.
    pub(super) start: Place,
}

impl Case {
    /// Where the case begins, in bytes.
    pub fn place(&self) -> Range<usize> {
        self.at.header.into()
    }

    /// Where its file, its set or its claims are named, in bytes.
    pub(super) fn start_place(&self) -> Range<usize> {
        self.at.start.into()
    }
}
