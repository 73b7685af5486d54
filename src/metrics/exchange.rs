//! What exchanges count.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::histogram::Histogram;

/// The label `issuer` of what named none that is configured: no text that a caller chose becomes a label.
const NO_ISSUER: &str = "-";

/// What came of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A token was issued.
    Allowed,
    /// The caller got none, and will get none by asking the same again.
    Denied,
    /// We could not say: a fault of ours, of the store or of the issuer.
    Failed,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Failed];

    /// The value of the label `outcome`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// What exchanges count. Clones count together.
#[derive(Debug, Clone)]
pub struct ExchangeMetrics(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    all: Family<Labels, Counter>,
    took: Family<OfOutcome, Histogram, fn() -> Histogram>,
    no_issuer: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
    reason: &'static str,
    issuer: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

impl ExchangeMetrics {
    /// Of a service that believes `issuers`, given by their names in the configuration.
    pub(super) fn new(issuers: impl IntoIterator<Item = Arc<str>>) -> Self {
        let took = Family::new_with_constructor(Histogram::of_seconds as fn() -> Histogram);
        for outcome in Outcome::ALL {
            let outcome = outcome.code();
            drop(took.get_or_create(&OfOutcome { outcome }));
        }
        let all = Family::<Labels, Counter>::default();
        for issuer in issuers {
            // What an alert asks for is there from the start, at zero.
            for (outcome, reason) in [
                (Outcome::Allowed, "none"),
                (Outcome::Failed, "store-unavailable"),
                (Outcome::Failed, "issuer-unreachable"),
            ] {
                drop(all.get_or_create(&Labels {
                    outcome: outcome.code(),
                    reason,
                    issuer: issuer.clone(),
                }));
            }
        }
        Self(Arc::new(Counted {
            all,
            took,
            no_issuer: NO_ISSUER.into(),
        }))
    }

    /// Counts an exchange. `reason` is the code that stands on the wire, none if a token was issued; `issuer` a name from
    /// the configuration, if the token names one; `took` is from the request's head to its answer.
    pub fn finished(
        &self,
        outcome: Outcome,
        reason: Option<&'static str>,
        issuer: Option<Arc<str>>,
        took: Duration,
    ) {
        let outcome = outcome.code();
        let labels = Labels {
            outcome,
            reason: reason.unwrap_or("none"),
            issuer: issuer.unwrap_or_else(|| self.0.no_issuer.clone()),
        };
        self.0.all.get_or_create(&labels).inc();
        self.0.took.get_or_create(&OfOutcome { outcome }).span(took);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "exchanges",
            "Requests for a token, by outcome, reason and issuer",
            self.0.all.clone(),
        );
        registry.register(
            "exchange_duration_seconds",
            "How long requests for a token took until their answer was made, by outcome",
            self.0.took.clone(),
        );
    }
}
