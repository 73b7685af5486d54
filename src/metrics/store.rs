//! What a store counts while it commits.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::histogram::Histogram;

/// Why a store could not do what it was asked. A name for dashboards and alerts, never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// As many requests wait as may; the next one was turned away.
    QueueFull,
    /// A caller was answered before the commit was, which may still succeed.
    TooSlow,
    /// A disk refused to write, is full, or lost something.
    Disk,
    /// There is no connection to the server, or it broke.
    Connection,
    /// The server took back a transaction.
    Aborted,
    /// What is in the store is not what was written there, or is older than it was.
    Damaged,
    /// Anything else.
    Other,
}

impl StoreFault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::QueueFull,
        Self::TooSlow,
        Self::Disk,
        Self::Connection,
        Self::Aborted,
        Self::Damaged,
        Self::Other,
    ];

    /// The value of the label `kind`.
    pub fn code(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::TooSlow => "too-slow",
            Self::Disk => "disk",
            Self::Connection => "connection",
            Self::Aborted => "aborted",
            Self::Damaged => "damaged",
            Self::Other => "other",
        }
    }
}

/// What a store counts. Clones count together; the default counts for nobody. Each call is a few atomic additions.
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    commit: Histogram,
    changes: Histogram,
    waiting: Gauge,
    faults: Family<Kind, Counter>,
    sent_again: Counter<u64, AtomicU64>,
    decided_again: Counter<u64, AtomicU64>,
    connections: Family<State, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

impl Default for Counted {
    fn default() -> Self {
        let faults = Family::<Kind, Counter>::default();
        for fault in StoreFault::ALL {
            // A counter that is there from the start, at zero, has a rate with its first event.
            drop(faults.get_or_create(&Kind { kind: fault.code() }));
        }
        Self {
            commit: Histogram::of_seconds(),
            changes: Histogram::of_changes(),
            waiting: Gauge::default(),
            faults,
            sent_again: Counter::default(),
            decided_again: Counter::default(),
            connections: Family::default(),
        }
    }
}

impl StoreMetrics {
    /// So many changes wait for a commit at this moment. A store may count those in the one that is under way too.
    pub fn waiting(&self, changes: usize) {
        self.0
            .waiting
            .set(i64::try_from(changes).unwrap_or(i64::MAX));
    }

    /// A commit of so many changes was acknowledged. `took` is from the moment at which it was begun to be decided, without
    /// the time for which its changes waited in the queue.
    pub fn committed(&self, changes: usize, took: Duration) {
        self.0.commit.span(took);
        self.0.changes.number(changes);
    }

    /// Something failed: a commit, a read, or a change that was turned away.
    pub fn failed(&self, fault: StoreFault) {
        self.0
            .faults
            .get_or_create(&Kind { kind: fault.code() })
            .inc();
    }

    /// A commit of which it was not known whether it had succeeded was sent again.
    pub fn sent_again(&self) {
        self.0.sent_again.inc();
    }

    /// So many changes were decided on what another instance had changed meanwhile, and are decided again.
    pub fn decided_again(&self, changes: usize) {
        let changes = u64::try_from(changes).unwrap_or(u64::MAX);
        self.0.decided_again.inc_by(changes);
    }

    /// So many connections to the server are open at this moment, of which so many do nothing. A store without a server
    /// never says so.
    pub fn connections(&self, open: usize, idle: usize) {
        let busy = open.saturating_sub(idle);
        for (state, number) in [("idle", idle), ("busy", busy)] {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            self.0
                .connections
                .get_or_create(&State { state })
                .set(number);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let counted = &*self.0;
        registry.register(
            "store_commit_duration_seconds",
            "How long commits took, from their first decision to the acknowledgement",
            counted.commit.clone(),
        );
        registry.register(
            "store_commit_changes",
            "How many changes a commit had",
            counted.changes.clone(),
        );
        registry.register(
            "store_waiting_changes",
            "How many changes wait for a commit",
            counted.waiting.clone(),
        );
        registry.register(
            "store_errors",
            "What the store could not do, by kind",
            counted.faults.clone(),
        );
        registry.register(
            "store_commits_sent_again",
            "Commits of unknown outcome that were sent again",
            counted.sent_again.clone(),
        );
        registry.register(
            "store_changes_decided_again",
            "Changes that another instance was ahead of",
            counted.decided_again.clone(),
        );
        registry.register(
            "store_connections",
            "Connections to the database server, by state",
            counted.connections.clone(),
        );
    }
}
