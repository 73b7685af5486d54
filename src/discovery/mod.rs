//! The keys of issuers: the only room that asks them.
//!
//! [`KeyDirectory`] answers with the public keys that a registered issuer publishes under one name. What it knows is an
//! immutable snapshot per issuer, which nobody waits for; what it does not know it asks the issuer, at most once a
//! minute and never twice at a time.
//!
//! A change of what is believed is on record before it has an effect. What changes nothing needs no store: neither an
//! issuer that is down nor a store that is down costs a key that is known.

mod archived;
mod cache;
mod document;
mod entry;
mod fault;
mod fetch;
mod flight;
mod key_directory;
mod source;
mod status;

use futures_util::future::BoxFuture;

pub use fault::{KeyError, SetupFault};
pub use fetch::FetchSettings;
pub use key_directory::KeyDirectory;
pub use status::{Failure, IssuerStatus};

use crate::audit::Happening;
use crate::clock::UnixTime;
use crate::issuer::Issuer;
use crate::ledger::StoreUnavailable;

/// A key set as it was last fetched and found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedKeys {
    /// The body, and what the log says of it, in a form that is this room's own.
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

    /// Keeps a key set in place of an earlier one, in one commit with the event that says what changed by it, if
    /// anything did. Durable when this returns.
    fn keep(
        &self,
        issuer: &Issuer,
        keys: ArchivedKeys,
        change: Option<Happening>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>>;
}
