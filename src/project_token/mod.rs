//! A grant becomes a signed project token; our signing keys, and how they are renewed.
//!
//! [`prepare`] spends a [`crate::trust::Grant`] and fixes everything the token will say, so that it can be recorded;
//! [`KeyRing::sign`] makes the token of it once the record is on disk.

mod key;
mod mint;
mod ring;

use futures_util::future::BoxFuture;

use crate::audit::Happening;
use crate::clock::UnixTime;
use crate::ledger::StoreUnavailable;

pub use crate::seal::{KeyEncryptionKey, SealError};
pub use key::{KeyFault, TokenAlgorithm};
pub use mint::{Holder, ProjectToken, UnsignedToken, prepare};
pub use ring::{KeyRing, RingError};

/// One signing key as it is kept: sealed, and opaque to the store.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its `kid`.
    pub id: String,
    /// The sealed form.
    pub sealed: Vec<u8>,
}

/// Keeps our signing keys.
pub trait SigningKeyStore: Send + Sync {
    /// Every key that is kept.
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreUnavailable>>;

    /// Keeps `added` and forgets the keys named in `removed`, in one commit with the events that say so, if the keys that
    /// are kept are those named in `known`, and answers whether that was done: it is not if another instance was first, whose
    /// keys are to be read before anything is decided anew. Durable when this returns; other instances hear of it
    /// ([`Topic::SigningKeys`](crate::ledger::Topic)).
    fn replace_signing_keys(
        &self,
        known: Vec<String>,
        added: Vec<StoredKey>,
        removed: Vec<String>,
        events: Vec<Happening>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>>;
}
