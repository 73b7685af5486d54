//! The promise: a subject token spent and a decision recorded, in one durable commit.
//!
//! The words are those of the exchange, not of a database. Every implementation passes the same tests.

use futures_util::future::BoxFuture;

use crate::audit::{DecisionId, Record};
use crate::clock::{Seconds, UnixTime};
use crate::subject::{LEEWAY, SpentKey};

/// How long a spent token is remembered beyond its `exp` and the leeway, for clocks that differ between machines.
const CLOCKS_DIFFER: Seconds = Seconds(600);

/// Until when a token that expires at `expires` must be remembered once it is spent.
pub fn remember_until(expires: UnixTime) -> UnixTime {
    expires.plus(LEEWAY).plus(CLOCKS_DIFFER)
}

/// The wish to use a subject token once more.
#[derive(Debug, Clone, Copy)]
pub struct Spend {
    /// What the token is remembered by.
    pub key: SpentKey,
    /// How often it may be used in all, at least 1.
    pub max_uses: u32,
    /// When it may be forgotten, see [`remember_until`].
    pub until: UnixTime,
}

/// What came of spending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// This was the n-th use, counted from 1; it is on disk together with its record.
    Nth(u32),
    /// The token had been used as often as it may; nothing was written.
    Exhausted,
}

/// A denial to be recorded once.
#[derive(Debug, Clone)]
pub struct Denial {
    /// What makes two denials the same.
    pub key: DenialKey,
    /// When the key may be forgotten. The record itself stays.
    pub until: UnixTime,
    /// The record, under whose name the caller is answered.
    pub record: Record,
}

/// What makes two denials the same: the token, the reason and the project asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DenialKey([u8; 32]);

impl DenialKey {
    /// The key of a denial of `token` for `reason` where `audience` was asked for.
    pub fn new(token: &SpentKey, reason: &str, audience: &str) -> Self {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for part in [
            token.as_bytes().as_slice(),
            reason.as_bytes(),
            audience.as_bytes(),
        ] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Self(key)
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Denials that were counted and not recorded one by one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unrecorded {
    /// The issuer's name in the configuration, or `-`. Never a text that a caller chose.
    pub issuer: String,
    /// The reason's code.
    pub reason: &'static str,
}

/// The durable memory of spent subject tokens and of every decision.
pub trait Ledger: Send + Sync {
    /// Uses a subject token once more and records the exchange, in one commit: both are on disk before this answers
    /// [`Spent::Nth`], or neither ever is. Of any number of calls with one key, also across a restart, `max_uses`
    /// succeed. The record's `use_number` is set here.
    fn spend(&self, spend: Spend, record: Record)
    -> BoxFuture<'_, Result<Spent, StoreUnavailable>>;

    /// Records a denial, unless one with the same key is on record: then nothing is written, and the earlier record's
    /// name is answered. What is answered is on disk.
    fn record_denial(&self, denial: Denial) -> BoxFuture<'_, Result<DecisionId, StoreUnavailable>>;

    /// The record of a denial with this key, if there is one.
    fn denial_on_record(
        &self,
        key: DenialKey,
    ) -> BoxFuture<'_, Result<Option<DecisionId>, StoreUnavailable>>;

    /// Counts one denial that is not recorded by itself, towards the aggregate of its hour. Costs no commit of its own:
    /// the count reaches the disk with the next commit, or within ten seconds, and a crash may lose it.
    fn count_denial(&self, what: Unrecorded, at: UnixTime);

    /// The record of a decision.
    fn decision(&self, id: DecisionId) -> BoxFuture<'_, Result<Option<Record>, StoreUnavailable>>;

    /// Whether the store can write at this moment.
    fn check(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>>;
}

/// The store cannot promise anything at this moment. Nothing was acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store is unavailable: {0}")]
pub struct StoreUnavailable(pub String);
