//! What every instance does for the log while it runs: it packs what is not packed, and looks whether all is as it was
//! written.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

use super::super::connect::Connector;
use super::super::fault::Fault;
use super::super::status::Status;
use super::super::{PostgresStore, given_up, leased};
use super::batches::end;
use super::pack::{make_room, pack_next};
use super::{CHUNK, Log};
use crate::audit::tree::TILE;
use crate::ledger::StoreUnavailable;

/// How often it is looked whether there is a chunk to pack.
const PACK_EVERY: Duration = Duration::from_secs(1);

/// How long to rest between two blocks of 256 entries when the log is read to see whether it is as it was written.
const REST: Duration = Duration::from_millis(250);

/// How long to rest after all of it was, or while nothing can be read.
const LONG_REST: Duration = Duration::from_secs(60);

/// How long one step may take. The server has limits of its own; this one is for the way to it.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// What keeps the log.
#[derive(Clone)]
pub(in super::super) struct Keeper {
    pub(in super::super) pool: Pool,
    pub(in super::super) connector: Arc<Connector>,
    pub(in super::super) status: Arc<Status>,
    pub(in super::super) log: Arc<Log>,
}

impl Keeper {
    /// Starts it, in the runtime of the store, with which it ends.
    pub(in super::super) fn start(self, runtime: &tokio::runtime::Handle) {
        let packing = self.clone();
        runtime.spawn(async move { packing.pack_forever().await });
        runtime.spawn(async move { self.look_forever().await });
    }

    async fn pack_forever(&self) {
        let mut failed = false;
        while !self.pool.is_closed() {
            if self.status.usable().is_ok() {
                let packed = self.pack().await.and(self.make_room().await);
                if let Err(error) = &packed
                    && !failed
                {
                    tracing::warn!(%error, "the log could not be packed; it is tried again");
                }
                failed = packed.is_err();
            }
            sleep(PACK_EVERY).await;
        }
    }

    /// Packs every chunk that is full and that nobody else is at. Answers how many.
    pub(super) async fn pack(&self) -> Result<u64, StoreUnavailable> {
        let mut packed = 0;
        while self
            .step(|client, log| {
                async move {
                    let packed = pack_next(client).await;
                    log.looked(&*client, packed).await
                }
                .boxed()
            })
            .await?
        {
            packed += 1;
        }
        Ok(packed)
    }

    /// Makes the next part of the log, if it ends in the last there is.
    pub(super) async fn make_room(&self) -> Result<(), StoreUnavailable> {
        self.step(|client, _| make_room(client).boxed()).await
    }

    async fn look_forever(&self) {
        while self
            .step(|client, log| log.look_at_end(client).boxed())
            .await
            .is_err()
        {
            sleep(PACK_EVERY).await;
        }
        let mut block: Option<u64> = None;
        while !self.pool.is_closed() {
            let looked = if self.log.fault.is_own() {
                // There is nothing to be found beside the first.
                Ok(None)
            } else {
                self.look_at(block).await
            };
            let rest = match looked {
                Ok(Some(next)) => {
                    block = Some(next);
                    REST
                }
                Ok(None) => {
                    block = Some(0);
                    LONG_REST
                }
                Err(error) => {
                    tracing::debug!(%error, "the log could not be looked at");
                    LONG_REST
                }
            };
            sleep(rest).await;
        }
    }

    async fn look_at_end(&self) -> Result<(), StoreUnavailable> {
        self.step(|client, log| log.look_at_end(client).boxed())
            .await
    }

    /// Looks at a block, or at any if none is given, and answers the next one; `None` behind the last.
    pub(super) async fn look_at(
        &self,
        block: Option<u64>,
    ) -> Result<Option<u64>, StoreUnavailable> {
        self.step(move |client, log| {
            async move {
                let blocks = end(&*client).await?.size.div_ceil(TILE);
                let block = block.unwrap_or_else(|| anywhere(blocks));
                if block >= blocks {
                    return Ok(None);
                }
                log.look_at(client, block).await?;
                Ok(Some(block + 1))
            }
            .boxed()
        })
        .await
    }

    /// One step, on a connection of the pool.
    async fn step<T>(
        &self,
        step: impl for<'a> FnOnce(&'a mut Object, &'a Log) -> BoxFuture<'a, Result<T, Fault>>,
    ) -> Result<T, StoreUnavailable> {
        let mut client = leased(&self.pool, &self.connector).await?;
        let done = timeout(STEP_LIMIT, step(&mut client, &self.log)).await;
        let done = done.unwrap_or_else(|_| Err(Fault::Lost("there is no answer".into())));
        done.map_err(|fault| given_up(client, &self.connector, fault))
    }
}

/// A block to begin with, the first of a chunk: no two instances need to look at the same.
fn anywhere(blocks: u64) -> u64 {
    let whole = CHUNK / TILE;
    let random = u64::from_le_bytes(
        *uuid::Uuid::new_v4()
            .as_bytes()
            .first_chunk()
            .unwrap_or(&[0; 8]),
    );
    random.checked_rem(blocks.div_ceil(whole)).unwrap_or(0) * whole
}

impl PostgresStore {
    /// Packs what can be packed, now. Answers how many chunks.
    #[doc(hidden)]
    pub fn pack(&self) -> BoxFuture<'_, Result<u64, StoreUnavailable>> {
        let keeper = self.keeper();
        self.run(async move { keeper.pack().await })
    }

    /// Looks at all of the log, now. What is damaged is a fault after that.
    #[doc(hidden)]
    pub fn look_through(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let keeper = self.keeper();
        self.run(async move {
            let mut block = Some(0);
            while let Some(next) = block {
                block = keeper.look_at(Some(next)).await?;
            }
            Ok(())
        })
    }

    /// Looks at the end of the log, as it is done when a store is opened, and at the place of a fault that was noted.
    #[doc(hidden)]
    pub fn look_at_end(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let keeper = self.keeper();
        self.run(async move { keeper.look_at_end().await })
    }

    /// Makes the next part of the log, now, if it ends in the last there is.
    #[doc(hidden)]
    pub fn make_room(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let keeper = self.keeper();
        self.run(async move { keeper.make_room().await })
    }

    fn keeper(&self) -> Keeper {
        Keeper {
            pool: self.0.pool.clone(),
            connector: self.0.connector.clone(),
            status: self.0.status.clone(),
            log: self.0.log.clone(),
        }
    }
}
