//! A histogram that counts with two atomic additions and without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// How many observations of spans of time were at most so long, in seconds.
const SECONDS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The same for numbers of changes.
const JOBS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 512.0, 4096.0];

/// Counts observations by size. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// The largest value of each bucket but the last, which has no end.
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// How many of the units in which `sum` is kept are one of those that are told.
    units: f64,
}

impl Histogram {
    /// Of spans of time, told in seconds.
    pub(super) fn of_seconds() -> Self {
        Self::with(&SECONDS, 1e9)
    }

    /// Of numbers of changes.
    pub(super) fn of_changes() -> Self {
        Self::with(&JOBS, 1.0)
    }

    fn with(bounds: &'static [f64], units: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets {
            bounds,
            counts,
            sum: AtomicU64::new(0),
            units,
        }))
    }

    /// Counts a span of time.
    pub(super) fn span(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.count(span.as_secs_f64(), nanos);
    }

    /// Counts a number.
    pub(super) fn number(&self, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.count(as_float(number), number);
    }

    fn count(&self, value: f64, in_units: u64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.0.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            self.0.sum.fetch_add(in_units, Ordering::Relaxed);
        }
    }
}

/// The nearest float: what is told by it needs no more than 53 bits.
#[expect(clippy::cast_precision_loss, reason = "a metric is a float anyway")]
pub(super) fn as_float(number: u64) -> f64 {
    number as f64
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self
            .0
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = as_float(self.0.sum.load(Ordering::Relaxed)) / self.0.units;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn an_observation_is_counted_in_its_bucket_and_all_above() {
        let histogram = Histogram::of_seconds();
        for millis in [1, 2, 30, 20_000] {
            histogram.span(Duration::from_millis(millis));
        }
        let mut registry = Registry::default();
        registry.register("took", "How long", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "took_sum 20.033",
            "took_count 4",
            "took_bucket{le=\"0.0005\"} 0",
            "took_bucket{le=\"0.001\"} 1",
            "took_bucket{le=\"0.0025\"} 2",
            "took_bucket{le=\"0.05\"} 3",
            "took_bucket{le=\"10.0\"} 3",
            "took_bucket{le=\"+Inf\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
