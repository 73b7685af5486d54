//! An entry on its way into the log: its leaf, which never changes, and beside it what the leaf does not hold.
//!
//! The leaf holds no personal value. In its place stands, under `withheld`, the base64 of SHA-256(salt ‖ json): `json` is the
//! value as compact JSON, and the salt is 16 random octets of its own. Both are kept beside the log, so that they can be
//! deleted while every proof still holds; who has them can check that they are what was recorded.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facts::{Facts, Marks};
use super::{Event, Record, tree};
use crate::digest::sha256_of;

/// The longest leaf, in octets: what fits a length of two octets (C2SP tlog-tiles, "Log entries").
pub const LONGEST_LEAF: usize = 65_535;

/// Members whose JSON is longer than this, in octets, are withheld too, so that every leaf stays far below
/// [`LONGEST_LEAF`].
const LONGEST_MEMBER: usize = 4096;

/// The length of a salt, in octets.
const SALT: usize = 16;

/// One entry, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The leaf: compact JSON.
    pub leaf: Vec<u8>,
    /// Its hash in the tree.
    pub leaf_hash: tree::Hash,
    /// JSON of the withheld values by their places; empty if there are none.
    pub withheld: Vec<u8>,
    /// What it is found by.
    pub marks: Marks,
}

/// An entry that cannot be put into the log.
#[derive(Debug, thiserror::Error)]
pub enum Unsealable {
    /// It cannot be written as JSON.
    #[error("the entry cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
    /// Its leaf is too long.
    #[error("the entry has a leaf of {0} octets, and can have {LONGEST_LEAF}")]
    TooLong(usize),
    /// There is no randomness.
    #[error("there is no randomness for a salt")]
    NoRandomness,
}

/// A value beside the log, and the salt that it was hashed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithheldValue {
    /// Base64 of the salt.
    pub salt: String,
    /// The value as it was written.
    pub json: String,
}

/// The values to be withheld, by their places.
type Held = BTreeMap<String, String>;

impl Sealed {
    /// Seals the record of a decision.
    pub fn of_decision(mut record: Record) -> Result<Self, Unsealable> {
        let marks = Facts::of_decision(&record).marks();
        let mut held = Held::new();
        let names: Vec<String> = record.claims.keys().cloned().collect();
        for name in names {
            let value = record.claims.get(&name);
            let long = value.is_some_and(|value| length(value) > LONGEST_MEMBER);
            if record.claims.is_personal(&name) || long {
                let json = serde_json::to_string(&value)?;
                held.insert(format!("/claims/{}", escaped(&name)), json);
                record.claims.hold_back(name);
            }
        }
        let personal = record.claims.is_personal("sub");
        hold_text(&mut held, "/subject", &mut record.subject, personal)?;
        hold_text(
            &mut held,
            "/client_address",
            &mut record.client_address,
            true,
        )?;
        if let Some(explanation) = record.explanation.take() {
            held.insert("/explanation".into(), serde_json::to_string(&explanation)?);
        }
        for (place, text) in [
            ("/unverified_issuer", &mut record.unverified_issuer),
            ("/resource", &mut record.resource),
            ("/user_agent", &mut record.user_agent),
            ("/nearest", &mut record.nearest),
            ("/denied_by", &mut record.denied_by),
            ("/repository", &mut record.repository),
            ("/run_id", &mut record.run_id),
        ] {
            hold_text(&mut held, place, text, false)?;
        }
        if record.audience.len() > LONGEST_MEMBER {
            let audience = std::mem::take(&mut record.audience);
            held.insert("/audience".into(), serde_json::to_string(&audience)?);
        }
        for (place, list) in [
            ("/trust", &mut record.trust),
            ("/scopes", &mut record.scopes),
            ("/shadow_trust", &mut record.shadow_trust),
            ("/shadow_denies", &mut record.shadow_denies),
            ("/renamed", &mut record.renamed),
        ] {
            if list.iter().map(String::len).sum::<usize>() > LONGEST_MEMBER {
                let list = std::mem::take(list);
                held.insert(place.into(), serde_json::to_string(&list)?);
            }
        }
        let withheld = salted(held, &mut record.withheld)?;
        Self::written(serde_json::to_vec(&record)?, withheld, marks)
    }

    /// Seals an event.
    pub fn of_event(event: Event) -> Result<Self, Unsealable> {
        let marks = Facts::of_event(&event).marks();
        let mut value = serde_json::to_value(event)?;
        let mut held = Held::new();
        let mut digests = BTreeMap::new();
        if let Some(members) = value.as_object_mut() {
            let long = members
                .iter()
                .filter(|(_, value)| length(value) > LONGEST_MEMBER);
            let long: Vec<String> = long.map(|(name, _)| name.clone()).collect();
            for name in long {
                let value = members.remove(&name).unwrap_or_default();
                held.insert(format!("/{}", escaped(&name)), value.to_string());
            }
        }
        let withheld = salted(held, &mut digests)?;
        if let Some(members) = value.as_object_mut().filter(|_| !digests.is_empty()) {
            members.insert("withheld".into(), serde_json::to_value(digests)?);
        }
        Self::written(serde_json::to_vec(&value)?, withheld, marks)
    }

    fn written(leaf: Vec<u8>, withheld: Vec<u8>, marks: Marks) -> Result<Self, Unsealable> {
        if leaf.len() > LONGEST_LEAF {
            return Err(Unsealable::TooLong(leaf.len()));
        }
        Ok(Self {
            leaf_hash: tree::leaf_hash(&leaf),
            leaf,
            withheld,
            marks,
        })
    }
}

/// Takes a text out of the record if it is personal or long.
fn hold_text(
    held: &mut Held,
    place: &str,
    text: &mut Option<String>,
    personal: bool,
) -> Result<(), Unsealable> {
    if let Some(value) = text.take_if(|text| personal || text.len() > LONGEST_MEMBER) {
        held.insert(place.into(), serde_json::to_string(&value)?);
    }
    Ok(())
}

/// Gives each value a salt, notes their digests, and answers the JSON that is kept beside the log.
fn salted(held: Held, digests: &mut BTreeMap<String, String>) -> Result<Vec<u8>, Unsealable> {
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let mut salts = vec![0; held.len() * SALT];
    aws_lc_rs::rand::fill(&mut salts).map_err(|_| Unsealable::NoRandomness)?;
    let mut values = BTreeMap::new();
    for ((place, json), salt) in held.into_iter().zip(salts.chunks_exact(SALT)) {
        let digest = sha256_of(&[salt, json.as_bytes()]);
        digests.insert(place.clone(), STANDARD.encode(digest));
        let salt = STANDARD.encode(salt);
        values.insert(place, WithheldValue { salt, json });
    }
    Ok(serde_json::to_vec(&values)?)
}

/// How long a value is as JSON, about: escapes are not counted.
fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(length).sum::<usize>() + values.len(),
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| name.len() + length(value) + 4)
                .sum()
        }
        _ => 8,
    }
}

/// A member's name in a JSON Pointer (RFC 6901, section 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
