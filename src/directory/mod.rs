//! Projects: which there are, what they are called, and what their policies say now.

use futures_util::future::BoxFuture;

use crate::ledger::StoreUnavailable;
use crate::trust::ProjectPath;

/// Binds each project's path to a short text id, once and for ever.
pub trait ProjectIds: Send + Sync {
    /// The ids of `paths`, in their order. A path that has none is given a new one; an id is never given to another
    /// path. Durable when this returns.
    fn ids_of(
        &self,
        paths: Vec<ProjectPath>,
    ) -> BoxFuture<'_, Result<Vec<String>, StoreUnavailable>>;
}
