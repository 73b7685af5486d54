//! The promise: a subject token spent and a decision recorded, in one durable commit.
//!
//! The words are those of the exchange, not of a database. Every implementation passes the same tests.

mod instances;
mod log;
pub mod pins;

pub use instances::{Changes, Following, Instances, Presence, SEEN_WITHIN, Topic};
pub use log::{
    AuditLog, BEHIND_AT_MOST, Kept, LARGEST_PAGE, LogFault, Page, TreeHead, newest,
    size_of_checkpoint,
};

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;

use serde::{Deserialize, Serialize};

use crate::audit::{DecisionId, Event, Record};
use crate::clock::{HOUR, Seconds, UnixTime};
use crate::digest::sha256_of_parts;
use crate::subject::{LEEWAY, SpentKey};
use crate::trust::{NameState, Names, PinWish};

/// How long a spent token is remembered beyond its `exp` and the leeway, for clocks that differ between machines.
const CLOCKS_DIFFER: Seconds = Seconds(600);

/// Until when a token that expires at `expires` must be remembered once it is spent.
pub fn remember_until(expires: UnixTime) -> UnixTime {
    expires.plus(LEEWAY).plus(CLOCKS_DIFFER)
}

/// The wish to use a subject token once more.
#[derive(Debug, Clone)]
pub struct Spend {
    /// What the token is remembered by.
    pub key: SpentKey,
    /// How often it may be used in all, at least 1.
    pub max_uses: u32,
    /// When it may be forgotten, see [`remember_until`].
    pub until: UnixTime,
    /// The names that let this token in, with the ids that it has for them.
    pub pins: Vec<PinWish>,
}

/// What came of spending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spent {
    /// It is on disk together with its record.
    Nth {
        /// Which use of the token this was, counted from 1.
        number: u32,
        /// The number of the record in the log, from 0.
        index: u64,
    },
    /// The token had been used as often as it may; nothing was written.
    Exhausted,
    /// Other ids are pinned to these names; nothing was written, and the token may be used as often as before.
    IdentityChanged(Names),
}

impl Spent {
    /// Which use of the token it was, if it was one.
    pub fn number(&self) -> Option<u32> {
        match self {
            Self::Nth { number, .. } => Some(*number),
            Self::Exhausted | Self::IdentityChanged(_) => None,
        }
    }
}

/// Names that a policy gives without ids, and what is remembered of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedNames {
    /// The names.
    pub names: Names,
    /// When they were first loaded, and what is pinned to them.
    pub state: NameState,
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

/// What makes two denials the same: the token, the reason, the project asked for and the policy that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DenialKey([u8; 32]);

impl DenialKey {
    /// The key of a denial of `token` for `reason` where `audience` was asked for and the policy with the digest `policy`
    /// answered. Only the operator can change that one: a caller who tries again after a change is answered the name of a
    /// record of the new policy, and one who varies the request gets no more records.
    pub fn new(token: &SpentKey, reason: &str, audience: &str, policy: Option<&str>) -> Self {
        let parts = [
            token.as_bytes().as_slice(),
            reason.as_bytes(),
            audience.as_bytes(),
            policy.unwrap_or_default().as_bytes(),
        ];
        Self(sha256_of_parts(&parts))
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

/// The durable memory of spent subject tokens, of every decision, and of the ids that belong to names.
pub trait Ledger: Send + Sync {
    /// Uses a subject token once more and records the exchange, in one commit: both are on disk before this answers
    /// [`Spent::Nth`], or neither ever is. Of any number of calls with one key, also across a restart, `max_uses`
    /// succeed. The record's `use_number` is set here.
    ///
    /// A clock that ran ahead and was put back may have had spent tokens forgotten too early. So nothing is promised for
    /// a token that would be remembered no longer than one that was forgotten already: it may be that very one.
    ///
    /// The same commit compares each of `pins` with what is pinned to its names, before uses are counted, and pins the
    /// ids that are not pinned yet, each with an [`Event`] of its own. So of any number of first exchanges at once that
    /// differ in their ids, those of one identity alone succeed. A pinned id that the token does not have counts as
    /// another one. A wish without ids marks its names as used: they no longer expire, and the first id that comes is
    /// pinned.
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

    /// What is remembered of `names`. Those of which nothing is known are left out.
    fn name_states(
        &self,
        names: Vec<Names>,
    ) -> BoxFuture<'_, Result<HashMap<Names, NameState>, StoreUnavailable>>;

    /// All names that are remembered of `project`, or of every project, sorted.
    fn pins(
        &self,
        project: Option<String>,
    ) -> BoxFuture<'_, Result<Vec<RememberedNames>, StoreUnavailable>>;

    /// Forgets the ids that are pinned to `names`, and lets the time in which they must be used begin at `now`. The
    /// commit holds an [`Event`] that says `by` whom, which is answered; `None` if nothing is known of these names.
    fn reset_pin(
        &self,
        names: Names,
        by: String,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<Option<Event>, StoreUnavailable>>;

    /// Whether the store can write at this moment.
    fn check(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>>;
}

/// The store cannot promise anything at this moment. Nothing was acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store is unavailable: {0}")]
pub struct StoreUnavailable(pub String);

/// How many denials of callers who proved nothing may still be recorded one by one, so that records of denials cannot
/// be used to fill a disk.
///
/// Each issuer and tenant has so many an hour. Hours are those of the clock, not sliding: one number for each tenant
/// does, all of them are forgotten at once, and at worst twice as many are recorded around the turn of an hour. The
/// allowance starts anew with the process, which an operator restarts and a caller does not.
pub struct DenialAllowance {
    an_hour: u32,
    buckets: usize,
    hasher: RandomState,
    window: Mutex<Window>,
}

/// The hour that is counted, and what was taken in it.
struct Window {
    hour: UnixTime,
    taken: HashMap<u64, u32>,
}

/// How many tenants are counted by themselves. Those beyond share the allowance of one tenant for each issuer, so that
/// a flood of invented tenants buys nothing.
const MOST_TENANTS: usize = 10_000;

impl DenialAllowance {
    /// An allowance of `an_hour` denials for each issuer and tenant.
    pub fn new(an_hour: u32) -> Self {
        Self::with_buckets(an_hour, MOST_TENANTS)
    }

    fn with_buckets(an_hour: u32, buckets: usize) -> Self {
        Self {
            an_hour,
            buckets,
            hasher: RandomState::new(),
            window: Mutex::new(Window {
                hour: UnixTime::EPOCH,
                taken: HashMap::new(),
            }),
        }
    }

    /// Takes one, if there is one left: then the denial may be recorded. `issuer` is a name from the configuration, or
    /// `-`; `tenant` may be any text, also one that a caller chose.
    pub fn take(&self, issuer: &str, tenant: &str, now: UnixTime) -> bool {
        // A tenant's name may be long, so its place is kept by a keyed hash. Two that meet would share an allowance.
        let own = self.hasher.hash_one((issuer, Some(tenant)));
        let shared = self.hasher.hash_one((issuer, None::<&str>));
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.turn_to(now.hour());
        let has_own = window.taken.contains_key(&own) || window.taken.len() < self.buckets;
        let place = if has_own { own } else { shared };
        let taken = window.taken.entry(place).or_default();
        let left = *taken < self.an_hour;
        *taken += u32::from(left);
        left
    }
}

impl Default for DenialAllowance {
    /// Sixty an hour.
    fn default() -> Self {
        Self::new(60)
    }
}

impl fmt::Debug for DenialAllowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DenialAllowance({} an hour)", self.an_hour)
    }
}

impl Window {
    /// Begins anew if `hour` is another one. The hour before is not: requests that cross the turn of an hour arrive in
    /// any order. A clock that was put back further is believed.
    fn turn_to(&mut self, hour: UnixTime) {
        if hour > self.hour || hour < self.hour.minus(HOUR) {
            self.hour = hour;
            self.taken = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> UnixTime {
        UnixTime::from_seconds(1_795_003_200)
    }

    fn granted(allowance: &DenialAllowance, tenant: &str, now: UnixTime) -> usize {
        let take = |_: &i32| allowance.take("github", tenant, now);
        (0..200).filter(take).count()
    }

    #[test]
    fn a_tenant_has_sixty_recorded_denials_an_hour() {
        let allowance = DenialAllowance::default();
        assert_eq!(granted(&allowance, "acme", noon()), 60);
        assert_eq!(granted(&allowance, "acme", noon().plus(Seconds(3599))), 0);
        assert_eq!(granted(&allowance, "acme", noon().plus(Seconds(3600))), 60);
    }

    #[test]
    fn tenants_and_issuers_do_not_use_up_each_other() {
        let allowance = DenialAllowance::new(1);
        assert!(allowance.take("github", "acme", noon()));
        assert!(allowance.take("github", "bolt", noon()));
        assert!(allowance.take("gitlab", "acme", noon()));
        assert!(!allowance.take("github", "acme", noon()));
    }

    #[test]
    fn a_flood_of_invented_tenants_buys_the_allowance_of_one() {
        let allowance = DenialAllowance::with_buckets(2, 10);
        let invented = |n: &u32| allowance.take("github", &n.to_string(), noon());
        assert_eq!((0..100_000).filter(invented).count(), 10 + 2);
        assert!(allowance.take("gitlab", "acme", noon()), "another issuer");
    }

    #[test]
    fn requests_that_cross_the_turn_of_an_hour_in_any_order_buy_nothing() {
        let allowance = DenialAllowance::new(1);
        let before = noon().minus(Seconds(1));
        let crossing = [noon(), before, noon(), before];
        let granted = |now: &&UnixTime| allowance.take("github", "acme", **now);
        assert_eq!(crossing.iter().filter(granted).count(), 1);
    }

    #[test]
    fn a_clock_that_was_put_back_does_not_close_the_record_for_long() {
        let allowance = DenialAllowance::new(1);
        assert!(allowance.take("github", "acme", noon().plus(Seconds(86_400))));
        assert!(allowance.take("github", "acme", noon()));
    }
}
