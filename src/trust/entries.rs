//! The entries of a policy file by name, so that two versions of it can be told apart entry by entry.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::digest::sha256_of;

/// The entries that decide, which are what a change of a policy is told by.
const KINDS: [&str; 3] = ["trust", "deny", "require"];

/// What each entry of a file says, by its kind and name: `trust release`, `deny no pushes`, and `require 1` for the first
/// `[[require]]` without a name. Two entries say the same if they hold the same keys and values, however they are laid
/// out. Cases and comments say nothing about who is let in, and are not there.
pub fn entries_by_name(text: &str) -> BTreeMap<String, [u8; 32]> {
    let file: Table = text.parse().unwrap_or_default();
    let mut found: BTreeMap<String, [u8; 32]> = BTreeMap::new();
    for kind in KINDS {
        let entries = file.get(kind).and_then(Value::as_array);
        let mut unnamed = 0;
        for entry in entries.into_iter().flatten() {
            let name = if let Some(name) = entry.get("name").and_then(Value::as_str) {
                format!("{kind} {name}")
            } else {
                unnamed += 1;
                format!("{kind} {unnamed}")
            };
            // Keys are sorted in a table. Entries that share a name are told apart from others as one.
            let before = found.get(&name).copied().unwrap_or_default();
            let says = sha256_of(&[&before, entry.to_string().as_bytes()]);
            found.insert(name, says);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[[trust]]\nname = \"release\"\nissuer = \"github\"\nclaims = { ref = \"refs/heads/main\", event_name = \"push\" }\n\n[[deny]]\nname = \"release\"\n\n[[require]]\npin = [\"owner-id\"]\n\n[[case]]\nname = \"a push\"\n";

    #[test]
    fn an_entry_is_known_by_kind_and_name() {
        let entries = entries_by_name(FILE);
        let names: Vec<&str> = entries.keys().map(String::as_str).collect();
        assert_eq!(names, ["deny release", "require 1", "trust release"]);
    }

    #[test]
    fn an_entry_that_is_laid_out_otherwise_says_the_same() {
        let otherwise = "# why\n[[require]]\npin = ['owner-id'] # as agreed\n[[trust]]\nissuer = \"github\"\nname = \"release\"\n[trust.claims]\nevent_name = \"push\"\nref = \"refs/heads/main\"\n[[deny]]\nname = \"release\"\n";
        assert_eq!(entries_by_name(otherwise), entries_by_name(FILE));
    }

    #[test]
    fn an_entry_with_another_value_says_something_else() {
        let before = entries_by_name(FILE);
        let after = entries_by_name(&FILE.replace("heads/main", "tags/v1"));
        assert_ne!(before["trust release"], after["trust release"]);
        assert_eq!(before["deny release"], after["deny release"]);
    }
}
