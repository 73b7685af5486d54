//! What policies that are read together have in common, so that thousands of them hold it once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::condition::Condition;
use super::glob::Globs;

/// Texts, conditions and globs that policies share. Reading a folder with one of these takes a fraction of the memory.
#[derive(Debug, Default)]
pub struct Shared {
    texts: HashSet<Arc<str>>,
    /// By what they ask, in words.
    conditions: HashMap<Arc<str>, Arc<Condition>>,
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

    /// The condition, as everybody holds it; `wanted` is what it asks, in words. Conditions that differ may be put into the
    /// same words, since claims differ in their types: then each is held for itself.
    pub(super) fn condition(&mut self, wanted: &Arc<str>, condition: Condition) -> Arc<Condition> {
        let known = self.conditions.get(wanted);
        if let Some(same) = known.filter(|known| ***known == condition) {
            return same.clone();
        }
        let new = Arc::new(condition);
        self.conditions.insert(wanted.clone(), new.clone());
        new
    }

    /// Lets go of what no policy holds any more.
    pub fn forget_unused(&mut self) {
        self.conditions
            .retain(|_, condition| Arc::strong_count(condition) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.globs.forget_unused();
    }
}
