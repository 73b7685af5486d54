//! The keys in use: one that signs, one that will, and those whose tokens may still be about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::key::{KeyFault, SigningKey, TokenAlgorithm};
use super::{ProjectToken, SigningKeyStore, StoredKey, UnsignedToken};
use crate::audit::Happening;
use crate::clock::{Seconds, UnixTime};
use crate::ledger::StoreUnavailable;
use crate::seal::{KeyEncryptionKey, SealError, is_encrypted, open, seal};

/// How often keys are decided on anew because another instance was first.
const MOST_TRIES: usize = 8;

/// How long one key signs. The next one is published for as long before it takes over.
const KEY_SIGNS_FOR: Seconds = Seconds(30 * 24 * 60 * 60);

/// How long a key that could not be published a whole period ahead is published before it signs: twice as long as a
/// verifier may keep our key set (see the `Cache-Control` of `/.well-known/jwks.json`).
const PUBLISHED_BEFORE: Seconds = Seconds(600);

/// How long the key of the last token stays published beyond the longest lifetime, for clocks that differ.
const PUBLISHED_AFTER: Seconds = Seconds(3600);

/// The signing keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
    /// They cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// One cannot be made or read.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// Other instances are always first.
    #[error("other instances change the signing keys faster than they can be renewed")]
    Contested,
}

/// Our signing keys. Reading them never waits: what is in use is an immutable snapshot.
///
/// Instances of one service have the same keys, since what is kept in the store is what counts: each reads it again now and
/// then ([`KeyRing::follow`]), and changes it only as it has read it. A key is kept, and so published by every instance, long
/// before it signs, and one that may sign soon is never taken away. Only the very first key signs at once: until it is kept
/// there is no other.
pub struct KeyRing {
    keys: ArcSwap<Vec<Arc<DatedKey>>>,
    /// Held by the one change at a time.
    changing: tokio::sync::Mutex<()>,
    store: Arc<dyn SigningKeyStore>,
    encryption: Option<KeyEncryptionKey>,
    algorithm: TokenAlgorithm,
    longest_lifetime: Seconds,
}

struct DatedKey {
    key: SigningKey,
    signs_from: UnixTime,
    /// Whether it lies in the store as the configuration asks for.
    sealed_as_configured: AtomicBool,
    private: Zeroizing<Vec<u8>>,
}

/// What is sealed: a private key and its dates, in milliseconds since the epoch.
#[derive(Serialize, Deserialize)]
struct Content {
    algorithm: TokenAlgorithm,
    signs_from: i64,
    private: Zeroizing<String>,
}

impl KeyRing {
    /// Reads the keys from the store and makes those that are missing: at first start one that signs and one that
    /// follows. `longest_lifetime` is how long a token may live, and so how long the key of the last one stays known.
    pub async fn open(
        store: Arc<dyn SigningKeyStore>,
        encryption: Option<KeyEncryptionKey>,
        algorithm: TokenAlgorithm,
        longest_lifetime: Seconds,
        now: UnixTime,
    ) -> Result<Self, RingError> {
        let ring = Self {
            keys: ArcSwap::default(),
            changing: tokio::sync::Mutex::default(),
            store,
            encryption,
            algorithm,
            longest_lifetime,
        };
        ring.renew(now).await?;
        Ok(ring)
    }

    /// Reads what other instances have made of the keys. To be called every minute, and when they say that they changed
    /// something.
    pub async fn follow(&self) -> Result<(), RingError> {
        let _alone = self.changing.lock().await;
        self.read_again().await
    }

    /// Makes the next key if there is none, and drops those whose tokens have all expired. To be called now and then;
    /// what it changes is in the store, and on record, before it is in use.
    pub async fn renew(&self, now: UnixTime) -> Result<(), RingError> {
        let _alone = self.changing.lock().await;
        for _ in 0..MOST_TRIES {
            self.read_again().await?;
            if self.change(now).await? {
                return Ok(());
            }
        }
        Err(RingError::Contested)
    }

    /// Takes into use what the store has.
    async fn read_again(&self) -> Result<(), RingError> {
        let before = self.keys.load_full();
        let mut keys = Vec::new();
        for stored in self.store.signing_keys().await? {
            let known = before.iter().find(|key| key.key.id() == stored.id);
            keys.push(match known {
                Some(key) => {
                    let as_configured = self.is_as_configured(&stored);
                    let sealed = &key.sealed_as_configured;
                    sealed.store(as_configured, Ordering::Relaxed);
                    key.clone()
                }
                None => Arc::new(self.opened(&stored)?),
            });
        }
        for key in &keys {
            if !before.iter().any(|other| other.key.id() == key.key.id()) {
                tracing::info!(kid = key.key.id(), signs_from = %key.signs_from, "signing key read");
            }
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// Changes what is due to be changed. Answers whether that is done: not if another instance was first.
    async fn change(&self, now: UnixTime) -> Result<bool, RingError> {
        let mut keys: Vec<Arc<DatedKey>> = self.keys.load().iter().cloned().collect();
        let known = keys.iter().map(|key| key.key.id().to_owned()).collect();
        // A key of another algorithm that will not sign for long yet will never be needed.
        let signs_soon = now.plus(PUBLISHED_BEFORE);
        let mut removed = drop_keys(&mut keys, |key, all| {
            let is_in_use = signing(all, now).is_some_and(|signs| signs.key.id() == key.key.id());
            key.signs_from > signs_soon && key.key.algorithm() != self.algorithm && !is_in_use
        });
        let added = self.missing(&keys, now)?;
        removed.extend(drop_keys(&mut keys, |key, all| self.is_over(key, all, now)));

        let sealed_otherwise = keys
            .iter()
            .filter(|key| !key.sealed_as_configured.load(Ordering::Relaxed));
        let to_store: Vec<&Arc<DatedKey>> = added.iter().chain(sealed_otherwise).collect();
        if to_store.is_empty() && removed.is_empty() {
            return Ok(true);
        }
        let stored: Result<Vec<StoredKey>, SealError> =
            to_store.into_iter().map(|key| self.sealed(key)).collect();
        let events = events(&added, &removed);
        let (stored, gone) = (stored?, removed.clone());
        let replacing = self
            .store
            .replace_signing_keys(known, stored, gone, events, now);
        if !replacing.await? {
            return Ok(false);
        }
        for key in &added {
            tracing::info!(kid = key.key.id(), signs_from = %key.signs_from, "signing key made");
        }
        for kid in removed {
            tracing::info!(kid, "signing key retired");
        }
        keys.extend(added);
        for key in &keys {
            key.sealed_as_configured.store(true, Ordering::Relaxed);
        }
        self.keys.store(Arc::new(keys));
        Ok(true)
    }

    /// New keys in place of those that `keys` lacks: one that signs, and one that follows it.
    fn missing(
        &self,
        keys: &[Arc<DatedKey>],
        now: UnixTime,
    ) -> Result<Vec<Arc<DatedKey>>, KeyFault> {
        let mut made = Vec::new();
        let signing = signing(keys, now);
        if signing.is_none() {
            made.push(self.make(now)?);
        }
        let begins = signing.map_or(now, |key| key.signs_from.max(now));
        if !keys.iter().any(|key| key.signs_from > begins) {
            let takes_over = match signing {
                Some(key) if key.key.algorithm() != self.algorithm => now,
                Some(key) => key.signs_from.plus(KEY_SIGNS_FOR),
                None => now.plus(KEY_SIGNS_FOR),
            };
            made.push(self.make(takes_over.max(now.plus(PUBLISHED_BEFORE)))?);
        }
        Ok(made)
    }

    /// Whether the last token that `key` can have signed, before another of `all` took over, is over.
    fn is_over(&self, key: &DatedKey, all: &[Arc<DatedKey>], now: UnixTime) -> bool {
        let later = all.iter().map(|other| other.signs_from);
        let successor = later.filter(|from| *from > key.signs_from).min();
        successor
            .is_some_and(|retired| now > retired.plus(self.longest_lifetime).plus(PUBLISHED_AFTER))
    }

    /// Makes the token.
    pub fn sign(&self, token: &UnsignedToken<'_>, now: UnixTime) -> Result<ProjectToken, KeyFault> {
        let payload = serde_json::to_vec(token).map_err(|_| KeyFault("used"))?;
        let keys = self.keys.load();
        let key = signing(&keys, now).ok_or(KeyFault("found"))?;
        Ok(ProjectToken {
            text: key.key.sign(&payload)?,
        })
    }

    /// The public halves as a JWK set (RFC 7517, section 5): the key that signs, the one that will, and those of tokens
    /// that may still be about.
    pub fn public_set(&self) -> Value {
        let keys = self.keys.load();
        let mut keys: Vec<&Arc<DatedKey>> = keys.iter().collect();
        keys.sort_by_key(|key| key.signs_from);
        json!({"keys": keys.iter().map(|key| key.key.public_jwk()).collect::<Vec<_>>()})
    }

    /// How many keys are published, and how long the one that signs at `now` has been signing, in milliseconds.
    pub fn ages(&self, now: UnixTime) -> (usize, Option<i64>) {
        let keys = self.keys.load();
        let signing = signing(&keys, now);
        let age = signing.map(|key| now.millis() - key.signs_from.millis());
        (keys.len(), age)
    }

    /// The algorithms of the published keys, for metadata.
    pub fn algorithms(&self) -> Vec<&'static str> {
        let keys = self.keys.load();
        let mut names: Vec<&'static str> = keys
            .iter()
            .map(|key| key.key.algorithm().as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn opened(&self, stored: &StoredKey) -> Result<DatedKey, RingError> {
        let content = open(self.encryption.as_ref(), &stored.id, &stored.sealed)?;
        let content: Content =
            serde_json::from_slice(&content).map_err(|_| RingError::Seal(SealError::Damaged))?;
        let private = STANDARD.decode(&*content.private).map(Zeroizing::new);
        let private = private.map_err(|_| SealError::Damaged)?;
        Ok(DatedKey {
            key: SigningKey::read(content.algorithm, &private)?,
            signs_from: UnixTime::from_millis(content.signs_from),
            sealed_as_configured: self.is_as_configured(stored).into(),
            private,
        })
    }

    /// Whether a key lies in the store as the configuration asks for.
    fn is_as_configured(&self, stored: &StoredKey) -> bool {
        is_encrypted(&stored.sealed) == self.encryption.is_some()
    }

    fn make(&self, signs_from: UnixTime) -> Result<Arc<DatedKey>, KeyFault> {
        let (key, private) = SigningKey::generate(self.algorithm)?;
        Ok(Arc::new(DatedKey {
            key,
            signs_from,
            sealed_as_configured: AtomicBool::new(true),
            private,
        }))
    }

    fn sealed(&self, key: &DatedKey) -> Result<StoredKey, SealError> {
        let content = Content {
            algorithm: key.key.algorithm(),
            signs_from: key.signs_from.millis(),
            private: Zeroizing::new(STANDARD.encode(&*key.private)),
        };
        let content = serde_json::to_vec(&content).map(Zeroizing::new);
        let content = content.map_err(|_| SealError::Failed)?;
        let sealed = seal(self.encryption.as_ref(), key.key.id(), &content)?;
        Ok(StoredKey {
            id: key.key.id().to_owned(),
            sealed,
        })
    }
}

/// What the log says of keys that are made and keys that are gone. A key that is only sealed anew is the same key.
fn events(made: &[Arc<DatedKey>], retired: &[String]) -> Vec<Happening> {
    let made = made.iter().map(|key| Happening::SigningKeyMade {
        key_id: key.key.id().to_owned(),
        algorithm: key.key.algorithm().as_str().to_owned(),
        signs_from_millis: key.signs_from.millis(),
        public_key: key.key.public_jwk(),
    });
    let retired = retired.iter().map(|kid| Happening::SigningKeyRetired {
        key_id: kid.clone(),
    });
    made.chain(retired).collect()
}

/// Takes away every key that `unneeded` names when it sees all of them, and gives back their ids.
fn drop_keys(
    keys: &mut Vec<Arc<DatedKey>>,
    unneeded: impl Fn(&DatedKey, &[Arc<DatedKey>]) -> bool,
) -> Vec<String> {
    let (dropped, kept): (Vec<_>, Vec<_>) =
        keys.iter().cloned().partition(|key| unneeded(key, keys));
    *keys = kept;
    dropped.iter().map(|key| key.key.id().to_owned()).collect()
}

/// The key that signs at `now`: the one that took over last. If none has, by a clock that is behind the one of the instance
/// that made the first key, the first.
fn signing(keys: &[Arc<DatedKey>], now: UnixTime) -> Option<&Arc<DatedKey>> {
    let took_over = keys.iter().filter(|key| key.signs_from <= now);
    took_over
        .max_by_key(|key| key.signs_from)
        .or_else(|| keys.iter().min_by_key(|key| key.signs_from))
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRing(..)")
    }
}

#[cfg(test)]
mod tests;
