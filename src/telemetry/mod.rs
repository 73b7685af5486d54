//! Traces of exchanges, sent to a collector by OTLP over HTTP where the configuration names one.
//!
//! An exchange is a trace of the steps that the story has. A step is a span under `step!`; without a collector that
//! costs a look at a flag. With one, spans go into a queue that a thread of its own sends: if the collector is down or
//! slow, the queue is full and spans are lost, and nobody waits. In a span there is no token, no claim and nothing of a
//! person: names of steps, what came of them, the issuer's name in the configuration and the decision's id.

mod headers;
mod sampling;
mod sending;

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};

pub use headers::{InvalidHeaders, read_headers};

use crate::metrics::TraceMetrics;
use sampling::ByRatio;
use sending::Counting;

/// What is traced stands under this target, so that the log need not look at it.
pub const TARGET: &str = "countersign::step";

/// How long a collector may take to take a batch of spans.
const LONGEST_SENDING: Duration = Duration::from_secs(5);

/// How long the end of the service waits until what is in the queue is sent.
const LONGEST_GOODBYE: Duration = Duration::from_secs(2);

/// A step of an exchange: a span.
macro_rules! step {
    ($name:literal) => {
        tracing::info_span!(target: $crate::telemetry::TARGET, $name)
    };
}
pub(crate) use step;

/// The span of a whole exchange. `traceparent` is the header of the request (W3C Trace Context, section 3.2): its trace
/// goes on with this exchange. Whatever is wrong with it, the exchange begins a trace of its own.
pub fn exchange(traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "exchange",
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.response.status_code = tracing::field::Empty,
        countersign.outcome = tracing::field::Empty,
        countersign.reason = tracing::field::Empty,
        countersign.issuer = tracing::field::Empty,
        countersign.decision_id = tracing::field::Empty,
    );
    if let Some(traceparent) = traceparent.filter(|_| !span.is_disabled()) {
        let theirs = TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &Header(traceparent));
        // Without a layer for traces there is nothing to set.
        let _ = span.set_parent(theirs);
    }
    span
}

/// What came of an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Came<'a> {
    /// The status of the answer.
    pub status: u16,
    /// `allowed`, `denied` or `failed`.
    pub outcome: &'static str,
    /// The reason's code, if no token was issued.
    pub reason: Option<&'static str>,
    /// The issuer's name in the configuration.
    pub issuer: Option<&'a str>,
    /// The decision's id.
    pub decision_id: Option<&'a str>,
}

impl Came<'_> {
    /// Notes it on the span of the exchange.
    pub fn note_on(self, span: &Span) {
        if span.is_disabled() {
            return;
        }
        span.record("http.response.status_code", self.status);
        span.record("countersign.outcome", self.outcome);
        if let Some(reason) = self.reason {
            span.record("countersign.reason", reason);
        }
        if let Some(issuer) = self.issuer {
            span.record("countersign.issuer", issuer);
        }
        if let Some(id) = self.decision_id {
            span.record("countersign.decision_id", id);
        }
        // A denial is what the service is for; only a failure of ours is an error of ours.
        if self.status >= 500 {
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// One header.
struct Header<'a>(&'a str);

impl Extractor for Header<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// Where traces are sent, and which.
#[derive(Debug)]
pub struct Collector<'a> {
    /// Its address, without the path of the signal.
    pub endpoint: &'a str,
    /// Headers to send along; they may be secret.
    pub headers: Vec<(String, String)>,
    /// Which part of the traces is sent, from 0 to 1.
    pub sample_ratio: f64,
    /// What an operator knows this instance by.
    pub instance: String,
}

/// Sends traces until it is ended.
pub struct Telemetry(SdkTracerProvider);

/// What sends traces cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent: {0}")]
pub struct TelemetryFault(String);

impl Telemetry {
    /// Begins to send. Whether the collector is there is not asked.
    pub fn start(collector: Collector<'_>, metrics: TraceMetrics) -> Result<Self, TelemetryFault> {
        let said = |fault: &dyn std::fmt::Display| TelemetryFault(fault.to_string());
        let endpoint = format!("{}/v1/traces", collector.endpoint.trim_end_matches('/'));
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client()?)
            .with_endpoint(endpoint)
            .with_headers(collector.headers.into_iter().collect())
            .build()
            .map_err(|fault| said(&fault))?;
        let resource = Resource::builder_empty()
            .with_service_name("countersign")
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_attribute(opentelemetry::KeyValue::new(
                "service.instance.id",
                collector.instance,
            ))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Counting::new(exporter, metrics))
            .with_sampler(ByRatio(collector.sample_ratio))
            .with_resource(resource)
            .build();
        Ok(Self(provider))
    }

    /// What takes spans from `tracing`.
    pub fn layer<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_tracer(self.0.tracer("countersign"))
    }

    /// Sends what is left, for 2 seconds at most. Blocks.
    pub fn end(&self) {
        // What could not be sent is counted already.
        let _ = self.0.shutdown_with_timeout(LONGEST_GOODBYE);
    }
}

/// What asks the collector. It is made, and used, by threads of its own: it blocks.
fn client() -> Result<reqwest::blocking::Client, TelemetryFault> {
    let made = std::thread::spawn(|| {
        reqwest::blocking::Client::builder()
            .timeout(LONGEST_SENDING)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
    });
    let made = made.join();
    let made = made.map_err(|_| TelemetryFault("the thread for it ended".to_owned()))?;
    made.map_err(|fault| TelemetryFault(fault.to_string()))
}
