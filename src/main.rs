//! Starts, and nothing else.

use std::process::ExitCode;

/// An exchange makes some hundreds of small allocations that live for a millisecond, on one thread and freed on another:
/// with the allocator of the C library a tenth of its time went there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    countersign::cli::run().await
}
