//! What is counted, and how it is told to who watches (Prometheus).
//!
//! Each room that has something to count is handed a handle of its own, which it knows nothing else of: [`StoreMetrics`],
//! [`ExchangeMetrics`], [`IssuerMetrics`], [`HttpMetrics`], [`TraceMetrics`]. Counting is some atomic additions. What is not an event but a
//! state, a [`Moment`], is asked for when somebody looks. `docs/metrics.md` says what each metric means.
//!
//! No label is a text that a caller chose, and none names a tenant: there are names of issuers from the configuration, and
//! words of this program.

mod exchange;
mod histogram;
mod moment;
mod outside;
mod process;
mod store;
mod text;

use std::fmt;
use std::sync::Arc;

pub use exchange::{ExchangeMetrics, Outcome};
pub use moment::{IssuerMoment, Moment};
pub use outside::{Handshake, HttpMetrics, IssuerMetrics, TraceMetrics};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
pub use store::{StoreFault, StoreMetrics};

/// What stands before the name of each of our metrics.
const PREFIX: &str = "countersign";

/// In which form metrics are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// `OpenMetrics` 1.0, for who asks for it.
    OpenMetrics,
}

impl Form {
    /// The media type of an answer in this form.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Everything that is counted.
pub struct Metrics {
    /// What the store counts.
    pub store: StoreMetrics,
    /// What exchanges count.
    pub exchanges: ExchangeMetrics,
    /// What fetches of issuers' keys count.
    pub issuers: IssuerMetrics,
    /// What connections and answers count.
    pub http: HttpMetrics,
    /// What traces count.
    pub traces: TraceMetrics,
    registry: Registry,
}

impl Metrics {
    /// Nothing is counted yet. `issuers` are the names of the issuers in the configuration.
    pub fn new(issuers: impl IntoIterator<Item = Arc<str>>) -> Self {
        let metrics = Self {
            store: StoreMetrics::default(),
            exchanges: ExchangeMetrics::new(issuers),
            issuers: IssuerMetrics::default(),
            http: HttpMetrics::default(),
            traces: TraceMetrics::default(),
            registry: Registry::with_prefix(PREFIX),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let version = ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let build = Info::new(vec![version]);
        let registry = &mut self.registry;
        registry.register("build", "Which version this is", build);
        self.exchanges.register(registry);
        self.store.register(registry);
        self.issuers.register(registry);
        self.http.register(registry);
        self.traces.register(registry);
        self
    }

    /// All metrics as text, with those of the moment.
    pub fn tell(&self, moment: &Moment, form: Form) -> String {
        let mut of_the_moment = Registry::with_prefix(PREFIX);
        moment.register(&mut of_the_moment);
        let mut of_the_process = Registry::default();
        process::register(&mut of_the_process);
        let mut told = String::new();
        // Writing into a text cannot fail.
        let _ = encode_registry(&mut told, &self.registry)
            .and_then(|()| encode_registry(&mut told, &of_the_moment))
            .and_then(|()| encode_registry(&mut told, &of_the_process))
            .and_then(|()| encode_eof(&mut told));
        match form {
            Form::OpenMetrics => told,
            Form::Prometheus => text::of_prometheus(&told),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
