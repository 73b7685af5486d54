//! Withheld values, where the source has them, against the digests in the entry.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

use super::leaf::Reader;
use super::report::What;
use super::shape::{Name, twice};
use super::source::{Kept, Values};
use crate::digest::sha256_of;

/// Looks at what a source has of the values of the leaf that was read last, and says how many have the digests of the leaf.
/// `Ok(None)` says that they were deleted, or lost: the log must say which.
pub fn check(kept: &Kept, values: &Values, leaf: &Reader<'_>) -> Result<Option<u64>, What> {
    match kept {
        Kept::Gone(_) if leaf.withholds_any() => Ok(None),
        Kept::Nothing(_) if leaf.withholds_any() => Err(missing(leaf, |_| false)),
        Kept::Damaged(fault, _) if leaf.withholds_any() => Err(What::WithheldForm(fault.clone())),
        Kept::There(range, checksum, _) => {
            let octets = values.octets.get(range.clone()).unwrap_or_default();
            let compared = compare(octets, leaf, checksum.is_some())?;
            if checksum.is_some_and(|sum| crc32fast::hash(octets) != sum) {
                return Err(What::Checksum);
            }
            Ok(Some(compared))
        }
        _ => Ok(Some(0)),
    }
}

/// One withheld value.
#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    salt: Cow<'a, str>,
    #[serde(borrow)]
    json: Cow<'a, str>,
}

/// Compares an object of values by pointer with the leaf, and says how many there were.
fn compare(octets: &[u8], leaf: &Reader<'_>, must_be_all: bool) -> Result<u64, What> {
    let wrong = |fault: serde_json::Error| What::WithheldForm(fault.to_string());
    let Object(values) = serde_json::from_slice(octets).map_err(wrong)?;
    for (pointer, value) in &values {
        let Some(expected) = leaf.withheld(pointer) else {
            return Err(What::WithheldUnknown(pointer.chars().take(200).collect()));
        };
        // The decoder asks for room in steps of three.
        let mut salt = [0; 18];
        let length = STANDARD.decode_slice(&*value.salt, &mut salt);
        let Some(salt) = length
            .ok()
            .filter(|length| *length == 16)
            .and(salt.get(..16))
        else {
            let fault = format!("the salt of `{pointer}` is no base64 of 16 octets");
            return Err(What::WithheldForm(fault));
        };
        if sha256_of(&[salt, value.json.as_bytes()]) != *expected {
            return Err(What::WithheldChanged(pointer.clone().into_owned()));
        }
        serde_json::from_str::<IgnoredAny>(&value.json).map_err(wrong)?;
    }
    let is_there = |pointer: &str| values.iter().any(|(there, _)| there == pointer);
    if must_be_all && !leaf.places().all(is_there) {
        return Err(missing(leaf, is_there));
    }
    Ok(values.len() as u64)
}

/// The complaint about the values that are not there, of those that the leaf withholds.
fn missing(leaf: &Reader<'_>, is_there: impl Fn(&str) -> bool) -> What {
    let places = leaf.places().filter(|pointer| !is_there(pointer));
    let places: Vec<String> = places.take(10).map(str::to_owned).collect();
    What::WithheldMissing(places.join("`, `"))
}

/// An object of values.
struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Deserialize<'a> for Object<'a> {
    fn deserialize<D: serde::Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members)
    }
}

struct Members;

impl<'a> Visitor<'a> for Members {
    type Value = Object<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of withheld values")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<Object<'a>, A::Error> {
        let mut values: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
        while let Some((Name(pointer), value)) = object.next_entry()? {
            if values.iter().any(|(other, _)| *other == pointer) {
                return Err(A::Error::custom(twice(&pointer)));
            }
            values.push((pointer, value));
        }
        Ok(Object(values))
    }
}
