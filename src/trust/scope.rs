//! Scopes: what a project token allows.

use std::fmt;
use std::sync::Arc;

/// The scopes that have a meaning in the service's own endpoints; any other word is the project's own business.
pub const KNOWN_SCOPES: [&str; 8] = [
    "read_repository",
    "write_repository",
    "read_registry",
    "write_registry",
    "read_package_registry",
    "write_package_registry",
    "read_virtual_registry",
    "write_virtual_registry",
];

/// One scope: a word of printable ASCII without space, `"` and `\` (RFC 6749, section 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Arc<str>);

/// A text that is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is a word of 1 to 128 printable ASCII characters without space, quotation mark and backslash"
)]
pub struct InvalidScope;

impl Scope {
    /// Reads one scope.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        Self::of(text.into())
    }

    /// The scope with this text.
    pub(super) fn of(text: Arc<str>) -> Result<Self, InvalidScope> {
        let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        if (1..=128).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err(InvalidScope)
        }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of scopes, in alphabetic order. Policies have many of them, and few that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scopes(Arc<[Scope]>);

impl Scopes {
    /// Reads a space-separated list.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        text.split(' ')
            .filter(|word| !word.is_empty())
            .map(Scope::parse)
            .collect()
    }

    /// Whether `scope` is in the set.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.binary_search(scope).is_ok()
    }

    /// Whether the set has no scope.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// How many hold this very set, itself included.
    pub(super) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Self) {
        *self = self.iter().chain(other.iter()).cloned().collect();
    }

    /// Whether the two share a scope.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().any(|scope| other.contains(scope))
    }

    /// Those of this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.iter()
            .filter(|scope| !other.contains(scope))
            .cloned()
            .collect()
    }

    /// The words, for a list in JSON.
    pub fn to_vec(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort();
        scopes.dedup();
        Self(scopes.into())
    }
}

impl fmt::Display for Scopes {
    /// Writes the space-separated list of RFC 6749, section 3.3.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_vec().join(" "))
    }
}
