//! The keys of issuers: the only room that asks them.

use futures_util::future::BoxFuture;

use crate::clock::UnixTime;
use crate::issuer::Issuer;
use crate::ledger::StoreUnavailable;

/// A key set as it was last fetched and found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedKeys {
    /// The body, as the issuer sent it.
    pub body: Vec<u8>,
    /// When it was fetched.
    pub fetched: UnixTime,
}

/// Remembers the last good key set of each issuer across a restart, so that a service that starts while an issuer is
/// down still knows its keys.
pub trait KeyArchive: Send + Sync {
    /// The last good key set of `issuer`.
    fn last_good(
        &self,
        issuer: &Issuer,
    ) -> BoxFuture<'_, Result<Option<ArchivedKeys>, StoreUnavailable>>;

    /// Keeps a key set in place of an earlier one. Durable when this returns.
    fn keep(
        &self,
        issuer: &Issuer,
        keys: ArchivedKeys,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>>;
}
