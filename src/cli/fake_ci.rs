//! `countersign fake-ci`: an issuer that speaks all five profiles, for tests and for trying policies.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::{DONE, UNAVAILABLE};
use crate::clock::SystemClock;
use crate::fake_ci::{DEFAULT_ADDRESS, FakeCi, FakeCiError};
use crate::http;

/// Stand in for GitHub Actions, CircleCI, Buildkite, RWX and GitLab CI, on this machine only.
///
/// Signs tokens of any job that it is asked for, so that a policy can be tried without a CI system. The page at the
/// address that it prints explains the rest.
#[derive(Debug, clap::Args)]
pub(super) struct FakeCiArgs {
    /// The loopback address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_ADDRESS, value_parser = loopback)]
    listen: SocketAddr,
}

/// Why `fake-ci` does not run.
#[derive(Debug, thiserror::Error)]
enum FakeCiFailure {
    /// The address is taken or cannot be had.
    #[error("cannot listen on `{address}`: {cause}")]
    CannotListen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The keys could not be made.
    #[error(transparent)]
    FakeCi(#[from] FakeCiError),
    /// The server ended by itself.
    #[error("the server stopped: {0}")]
    Stopped(std::io::Error),
}

/// Serves until it is interrupted.
pub(super) async fn run(arguments: &FakeCiArgs) -> u8 {
    match serve(arguments.listen).await {
        Ok(()) => DONE,
        Err(fault) => {
            eprintln!("{fault}");
            UNAVAILABLE
        }
    }
}

async fn serve(address: SocketAddr) -> Result<(), FakeCiFailure> {
    let cannot_listen = |cause| FakeCiFailure::CannotListen { address, cause };
    let listener = TcpListener::bind(address).map_err(cannot_listen)?;
    let bound = listener.local_addr().map_err(cannot_listen)?;
    let ci = Arc::new(FakeCi::new(bound, Arc::new(SystemClock))?);
    let server = http::fake_ci::serve(listener, ci.clone()).map_err(cannot_listen)?;

    // Nobody may be reading: then there is nobody to tell.
    let _ = writeln!(
        std::io::stdout(),
        "the pretended CI systems are at {0}: `curl {0}` explains them",
        ci.signer().base()
    );
    tokio::select! {
        ended = server => ended,
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
    .map_err(FakeCiFailure::Stopped)
}

/// Reads an address that nobody else can reach.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "is not an address and a port, such as `127.0.0.1:9100`".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(FakeCiError::NotLoopback(address).to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn parsed(arguments: &[&str]) -> Result<FakeCiArgs, clap::Error> {
        let command = FakeCiArgs::augment_args(Command::new("fake-ci"));
        let matches = command.try_get_matches_from([&["fake-ci"], arguments].concat())?;
        FakeCiArgs::from_arg_matches(&matches)
    }

    #[test]
    fn without_arguments_it_listens_where_the_examples_expect_it() {
        let listen = parsed(&[]).unwrap().listen;
        assert_eq!(listen.to_string(), "127.0.0.1:9100");
    }

    #[test]
    fn an_address_that_others_can_reach_is_a_usage_error() {
        for address in ["0.0.0.0:9100", "192.0.2.1:9100", "[::]:9100", "9100", ""] {
            let error = parsed(&["--listen", address]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{address}");
        }
        for address in ["127.0.0.1:0", "127.8.9.10:1", "[::1]:9100"] {
            assert!(parsed(&["--listen", address]).is_ok(), "{address}");
        }
    }
}
