//! What lies where in the one tree of the index.
//!
//! The first byte of a key says what it is:
//!
//! | key | value |
//! |---|---|
//! | `m` `eta/format` | the version of this table |
//! | `m` `eta/forgotten` | the latest time until which a forgotten spent token was to be remembered |
//! | `m` `eta/reached` | what the index has reached: see `reached.rs` |
//! | `m` `eta/checkpoint-key`, piece (u16) | the sealed key that signs checkpoints |
//! | `s` spent key | uses (u32), until (time) |
//! | `n` denial key | decision id, until (time) |
//! | `x` time, commit (u64), count (u16) | keys of the two above that may be forgotten then, one after another |
//! | `a` hour (time), issuer's length (u16), issuer, reason | count (u64) |
//! | `k` SHA-256 of the issuer, piece (u16) | when fetched (time), the key set |
//! | `g` SHA-256 of the `kid`, piece (u16) | length of the `kid` (u16), the `kid`, the sealed key |
//! | `f` SHA-256 of the project, SHA-256 of the names, piece (u16) | JSON of the names and of what is remembered of them |
//! | `d` SHA-256 of a policy file's name, piece (u16) | JSON of the name and of what the log says of the file |
//! | `t` SHA-256 of the digest of a policy, piece (u16) | one octet, its text |
//! | `p` path of a project | its text id |
//! | `i` text id | the path |
//!
//! Numbers are big-endian, so that keys sort by time. A time is in milliseconds since the epoch. Of the digests that are
//! spent keys and denial keys the first [`DIGEST`] octets are kept: sled holds keys of up to 22 octets in place, and longer
//! ones each in an allocation of its own. Two that met would both count as spent, which 160 bits make a theory.

use crate::audit::DecisionId;
use crate::clock::UnixTime;
use crate::digest::sha256;
use crate::ledger::DenialKey;
use crate::subject::SpentKey;

/// Where the version of the table stands.
pub(super) const FORMAT_KEY: &[u8] = b"meta/format";

/// The version of the table that this program writes and reads.
pub(super) const FORMAT: u32 = 3;

/// Where it stands how far the spent tokens are forgotten.
pub(super) const FORGOTTEN_KEY: &[u8] = b"meta/forgotten";

/// Where it stands how far the index has followed the journal.
pub(super) const REACHED_KEY: &[u8] = b"meta/reached";

/// Where the key stands that signs checkpoints.
pub(super) const CHECKPOINT_KEY: &[u8] = b"meta/checkpoint-key";

/// The longest value, in octets; longer texts are cut into pieces.
///
/// sled writes the up to twenty values of a leaf as one item, and an item over 131 052 octets (a quarter of its segment
/// of 512 KiB) into a file of its own, which it never syncs. Twenty pieces of this length stay well below.
pub(super) const LONGEST_PIECE: usize = 4096;

/// The lists of what expires begin with this.
pub(super) const EXPIRY: u8 = b'x';
/// Aggregated denials begin with this.
pub(super) const AGGREGATE: u8 = b'a';
/// Signing keys begin with this.
pub(super) const SIGNING_KEY: u8 = b'g';
/// What the log says of policy files begins with this.
pub(super) const POLICY: u8 = b'd';
/// Names without ids begin with this.
pub(super) const NAMES: u8 = b'f';

/// How many octets of a digest are kept.
const DIGEST: usize = 20;

/// The length of the key of a spent token or a denial.
pub(super) const EXPIRING: usize = 1 + DIGEST;

/// How many keys one list of what expires names at most: it must be one piece.
pub(super) const MOST_LISTED: usize = LONGEST_PIECE / EXPIRING;

pub(super) fn spent(key: &SpentKey) -> Vec<u8> {
    join(&[b"s", key.as_bytes().get(..DIGEST).unwrap_or_default()])
}

pub(super) fn denial(key: &DenialKey) -> Vec<u8> {
    join(&[b"n", key.as_bytes().get(..DIGEST).unwrap_or_default()])
}

/// What comes next after every key that begins with `prefix`, which does not begin with 255.
pub(super) fn after_all(prefix: &[u8]) -> Vec<u8> {
    let mut next = prefix.to_vec();
    while next.pop_if(|last| *last == u8::MAX).is_some() {}
    if let Some(last) = next.last_mut() {
        *last += 1;
    }
    next
}

/// What the keys of all names of a project begin with.
pub(super) fn names_of(project: &str) -> Vec<u8> {
    join(&[&[NAMES], &sha256(project.as_bytes())])
}

/// The key of the names of `project` that read `json`.
pub(super) fn names(project: &str, json: &[u8]) -> Vec<u8> {
    join(&[&names_of(project), &sha256(json)])
}

pub(super) fn archived_keys(issuer: &str) -> Vec<u8> {
    join(&[b"k", &sha256(issuer.as_bytes())])
}

pub(super) fn signing_key(kid: &str) -> Vec<u8> {
    join(&[&[SIGNING_KEY], &sha256(kid.as_bytes())])
}

pub(super) fn policy(file: &str) -> Vec<u8> {
    join(&[&[POLICY], &sha256(file.as_bytes())])
}

/// The key of the text with this digest, which may be any text.
pub(super) fn policy_text(digest: &str) -> Vec<u8> {
    join(&[b"t", &sha256(digest.as_bytes())])
}

pub(super) fn project(path: &str) -> Vec<u8> {
    join(&[b"p", path.as_bytes()])
}

pub(super) fn project_id(id: &str) -> Vec<u8> {
    join(&[b"i", id.as_bytes()])
}

/// The key of one piece of a text that begins at `key`.
pub(super) fn piece(key: &[u8], number: u16) -> Vec<u8> {
    join(&[key, &number.to_be_bytes()])
}

/// The list of the commit `number` of what may be forgotten at `until`; `count` tells several apart.
pub(super) fn expiry(until: UnixTime, number: u64, count: u16) -> Vec<u8> {
    let (number, count) = (number.to_be_bytes(), count.to_be_bytes());
    join(&[&[EXPIRY], &time(until), &number, &count])
}

/// The first list of what may not be forgotten at `now`.
pub(super) fn expiry_after(now: UnixTime) -> Vec<u8> {
    join(&[&[EXPIRY], &time(now)])
}

pub(super) fn aggregate(hour: UnixTime, issuer: &str, reason: &str) -> Vec<u8> {
    let length = u16::try_from(issuer.len()).unwrap_or(u16::MAX);
    let issuer = issuer.as_bytes().get(..usize::from(length));
    join(&[
        &[AGGREGATE],
        &time(hour),
        &length.to_be_bytes(),
        issuer.unwrap_or_default(),
        reason.as_bytes(),
    ])
}

/// The hour, issuer and reason of an aggregate's key.
pub(super) fn read_aggregate(key: &[u8]) -> Option<(UnixTime, String, String)> {
    let (hour, rest) = split_time(key.get(1..)?)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (issuer, reason) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).ok();
    Some((hour, text(issuer)?, text(reason)?))
}

/// How often a token was used, and until when that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uses {
    pub(super) number: u32,
    pub(super) until: UnixTime,
}

impl Uses {
    pub(super) fn write(self) -> Vec<u8> {
        join(&[&self.number.to_be_bytes(), &time(self.until)])
    }

    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let (number, rest) = value.split_first_chunk::<4>()?;
        let (until, _) = split_time(rest)?;
        let number = u32::from_be_bytes(*number);
        Some(Self { number, until })
    }
}

/// Under which name a denial is on record, and until when a repeat of it is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) id: DecisionId,
    pub(super) until: UnixTime,
}

impl Denied {
    pub(super) fn write(self) -> Vec<u8> {
        join(&[self.id.as_bytes(), &time(self.until)])
    }

    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let (id, rest) = value.split_first_chunk::<16>()?;
        let (until, _) = split_time(rest)?;
        let id = DecisionId::from_bytes(*id);
        Some(Self { id, until })
    }
}

/// Whether a spent token is remembered under `key`.
pub(super) fn is_spent(key: &[u8]) -> bool {
    key.first() == Some(&b's')
}

/// Until when the value under `key`, of a spent token or a denial, is remembered.
pub(super) fn until(key: &[u8], value: &[u8]) -> Option<UnixTime> {
    match key.first() {
        Some(b's') => Uses::read(value).map(|uses| uses.until),
        Some(b'n') => Denied::read(value).map(|denied| denied.until),
        _ => None,
    }
}

/// A time in eight octets that sort. Moments before 1970 are written as 1970.
pub(super) fn time(at: UnixTime) -> [u8; 8] {
    u64::try_from(at.millis()).unwrap_or(0).to_be_bytes()
}

/// The time at the beginning of `octets`, and what follows it.
pub(super) fn split_time(octets: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (time, rest) = octets.split_first_chunk::<8>()?;
    let millis = i64::try_from(u64::from_be_bytes(*time)).unwrap_or(i64::MAX);
    Some((UnixTime::from_millis(millis), rest))
}

pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expires_sorts_by_time() {
        let at = |seconds| expiry(UnixTime::from_seconds(seconds), u64::MAX, 0);
        assert!(at(255) < at(256));
        assert!(at(256) < expiry_after(UnixTime::from_seconds(257)));
    }

    #[test]
    fn an_aggregate_is_read_back_as_it_was_written() {
        let hour = UnixTime::from_seconds(3600);
        let key = aggregate(hour, "github", "not-trusted");
        let read = read_aggregate(&key);
        assert_eq!(read, Some((hour, "github".into(), "not-trusted".into())));
    }

    #[test]
    fn what_is_cut_short_is_not_read() {
        let until = UnixTime::from_seconds(1);
        let uses = Uses { number: 7, until };
        assert_eq!(Uses::read(&uses.write()), Some(uses));
        assert_eq!(Uses::read(&uses.write()[..11]), None);
        assert_eq!(Denied::read(&[0; 23]), None);
    }
}
