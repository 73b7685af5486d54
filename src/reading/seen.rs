//! Distinct values, as many as there is room for.

use serde::{Deserialize, Serialize};

/// One value, and how often it was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenValue {
    /// The value; none where there was none.
    pub value: Option<String>,
    /// How often.
    pub count: u64,
}

/// The distinct values of something, up to a number of them; the newest were seen first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The values.
    pub values: Vec<SeenValue>,
    /// How often it was a value that is not listed, since there are too many.
    #[serde(default)]
    pub others: u64,
}

/// The longest value that is kept, in characters.
const LONGEST: usize = 200;

impl Seen {
    /// Counts `value`, and lists it if it is new and there is room for one of `most`.
    pub(super) fn add(&mut self, value: Option<&str>, most: usize) {
        let kept = value.map(|value| match value.char_indices().nth(LONGEST) {
            Some((end, _)) => value.get(..end).unwrap_or_default(),
            None => value,
        });
        let known = self.values.iter_mut();
        for seen in known {
            if seen.value.as_deref() == kept {
                seen.count += 1;
                return;
            }
        }
        if self.values.len() < most {
            self.values.push(SeenValue {
                value: kept.map(str::to_owned),
                count: 1,
            });
        } else {
            self.others += 1;
        }
    }

    /// How many distinct values are listed.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The listed values, without those that are none.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter_map(|seen| seen.value.as_deref())
    }
}

/// Adds `value` to a sorted list without repeats, up to `most`.
pub(super) fn insert(list: &mut Vec<String>, value: &str, most: usize) {
    if let Err(place) = list.binary_search_by(|known| known.as_str().cmp(value))
        && list.len() < most
    {
        list.insert(place, value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_also_where_there_is_no_room_to_list_them() {
        let mut seen = Seen::default();
        for value in [Some("a"), Some("b"), Some("a"), None, Some("c")] {
            seen.add(value, 3);
        }
        assert_eq!(seen.texts().collect::<Vec<_>>(), ["a", "b"]);
        let counts: Vec<u64> = seen.values.iter().map(|value| value.count).collect();
        assert_eq!((counts, seen.others), (vec![2, 1, 1], 1));
    }
}
