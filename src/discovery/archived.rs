//! What the archive keeps of one issuer: the last good key set, and which keys the log says are believed.
//!
//! The second is not derived from the first: a later version of this program may take fewer keys of a set, or more, than
//! the one that put them on record.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ArchivedKeys;
use crate::audit::{Happening, IssuerKey};
use crate::clock::{Seconds, UnixTime};
use crate::digest::{hex, sha256};
use crate::issuer::{Issuer, KeySet, PublicKey};

/// How old the archived time of an unchanged key set may grow. After a restart keys may so be taken for older than
/// they are by this span, never for younger.
const ARCHIVED_AGAIN_AFTER: Seconds = Seconds(60 * 60);

/// The keys of a set by name and thumbprint: what the log says of them.
pub(super) type Prints = BTreeSet<IssuerKey>;

/// The keys of `set`.
pub(super) fn prints(set: &KeySet) -> Prints {
    let key = |(kid, key): (&str, &PublicKey)| IssuerKey {
        key_id: kid.to_owned(),
        sha256: hex(key.thumbprint()),
    };
    set.iter().map(key).collect()
}

/// What the log is to say when the keys `after` take the place of those `before`, if there is anything to say.
pub(super) fn change(issuer: &Issuer, before: &Prints, after: &Prints) -> Option<Happening> {
    (before != after).then(|| Happening::IssuerKeysChanged {
        issuer: issuer.as_str().to_owned(),
        added: after.difference(before).cloned().collect(),
        removed: before.difference(after).cloned().collect(),
    })
}

/// What the archive holds of one issuer, as far as it must be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Archived {
    /// The digest of the key set, and when it was fetched; none if none is kept.
    set: Option<([u8; 32], UnixTime)>,
    /// Which keys the log says are believed.
    pub on_record: Prints,
}

/// The form in which a key set is archived.
#[derive(Serialize, Deserialize)]
struct Form {
    on_record: Prints,
    set: String,
}

/// A key set that came out of the archive.
pub(super) struct Restored {
    pub body: Vec<u8>,
    pub fetched: UnixTime,
    pub archived: Archived,
}

impl Archived {
    /// What is remembered of this set once it is archived.
    pub fn of(body: &[u8], fetched: UnixTime, on_record: Prints) -> Self {
        Self {
            set: Some((sha256(body), fetched)),
            on_record,
        }
    }

    /// Whether `body`, fetched at `fetched`, is another set, or the archived time would grow too old.
    pub fn is_outdated(&self, body: &[u8], fetched: UnixTime) -> bool {
        self.set.is_none_or(|(digest, before)| {
            digest != sha256(body) || fetched >= before.plus(ARCHIVED_AGAIN_AFTER)
        })
    }
}

/// The octets in which a key set is archived. A key set is JSON, and so is text.
pub(super) fn to_keep(body: &[u8], fetched: UnixTime, on_record: &Prints) -> ArchivedKeys {
    let form = Form {
        on_record: on_record.clone(),
        set: String::from_utf8_lossy(body).into_owned(),
    };
    ArchivedKeys {
        // Texts and lists can always be written as JSON.
        body: serde_json::to_vec(&form).unwrap_or_default(),
        fetched,
    }
}

/// Reads what [`to_keep`] made. Anything else is a key set by itself, of which the log says nothing.
pub(super) fn read(kept: ArchivedKeys) -> Restored {
    let ArchivedKeys { body, fetched } = kept;
    let (body, on_record) = match serde_json::from_slice::<Form>(&body) {
        Ok(form) => (form.set.into_bytes(), form.on_record),
        Err(_) => (body, Prints::new()),
    };
    let archived = Archived::of(&body, fetched, on_record);
    Restored {
        body,
        fetched,
        archived,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str) -> IssuerKey {
        IssuerKey {
            key_id: kid.to_owned(),
            sha256: "00".repeat(32),
        }
    }

    #[test]
    fn what_is_archived_comes_back_with_what_the_log_says_of_it() {
        let on_record: Prints = [key("a"), key("b")].into();
        let now = UnixTime::from_seconds(7);
        let restored = read(to_keep(b"{\"keys\":[]}", now, &on_record));
        assert_eq!(restored.body, b"{\"keys\":[]}");
        assert_eq!(restored.fetched, now);
        assert_eq!(restored.archived.on_record, on_record);
    }

    #[test]
    fn of_a_set_that_was_archived_before_there_was_a_log_nothing_is_on_record() {
        let body = b"{\"keys\":[]}".to_vec();
        let fetched = UnixTime::from_seconds(7);
        let restored = read(ArchivedKeys {
            body: body.clone(),
            fetched,
        });
        assert_eq!(restored.body, body);
        assert_eq!(restored.archived.on_record, Prints::new());
    }
}
