//! The embedded store as what is copied: everything in it, in an order that is the same each time.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::KEY;
use super::super::copy::{
    CopiedEntry, CopyError, Counted, IssuerKeys, KeptPolicy, KnownDenial, MOST_ENTRIES, MOST_SMALL,
    Original as Copied, Part, SpentToken, State,
};
use super::draft::{Draft, Entry, join_piece};
use super::keys::{self, Denied, Uses};
use super::log::{copied, end};
use super::promises::read_signing_key;
use super::{EmbeddedStore, Options};
use crate::clock::{FrozenClock, UnixTime};
use crate::ledger::{AuditLog as _, Kept, StoreUnavailable};
use crate::trust::digest_of;

/// What is read after the log, by what its keys begin with.
const KINDS: &[u8] = b"snafpkgdt";

/// A store in a folder, from its beginning to its end.
pub(in super::super) struct Original {
    store: EmbeddedStore,
    /// The number of the next entry.
    entry: u64,
    /// How many there are.
    size: u64,
    /// Which kind of key is read.
    kind: usize,
    /// From which key on.
    from: Option<Vec<u8>>,
}

impl Original {
    /// The store in the folder `path`, which nobody else has open.
    pub(in super::super) async fn open(path: &Path) -> Result<Self, CopyError> {
        if !EmbeddedStore::is_in(path) {
            return Err(CopyError::NotThere(path.display().to_string()));
        }
        let path = path.to_owned();
        let opening = move || EmbeddedStore::open(&path, no_time(), Options::default());
        Ok(Self::over(blocking(opening).await??))
    }

    /// A store that is open. It is closed with the last of its clones.
    pub(super) fn over(store: EmbeddedStore) -> Self {
        Self {
            store,
            entry: 0,
            size: 0,
            kind: 0,
            from: None,
        }
    }

    async fn read_state(&mut self) -> Result<State, StoreUnavailable> {
        let log = self.store.read_log(end).await?;
        self.size = log.size;
        let forgotten = self.store.read(|draft| {
            let value = draft.get(keys::FORGOTTEN_KEY);
            let value = value.map_err(|error| error.to_string())?;
            Ok(value.and_then(|value| keys::split_time(&value).map(|(until, _)| until)))
        });
        Ok(State {
            size: log.size,
            root: log.root,
            latest: log.latest,
            latest_since: log.latest_since,
            put_back: log.put_back,
            withheld_from: log.withheld_from,
            forgotten: forgotten.await?,
            checkpoint_key: self.store.checkpoint_key().await?,
            signed: self.store.checkpoint(Kept::Signed).await?,
            cosigned: self.store.checkpoint(Kept::Cosigned).await?,
        })
    }

    async fn read_next(&mut self) -> Result<Option<Part>, StoreUnavailable> {
        if self.entry < self.size {
            let first = self.entry;
            let range = first..self.size.min(first + MOST_ENTRIES);
            let entries: Vec<CopiedEntry> = self
                .store
                .read_log(move |shared| copied(shared, range))
                .await?;
            if entries.is_empty() {
                return Err(StoreUnavailable("this store has no tree".into()));
            }
            self.entry += entries.len() as u64;
            return Ok(Some(Part::Entries(first, entries)));
        }
        while let Some(kind) = KINDS.get(self.kind).copied() {
            let from = self.from.take().unwrap_or_else(|| vec![kind]);
            let page = self.store.read(move |draft| {
                let found = page(draft, kind, &from);
                found.map_err(|error| error.to_string())
            });
            let (found, next) = page.await?;
            self.from = next;
            if self.from.is_none() {
                self.kind += 1;
            }
            if !found.is_empty() {
                return part(kind, &found).map(Some).map_err(StoreUnavailable);
            }
        }
        Ok(None)
    }
}

impl Copied for Original {
    fn state(&mut self) -> BoxFuture<'_, Result<State, StoreUnavailable>> {
        self.read_state().boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Part>, StoreUnavailable>> {
        self.read_next().boxed()
    }
}

/// Whoever copies forgets nothing: for it, no time passes.
pub(super) fn no_time() -> Arc<FrozenClock> {
    Arc::new(FrozenClock::at(UnixTime::EPOCH))
}

/// Does what may wait for the disk where nobody waits for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreUnavailable> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| StoreUnavailable("a thread of the program ended where it should not".into()))
}

/// Some keys of a kind with their values, texts put together, and the key from which on there may be more.
fn page(
    draft: &Draft<'_>,
    kind: u8,
    from: &[u8],
) -> Result<(Vec<Entry>, Option<Vec<u8>>), sled::Error> {
    let is_text = b"kgfdt".contains(&kind);
    let mut limit = MOST_SMALL;
    loop {
        let mut found = draft.page(from, &keys::after_all(&[kind]), limit)?;
        let is_all = found.len() < limit;
        if !is_text {
            // What comes after the last key, and nothing between.
            let next = found.last().map(|(key, _)| [key.as_slice(), &[0]].concat());
            return Ok((found, next.filter(|_| !is_all)));
        }
        let mut texts = Vec::new();
        for (piece, value) in found.drain(..) {
            join_piece(&mut texts, &piece, value);
        }
        if is_all {
            return Ok((texts, None));
        }
        // The last one may go on.
        if let Some((key, _)) = texts.pop()
            && !texts.is_empty()
        {
            return Ok((texts, Some(key)));
        }
        limit *= 2;
    }
}

fn part(kind: u8, found: &[Entry]) -> Result<Part, String> {
    Ok(match kind {
        b's' => Part::Spent(each(found, spent)?),
        b'n' => Part::Denials(each(found, denial)?),
        b'a' => Part::Counted(each(found, counted)?),
        b'p' => Part::Projects(each(found, project)?),
        b'k' => Part::IssuerKeys(each(found, issuer_keys)?),
        b'g' => Part::SigningKeys(each(found, |_, text| read_signing_key(text))?),
        b'f' => Part::Names(each(found, |_, json| serde_json::from_slice(json).ok())?),
        b'd' => Part::Policies(each(found, |_, json| {
            serde_json::from_slice::<KeptPolicy>(json).ok()
        })?),
        _ => Part::PolicyTexts(each(found, policy_text)?),
    })
}

fn each<T>(found: &[Entry], read: impl Fn(&[u8], &[u8]) -> Option<T>) -> Result<Vec<T>, String> {
    let read = |(key, value): &Entry| {
        let kind = key.first().copied().map_or('?', char::from);
        read(key, value).ok_or_else(|| format!("an entry of the store is damaged (`{kind}`)"))
    };
    found.iter().map(read).collect()
}

fn digest(key: &[u8]) -> Option<[u8; KEY]> {
    key.get(1..)?.try_into().ok()
}

fn spent(key: &[u8], value: &[u8]) -> Option<SpentToken> {
    let Uses { number, until } = Uses::read(value)?;
    Some(SpentToken {
        key: digest(key)?,
        uses: number,
        until,
    })
}

fn denial(key: &[u8], value: &[u8]) -> Option<KnownDenial> {
    let Denied { id, until } = Denied::read(value)?;
    Some(KnownDenial {
        key: digest(key)?,
        id,
        until,
    })
}

fn counted(key: &[u8], value: &[u8]) -> Option<Counted> {
    let (hour, issuer, reason) = keys::read_aggregate(key)?;
    Some(Counted {
        hour,
        issuer,
        reason,
        count: value.try_into().map(u64::from_be_bytes).ok()?,
    })
}

fn project(key: &[u8], value: &[u8]) -> Option<(String, String)> {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).ok();
    Some((text(key.get(1..)?)?, text(value)?))
}

fn issuer_keys(key: &[u8], text: &[u8]) -> Option<IssuerKeys> {
    let (fetched, body) = keys::split_time(text)?;
    Some(IssuerKeys {
        issuer: key.get(1..)?.try_into().ok()?,
        fetched,
        body: body.to_vec(),
    })
}

/// A text with its digest, of which only a digest is kept: texts are kept under their own.
fn policy_text(key: &[u8], text: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = text.get(1..)?.to_vec();
    let digest = digest_of(std::str::from_utf8(&text).ok()?);
    (keys::policy_text(&digest) == key).then_some((digest, text))
}
