//! What a JSON value is, found while it is read once and kept nowhere.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

/// What a member must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// A UUID of version 7 (RFC 9562, section 5.7), in lower case.
    Id,
    /// `allowed` or `denied`.
    Outcome,
    /// A whole number of 64 bits, with a sign.
    Integer,
    /// The same, and not below zero.
    Count,
    /// A truth value.
    Boolean,
    /// An object.
    Object,
    /// A list of texts.
    Texts,
    /// An object whose values are texts.
    TextMap,
    /// The names that a policy gives: `project` and `issuer`, and an object of texts as `names`.
    Names,
    /// A list of keys, each with `key_id` and `sha256`.
    Keys,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Id => "a UUID of version 7 in lower case",
            Self::Outcome => "`allowed` or `denied`",
            Self::Integer => "an integer",
            Self::Count => "an integer from 0 on",
            Self::Boolean => "`true` or `false`",
            Self::Object => "an object",
            Self::Texts => "a list of texts",
            Self::TextMap => "an object of texts",
            Self::Names => {
                "an object with the texts `project` and `issuer` and with texts as `names`"
            }
            Self::Keys => "a list of objects with the texts `key_id` and `sha256`",
        })
    }
}

/// What a value is.
#[derive(Debug)]
pub enum Found<'a> {
    Null,
    Boolean,
    Integer(i64),
    /// A number that is no integer, or too large a one.
    Number,
    Text(Cow<'a, str>),
    List {
        of_texts: bool,
        of_keys: bool,
    },
    Object {
        of_texts: bool,
        /// Whether it is a key, or names of a policy.
        is: Option<Shape>,
    },
}

impl Found<'_> {
    /// Whether it is what it must be.
    pub fn is(&self, shape: Shape) -> bool {
        match (shape, self) {
            (Shape::Id, Self::Text(text)) => id_millis(text).is_some(),
            (Shape::Outcome, Self::Text(text)) => matches!(&**text, "allowed" | "denied"),
            (Shape::Text, Self::Text(_))
            | (Shape::Integer, Self::Integer(_))
            | (Shape::Boolean, Self::Boolean)
            | (Shape::Object, Self::Object { .. }) => true,
            (Shape::Count, Self::Integer(value)) => *value >= 0,
            (Shape::Texts, Self::List { of_texts, .. })
            | (Shape::TextMap, Self::Object { of_texts, .. }) => *of_texts,
            (Shape::Keys, Self::List { of_keys, .. }) => *of_keys,
            (Shape::Names, Self::Object { is, .. }) => *is == Some(Shape::Names),
            _ => false,
        }
    }
}

/// The milliseconds of a UUID of version 7 in its text form.
pub fn id_millis(text: &str) -> Option<i64> {
    let octets = text.as_bytes();
    let dashes = [8, 13, 18, 23];
    let form = octets.iter().enumerate().all(|(at, c)| match c {
        b'-' => dashes.contains(&at),
        b'0'..=b'9' | b'a'..=b'f' => !dashes.contains(&at),
        _ => false,
    });
    let version = octets.get(14) == Some(&b'7');
    let variant = matches!(octets.get(19), Some(b'8' | b'9' | b'a' | b'b'));
    if octets.len() != 36 || !form || !version || !variant {
        return None;
    }
    let digits = octets.iter().take(13).filter(|c| **c != b'-');
    Some(digits.fold(0, |sum, c| {
        16 * sum + char::from(*c).to_digit(16).map_or(0, i64::from)
    }))
}

/// Names of members: of each object that is open, or of one object that was asked for.
pub type Names<'a> = Vec<Cow<'a, str>>;

/// Reads any value and says what it is. No member may stand twice in an object: two readers might then read two things.
pub struct Walk<'w, 'a> {
    /// The names of the objects that are open.
    pub names: &'w mut Names<'a>,
    /// Whether names stay there at the end: of the object itself, not of those in it.
    pub keep: bool,
}

impl<'a> Walk<'_, 'a> {
    fn inner(&mut self) -> Walk<'_, 'a> {
        Walk {
            names: self.names,
            keep: false,
        }
    }
}

impl<'a> DeserializeSeed<'a> for Walk<'_, 'a> {
    type Value = Found<'a>;

    fn deserialize<D: serde::Deserializer<'a>>(self, from: D) -> Result<Found<'a>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Walk<'_, 'a> {
    type Value = Found<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Found<'a>, E> {
        Ok(Found::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found<'a>, E> {
        Ok(Found::Boolean)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Found<'a>, E> {
        Ok(Found::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Found<'a>, E> {
        Ok(i64::try_from(value).map_or(Found::Number, Found::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found<'a>, E> {
        Ok(Found::Number)
    }

    fn visit_borrowed_str<E>(self, value: &'a str) -> Result<Found<'a>, E> {
        Ok(Found::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Found<'a>, E> {
        Ok(Found::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<Found<'a>, A::Error> {
        let (mut of_texts, mut of_keys) = (true, true);
        while let Some(found) = list.next_element_seed(self.inner())? {
            of_texts &= matches!(found, Found::Text(_));
            let is_key = |is: &Option<Shape>| *is == Some(Shape::Keys);
            of_keys &= matches!(&found, Found::Object { is, .. } if is_key(is));
        }
        Ok(Found::List { of_texts, of_keys })
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut object: A) -> Result<Found<'a>, A::Error> {
        let before = self.names.len();
        let (mut of_texts, mut of_key, mut of_names) = (true, 0, 0);
        while let Some(Name(name)) = object.next_key()? {
            if self
                .names
                .iter()
                .skip(before)
                .any(|other| is_same(other, &name))
            {
                return Err(A::Error::custom(twice(&name)));
            }
            let (is_key, is_name) = match &*name {
                _ if self.keep => (false, None),
                "key_id" | "sha256" => (true, None),
                "project" | "issuer" => (false, Some(Shape::Text)),
                "names" => (false, Some(Shape::TextMap)),
                _ => (false, None),
            };
            self.names.push(name);
            let found = object.next_value_seed(self.inner())?;
            of_texts &= matches!(found, Found::Text(_));
            of_key += u8::from(is_key && found.is(Shape::Text));
            of_names += u8::from(is_name.is_some_and(|shape| found.is(shape)));
        }
        if !self.keep {
            self.names.truncate(before);
        }
        let is = match (of_key, of_names) {
            (2, _) => Some(Shape::Keys),
            (_, 3) => Some(Shape::Names),
            _ => None,
        };
        Ok(Found::Object { of_texts, is })
    }
}

/// Whether two names are the same. Most are told apart by their length or their end, which is faster to see.
pub fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.as_bytes().last() == other.as_bytes().last() && one == other
}

/// The complaint about a member that stands twice.
pub fn twice(name: &str) -> String {
    let name: String = name.chars().take(100).collect();
    format!("the member `{name}` stands twice in one object")
}

/// The name of a member, borrowed where it has no escapes.
pub struct Name<'a>(pub Cow<'a, str>);

impl<'a> serde::Deserialize<'a> for Name<'a> {
    fn deserialize<D: serde::Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'a> Visitor<'a> for Text {
            type Value = Name<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, value: &'a str) -> Result<Name<'a>, E> {
                Ok(Name(Cow::Borrowed(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Name<'a>, E> {
                Ok(Name(Cow::Owned(value.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_its_time() {
        assert_eq!(
            id_millis("019aa2f3-1c5e-7b1f-8c8e-0123456789ab"),
            Some(0x019a_a2f3_1c5e)
        );
        for wrong in [
            "019aa2f3-1c5e-4b1f-8c8e-0123456789ab",
            "019aa2f3-1c5e-7b1f-cc8e-0123456789ab",
            "019AA2F3-1c5e-7b1f-8c8e-0123456789ab",
            "019aa2f31c5e7b1f8c8e0123456789ab",
            "019aa2f3-1c5e-7b1f-8c8e-0123456789a",
            "019aa2f3-1c5e-7b1f-8c8e-0123456789abc",
            "019aa2f3-1c5e-7b1f-8c8e-01234567-9ab",
            "",
        ] {
            assert_eq!(id_millis(wrong), None, "{wrong}");
        }
    }
}
