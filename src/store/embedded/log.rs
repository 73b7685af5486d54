//! What the promises of the log read and write.

use std::collections::HashMap;
use std::ops::Range;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::EmbeddedStore;
use crate::audit::tree::Hash;
use crate::audit::{Filter, Happening, LoggedEntry};
use crate::clock::UnixTime;
use crate::directory::{OnRecord, PolicyChange, PolicyHistory};
use crate::ledger::{AuditLog, Kept, LogFault, Page, StoreUnavailable, TreeHead};

fn not_yet<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreUnavailable>> {
    ready(Err(StoreUnavailable("not yet".into()))).boxed()
}

impl AuditLog for EmbeddedStore {
    fn append(
        &self,
        _events: Vec<Happening>,
        _now: UnixTime,
    ) -> BoxFuture<'_, Result<u64, StoreUnavailable>> {
        not_yet()
    }

    fn tree(&self) -> BoxFuture<'_, Result<TreeHead, StoreUnavailable>> {
        not_yet()
    }

    fn hashes(
        &self,
        _ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>> {
        not_yet()
    }

    fn tile_hashes(
        &self,
        _level: u8,
        _range: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>> {
        not_yet()
    }

    fn entries(
        &self,
        _range: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<LoggedEntry>, StoreUnavailable>> {
        not_yet()
    }

    fn search(
        &self,
        _filter: Filter,
        _before: Option<u64>,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreUnavailable>> {
        not_yet()
    }

    fn remove_personal_values(
        &self,
        _before: UnixTime,
        _now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        not_yet()
    }

    fn fault(&self) -> Option<LogFault> {
        None
    }

    fn checkpoint_key(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        not_yet()
    }

    fn keep_checkpoint_key(
        &self,
        _sealed: Vec<u8>,
        _event: Happening,
        _now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        not_yet()
    }

    fn checkpoint(&self, _which: Kept) -> BoxFuture<'_, Result<Option<String>, StoreUnavailable>> {
        not_yet()
    }

    fn keep_checkpoint(
        &self,
        _which: Kept,
        _note: String,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        not_yet()
    }
}

impl PolicyHistory for EmbeddedStore {
    fn policies_on_record(
        &self,
    ) -> BoxFuture<'_, Result<HashMap<String, OnRecord>, StoreUnavailable>> {
        not_yet()
    }

    fn record_policies(
        &self,
        _changes: Vec<PolicyChange>,
        _now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        not_yet()
    }

    fn policy_text(
        &self,
        _digest: String,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        not_yet()
    }
}
