//! "Did you mean …": the word nearest to a misspelt one.

/// The word of `words` that `typed` was probably meant to be.
pub(in crate::trust) fn nearest<'w>(
    typed: &str,
    words: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    let limit = (typed.chars().count() / 3).max(1);
    words
        .into_iter()
        .map(|word| (distance(&normal(typed), &normal(word)), word))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Whether somebody who wrote `typed` surely meant `word`: the same but for case and `_`, or one slip in a long word.
pub(super) fn is_slip(typed: &str, word: &str) -> bool {
    let (typed, word) = (normal(typed), normal(word));
    typed == word || (word.len() >= 5 && distance(&typed, &word) == 1)
}

fn normal(word: &str) -> String {
    word.to_ascii_lowercase().replace('_', "-")
}

/// How many characters must be inserted, removed, replaced or swapped with their neighbour to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let mut previous = None;
    for (row, left) in one.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut to_the_left = None;
        for (column, &right) in other.iter().enumerate() {
            let at = |cells: &[usize], column: usize| {
                cells.get(column).copied().unwrap_or(usize::MAX / 2)
            };
            let replaced = at(&last, column) + usize::from(left != right);
            let inserted = at(&current, column) + 1;
            let removed = at(&last, column + 1) + 1;
            let mut cheapest = replaced.min(inserted).min(removed);
            if previous == Some(right) && to_the_left == Some(left) {
                cheapest = cheapest.min(at(&before_last, column.saturating_sub(1)) + 1);
            }
            current.push(cheapest);
            to_the_left = Some(right);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(left);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let words = ["owner", "owner-id", "repository", "scopes", "lifetime"];
        for (typed, meant) in [
            ("onwer", Some("owner")),
            ("owner_id", Some("owner-id")),
            ("ownerid", Some("owner-id")),
            ("Repository", Some("repository")),
            ("scope", Some("scopes")),
            ("life-time", Some("lifetime")),
            ("color", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
    }

    #[test]
    fn a_distance_counts_slips() {
        for (one, other, slips) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), slips, "{one} {other}");
            assert_eq!(distance(other, one), slips, "{other} {one}");
        }
    }
}
