//! What policies that are read together have in common, so that thousands of them hold it once.

use std::collections::HashSet;
use std::sync::Arc;

use super::Scopes;
use super::entry::Asks;
use super::glob::Globs;

/// Texts, questions, scopes and globs that policies share. Reading a folder with one of these takes a fraction of the
/// memory.
#[derive(Debug, Default)]
pub struct Shared {
    texts: HashSet<Arc<str>>,
    asks: HashSet<Arc<Asks>>,
    scopes: HashSet<Scopes>,
    pub(super) globs: Globs,
}

impl Shared {
    /// The text, as everybody holds it.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(new.clone());
        new
    }

    /// What a question asks, as everybody holds it.
    pub(super) fn asks(&mut self, asks: Asks) -> Arc<Asks> {
        if let Some(known) = self.asks.get(&asks) {
            return known.clone();
        }
        let new = Arc::new(asks);
        self.asks.insert(new.clone());
        new
    }

    /// The scopes, as everybody holds them.
    pub(super) fn scopes(&mut self, scopes: Scopes) -> Scopes {
        if let Some(known) = self.scopes.get(&scopes) {
            return known.clone();
        }
        self.scopes.insert(scopes.clone());
        scopes
    }

    /// Lets go of what no policy holds any more.
    pub fn forget_unused(&mut self) {
        self.asks.retain(|asks| Arc::strong_count(asks) > 1);
        self.scopes.retain(|scopes| scopes.holders() > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.globs.forget_unused();
    }
}
