//! The stores: they keep the promises of `ledger`, `discovery`, `project_token` and `directory`, and are the only files
//! that know a database.

mod copy;
mod counts;
mod embedded;
mod postgres;
mod project_id;

use std::sync::Arc;

use crate::directory::{FirstLoads, PolicyHistory, ProjectIds};
use crate::discovery::KeyArchive;
use crate::ledger::{AuditLog, Changes, Instances, Ledger};
use crate::project_token::SigningKeyStore;

pub use self::copy::{CopyError, Copying, StorePlace, Summary, copy_store};
#[doc(hidden)]
pub use self::embedded::Step;
pub use self::embedded::{EmbeddedStore, OpenError, Options};
#[doc(hidden)]
pub use self::postgres::Mishap;
pub use self::postgres::{
    InvalidSettings, PostgresError, PostgresOptions, PostgresSettings, PostgresStore,
};

/// How many octets of the digest of a token or a denial a store keeps.
const KEY: usize = 20;

/// Everything that a service keeps, wherever it keeps it.
pub trait Store:
    Ledger
    + AuditLog
    + KeyArchive
    + SigningKeyStore
    + ProjectIds
    + FirstLoads
    + PolicyHistory
    + Changes
    + Instances
    + Send
    + Sync
    + 'static
{
    /// Closes the store: what was accepted is committed, and every later call answers
    /// [`StoreUnavailable`](crate::ledger::StoreUnavailable). Blocks until that is done.
    fn close(&self);
}

/// A store of either kind.
pub type SharedStore = Arc<dyn Store>;

impl Store for EmbeddedStore {
    fn close(&self) {
        Self::close(self);
    }
}

impl Store for PostgresStore {
    fn close(&self) {
        Self::close(self);
    }
}
