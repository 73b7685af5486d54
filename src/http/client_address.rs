//! Whose request this is, behind proxies that the operator trusts.

use std::net::IpAddr;

use actix_web::http::header::HeaderMap;
use ipnet::IpNet;

/// Whose request one is: stands in its extensions from the beginning. `None` if the connection does not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub Option<IpAddr>);

/// The address of the client: the peer of the connection, or, if that is a trusted proxy, the last address in
/// `X-Forwarded-For` that is not a trusted proxy itself. What a client writes into the header by itself stands further
/// to the left and is never reached.
pub(super) fn client_address(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let peer = peer?.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return Some(peer);
    }
    let lines: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .filter_map(|line| line.to_str().ok())
        .collect();
    let mut nearest = peer;
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        // A hop that cannot be read hides everything beyond it.
        let Some(address) = address(hop.trim()) else {
            break;
        };
        nearest = address;
        if !is_trusted(&address) {
            break;
        }
    }
    Some(nearest)
}

/// An address as proxies write it: bare, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || {
        text.parse::<std::net::SocketAddr>()
            .ok()
            .map(|address| address.ip())
    };
    bare.or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            let value = HeaderValue::from_str(line).unwrap();
            headers.append(HeaderName::from_static("x-forwarded-for"), value);
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        client_address(peer.parse().ok(), &headers, &trusted)
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        assert_eq!(seen("192.0.2.7", &["198.51.100.1"]), "192.0.2.7");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(
            seen("10.0.0.1", &["198.51.100.1", "192.0.2.7, 10.0.0.2"]),
            "192.0.2.7"
        );
    }

    #[test]
    fn behind_a_trusted_proxy_the_forwarded_address_counts() {
        assert_eq!(seen("10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(seen("::ffff:10.0.0.1", &["192.0.2.7:5555"]), "192.0.2.7");
        assert_eq!(seen("::1", &["[2001:db8::7]:5555"]), "2001:db8::7");
    }

    #[test]
    fn without_a_readable_header_the_proxy_itself_is_the_client() {
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(
            seen("10.0.0.1", &["192.0.2.7, nonsense, 10.0.0.2"]),
            "10.0.0.2"
        );
    }
}
