//! Names without ids: read for many exchanges at once, compared in the commit that spends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::FutureExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::connect::Connector;
use super::fault::Fault;
use super::{look_up, read_from};
use crate::digest::sha256;
use crate::ledger::StoreUnavailable;
use crate::ledger::pins::{self, Pinned, PinnedFor};
use crate::trust::{NameState, Names, PinWish};

/// What names are kept under: the SHA-256 of their JSON.
pub(super) type NamesId = [u8; 32];

/// Names as they are remembered: the version, and the JSON of what is remembered of them, if anything is.
pub(super) type Versions = HashMap<NamesId, (i64, Option<String>)>;

/// How many names are kept at hand.
const MOST_AT_HAND: usize = 50_000;

/// The id of names, and their JSON.
pub(super) fn id_of(names: &Names) -> Result<(NamesId, String), Fault> {
    let json = serde_json::to_string(names)?;
    Ok((sha256(json.as_bytes()), json))
}

/// Reads what is remembered. A text that cannot be read lets nobody in.
pub(super) fn read_state(json: &str) -> Result<NameState, Fault> {
    let damaged = |error| Fault::Refused(format!("a pin is damaged: {error}"));
    serde_json::from_str(json).map_err(damaged)
}

/// What is to be remembered, as it is kept.
pub(super) fn write_state(state: &NameState) -> Result<String, Fault> {
    Ok(serde_json::to_string(state)?)
}

/// What the wishes for a decision pin, given what is remembered.
pub(super) fn compare(
    wishes: &[PinWish],
    decision: PinnedFor,
    versions: &Versions,
) -> Result<Result<Vec<Pinned>, Names>, Fault> {
    pins::compare(wishes, decision, |names| {
        let (id, _) = id_of(names)?;
        let state = versions.get(&id).and_then(|(_, state)| state.as_deref());
        state.map(read_state).transpose()
    })
}

/// The versions of names as they were last read. An exchange reads them anyway, so its commit need not; one that is
/// outdated is found out there.
#[derive(Default)]
pub(super) struct AtHand(Mutex<Versions>);

impl AtHand {
    /// Those of `ids` that are at hand.
    pub(super) fn of(&self, ids: impl Iterator<Item = NamesId>) -> Versions {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ids.filter_map(|id| Some((id, all.get(&id)?.clone())));
        known.collect()
    }

    /// Takes in what was read, unless something newer is at hand.
    pub(super) fn learn(&self, read: &Versions) {
        if read.is_empty() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > MOST_AT_HAND {
            all.clear();
        }
        for (id, (version, state)) in read {
            let known = all.get(id).map(|(known, _)| *known);
            if known.is_none_or(|known| known < *version) {
                all.insert(*id, (*version, state.clone()));
            }
        }
    }
}

/// Who wants to know what is remembered of names.
pub(super) struct Asked {
    pub(super) ids: Vec<NamesId>,
    pub(super) answer: oneshot::Sender<Result<Versions, StoreUnavailable>>,
}

/// Answers those who ask, all that wait at a moment with one query, until the store is closed.
pub(super) async fn answer_all(
    pool: Pool,
    connector: Arc<Connector>,
    at_hand: Arc<AtHand>,
    patience: Duration,
    mut asked: UnboundedReceiver<Asked>,
) {
    while let Some(first) = asked.recv().await {
        let mut all = vec![first];
        while let Ok(next) = asked.try_recv() {
            all.push(next);
        }
        all.retain(|asked| !asked.answer.is_closed());
        let mut ids: Vec<NamesId> = all.iter().flat_map(|asked| &asked.ids).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let read = read_from(&pool, &connector, patience, |client| {
            async move { look_up::names(client, &ids).await }.boxed()
        });
        let read = read.await;
        if let Ok(read) = &read {
            at_hand.learn(read);
        }
        for Asked { ids, answer } in all {
            let own = read.as_ref().map(|read| {
                let known = ids
                    .iter()
                    .filter_map(|id| Some((*id, read.get(id)?.clone())));
                known.collect()
            });
            let _ = answer.send(own.map_err(Clone::clone));
        }
    }
}
