//! SHA-256 (FIPS 180-4), in the three forms that we need.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256, digest};

/// The digest of `octets`.
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut digested = [0; 32];
    digested.copy_from_slice(digest(&SHA256, octets).as_ref());
    digested
}

/// What is not longer than this, in octets, is put together before it is hashed.
const SHORT: usize = 512;

/// The digest of these octets, one after another: the same as if they were one text.
pub fn sha256_of(all: &[&[u8]]) -> [u8; 32] {
    // Most of what is hashed here is a hundred octets long, and setting up a context takes longer than that.
    let mut together = [0; SHORT];
    let mut end = 0;
    for octets in all {
        let Some(place) = together.get_mut(end..end + octets.len()) else {
            return in_turn(all);
        };
        place.copy_from_slice(octets);
        end += octets.len();
    }
    sha256(together.get(..end).unwrap_or_default())
}

fn in_turn(all: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for octets in all {
        context.update(octets);
    }
    finished(context)
}

/// The digest of a list. Each part is preceded by its length, so that no two lists give one digest.
pub fn sha256_of_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    finished(context)
}

fn finished(context: Context) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(context.finish().as_ref());
    octets
}

/// The octets in hexadecimal, in lower case.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing to a text does not fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_digest_of_the_standard() {
        assert_eq!(
            hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn octets_one_after_another_have_the_digest_of_the_whole() {
        for length in [0, 1, 511, 512, 513, 5000] {
            let whole = vec![7; length];
            for split in [0, length / 3, length] {
                let (one, other) = whole.split_at(split);
                assert_eq!(sha256_of(&[one, other]), sha256(&whole), "{length} octets");
            }
        }
    }

    #[test]
    fn what_moves_from_one_part_to_the_next_changes_the_digest() {
        let one = sha256_of_parts(&[b"ab", b"c"]);
        assert_ne!(one, sha256_of_parts(&[b"a", b"bc"]));
        assert_ne!(one, sha256_of_parts(&[b"ab", b"c", b""]));
    }
}
