//! Structured logs on standard error: text for a person at a terminal, JSON for everything else. Steps of exchanges are
//! no lines of the log; they go to who takes traces, if somebody does.

use std::io::IsTerminal;

use tracing_subscriber::Registry;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::telemetry::{TARGET, Telemetry};

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// What is logged unless somebody says otherwise.
///
/// actix-http writes an error for each client that sends no HTTP, which anybody could fill a disk with.
const USUAL: &str = "info,sled=warn,actix_server=warn,actix_http=off";

/// Starts logging. `COUNTERSIGN_LOG` chooses what is logged, in the notation of `tracing_subscriber::EnvFilter`; the
/// default is [`USUAL`], also if it is empty or cannot be read.
pub(super) fn start(telemetry: Option<&Telemetry>) {
    let chosen = std::env::var("COUNTERSIGN_LOG").ok();
    let chosen = chosen.filter(|chosen| !chosen.is_empty() && EnvFilter::try_new(chosen).is_ok());
    let chosen = chosen.as_deref().unwrap_or(USUAL);
    let started = tracing_subscriber::registry()
        .with(layers(chosen, telemetry))
        .try_init();
    // Only a second start in one process can fail, and then the first is still in force.
    drop(started);
}

/// Lines as `chosen`, and traces if somebody takes them.
///
/// One filter a layer, and no layer that is not there: a step that nobody takes then costs a look at a flag. With a second
/// filter on a layer, every step would be noted down, entered and left.
fn layers(chosen: &str, telemetry: Option<&Telemetry>) -> Vec<Boxed> {
    let filter = EnvFilter::builder().parse_lossy(format!("{chosen},{TARGET}=off"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() {
        lines.with_target(false).boxed()
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed()
    };
    let mut layers = vec![lines.with_filter(filter).boxed()];
    if let Some(telemetry) = telemetry {
        let steps = Targets::new().with_target(TARGET, LevelFilter::INFO);
        layers.push(telemetry.layer().with_filter(steps).boxed());
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_nobody_takes_is_no_span() {
        for chosen in [USUAL, "trace", "countersign=debug"] {
            let subscriber = tracing_subscriber::registry().with(layers(chosen, None));
            tracing::subscriber::with_default(subscriber, || {
                assert!(crate::telemetry::exchange(None).is_disabled(), "{chosen}");
            });
        }
    }
}
