//! How long and for how many clients we wait.

use std::time::Duration;

/// Who is slower than this, or one of more than this, is not waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a connection's first request.
    pub head: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// How long a connection may rest between two requests.
    pub rest: Duration,
    /// How long the handshake of TLS may take.
    pub handshake: Duration,
    /// How long a failure beyond the limit of its address waits for its answer. This makes one request a second of each
    /// connection on which a flood waits for answers.
    pub hold_back: Duration,
    /// How many of them wait at the same time. Those beyond are answered at once, and their connection is closed.
    pub most_held_back: usize,
    /// How many connections may be open, at least 2. Those beyond wait in the kernel. No peer but a trusted proxy holds
    /// more than half of them.
    pub connections: usize,
    /// How many may read a small part of the log at the same time: a checkpoint, a tile, a proof, an entry.
    pub audit_looks: usize,
    /// How many may search it at the same time.
    pub audit_searches: usize,
    /// How many exports of it may be on their way at the same time.
    pub audit_exports: usize,
    /// How long somebody waits until there is a place for them to read the log.
    pub audit_wait: Duration,
}

impl Patience {
    /// How long a connection may be open without a request that is worked on, whatever happens on it meanwhile.
    pub(super) fn between_requests(&self) -> Duration {
        self.rest + self.head
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            rest: Duration::from_secs(5),
            handshake: Duration::from_secs(5),
            hold_back: Duration::from_secs(1),
            most_held_back: 1024,
            connections: 10_000,
            audit_looks: 16,
            audit_searches: 4,
            audit_exports: 4,
            audit_wait: Duration::from_secs(2),
        }
    }
}
