//! An entry on its way into the log: its leaf, which never changes, and beside it what the leaf does not hold.
//!
//! The leaf holds no personal value. In its place stands, under `withheld`, the base64 of SHA-256(salt ‖ json): `json` is the
//! value as compact JSON, and the salt is 16 random octets of its own. Both are kept beside the log, so that they can be
//! deleted while every proof still holds; who has them can check that they are what was recorded.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::facts::{Facts, Marks};
use super::{Event, Record, tree};
use crate::digest::sha256_of;

/// The longest leaf, in octets: what fits a length of two octets (C2SP tlog-tiles, "Log entries").
pub const LONGEST_LEAF: usize = 65_535;

/// Members of a record whose JSON is longer than this, in octets, are withheld too, so that its leaf stays far below
/// [`LONGEST_LEAF`].
const LONGEST_MEMBER: usize = 4096;

/// How long an event may be, in octets, before its longest members are withheld.
const LONGEST_EVENT: usize = 48 * 1024;

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

impl WithheldValue {
    /// The base64 that stands for it in the leaf; `None` if the salt is none.
    pub fn digest(&self) -> Option<String> {
        let salt = STANDARD.decode(&self.salt).ok()?;
        Some(STANDARD.encode(sha256_of(&[&salt, self.json.as_bytes()])))
    }
}

/// The values to be withheld, by their places.
type Held = BTreeMap<String, String>;

impl Sealed {
    /// Seals the record of a decision.
    pub fn of_decision(mut record: Record) -> Result<Self, Unsealable> {
        let marks = Facts::of_decision(&record).marks();
        let mut held = Held::new();
        let all = record.claims.iter();
        let (names, values): (Vec<String>, Vec<_>) = all
            .filter(|(name, value)| {
                record.claims.is_personal(name) || length(value) > LONGEST_MEMBER
            })
            .map(|(name, value)| (name.clone(), serde_json::to_string(value)))
            .unzip();
        for (name, json) in names.into_iter().zip(values) {
            held.insert(format!("/claims/{}", escaped(&name)), json?);
            record.claims.hold_back(name);
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

    /// Seals an event. Nothing in one is personal; only what makes it too long for a leaf is withheld.
    pub fn of_event(event: Event) -> Result<Self, Unsealable> {
        let marks = Facts::of_event(&event).marks();
        let mut value = serde_json::to_value(event)?;
        let mut digests = BTreeMap::new();
        let mut withheld = Vec::new();
        if let Some(members) = value.as_object_mut() {
            withheld = salted(longest_of(members), &mut digests)?;
            if !digests.is_empty() {
                members.insert("withheld".into(), serde_json::to_value(digests)?);
            }
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

/// Takes the longest members out of an event until the rest is no longer than [`LONGEST_EVENT`].
fn longest_of(members: &mut Map<String, Value>) -> Held {
    let mut lengths: Vec<(usize, String)> = members
        .iter()
        .map(|(name, value)| (value.to_string().len() + name.len(), name.clone()))
        .collect();
    lengths.sort_unstable();
    let mut held = Held::new();
    let mut whole: usize = lengths.iter().map(|(length, _)| length).sum();
    while whole > LONGEST_EVENT
        && let Some((length, name)) = lengths.pop()
    {
        whole -= length;
        let value = members.remove(&name).unwrap_or_default();
        held.insert(format!("/{}", escaped(&name)), value.to_string());
    }
    held
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::audit::{Explanation, Happening, LoggedEntry, Outcome, RecordedClaims, restore};
    use crate::clock::UnixTime;
    use crate::trust::Names;

    fn claims(claims: Value) -> Arc<Map<String, Value>> {
        let Value::Object(claims) = claims else {
            panic!("no object");
        };
        Arc::new(claims)
    }

    fn record() -> Record {
        let all = claims(json!({
            "actor": "octocat",
            "a/b~c": "personal",
            "sub": "user/7",
            "ref": "refs/heads/main",
            "run_number": 10,
        }));
        Record {
            subject: Some("user/7".into()),
            claims: RecordedClaims::new(all, vec!["actor", "a/b~c", "sub"]),
            audience: "acme/api".into(),
            client_address: Some("192.0.2.7".into()),
            ..Record::new(Outcome::Allowed, UnixTime::from_seconds(1_795_003_200))
        }
    }

    fn logged(sealed: &Sealed) -> LoggedEntry {
        LoggedEntry {
            index: 0,
            leaf: sealed.leaf.clone(),
            withheld: (!sealed.withheld.is_empty()).then(|| sealed.withheld.clone()),
        }
    }

    fn leaf(sealed: &Sealed) -> Value {
        serde_json::from_slice(&sealed.leaf).unwrap()
    }

    #[test]
    fn a_leaf_holds_no_personal_value_and_the_digest_of_each() {
        let sealed = Sealed::of_decision(record()).unwrap();
        let text = String::from_utf8(sealed.leaf.clone()).unwrap();
        for personal in ["octocat", "personal", "user/7", "192.0.2.7"] {
            assert!(!text.contains(personal), "{personal} stands in {text}");
        }
        let places = [
            "/claims/actor",
            "/claims/a~1b~0c",
            "/claims/sub",
            "/client_address",
            "/subject",
        ];
        let values = logged(&sealed).values().unwrap();
        assert!(values.keys().eq(places), "{values:?}");
        let leaf = leaf(&sealed);
        assert_eq!(
            leaf["claims"],
            json!({"ref": "refs/heads/main", "run_number": 10})
        );
        for (place, value) in values {
            let salt = STANDARD.decode(&value.salt).unwrap();
            let digest = sha256_of(&[&salt, value.json.as_bytes()]);
            assert_eq!(
                (salt.len(), &leaf["withheld"][&place]),
                (16, &json!(STANDARD.encode(digest)))
            );
        }
        assert_eq!(sealed.leaf_hash, tree::leaf_hash(&sealed.leaf));
    }

    #[test]
    fn with_its_values_back_in_their_places_it_is_the_record_again() {
        let sealed = Sealed::of_decision(record()).unwrap();
        let restored = logged(&sealed).restored().unwrap();
        let mut expected = serde_json::to_value(record()).unwrap();
        expected["decision_id"] = restored["decision_id"].clone();
        expected["withheld"] = restored["withheld"].clone();
        assert_eq!(restored, expected);
        let gone = LoggedEntry {
            withheld: None,
            ..logged(&sealed)
        };
        assert_eq!(gone.restored().unwrap(), leaf(&sealed));
        assert!(gone.entry().is_ok());
    }

    #[test]
    fn a_value_that_its_leaf_has_no_digest_of_is_never_told() {
        let sealed = Sealed::of_decision(record()).unwrap();
        let (honest, text) = (logged(&sealed), String::from_utf8(sealed.withheld).unwrap());
        let added = text.replacen(
            '{',
            "{\"/outcome\":{\"salt\":\"\",\"json\":\"\\\"denied\\\"\"},",
            1,
        );
        for (lie, place) in [
            (text.replace("192.0.2.7", "192.0.2.8"), "/client_address"),
            (
                text.replace("/claims/actor", "/claims/editor"),
                "/claims/editor",
            ),
            (added, "/outcome"),
        ] {
            assert_ne!(lie, text);
            let entry = LoggedEntry {
                withheld: Some(lie.into_bytes()),
                ..honest.clone()
            };
            let said = format!("what is withheld at `{place}` is not what");
            let fault = entry.restored().unwrap_err().to_string();
            assert!(fault.contains(&said), "{fault}");
            assert!(entry.entry().is_err() && entry.values().is_err());
        }
    }

    #[test]
    fn equal_values_have_digests_that_differ() {
        let digests = |sealed: &Sealed| leaf(sealed)["withheld"]["/client_address"].clone();
        let one = Sealed::of_decision(record()).unwrap();
        let other = Sealed::of_decision(record()).unwrap();
        assert_ne!(digests(&one), digests(&other));
        assert_ne!(
            leaf(&one)["withheld"]["/subject"],
            leaf(&one)["withheld"]["/claims/sub"]
        );
    }

    #[test]
    fn claims_of_which_every_one_is_personal_come_back_too() {
        let all = claims(json!({"sub": "somebody"}));
        let record = Record {
            claims: RecordedClaims::new(all, vec!["sub"]),
            ..record()
        };
        let sealed = Sealed::of_decision(record).unwrap();
        assert_eq!(
            logged(&sealed).restored().unwrap()["claims"],
            json!({"sub": "somebody"})
        );
    }

    #[test]
    fn why_a_denial_is_one_stands_beside_the_log() {
        let record = Record {
            reason: Some("not-trusted".into()),
            nearest: Some("release".into()),
            explanation: Some(Explanation {
                description: "`octocat` is not wanted".into(),
                ..Explanation::default()
            }),
            ..Record::new(Outcome::Denied, UnixTime::from_seconds(1))
        };
        let sealed = Sealed::of_decision(record).unwrap();
        let leaf = leaf(&sealed);
        assert!(leaf.get("explanation").is_none(), "{leaf}");
        assert_eq!(leaf["nearest"], "release");
        let restored = logged(&sealed).restored().unwrap();
        assert_eq!(
            restored["explanation"]["description"],
            "`octocat` is not wanted"
        );
    }

    #[test]
    fn whatever_a_caller_or_a_policy_makes_long_a_leaf_fits_its_bundle() {
        let long = "\u{1}\"\\".repeat(5000);
        let many = vec!["a name of a relationship".to_owned(); 10_000];
        let all = claims(json!({"long": long, "deep": {"er": [long]}, "short": 1}));
        let record = Record {
            unverified_issuer: Some(long.clone()),
            subject: Some(long.clone()),
            claims: RecordedClaims::new(all, Vec::new()),
            audience: long.clone(),
            resource: Some(long.clone()),
            user_agent: Some(long.clone()),
            nearest: Some(long.clone()),
            repository: Some(long.clone()),
            run_id: Some(long.clone()),
            trust: many.clone(),
            shadow_trust: many.clone(),
            shadow_denies: many.clone(),
            renamed: many.clone(),
            scopes: many,
            ..Record::new(Outcome::Denied, UnixTime::from_seconds(1))
        };
        let mut expected = serde_json::to_value(&record).unwrap();
        let sealed = Sealed::of_decision(record).unwrap();
        assert!(sealed.leaf.len() < 4096, "{} octets", sealed.leaf.len());
        let restored = logged(&sealed).restored().unwrap();
        expected["withheld"] = restored["withheld"].clone();
        assert_eq!(restored, expected);
    }

    #[test]
    fn a_long_member_of_an_event_is_withheld_and_comes_back() {
        let refused = Happening::PolicyRefused {
            file: "acme/api.toml".into(),
            digest: None,
            message: "x".repeat(100_000),
            in_force: None,
        };
        let event = Event::new(refused, UnixTime::from_seconds(1));
        let sealed = Sealed::of_event(event.clone()).unwrap();
        assert!(sealed.leaf.len() < 1000);
        let restored = logged(&sealed).restored().unwrap();
        assert_eq!(restored["message"], "x".repeat(100_000));
        let back: Event = serde_json::from_value(restored).unwrap();
        assert_eq!((back.event_id, back.what), (event.event_id, event.what));
        let shorter = Happening::PolicyRemoved {
            file: "x".repeat(20_000),
            before: None,
        };
        let sealed = Sealed::of_event(Event::new(shorter, UnixTime::from_seconds(1))).unwrap();
        assert!(sealed.withheld.is_empty(), "what fits stays in the leaf");
    }

    #[test]
    fn a_place_in_a_value_that_does_not_exist_changes_nothing() {
        let names = Names {
            project: "acme/api".into(),
            issuer: "github".into(),
            names: std::collections::BTreeMap::new(),
        };
        let leaf = serde_json::to_value(names).unwrap();
        let value = WithheldValue {
            salt: String::new(),
            json: "1".into(),
        };
        let values = [("/nowhere/at/all".to_owned(), value)].into();
        assert_eq!(restore(leaf.clone(), &values).unwrap(), leaf);
    }
}
