//! The keys of one TOML table, in the order of the file, each to be taken once.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A TOML value with its place.
pub(super) type Placed<'t> = Spanned<DeValue<'t>>;

/// One key with its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'t> {
    pub(super) name: &'t str,
    pub(super) at: Place,
    pub(super) value: &'t Placed<'t>,
}

/// Where something stands in the file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl From<Place> for Range<usize> {
    fn from(place: Place) -> Self {
        place.start..place.end
    }
}

impl From<Range<usize>> for Place {
    fn from(range: Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

impl Key<'_> {
    /// Where the value stands.
    pub(super) fn value_at(&self) -> Range<usize> {
        self.value.span()
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
