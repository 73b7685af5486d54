//! Deleting what leaves do not hold, when it has been kept as long as it should.

use super::super::EmbeddedStore;
use crate::clock::UnixTime;
use crate::ledger::StoreUnavailable;

pub(super) async fn remove(
    _store: &EmbeddedStore,
    _before: UnixTime,
    _now: UnixTime,
) -> Result<bool, StoreUnavailable> {
    Err(StoreUnavailable("not yet".into()))
}
