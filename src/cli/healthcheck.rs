//! `countersign healthcheck`.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::{DONE, UNAVAILABLE, USAGE, environment};
use crate::client::health;
use crate::config::Config;

/// The arguments of `healthcheck`.
#[derive(Args)]
pub(super) struct HealthcheckArgs {
    /// The configuration that the service runs with, which says where it listens.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG")]
    config: Option<PathBuf>,
    /// Ask whether it can exchange tokens, not only whether it lives.
    #[arg(long)]
    ready: bool,
}

/// Asks the service that runs on this machine: for images that hold nothing else that could ask.
pub(super) async fn run(arguments: &HealthcheckArgs) -> u8 {
    let config = match Config::load(arguments.config.as_deref(), &environment()) {
        Ok(config) => config,
        Err(fault) => {
            eprintln!("{}", fault.render(std::io::stderr().is_terminal()));
            return USAGE;
        }
    };
    match health(&base(config.listen, config.tls.is_some()), arguments.ready).await {
        Ok(health) => {
            println!("{}", health.text);
            if health.well { DONE } else { UNAVAILABLE }
        }
        Err(fault) => {
            eprintln!("{fault}");
            UNAVAILABLE
        }
    }
}

/// Where this machine reaches what listens on `address`, which may stand for all addresses.
fn base(address: SocketAddr, tls: bool) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_on_all_addresses_is_asked_on_the_loopback_one() {
        let rows = [
            ("0.0.0.0:8080", false, "http://127.0.0.1:8080"),
            ("[::]:443", true, "https://[::1]:443"),
            ("10.0.0.7:8080", false, "http://10.0.0.7:8080"),
        ];
        for (listens, tls, asked) in rows {
            assert_eq!(base(listens.parse().unwrap(), tls), asked);
        }
    }
}
