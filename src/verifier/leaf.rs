//! One leaf, read against the schema.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};

use super::across::Says;
use super::kinds::{
    ALLOWED, CLOCK_PUT_BACK, COMMON, DECISION, LOG_NAMED, Member, PERSONAL_VALUES_REMOVED, kind,
};
use super::shape::{Found, Name, Names, Shape, Walk, id_millis, is_same, twice};
use super::tree::Hash;

/// The version that this program knows.
const VERSION: i64 = 1;

/// The longest leaf.
pub const LONGEST: usize = 65_535;

/// What is wrong with a leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafFault {
    /// It is no JSON object.
    #[error("it is no JSON object: {0}")]
    Json(String),
    /// It is of a newer form.
    #[error("its version is {0}; this program knows version 1")]
    Version(i64),
    /// A member is missing, and not withheld either.
    #[error("it has no `{0}`")]
    Lacks(&'static str),
    /// A member is of the wrong type.
    #[error("`{name}` is not {shape}")]
    Type {
        /// The member.
        name: &'static str,
        /// What it must be.
        shape: Shape,
    },
    /// The name of its kind is none.
    #[error("its kind is not a name in lower case with hyphens")]
    Kind,
    /// Its id was made at another time.
    #[error("its id was made at {id}, it says {at}, in milliseconds")]
    IdTime {
        /// By the id.
        id: i64,
        /// By `at_millis`.
        at: i64,
    },
    /// A value is in the leaf and withheld as well.
    #[error("`{0}` is withheld and stands in the entry as well")]
    Both(String),
    /// What stands under `withheld` is no digest.
    #[error("under `withheld`, `{0}` is no JSON Pointer with a digest in base64")]
    Digest(String),
    /// An object that is absent if empty.
    #[error("`withheld` is empty; it is left out then")]
    WithheldEmpty,
    /// A put-back that does not put back.
    #[error("it says the clock was put back from {before} to {at}, which is not earlier")]
    NotBack {
        /// The time before.
        before: i64,
        /// The time of the entry.
        at: i64,
    },
}

/// What other checks need of a leaf that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Its time, in milliseconds since the epoch.
    pub at: i64,
    /// Of an entry that announces an earlier time: the latest time before.
    pub put_back_from: Option<i64>,
}

/// A leaf that is right.
pub struct Leaf {
    /// When.
    pub moment: Moment,
    /// Whether this program knows the kind.
    pub known: bool,
    /// What it says of the log.
    pub says: Option<Says>,
}

/// What was found in leaves. It is used again for the next one, so that reading allocates nothing.
#[derive(Default)]
pub struct Reader<'a> {
    members: Vec<(Cow<'a, str>, Found<'a>)>,
    names: Names<'a>,
    claims: Names<'a>,
    withheld: Vec<(Cow<'a, str>, Hash)>,
}

impl<'a> Reader<'a> {
    /// Reads a leaf against the schema.
    pub fn read(&mut self, octets: &'a [u8]) -> Result<Leaf, LeafFault> {
        self.members.clear();
        self.names.clear();
        self.claims.clear();
        self.withheld.clear();
        let text = std::str::from_utf8(octets)
            .map_err(|_| LeafFault::Json("it is not UTF-8".to_owned()))?;
        if !(text.starts_with('{') && text.ends_with('}')) {
            return Err(LeafFault::Json("it is not written compactly".to_owned()));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let wrong = |fault: serde_json::Error| LeafFault::Json(fault.to_string());
        Object(self).deserialize(&mut json).map_err(wrong)?;
        json.end().map_err(wrong)?;
        self.check()
    }

    /// The digest of the value that was withheld at `pointer` of the leaf that was read last.
    pub fn withheld(&self, pointer: &str) -> Option<&Hash> {
        let mut withheld = self.withheld.iter();
        withheld.find_map(|(known, digest)| (known == pointer).then_some(digest))
    }

    fn check(&self) -> Result<Leaf, LeafFault> {
        self.have(&COMMON)?;
        match self.integer("version") {
            Some(VERSION) => {}
            other => return Err(LeafFault::Version(other.unwrap_or_default())),
        }
        let name = self.text("kind").unwrap_or_default();
        let is_word = |word: &str| {
            let mut chars = word.bytes();
            !word.is_empty() && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        if !name.split('-').all(is_word) {
            return Err(LeafFault::Kind);
        }
        let kind = kind(name);
        self.have(kind.members)?;
        let at = self.integer("at_millis").unwrap_or_default();
        let is_decision = name == DECISION;
        let id = self.text(if is_decision {
            "decision_id"
        } else {
            "event_id"
        });
        match id.and_then(id_millis) {
            Some(id) if id != at => return Err(LeafFault::IdTime { id, at }),
            _ => {}
        }
        if is_decision {
            self.check_decision()?;
        }
        self.check_withheld()?;
        let put_back_from = match name {
            CLOCK_PUT_BACK => self.integer("before_millis"),
            _ => None,
        };
        match put_back_from {
            Some(before) if before <= at => Err(LeafFault::NotBack { before, at }),
            _ => Ok(Leaf {
                moment: Moment { at, put_back_from },
                known: !kind.name.is_empty(),
                says: self.says(name),
            }),
        }
    }

    /// What it says of the log. Nothing if that is withheld.
    fn says(&self, kind: &str) -> Option<Says> {
        match kind {
            LOG_NAMED => Some(Says::Named {
                origin: self.text("origin")?.to_owned(),
                key: self.text("key")?.to_owned(),
            }),
            PERSONAL_VALUES_REMOVED => Some(Says::Removed {
                until: u64::try_from(self.integer("until")?).ok()?,
            }),
            _ => None,
        }
    }

    /// Whether the leaf that was read last withholds anything.
    pub fn withholds_any(&self) -> bool {
        !self.withheld.is_empty()
    }

    /// The places from which the leaf that was read last withholds values.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.withheld.iter().map(|(pointer, _)| &**pointer)
    }

    /// Whether all members are there that must be, and are what they must be. Members mostly stand in the order of the
    /// table, so the search goes on where it stopped.
    fn have(&self, members: &[Member]) -> Result<(), LeafFault> {
        let mut from = 0;
        for Member {
            name,
            shape,
            required,
        } in members
        {
            let (before, after) = self.members.split_at(from.min(self.members.len()));
            let found = after
                .iter()
                .chain(before)
                .position(|(other, _)| is_same(other, name));
            let found = found.map(|steps| (from + steps) % self.members.len().max(1));
            match found.and_then(|at| self.members.get(at).map(|(_, value)| (at, value))) {
                Some((at, value)) if value.is(*shape) => from = at + 1,
                Some(_) => {
                    return Err(LeafFault::Type {
                        name,
                        shape: *shape,
                    });
                }
                None if *required && !self.withholds(name) => return Err(LeafFault::Lacks(name)),
                None => {}
            }
        }
        Ok(())
    }

    fn check_decision(&self) -> Result<(), LeafFault> {
        let required: &[&str] = match self.text("outcome") {
            Some("allowed") => &ALLOWED,
            // What explains a denial is long, and names what others chose: it never stands in the leaf.
            _ if !self.withholds("explanation") => return Err(LeafFault::Lacks("explanation")),
            _ => &["reason"],
        };
        let lacking = required
            .iter()
            .find(|name| self.value(name).is_none() && !self.withholds(name));
        lacking.map_or(Ok(()), |name| Err(LeafFault::Lacks(name)))
    }

    fn check_withheld(&self) -> Result<(), LeafFault> {
        if self.withheld.is_empty() && self.value("withheld").is_some() {
            return Err(LeafFault::WithheldEmpty);
        }
        for (pointer, _) in &self.withheld {
            let path = pointer.strip_prefix('/').unwrap_or_default();
            let there = match path.split_once('/') {
                None => self.value(&step(path)).is_some(),
                Some(("claims", claim)) => {
                    let claim = step(claim);
                    self.claims.iter().any(|name| is_same(name, &claim))
                }
                Some(_) => false,
            };
            if there {
                return Err(LeafFault::Both(pointer.chars().take(200).collect()));
            }
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&Found<'a>> {
        let mut members = self.members.iter();
        members.find_map(|(other, value)| is_same(other, name).then_some(value))
    }

    fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(Found::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(Found::Text(value)) => Some(value),
            _ => None,
        }
    }

    fn withholds(&self, name: &str) -> bool {
        let mut withheld = self.withheld.iter();
        withheld.any(|(pointer, _)| pointer.strip_prefix('/') == Some(name))
    }
}

/// The name of a member that a step of a JSON Pointer means (RFC 6901, section 4).
fn step(text: &str) -> Cow<'_, str> {
    if text.contains('~') {
        return Cow::Owned(text.replace("~1", "/").replace("~0", "~"));
    }
    Cow::Borrowed(text)
}

/// The leaf itself.
struct Object<'r, 'a>(&'r mut Reader<'a>);

impl<'a> DeserializeSeed<'a> for Object<'_, 'a> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        let reader = self.0;
        while let Some(Name(name)) = object.next_key()? {
            if reader.value(&name).is_some() {
                return Err(A::Error::custom(twice(&name)));
            }
            let found = match &*name {
                "withheld" => {
                    object.next_value_seed(Withheld(&mut reader.withheld))?;
                    Found::Object {
                        of_texts: true,
                        is: None,
                    }
                }
                "claims" => object.next_value_seed(Walk {
                    names: &mut reader.claims,
                    keep: true,
                })?,
                _ => object.next_value_seed(Walk {
                    names: &mut reader.names,
                    keep: false,
                })?,
            };
            reader.members.push((name, found));
        }
        Ok(())
    }
}

/// What is withheld: pointers and digests.
struct Withheld<'r, 'a>(&'r mut Vec<(Cow<'a, str>, Hash)>);

impl<'a> DeserializeSeed<'a> for Withheld<'_, 'a> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Withheld<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`withheld` as an object of digests")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some((Name(pointer), Name(digest))) = object.next_entry()? {
            if self.0.iter().any(|(other, _)| *other == pointer) {
                return Err(A::Error::custom(twice(&pointer)));
            }
            let (true, Some(digest)) = (is_pointer(&pointer), digest_of(&digest)) else {
                let pointer = pointer.chars().take(200).collect();
                return Err(A::Error::custom(LeafFault::Digest(pointer)));
            };
            self.0.push((pointer, digest));
        }
        Ok(())
    }
}

/// RFC 6901, section 3, but for the empty pointer, which means the whole entry.
fn is_pointer(text: &str) -> bool {
    let mut tildes = text.split('~').skip(1);
    text.starts_with('/') && tildes.all(|after| after.starts_with(['0', '1']))
}

/// The octets of a digest in base64.
fn digest_of(text: &str) -> Option<Hash> {
    // The decoder asks for room in steps of three.
    let mut octets = [0; 33];
    let length = STANDARD.decode_slice(text, &mut octets).ok()?;
    octets.get(..length)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const AT: i64 = 1_763_000_000_000;

    fn id(at: i64) -> String {
        let hex = format!("{at:012x}");
        format!("{}-{}-7000-8000-0123456789ab", &hex[..8], &hex[8..])
    }

    fn digest() -> String {
        STANDARD.encode([7; 32])
    }

    fn allowed() -> Value {
        json!({
            "version": 1, "kind": "decision", "at_millis": AT, "decision_id": id(AT), "outcome": "allowed",
            "verified": true, "audience": "acme/api", "issuer": "github", "subject": "repo:acme/api",
            "claims": {"ref": "refs/heads/main", "ids": [1, 2.5, null], "nested": {"a": {"b": []}}},
            "project": "acme/api", "project_id": "p1", "trust": ["release"], "token_id": id(AT),
            "token_expires": 1_763_003_600, "withheld": {"/claims/actor": digest()},
        })
    }

    fn event(kind: &str) -> Value {
        json!({"version": 1, "kind": kind, "at_millis": AT, "event_id": id(AT)})
    }

    fn read(text: &str) -> Result<Leaf, LeafFault> {
        Reader::default().read(text.as_bytes())
    }

    fn with(mut entry: Value, changes: &[(&str, Value)]) -> Result<Leaf, LeafFault> {
        for (pointer, value) in changes {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let parent = entry.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            match value {
                Value::Null => drop(parent.remove(name)),
                value => drop(parent.insert(name.to_owned(), value.clone())),
            }
        }
        read(&entry.to_string())
    }

    #[test]
    fn an_entry_as_the_schema_has_it_is_read() {
        let leaf = with(allowed(), &[]).ok().unwrap();
        let put_back_from = None;
        assert_eq!(
            leaf.moment,
            Moment {
                at: AT,
                put_back_from
            }
        );
        let denied = [
            ("/outcome", json!("denied")),
            ("/reason", json!("not-trusted")),
            ("/withheld/~1explanation", Value::Null),
            ("/trust", Value::Null),
        ];
        let mut entry = allowed();
        entry["withheld"]["/explanation"] = json!(digest());
        assert!(with(entry, &denied).is_ok());
        let mut retired = event("signing-key-retired");
        retired["key_id"] = json!("k1");
        assert!(with(retired, &[]).ok().unwrap().known);
        assert!(!with(event("moon-risen"), &[]).ok().unwrap().known);
    }

    #[test]
    fn each_slip_from_the_schema_is_named() {
        let lacks = LeafFault::Lacks;
        let wrong = |name, shape| LeafFault::Type { name, shape };
        let cases: Vec<(&str, Value, LeafFault)> = vec![
            ("/version", json!(2), LeafFault::Version(2)),
            ("/version", json!("1"), wrong("version", Shape::Integer)),
            ("/kind", Value::Null, lacks("kind")),
            ("/kind", json!("Decision"), LeafFault::Kind),
            ("/at_millis", json!(1.5), wrong("at_millis", Shape::Integer)),
            (
                "/at_millis",
                json!(AT + 1),
                LeafFault::IdTime { id: AT, at: AT + 1 },
            ),
            ("/decision_id", Value::Null, lacks("decision_id")),
            ("/decision_id", json!("x"), wrong("decision_id", Shape::Id)),
            ("/outcome", json!("maybe"), wrong("outcome", Shape::Outcome)),
            ("/outcome", json!("denied"), lacks("explanation")),
            (
                "/verified",
                json!("true"),
                wrong("verified", Shape::Boolean),
            ),
            ("/claims", json!([]), wrong("claims", Shape::Object)),
            ("/trust", json!(["a", 1]), wrong("trust", Shape::Texts)),
            ("/token_id", Value::Null, lacks("token_id")),
            ("/project", Value::Null, lacks("project")),
            ("/withheld", json!({}), LeafFault::WithheldEmpty),
            (
                "/claims/actor",
                json!("mona"),
                LeafFault::Both("/claims/actor".into()),
            ),
        ];
        for (pointer, value, expected) in cases {
            let said = with(allowed(), &[(pointer, value.clone())]).err();
            assert_eq!(said, Some(expected), "{pointer} {value}");
        }
    }

    #[test]
    fn a_member_that_is_withheld_is_not_missed() {
        let mut entry = allowed();
        entry["withheld"]["/subject"] = json!(digest());
        assert!(with(entry.clone(), &[("/subject", Value::Null)]).is_ok());
        let both = with(entry, &[]).err();
        assert_eq!(both, Some(LeafFault::Both("/subject".into())));
    }

    #[test]
    fn what_is_under_withheld_is_a_pointer_and_a_digest() {
        for (pointer, digest) in [
            ("claims", digest()),
            ("", digest()),
            ("/a~2", digest()),
            ("/a", STANDARD.encode([7; 31])),
            ("/a", digest().replace('=', "")),
            ("/a", "x".repeat(44)),
        ] {
            let entry = with(allowed(), &[("/withheld", json!({pointer: digest}))]);
            assert!(
                matches!(entry, Err(LeafFault::Json(_))),
                "{pointer} {digest}"
            );
        }
    }

    #[test]
    fn a_name_with_a_slash_is_found_by_its_pointer() {
        let mut entry = allowed();
        entry["claims"]["a/b~c"] = json!(1);
        entry["withheld"] = json!({"/claims/a~1b~0c": digest()});
        let both = with(entry, &[]).err();
        assert_eq!(both, Some(LeafFault::Both("/claims/a~1b~0c".into())));
    }

    #[test]
    fn no_member_stands_twice_at_any_depth() {
        let text = allowed().to_string();
        for (from, to) in [
            ("\"version\":1", "\"version\":1,\"version\":1"),
            ("\"b\":[]", "\"b\":[],\"b\":[]"),
            ("\"b\":[]", "\"b\":[],\"\\u0062\":[]"),
            ("\"nested\"", "\"ref\":1,\"nested\""),
            ("\"withheld\"", "\"audience\":1,\"withheld\""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            let said = read(&changed).err().unwrap().to_string();
            assert!(said.contains("stands twice"), "{said}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_said_to_be_none() {
        let text = allowed().to_string();
        for wrong in [
            String::new(),
            "[]".to_owned(),
            format!(" {text}"),
            format!("{text}\n"),
            format!("{text}{text}"),
            text.replace("refs/heads/main", "\\ud800"),
            text.replace("2.5", "1e999"),
            text.replace("2.5", "NaN"),
            text[..text.len() - 2].to_owned() + "}",
        ] {
            assert!(matches!(read(&wrong), Err(LeafFault::Json(_))), "{wrong}");
        }
        let mut octets = text.into_bytes();
        octets[40] = 0xff;
        assert!(matches!(
            Reader::default().read(&octets),
            Err(LeafFault::Json(_))
        ));
    }

    #[test]
    fn a_clock_is_put_back_and_not_on() {
        let put_back = event(CLOCK_PUT_BACK);
        let leaf = with(put_back.clone(), &[("/before_millis", json!(AT + 70_000))]);
        assert_eq!(leaf.ok().unwrap().moment.put_back_from, Some(AT + 70_000));
        let not = with(put_back.clone(), &[("/before_millis", json!(AT))]).err();
        assert_eq!(not, Some(LeafFault::NotBack { before: AT, at: AT }));
        let lacks = with(put_back, &[]).err();
        assert_eq!(lacks, Some(LeafFault::Lacks("before_millis")));
    }
}
