//! Structured logs on standard error: text for a person at a terminal, JSON for everything else. Steps of exchanges are
//! no lines of the log; they go to who takes traces, if somebody does.

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::telemetry::{TARGET, Telemetry};

/// Starts logging. `COUNTERSIGN_LOG` chooses what is logged, in the notation of `tracing_subscriber::EnvFilter`; the
/// default is `info`.
pub(super) fn start(telemetry: Option<&Telemetry>) {
    // actix-http writes an error for each client that sends no HTTP, which anybody could fill a disk with.
    let filter = EnvFilter::try_from_env("COUNTERSIGN_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,sled=warn,actix_server=warn,actix_http=off"));
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if is_terminal {
        lines.with_target(false).boxed()
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed()
    };
    // A step that nobody takes costs a look at a flag.
    let lines = lines
        .with_filter(filter_fn(|metadata| metadata.target() != TARGET))
        .with_filter(filter);
    let steps = Targets::new().with_target(TARGET, LevelFilter::INFO);
    let traces = telemetry.map(|telemetry| telemetry.layer().with_filter(steps));
    let started = tracing_subscriber::registry()
        .with(lines)
        .with(traces)
        .try_init();
    // Only a second start in one process can fail, and then the first is still in force.
    drop(started);
}
