//! Structured logs on standard error: text for a person at a terminal, JSON for everything else.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `COUNTERSIGN_LOG` chooses what is logged, in the notation of `tracing_subscriber::EnvFilter`; the
/// default is `info`.
pub(super) fn start() {
    // actix-http writes an error for each client that sends no HTTP, which anybody could fill a disk with.
    let filter = EnvFilter::try_from_env("COUNTERSIGN_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,sled=warn,actix_server=warn,actix_http=off"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    };
    // Only a second start in one process can fail, and then the first is still in force.
    drop(started);
}
