//! `countersign serve`.

use std::io::IsTerminal;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::signal::unix::{SignalKind, signal};

use super::assemble::{AssembleError, Parts, assemble};
use super::{DONE, UNAVAILABLE, USAGE, descriptors, environment, logging};
use crate::clock::SystemClock;
use crate::config::{Config, MetricsPlace};
use crate::http::admin::AdminServer;
use crate::http::{self, ServerHandle};

/// The arguments of `serve`.
#[derive(Args)]
pub(super) struct ServeArgs {
    /// The configuration. Without it, the service listens on a loopback address and trusts the five CI systems.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG")]
    config: Option<PathBuf>,
}

/// Runs the service until SIGTERM or SIGINT; then requests in flight finish, and the store is synced and closed.
pub(super) async fn run(arguments: &ServeArgs) -> u8 {
    let environment = environment();
    let config = match Config::load(arguments.config.as_deref(), &environment) {
        Ok(config) => config,
        Err(fault) => {
            eprintln!("{}", fault.render(std::io::stderr().is_terminal()));
            return USAGE;
        }
    };
    logging::start();
    // Whatever we make is for our user only, also in a data folder that others may enter.
    umask(Mode::from_raw_mode(0o077));
    descriptors::raise();
    match assemble(&config, Arc::new(SystemClock)).await {
        Ok(parts) => serve(&config, parts).await,
        Err(fault) => {
            tracing::error!("{fault}");
            match fault {
                AssembleError::Store(_)
                | AssembleError::Ring(_)
                | AssembleError::Log(_)
                | AssembleError::Notary(_) => UNAVAILABLE,
                _ => USAGE,
            }
        }
    }
}

async fn serve(config: &Config, parts: Parts) -> u8 {
    let code = match listen(config, &parts).await {
        Ok(()) => DONE,
        Err(fault) => {
            tracing::error!("cannot serve on {}: {fault}", config.listen);
            UNAVAILABLE
        }
    };
    parts.service.peers.leave().await;
    let store = parts.store.clone();
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    tracing::info!(synced = closed.is_ok(), "stopped");
    code
}

async fn listen(config: &Config, parts: &Parts) -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(config.listen)?;
    let address = listener.local_addr()?;
    let server = http::serve(listener, parts.service.clone())?;
    let handle = server.handle();
    let running = tokio::spawn(server);
    let metrics = tell_metrics(config, parts)?;
    let admin = administer(config, parts);
    tracing::info!(
        url = format!("http://{address}"),
        public_url = config.public_url,
        projects = parts.service.exchange.directory.len(),
        issuers = config.issuers.len(),
        "listening"
    );
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        () = parts.keep_up() => {}
    }
    tracing::info!("stopping: requests in flight may finish");
    handle.stop(true).await;
    if let Some(admin) = admin {
        admin.stop().await;
    }
    if let Some(metrics) = metrics {
        metrics.stop(false).await;
    }
    running.await.map_err(std::io::Error::other)?
}

/// Tells metrics on a listener of their own, where the configuration says so.
fn tell_metrics(config: &Config, parts: &Parts) -> std::io::Result<Option<ServerHandle>> {
    let MetricsPlace::Listener(address) = &config.metrics else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).map_err(|fault| {
        let said = format!("metrics cannot be told on {address}: {fault}");
        std::io::Error::new(fault.kind(), said)
    })?;
    let address = listener.local_addr()?;
    let server = http::serve_metrics(listener, parts.service.clone())?;
    let handle = server.handle();
    tokio::spawn(server);
    tracing::info!(url = format!("http://{address}/metrics"), "telling metrics");
    Ok(Some(handle))
}

/// Listens for commands of this machine. The service serves without, if it must.
fn administer(config: &Config, parts: &Parts) -> Option<AdminServer> {
    let socket = config.store.admin_socket()?;
    AdminServer::start(&socket, parts.service.clone())
        .inspect_err(|fault| {
            let socket = socket.display();
            tracing::warn!(%socket, %fault, "commands cannot ask this service while it runs");
        })
        .ok()
}
