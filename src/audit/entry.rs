//! One entry of the log, read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::sealed::WithheldValue;
use super::{Event, Record};
use crate::clock::UnixTime;

/// Whatever can stand in the log.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "most entries are decisions, and events are taken out of it by value"
)]
pub enum Entry {
    /// What came of an exchange.
    Decision(Box<Record>),
    /// Something else.
    Event(Event),
    /// What this program does not know: of a later version, or of which too little is left once its withheld values were
    /// deleted. The JSON of what there is.
    Unknown(Value),
}

impl Entry {
    /// When it happened.
    pub fn at(&self) -> UnixTime {
        UnixTime::from_millis(match self {
            Self::Decision(record) => record.at_millis,
            Self::Event(event) => event.at_millis,
            Self::Unknown(entry) => entry.get("at_millis").and_then(Value::as_i64).unwrap_or(0),
        })
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let read = if value.get("kind") == Some(&Value::from("decision")) {
            serde_json::from_value(value).map(Self::Decision)
        } else {
            serde_json::from_value(value).map(Self::Event)
        };
        read.map_err(serde::de::Error::custom)
    }
}

/// An entry as it is kept: its number, its leaf, and what the leaf does not hold as long as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEntry {
    /// Its number, from 0.
    pub index: u64,
    /// The leaf, octet by octet.
    pub leaf: Vec<u8>,
    /// JSON of the withheld values by their places; `None` if there are none, or none any more.
    pub withheld: Option<Vec<u8>>,
}

/// Octets that are no JSON.
#[derive(Debug, thiserror::Error)]
#[error("entry {index} of the log cannot be read: {fault}")]
pub struct InvalidEntry {
    /// Its number.
    pub index: u64,
    /// What is wrong.
    pub fault: String,
}

impl LoggedEntry {
    /// How many octets it has, with its withheld values.
    pub fn octets(&self) -> usize {
        self.leaf.len() + self.withheld.as_ref().map_or(0, Vec::len)
    }

    /// The withheld values by their places; empty if there are none, or none any more. Each is what the leaf has the digest
    /// of.
    pub fn values(&self) -> Result<BTreeMap<String, WithheldValue>, InvalidEntry> {
        if self.withheld.is_none() {
            return Ok(BTreeMap::new());
        }
        self.values_of(&self.json()?)
    }

    /// The leaf as JSON, with the withheld values back in their places.
    pub fn restored(&self) -> Result<Value, InvalidEntry> {
        let leaf = self.json()?;
        let values = self.values_of(&leaf)?;
        restore(leaf, &values).map_err(|fault| self.invalid(&fault))
    }

    fn json(&self) -> Result<Value, InvalidEntry> {
        serde_json::from_slice(&self.leaf).map_err(|fault| self.invalid(&fault))
    }

    /// The leaf is in the tree and the values are not: nothing may stand in it that it has no digest of.
    fn values_of(&self, leaf: &Value) -> Result<BTreeMap<String, WithheldValue>, InvalidEntry> {
        let Some(json) = &self.withheld else {
            return Ok(BTreeMap::new());
        };
        let values: BTreeMap<String, WithheldValue> =
            serde_json::from_slice(json).map_err(|fault| self.invalid(&fault))?;
        let digests = leaf.get("withheld").and_then(Value::as_object);
        let is_other = |(place, value): &(&String, &WithheldValue)| {
            let digest = digests.and_then(|digests| digests.get(*place)?.as_str());
            digest.is_none_or(|digest| value.digest().as_deref() != Some(digest))
        };
        match values.iter().find(is_other) {
            Some((place, _)) => Err(InvalidEntry {
                index: self.index,
                fault: format!(
                    "what is withheld at `{place}` is not what its leaf has the digest of"
                ),
            }),
            None => Ok(values),
        }
    }

    /// The entry, with the withheld values back in their places. Whatever is JSON is one: the log is older and younger than
    /// any program that reads it.
    pub fn entry(&self) -> Result<Entry, InvalidEntry> {
        let known = serde_json::from_value(self.restored()?);
        known.or_else(|_| self.restored().map(Entry::Unknown))
    }

    fn invalid(&self, fault: &serde_json::Error) -> InvalidEntry {
        InvalidEntry {
            index: self.index,
            fault: fault.to_string(),
        }
    }
}

/// Puts `values` back into `leaf`.
pub fn restore(
    mut leaf: Value,
    values: &BTreeMap<String, WithheldValue>,
) -> Result<Value, serde_json::Error> {
    for (place, value) in values {
        let Some((parent, name)) = place.rsplit_once('/') else {
            continue;
        };
        if parent == "/claims"
            && let Some(members) = leaf.as_object_mut()
        {
            // Claims of which every one is withheld are not there at all.
            let claims = members.entry("claims");
            claims.or_insert_with(|| Value::Object(serde_json::Map::new()));
        }
        let parent = leaf.pointer_mut(parent);
        if let Some(members) = parent.and_then(Value::as_object_mut) {
            let name = name.replace("~1", "/").replace("~0", "~");
            members.insert(name, serde_json::from_str(&value.json)?);
        }
    }
    Ok(leaf)
}
