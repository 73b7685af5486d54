//! JSON as a security token may use it: no member twice, and nothing nested without end.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::text::on_one_line;

/// Reads one JSON value and refuses an object that names a member twice, at any depth: two readers of such an object
/// could see two values (RFC 8725, section 2.4; RFC 7519, section 4). So it does with what is nested deeper than
/// `DEEPEST`.
pub fn parse_strictly(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Strict { left: DEEPEST }.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// How many objects and lists may stand in each other. What we accept goes into the audit log, deeper in other values, and
/// whoever reads that must be able to: most readers stop at 128, or well before.
const DEEPEST: usize = 32;

/// Reads one value in which so many more objects and lists may stand in each other.
#[derive(Clone, Copy)]
struct Strict {
    left: usize,
}

impl Strict {
    /// For what stands in a list or object.
    fn within<E: de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1);
        let left = left.ok_or_else(|| E::custom(format!("it is nested deeper than {DEEPEST}")))?;
        Ok(Self { left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let within = self.within()?;
        let mut list = Vec::new();
        while let Some(value) = sequence.next_element_seed(within)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let within = self.within()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match object.entry(name) {
                Entry::Vacant(place) => {
                    let value = members.next_value_seed(within)?;
                    place.insert(value);
                }
                Entry::Occupied(taken) => {
                    let shown = on_one_line(taken.key(), 64);
                    return Err(de::Error::custom(format!(
                        "the member `{shown}` stands twice"
                    )));
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"[{"a":1,"\u0061":2}]"#,
        ] {
            let fault = parse_strictly(text.as_bytes()).unwrap_err();
            assert!(
                fault.to_string().contains("stands twice"),
                "{text}: {fault}"
            );
        }
    }

    #[test]
    fn a_number_beyond_all_bounds_is_refused() {
        assert!(parse_strictly(b"1e999").is_err());
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(parse_strictly(deep.as_bytes()).is_err());
        for (depth, is_read) in [(32, true), (33, false)] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                assert_eq!(parse_strictly(text.as_bytes()).is_ok(), is_read, "{text}");
            }
        }
    }

    #[test]
    fn what_follows_a_value_is_refused() {
        assert!(parse_strictly(b"{} {}").is_err() && parse_strictly(b"{}\n").is_ok());
    }

    #[test]
    fn what_is_well_formed_reads_as_it_stands() {
        let text = r#"{"a":[1,-2,1.5,"x",null,true,{"b":{}}]}"#;
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse_strictly(text.as_bytes()).unwrap(), plain);
    }
}
