//! The text ids of projects.

/// Thirty-two characters, no two of which look alike.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Eight random characters; `None` if there is no randomness. The first of them a letter, so that no id is taken for a number or,
/// lacking `/`, for a path.
pub(super) fn random_id() -> Option<String> {
    loop {
        let mut octets = [0; 8];
        aws_lc_rs::rand::fill(&mut octets).ok()?;
        let character = |octet: &u8| ALPHABET.get(usize::from(octet % 32)).copied();
        let id: String = octets
            .iter()
            .filter_map(character)
            .map(char::from)
            .collect();
        if id.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Some(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_eight_letters_and_digits_and_begins_with_a_letter() {
        for _ in 0..1000 {
            let id = random_id().unwrap();
            assert_eq!(id.len(), 8);
            assert!(id.bytes().all(|byte| ALPHABET.contains(&byte)), "{id}");
            assert!(!id.as_bytes()[0].is_ascii_digit(), "{id}");
        }
    }
}
