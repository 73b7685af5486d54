//! What is sent is counted, and a collector that does not take it is told of once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::metrics::TraceMetrics;

/// An exporter that counts.
#[derive(Debug)]
pub(super) struct Counting<E> {
    exporter: E,
    metrics: TraceMetrics,
    is_failing: AtomicBool,
}

impl<E> Counting<E> {
    pub(super) fn new(exporter: E, metrics: TraceMetrics) -> Self {
        Self {
            exporter,
            metrics,
            is_failing: AtomicBool::new(false),
        }
    }
}

impl<E: SpanExporter> SpanExporter for Counting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        self.metrics.sent(spans, sent.is_ok());
        let failed_before = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(fault) if !failed_before => {
                tracing::warn!(%fault, "the collector takes no traces; those until it does are lost");
            }
            Ok(()) if failed_before => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
