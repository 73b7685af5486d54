//! The keys of one TOML table, in the order of the file, each to be taken once.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::trust::entry::QuestionPlaces;
use crate::trust::place::Place;

/// A TOML value with its place.
pub(super) type Placed<'t> = Spanned<DeValue<'t>>;

/// One key with its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'t> {
    pub(super) name: &'t str,
    pub(super) at: Place,
    pub(super) value: &'t Placed<'t>,
}

impl Key<'_> {
    /// Where the value stands.
    pub(super) fn value_at(&self) -> Range<usize> {
        self.value.span()
    }

    /// Where the key and its value stand, for a question that is asked here.
    pub(super) fn places(&self) -> QuestionPlaces {
        QuestionPlaces {
            key: self.at,
            value: self.value_at().into(),
        }
    }
}

/// The keys of a table that nobody has taken yet.
#[derive(Debug, Clone)]
pub(super) struct Keys<'t> {
    keys: Vec<Key<'t>>,
    /// Where the table begins, for what is missing in it.
    pub(super) at: Place,
}

impl<'t> Keys<'t> {
    /// All keys of `table`, which stands at `at`.
    pub(super) fn of(table: &'t DeTable<'t>, at: Range<usize>) -> Self {
        let mut keys: Vec<Key<'t>> = table
            .iter()
            .map(|(name, value)| Key {
                name: name.get_ref(),
                at: name.span().into(),
                value,
            })
            .collect();
        keys.sort_by_key(|key| key.at);
        Self {
            keys,
            at: at.into(),
        }
    }

    /// The key called `name`, left where it is.
    pub(super) fn get(&self, name: &str) -> Option<&Key<'t>> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Takes the key called `name`.
    pub(super) fn take(&mut self, name: &str) -> Option<Key<'t>> {
        let place = self.keys.iter().position(|key| key.name == name)?;
        Some(self.keys.remove(place))
    }

    /// The keys that are left, in the order of the file.
    pub(super) fn rest(&self) -> &[Key<'t>] {
        &self.keys
    }
}

/// The kind of a value, in words.
pub(super) fn kind_in_words(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
