//! Where a page of the list goes on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::super::audit::AuditError;
use super::parameters::{Parameters, malformed};
use crate::clock::UnixTime;
use crate::digest::sha256_of_parts;

/// The parameters that may change from page to page.
const OF_A_PAGE: [&str; 2] = ["cursor", "limit"];

/// A place in a list, good for the question that it was given with and for no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Before the entry of this number.
    pub before: u64,
    /// When the first page was asked for: `30d` means so long before that on every page.
    pub asked_at: UnixTime,
}

impl Cursor {
    /// The text form: 24 octets that a caller has no use for but to send them back.
    pub fn written(self, parameters: &Parameters) -> String {
        let mut octets = Vec::with_capacity(24);
        octets.extend(self.before.to_be_bytes());
        octets.extend(self.asked_at.millis().to_be_bytes());
        octets.extend(mark(parameters));
        URL_SAFE_NO_PAD.encode(octets)
    }

    /// The cursor among `parameters`, if there is one.
    pub fn read(parameters: &Parameters) -> Result<Option<Self>, AuditError> {
        let Some(text) = parameters.text("cursor") else {
            return Ok(None);
        };
        let octets = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let (chunks, rest) = octets.as_chunks::<8>();
        let ([before, asked_at, marked], []) = (chunks, rest) else {
            return Err(malformed(
                "`cursor` is not one that a page of this list gave".to_owned(),
            ));
        };
        if *marked != mark(parameters) {
            return Err(malformed(
                "`cursor` belongs to another question: send the parameters that the page before was asked with".to_owned(),
            ));
        }
        Ok(Some(Self {
            before: u64::from_be_bytes(*before),
            asked_at: UnixTime::from_millis(i64::from_be_bytes(*asked_at)),
        }))
    }
}

/// What two questions differ in.
fn mark(parameters: &Parameters) -> [u8; 8] {
    let asked = parameters.iter();
    let asked = asked.filter(|(name, _)| !OF_A_PAGE.contains(name));
    let parts: Vec<&[u8]> = asked
        .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()])
        .collect();
    let digest = sha256_of_parts(&parts);
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["project", "since", "limit", "cursor"];

    fn read(query: &str) -> Result<Option<Cursor>, AuditError> {
        Cursor::read(&Parameters::read(query, &KNOWN)?)
    }

    #[test]
    fn a_cursor_goes_on_with_its_own_question_whatever_the_length_of_a_page() {
        let cursor = Cursor {
            before: u64::MAX,
            asked_at: UnixTime::from_millis(-1),
        };
        let question = "project=acme/api&since=30d";
        let text = cursor.written(&Parameters::read(question, &KNOWN).unwrap());
        for good in [
            format!("{question}&cursor={text}"),
            format!("limit=7&cursor={text}&since=30d&project=acme/api"),
        ] {
            assert_eq!(read(&good).unwrap(), Some(cursor), "{good}");
        }
        for other in [
            format!("cursor={text}"),
            format!("project=acme/web&since=30d&cursor={text}"),
            format!("project=acme/api&since=31d&cursor={text}"),
            format!("since=acme/api&project=30d&cursor={text}"),
        ] {
            let fault = read(&other).unwrap_err().to_string();
            assert!(fault.contains("another question"), "{other}: {fault}");
        }
        assert_eq!(read(question).unwrap(), None);
    }

    #[test]
    fn another_text_is_no_cursor() {
        let whole = URL_SAFE_NO_PAD.encode([0; 24]);
        for text in ["x", "????", "AAAA", &whole[1..], &format!("{whole}AAAA")] {
            let fault = read(&format!("cursor={text}")).unwrap_err().to_string();
            assert!(fault.contains("not one that a page"), "{text}: {fault}");
        }
    }
}
