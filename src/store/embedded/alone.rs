//! What instances tell each other, where there is only one: a data folder is open in one process at a time.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::EmbeddedStore;
use crate::ledger::{Changes, Following, Instances, Presence, StoreUnavailable, Topic};

impl Changes for EmbeddedStore {
    fn following(&self, _topic: Topic) -> Following {
        Following::alone()
    }
}

impl Instances for EmbeddedStore {
    fn meet(&self, _myself: Presence) -> BoxFuture<'_, Result<Vec<Presence>, StoreUnavailable>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        ready(Ok(())).boxed()
    }
}
