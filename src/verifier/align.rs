//! Finds out which of the entries that are there is which of those that the tree knows.

use super::tree::Hash;

/// Which found entry stands at which place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Alignment {
    /// By place: the found entry, `None` where one is missing.
    pub slots: Vec<Option<usize>>,
    /// Found entries that the tree does not know, each with the place before which it stands.
    pub strange: Vec<(usize, usize)>,
}

/// Places found entries at the first `want` hashes of `expected`; the rest of `expected` is only looked at. An entry at its
/// place with another hash was changed, or its hash was: it keeps the place.
pub fn align(found: &[Hash], expected: &[Hash], want: usize) -> Alignment {
    let mut result = Alignment::default();
    let mut next = 0;
    while result.slots.len() < want {
        let place = result.slots.len();
        let (Some(here), Some(wanted)) = (found.get(next), expected.get(place)) else {
            // There is nothing to compare with: they follow one another.
            result.slots.push((next < found.len()).then_some(next));
            next = found.len().min(next + 1);
            continue;
        };
        let (after, wanted_after) = (found.get(next + 1), expected.get(place + 1));
        let goes_on = after == wanted_after;
        let swapped = Some(here) == wanted_after && after == Some(wanted);
        let before = result.slots.last().copied().flatten();
        let was_swapped = before.is_some_and(|before| {
            found.get(before) == Some(wanted) && place > 0 && expected.get(place - 1) == Some(here)
        });
        if here == wanted || goes_on || swapped || was_swapped {
            result.slots.push(Some(next));
            next += 1;
        } else if let Some(later) = position(here, expected, place + 1) {
            let gap = (later - place).min(want - place);
            result.slots.extend(std::iter::repeat_n(None, gap));
        } else if let Some(later) = position(wanted, found, next + 1) {
            result
                .strange
                .extend((next..later).map(|strange| (strange, place)));
            next = later;
        } else {
            result.slots.push(Some(next));
            next += 1;
        }
    }
    result
}

fn position(hash: &Hash, among: &[Hash], from: usize) -> Option<usize> {
    let later = among.iter().skip(from).position(|other| other == hash);
    later.map(|steps| from + steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(names: &str) -> Vec<Hash> {
        names.bytes().map(|name| [name; 32]).collect()
    }

    fn placed(found: &str, expected: &str) -> (String, String) {
        let letters = found.as_bytes();
        let result = align(&hashes(found), &hashes(expected), expected.len());
        let slots = result.slots.iter();
        let slots = slots.map(|slot| slot.map_or('.', |at| char::from(letters[at])));
        let strange = result.strange.iter();
        (
            slots.collect(),
            strange.map(|(at, _)| char::from(letters[*at])).collect(),
        )
    }

    #[test]
    fn every_entry_finds_its_place_again() {
        for (found, slots, strange) in [
            ("abcdef", "abcdef", ""),
            ("abXdef", "abXdef", ""),
            ("abXYef", "abXYef", ""),
            ("abcdeX", "abcdeX", ""),
            ("abdef", "ab.def", ""),
            ("aef", "a...ef", ""),
            ("bcdef", ".bcdef", ""),
            ("abcde", "abcde.", ""),
            ("abdcef", "abdcef", ""),
            ("afcdeb", "afcdeb", ""),
            ("abXcdef", "abcdef", "X"),
            ("XYabcdef", "abcdef", "XY"),
            ("", "......", ""),
        ] {
            let expected = (slots.to_owned(), strange.to_owned());
            assert_eq!(placed(found, "abcdef"), expected, "{found}");
        }
    }

    #[test]
    fn a_window_takes_no_more_than_was_wanted() {
        let result = align(&hashes("bcdef"), &hashes("abcdef"), 3);
        assert_eq!(result.slots, [None, Some(0), Some(1)]);
    }
}
