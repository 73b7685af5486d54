//! The parameters of a question about the log.

use std::borrow::Cow;
use std::collections::BTreeMap;

use url::form_urlencoded;

use super::super::super::audit::AuditError;
use crate::text::printable;

/// How much of what a caller wrote is shown, in characters.
pub(super) const SHOWN: usize = 40;

/// The parameters of a query string, each at most once. An empty one is an absent one.
#[derive(Debug)]
pub(super) struct Parameters<'a>(BTreeMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Parameters<'a> {
    /// Reads `query`, in which only `known` parameters may stand.
    pub fn read(query: &'a str, known: &[&str]) -> Result<Self, AuditError> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&&*name) {
                return Err(malformed(format!(
                    "there is no parameter `{}` here; there are {}",
                    printable(&name, SHOWN),
                    known.join(", ")
                )));
            }
            if value.is_empty() {
                continue;
            }
            if parameters.contains_key(&name) {
                return Err(malformed(format!("the parameter `{name}` stands twice")));
            }
            parameters.insert(name, value);
        }
        Ok(Self(parameters))
    }

    /// The text of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// A parameter that is a number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, AuditError> {
        let number = self.text(name).map(|text| {
            whole_number(text).ok_or_else(|| {
                malformed(format!(
                    "`{name}` is not a whole number below 2^64: `{}`",
                    printable(text, SHOWN)
                ))
            })
        });
        number.transpose()
    }

    /// A parameter that is a number and must be there.
    pub fn required(&self, name: &str) -> Result<u64, AuditError> {
        self.number(name)?
            .ok_or_else(|| malformed(format!("the parameter `{name}` is missing")))
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// A number in the one way to write it: digits, the first of them not 0.
pub(super) fn whole_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

pub(super) fn malformed(message: String) -> AuditError {
    AuditError::QueryMalformed(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(query: &str) -> String {
        let read = Parameters::read(query, &["index", "size"]);
        let numbers = read.and_then(|read| Ok((read.required("index")?, read.number("size")?)));
        numbers.unwrap_err().to_string()
    }

    #[test]
    fn parameters_are_decoded_and_an_empty_one_is_an_absent_one() {
        let read = Parameters::read("index=%31&size=", &["index", "size"]).unwrap();
        assert_eq!(read.required("index").unwrap(), 1);
        assert_eq!(read.number("size").unwrap(), None);
        assert_eq!(read.iter().collect::<Vec<_>>(), [("index", "1")]);
    }

    #[test]
    fn what_is_not_known_stands_twice_or_is_no_number_is_named() {
        for (query, said) in [
            ("", "`index` is missing"),
            ("indx=1", "no parameter `indx` here; there are index, size"),
            ("index=1&index=1", "`index` stands twice"),
            ("index=1&%0a%1b[31m=", "no parameter `[31m`"),
            ("index=-1", "not a whole number below 2^64: `-1`"),
            ("index=+1", "not a whole number"),
            ("index=01", "not a whole number"),
            ("index=1.0", "not a whole number"),
            ("index=18446744073709551616", "not a whole number"),
            ("index=%d9%a3", "not a whole number"),
        ] {
            assert!(fault(query).contains(said), "{query}: {}", fault(query));
        }
        assert!(fault(&format!("{}=1", "x".repeat(100_000))).len() < 200);
        assert!(fault(&format!("index={}", "9".repeat(100_000))).len() < 200);
    }
}
