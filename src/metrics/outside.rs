//! What connections, answers and fetches of keys count.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::histogram::Histogram;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fetch {
    issuer: Arc<str>,
    result: &'static str,
}

/// What fetches of issuers' keys count. Clones count together; the default counts for nobody.
#[derive(Debug, Clone)]
pub struct IssuerMetrics {
    fetches: Family<Fetch, Counter>,
    took: Histogram,
}

impl Default for IssuerMetrics {
    fn default() -> Self {
        Self {
            fetches: Family::default(),
            took: Histogram::of_seconds(),
        }
    }
}

impl IssuerMetrics {
    /// Counts a try to fetch the keys of the issuer that the configuration calls `issuer`. `result` is `succeeded`, or a
    /// fixed code of what went wrong.
    pub fn fetched(&self, issuer: &Arc<str>, result: &'static str, took: Duration) {
        let issuer = issuer.clone();
        let labels = Fetch { issuer, result };
        self.fetches.get_or_create(&labels).inc();
        self.took.span(took);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "issuer_fetches",
            "Tries to fetch the keys of issuers, by issuer and result",
            self.fetches.clone(),
        );
        registry.register(
            "issuer_fetch_duration_seconds",
            "How long tries to fetch keys took",
            self.took.clone(),
        );
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

/// What traces count. Clones count together; the default counts for nobody.
#[derive(Debug, Clone)]
pub struct TraceMetrics(Family<Result, Counter>);

impl Default for TraceMetrics {
    fn default() -> Self {
        let spans = Family::<Result, Counter>::default();
        for result in ["sent", "lost"] {
            drop(spans.get_or_create(&Result { result }));
        }
        Self(spans)
    }
}

impl TraceMetrics {
    /// So many spans were sent to the collector; `taken` is whether it took them.
    pub fn sent(&self, spans: usize, taken: bool) {
        let result = if taken { "sent" } else { "lost" };
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        self.0.get_or_create(&Result { result }).inc_by(spans);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "trace_spans",
            "Spans of traces that were to be sent, by result",
            self.0.clone(),
        );
    }
}

/// The classes of answers (RFC 9110, section 15).
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What comes of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// TLS is spoken.
    Done,
    /// The client wants something else, or breaks off.
    Failed,
    /// It was not finished in time.
    TooSlow,
}

impl Handshake {
    const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::TooSlow];

    fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TooSlow => "too-slow",
        }
    }
}

/// What connections and answers count. Clones count together; the default counts for nobody.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    answers: Family<Status, Counter>,
    open: Gauge,
    turned_away: Counter,
    cut_off: Counter,
    rate_limited: Counter,
    handshakes: Family<Result, Counter>,
    certificates: Family<Result, Counter>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let answers = Family::<Status, Counter>::default();
        for status in CLASSES {
            drop(answers.get_or_create(&Status { status }));
        }
        let handshakes = Family::<Result, Counter>::default();
        for handshake in Handshake::ALL {
            let result = handshake.code();
            drop(handshakes.get_or_create(&Result { result }));
        }
        let certificates = Family::<Result, Counter>::default();
        for result in ["read", "refused"] {
            drop(certificates.get_or_create(&Result { result }));
        }
        Self {
            answers,
            open: Gauge::default(),
            turned_away: Counter::default(),
            cut_off: Counter::default(),
            rate_limited: Counter::default(),
            handshakes,
            certificates,
        }
    }
}

impl HttpMetrics {
    /// Counts an answer by its status.
    pub fn answered(&self, status: u16) {
        let class = usize::from(status / 100).wrapping_sub(1);
        if let Some(status) = CLASSES.get(class).copied() {
            self.answers.get_or_create(&Status { status }).inc();
        }
    }

    /// A connection is open from here on.
    pub fn opened(&self) {
        self.open.inc();
    }

    /// A connection that was open is not any more.
    pub fn closed(&self) {
        self.open.dec();
    }

    /// A connection was turned away, because its peer has its share.
    pub fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// A connection was ended on which nothing was asked for too long, or nobody read.
    pub fn cut_off(&self) {
        self.cut_off.inc();
    }

    /// A failure was answered 429: its address has none left.
    pub fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// Counts a handshake.
    pub fn handshake(&self, handshake: Handshake) {
        let result = handshake.code();
        self.handshakes.get_or_create(&Result { result }).inc();
    }

    /// The files of the certificate changed and were read again; `usable` is whether what is in them is used now.
    pub fn certificate_read(&self, usable: bool) {
        let result = if usable { "read" } else { "refused" };
        self.certificates.get_or_create(&Result { result }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_answers",
            "Answers to requests of any kind, by class of status",
            self.answers.clone(),
        );
        registry.register(
            "connections",
            "Connections that are open",
            self.open.clone(),
        );
        registry.register(
            "connections_turned_away",
            "Connections that were ended at once, because their peer had its share",
            self.turned_away.clone(),
        );
        registry.register(
            "connections_cut_off",
            "Connections that were ended because nothing was asked on them, or nobody read",
            self.cut_off.clone(),
        );
        registry.register(
            "rate_limited",
            "Failures that were answered 429, because their address had no budget left",
            self.rate_limited.clone(),
        );
        registry.register(
            "tls_handshakes",
            "Handshakes of TLS, by result",
            self.handshakes.clone(),
        );
        registry.register(
            "tls_certificate_reads",
            "How often a changed certificate was read, by result",
            self.certificates.clone(),
        );
    }
}
