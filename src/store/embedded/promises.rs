//! What each promise reads and writes.

use std::collections::{BTreeSet, HashMap};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::super::project_id::random_id;
use super::EmbeddedStore;
use super::draft::{Draft, Entry, Fault};
use super::keys::{self, Denied, Uses};
use super::log::{decision, fitting, sealed_events};
use super::names;
use super::queue::Share;
use crate::audit::{DecisionId, Event, Happening, Record, Sealed};
use crate::clock::UnixTime;
use crate::directory::{FirstLoads, ProjectIds};
use crate::discovery::{ArchivedKeys, KeyArchive};
use crate::issuer::Issuer;
use crate::ledger::pins::PinnedFor;
use crate::ledger::{
    Denial, DenialKey, Ledger, RememberedNames, Spend, Spent, StoreUnavailable, Unrecorded,
};
use crate::project_token::{SigningKeyStore, StoredKey};
use crate::trust::{NameState, Names, ProjectPath};

impl Ledger for EmbeddedStore {
    fn spend(
        &self,
        spend: Spend,
        record: Record,
    ) -> BoxFuture<'_, Result<Spent, StoreUnavailable>> {
        // Sealed by who asks, and not by the one thread that all wait for; most uses of a token are its first.
        let record = Written::use_of(record, spend.max_uses);
        self.ask(Share::Whole, move |draft| {
            spend_and_record(draft, &spend, record)
        })
    }

    fn record_denial(&self, denial: Denial) -> BoxFuture<'_, Result<DecisionId, StoreUnavailable>> {
        let (key, until) = (denial.key, denial.until);
        let record = Written::new(denial.record);
        self.ask(Share::Half, move |draft| {
            record_once(draft, &key, until, record)
        })
    }

    fn denial_on_record(
        &self,
        key: DenialKey,
    ) -> BoxFuture<'_, Result<Option<DecisionId>, StoreUnavailable>> {
        self.read(move |draft| {
            let found = draft.get(&keys::denial(&key));
            let found = found.map_err(|error| error.to_string())?;
            let denied = found.as_deref().and_then(Denied::read);
            Ok(denied.map(|denied| denied.id))
        })
    }

    fn count_denial(&self, what: Unrecorded, at: UnixTime) {
        self.0.counts.count(what, at);
    }

    fn decision(&self, id: DecisionId) -> BoxFuture<'_, Result<Option<Record>, StoreUnavailable>> {
        self.read_log(move |shared| decision(shared, id))
    }

    fn name_states(
        &self,
        names: Vec<Names>,
    ) -> BoxFuture<'_, Result<HashMap<Names, NameState>, StoreUnavailable>> {
        let keys: Result<Vec<_>, _> = names.iter().map(names::key).collect();
        async move {
            let keys = keys.map_err(StoreUnavailable)?;
            let read = move |draft: &Draft<'_>| names::stored(draft, keys);
            let found = self.read_each(read, names::parse).await?;
            let states = found.into_iter().map(|found| (found.names, found.state));
            Ok(states.collect())
        }
        .boxed()
    }

    fn pins(
        &self,
        project: Option<String>,
    ) -> BoxFuture<'_, Result<Vec<RememberedNames>, StoreUnavailable>> {
        async move {
            let prefix = match &project {
                Some(project) => keys::names_of(project),
                None => vec![keys::NAMES],
            };
            let read = move |draft: &Draft<'_>| {
                let texts = draft.texts(&prefix);
                texts.map_err(|error| error.to_string())
            };
            let mut found = self.read_each(read, names::parse).await?;
            found.sort_by(|one, other| one.names.cmp(&other.names));
            Ok(found)
        }
        .boxed()
    }

    fn reset_pin(
        &self,
        names: Names,
        by: String,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<Option<Event>, StoreUnavailable>> {
        self.ask(Share::Whole, move |draft| {
            names::reset(draft, names, by, now)
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        self.ask(Share::Whole, |draft| {
            draft.need_room();
            Ok(())
        })
    }
}

/// A record that is ready for the log.
struct Written {
    sealed: Result<Sealed, Fault>,
    of: PinnedFor,
    /// The record, if it may have to be sealed again.
    record: Option<Box<Record>>,
}

impl Written {
    fn new(record: Record) -> Self {
        Self {
            of: PinnedFor {
                decision_id: record.decision_id,
                at: UnixTime::from_millis(record.at_millis),
            },
            record: None,
            sealed: fitting(Sealed::of_decision(record)),
        }
    }

    /// The record of a use of a token that may be used so often.
    fn use_of(mut record: Record, max_uses: u32) -> Self {
        record.use_number = Some(1);
        let again = (max_uses > 1).then(|| Box::new(record.clone()));
        Self {
            record: again,
            ..Self::new(record)
        }
    }

    /// The entry of this use.
    fn of_use(self, number: u32) -> Result<Sealed, Fault> {
        match self.record {
            Some(mut record) if number > 1 => {
                record.use_number = Some(number);
                fitting(Sealed::of_decision(*record))
            }
            _ => self.sealed,
        }
    }
}

fn spend_and_record(draft: &mut Draft<'_>, spend: &Spend, record: Written) -> Result<Spent, Fault> {
    let of = record.of;
    let pinned = match names::compare(draft, &spend.pins, of)? {
        Ok(pinned) => pinned,
        Err(differ) => return Ok(Spent::IdentityChanged(differ)),
    };
    let key = keys::spent(&spend.key);
    let before = match draft.get(&key)? {
        Some(value) => Some(Uses::read(&value).ok_or_else(damaged)?),
        None => None,
    };
    if before.is_none() && !draft.remembers(spend.until)? {
        return Err(Fault::Refused(
            "the clock was put back behind tokens that were forgotten: whether this one was spent is not known".into(),
        ));
    }
    let used = before.map_or(0, |uses| uses.number);
    if used >= spend.max_uses {
        return Ok(Spent::Exhausted);
    }
    let number = used + 1;
    let record = record.of_use(number)?;
    let events = names::write(draft, &pinned, of)?;
    let index = draft.put_entry(record)?;
    draft.put_entries(events)?;
    let until = before.map_or(spend.until, |uses| uses.until.max(spend.until));
    draft.put_until(until, key, Uses { number, until }.write());
    Ok(Spent::Nth { number, index })
}

fn record_once(
    draft: &mut Draft<'_>,
    key: &DenialKey,
    until: UnixTime,
    record: Written,
) -> Result<DecisionId, Fault> {
    let key = keys::denial(key);
    if let Some(value) = draft.get(&key)? {
        return Ok(Denied::read(&value).ok_or_else(damaged)?.id);
    }
    let id = record.of.decision_id;
    draft.put_entry(record.sealed?)?;
    draft.put_until(until, key, Denied { id, until }.write());
    Ok(id)
}

/// A value that this program did not write: the key is taken for spent, and nothing is promised.
pub(super) fn damaged() -> Fault {
    Fault::Refused("an entry of the store is damaged".into())
}

impl KeyArchive for EmbeddedStore {
    fn last_good(
        &self,
        issuer: &Issuer,
    ) -> BoxFuture<'_, Result<Option<ArchivedKeys>, StoreUnavailable>> {
        let key = keys::archived_keys(issuer.as_str());
        self.ask(Share::Whole, move |draft| {
            let text = draft.text(&key)?;
            let read = |text: Vec<u8>| {
                let (fetched, body) = keys::split_time(&text)?;
                let body = body.to_vec();
                Some(ArchivedKeys { body, fetched })
            };
            Ok(text.and_then(read))
        })
    }

    fn keep(
        &self,
        issuer: &Issuer,
        keys: ArchivedKeys,
        change: Option<Happening>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let key = keys::archived_keys(issuer.as_str());
        let events = sealed_events(change, now);
        self.ask(Share::Whole, move |draft| {
            draft.put_entries(events?)?;
            let text = keys::join(&[&keys::time(keys.fetched), &keys.body]);
            draft.replace_text(&key, &text)
        })
    }
}

impl SigningKeyStore for EmbeddedStore {
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreUnavailable>> {
        self.ask(Share::Whole, |draft| read_signing_keys(draft))
    }

    fn replace_signing_keys(
        &self,
        known: Vec<String>,
        added: Vec<StoredKey>,
        removed: Vec<String>,
        events: Vec<Happening>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        if added.iter().any(|key| u16::try_from(key.id.len()).is_err()) {
            let why = "the name of a signing key is too long to keep";
            return ready(Err(StoreUnavailable(why.into()))).boxed();
        }
        let events = sealed_events(events, now);
        let known: BTreeSet<String> = known.into_iter().collect();
        self.ask(Share::Whole, move |draft| {
            let kept = read_signing_keys(draft)?;
            let kept: BTreeSet<String> = kept.into_iter().map(|key| key.id).collect();
            if kept != known {
                return Ok(false);
            }
            draft.put_entries(events?)?;
            for id in &removed {
                draft.remove_text(&keys::signing_key(id))?;
            }
            for key in &added {
                draft.replace_text(&keys::signing_key(&key.id), &write_signing_key(key))?;
            }
            Ok(true)
        })
    }
}

fn read_signing_keys(draft: &Draft<'_>) -> Result<Vec<StoredKey>, Fault> {
    let texts = draft.texts(&[keys::SIGNING_KEY])?;
    let read = |(_, text): &Entry| read_signing_key(text).ok_or_else(damaged);
    texts.iter().map(read).collect()
}

pub(super) fn write_signing_key(key: &StoredKey) -> Vec<u8> {
    let length = u16::try_from(key.id.len()).unwrap_or(u16::MAX);
    keys::join(&[&length.to_be_bytes(), key.id.as_bytes(), &key.sealed])
}

pub(super) fn read_signing_key(text: &[u8]) -> Option<StoredKey> {
    let (length, rest) = text.split_first_chunk::<2>()?;
    let (id, sealed) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some(StoredKey {
        id: String::from_utf8(id.to_vec()).ok()?,
        sealed: sealed.to_vec(),
    })
}

impl ProjectIds for EmbeddedStore {
    fn ids_of(
        &self,
        paths: Vec<ProjectPath>,
    ) -> BoxFuture<'_, Result<Vec<String>, StoreUnavailable>> {
        self.ask(Share::Whole, move |draft| {
            paths.iter().map(|path| id_of(draft, path)).collect()
        })
    }
}

impl FirstLoads for EmbeddedStore {
    fn note_names(
        &self,
        names: Vec<Names>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        self.ask(Share::Whole, move |draft| {
            let mut each = names.into_iter();
            each.try_for_each(|names| names::note(draft, names, now))
        })
    }
}

fn id_of(draft: &mut Draft<'_>, path: &ProjectPath) -> Result<String, Fault> {
    let key = keys::project(path.as_str());
    if let Some(id) = draft.get(&key)? {
        return String::from_utf8(id).map_err(|_| damaged());
    }
    let id = loop {
        let refused = || Fault::Refused("there is no randomness for an id".into());
        let id = random_id().ok_or_else(refused)?;
        if draft.get(&keys::project_id(&id))?.is_none() {
            break id;
        }
    };
    draft.put(keys::project_id(&id), path.as_str().into());
    draft.put(key, id.clone().into());
    Ok(id)
}
