//! `countersign demo`: the whole thing on one machine, in a minute.
//!
//! A fake CI, the service with an embedded store in a temporary folder, and the trust policies that are shipped. One
//! token per CI system is exchanged over HTTP, one is refused and explained, and the commands to do the same by hand are
//! printed.

mod policies;
mod tour;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tempfile::TempDir;

use super::assemble::{AssembleError, assemble};
use super::{DONE, REFUSED, UNAVAILABLE};
use crate::client::ClientError;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError};
use crate::fake_ci::{FakeCi, FakeCiError};
use crate::http;

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End after the tour instead of serving on.
    #[arg(long)]
    once: bool,
    /// The folder of trust policies; without it `trust-policies` in this folder, or a copy of the shipped ones.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
}

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    FakeCi(#[from] FakeCiError),
    #[error("{0}")]
    Service(#[from] AssembleError),
    #[error("{0}")]
    Client(#[from] ClientError),
}

/// Runs the demo. Answers "refused" if an exchange of the tour did not come out as it should.
pub(super) async fn run(arguments: &DemoArgs) -> u8 {
    match demonstrate(arguments).await {
        Ok(true) => DONE,
        Ok(false) => REFUSED,
        Err(fault) => {
            eprintln!("the demo cannot go on: {fault}");
            UNAVAILABLE
        }
    }
}

async fn demonstrate(arguments: &DemoArgs) -> Result<bool, DemoError> {
    let folder = TempDir::with_prefix("countersign-demo-")?;
    let (ci_listener, listener) = (bind(9100)?, bind(8080)?);
    let ci = Arc::new(FakeCi::new(
        ci_listener.local_addr()?,
        Arc::new(SystemClock),
    )?);
    let policies = match &arguments.policies {
        Some(policies) => policies.clone(),
        None => policies::find_or_copy(folder.path())?,
    };
    let config = config(folder.path(), &listener, &policies, &ci)?;

    let parts = assemble(&config, Arc::new(SystemClock)).await?;
    let pretended = http::fake_ci::serve(ci_listener, ci.clone())?;
    let server = http::serve(listener, parts.service.clone())?;
    let handles = [pretended.handle(), server.handle()];
    let serving = [tokio::spawn(pretended), tokio::spawn(server)];

    let tour = tour::Tour {
        config: &config,
        ci: &ci,
        parts: &parts,
        policies: &policies,
    };
    let as_expected = tour.walk().await;
    if as_expected.is_ok() && !arguments.once {
        println!("\nStill serving. Ctrl-C ends it, and removes what the demo wrote.");
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            () = parts.keep_up() => {}
        }
    }
    for handle in handles {
        handle.stop(true).await;
    }
    for server in serving {
        server.await.map_err(std::io::Error::other)??;
    }
    let store = parts.store.clone();
    tokio::task::spawn_blocking(move || store.close())
        .await
        .map_err(std::io::Error::other)?;
    as_expected
}

/// The usual port if it is free, so that commands can be copied from the documentation; else any.
fn bind(port: u16) -> std::io::Result<TcpListener> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(at(port)).or_else(|_| TcpListener::bind(at(0)))
}

fn config(
    folder: &Path,
    listener: &TcpListener,
    policies: &Path,
    ci: &FakeCi,
) -> Result<Config, DemoError> {
    let address = listener.local_addr()?;
    let policies = std::path::absolute(policies)?;
    let text = format!(
        "listen = \"{address}\"\npublic-url = \"http://{address}\"\ntrust-policies = '{}'\nallow-loopback-http = true\n\n{}",
        policies.display(),
        ci.signer().issuer_tables(),
    );
    let file = folder.join("countersign.toml");
    std::fs::write(&file, text)?;
    // The environment is for real services; a demo always runs the same.
    Ok(Config::load(
        Some(&file),
        &std::collections::BTreeMap::new(),
    )?)
}
