//! `GET /metrics`: what is counted, for who watches.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, FORWARDED, HeaderMap};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer};
use ipnet::IpNet;

use super::client_address::ClientAddress;
use super::error::{no_such_path, not_for_this_address};
use super::{GRACE, Service, health, log, only, read};
use crate::metrics::{Form, IssuerMoment, Moment};

/// How many connections the listener for metrics has.
const CONNECTIONS: usize = 64;

/// How long the store may take to say whether it can write, until it counts as one that cannot.
const LONGEST_CHECK: Duration = Duration::from_secs(2);

/// Who may read metrics on the service's own listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Whoever asks from one of these networks.
    From(Vec<IpNet>),
    /// Nobody: they are told on a listener of their own.
    Elsewhere,
}

impl MetricsAccess {
    /// Whether `request` is from a reader. One that was forwarded is from whom a trusted proxy says; where the nearest
    /// address that is known is a proxy's, it may be from anybody.
    fn lets_in(&self, request: &HttpRequest, proxies: &[IpNet]) -> bool {
        let Self::From(readers) = self else {
            return false;
        };
        let client = request.extensions().get::<ClientAddress>().copied();
        let Some(ClientAddress(Some(client))) = client else {
            return false;
        };
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        let is_among = |networks: &[IpNet], address: &IpAddr| {
            networks.iter().any(|network| network.contains(address))
        };
        let is_direct = peer == Some(client);
        let is_hidden = is_among(proxies, &client) || (is_direct && forwarded(request.headers()));
        !is_hidden && is_among(readers, &client)
    }
}

/// Whether somebody says that they forward this for somebody else.
fn forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED) || headers.contains_key("x-forwarded-for")
}

/// Answers on the service's own listener, to who may read.
pub(super) async fn for_readers(request: HttpRequest, service: Data<Service>) -> HttpResponse {
    let access = &service.metrics_access;
    if *access == MetricsAccess::Elsewhere {
        return no_such_path().into_inner();
    }
    if !access.lets_in(&request, &service.trusted_proxies) {
        return not_for_this_address();
    }
    for_all(request, service).await
}

async fn for_all(request: HttpRequest, service: Data<Service>) -> HttpResponse {
    let accepted = request.headers().get(ACCEPT);
    let accepted = accepted.and_then(|accepted| accepted.to_str().ok());
    let wants_open = accepted.is_some_and(|accepted| accepted.contains("openmetrics-text"));
    let form = if wants_open {
        Form::OpenMetrics
    } else {
        Form::Prometheus
    };
    let moment = moment(&service).await;
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, form.media_type()))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(service.metrics.tell(&moment, form))
}

/// Tells metrics to everybody who reaches `listener`, and whether the service is well. It does nothing else.
pub fn serve_metrics(listener: TcpListener, service: Arc<Service>) -> std::io::Result<Server> {
    let patience = service.patience;
    let data = Data::from(service);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .wrap(from_fn(log::one_line))
            .service(only("/healthz", read().to(health::alive), "GET"))
            .service(only("/readyz", read().to(health::ready), "GET"))
            .service(only("/metrics", read().to(for_all), "GET"))
            .default_service(actix_web::web::to(no_such_path))
    })
    .workers(1)
    .max_connections(CONNECTIONS)
    .client_request_timeout(patience.head)
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(GRACE)
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}

/// How it stands now.
async fn moment(service: &Service) -> Moment {
    let exchange = &service.exchange;
    let now = exchange.clock.now();
    let checked = tokio::time::timeout(LONGEST_CHECK, health::can_write(service)).await;
    let store_available = matches!(checked, Ok(Ok(())));
    let (signing_keys, signing_for) = exchange.ring.ages(now);
    let (failing_addresses, held_back) = service.failures.standing();
    let checkpoint = service.notary.covers();
    let statuses = exchange.keys.status().into_iter();
    let issuers = statuses.map(|status| IssuerMoment {
        name: status.name.to_string(),
        keys: status.keys,
        key_age: status
            .last_success
            .map(|at| seconds(now.millis() - at.millis())),
        failing: usize::from(status.failing),
    });
    Moment {
        ready: store_available && exchange.directory.settled().is_ok(),
        store_available,
        projects: exchange.directory.len(),
        policy_problems: exchange.directory.problems().len(),
        switched_off: exchange.directory.switched_off().len(),
        policy_digest: Some(exchange.directory.digest()),
        instances: service.peers.others(),
        disagreeing: service.peers.disagreeing().len(),
        issuers: worst_of_each(issuers),
        checkpoint: checkpoint.map(|(entries, age)| (entries, age.as_secs_f64())),
        log_fault: service.notary.fault().is_some(),
        signing_keys,
        signing_key_age: signing_for.map(seconds),
        failing_addresses,
        held_back,
        most_connections: service.patience.connections,
        ..Moment::default()
    }
}

/// One for each issuer of the configuration, of however many addresses: the worst of each.
fn worst_of_each(addresses: impl Iterator<Item = IssuerMoment>) -> Vec<IssuerMoment> {
    let mut issuers: BTreeMap<String, IssuerMoment> = BTreeMap::new();
    for address in addresses {
        let Some(worst) = issuers.get_mut(&address.name) else {
            issuers.insert(address.name.clone(), address);
            continue;
        };
        worst.keys = worst.keys.min(address.keys);
        worst.failing += address.failing;
        worst.key_age = match (worst.key_age, address.key_age) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
    }
    issuers.into_values().collect()
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float anyway")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn lets_in(peer: &str, client: &str, header: Option<(&'static str, &str)>) -> bool {
        let access = MetricsAccess::From(networks(&["10.0.0.0/8", "127.0.0.0/8"]));
        let mut request = TestRequest::get().peer_addr(format!("{peer}:7").parse().unwrap());
        if let Some(header) = header {
            request = request.insert_header(header);
        }
        let request = request.to_http_request();
        let client = ClientAddress(Some(client.parse().unwrap()));
        request.extensions_mut().insert(client);
        access.lets_in(&request, &networks(&["10.9.9.9/32"]))
    }

    #[test]
    fn who_asks_from_a_network_of_readers_is_told_and_nobody_else() {
        assert!(lets_in("10.1.2.3", "10.1.2.3", None));
        assert!(lets_in("127.0.0.1", "127.0.0.1", None));
        assert!(!lets_in("192.0.2.1", "192.0.2.1", None));
    }

    #[test]
    fn behind_a_trusted_proxy_its_client_counts() {
        assert!(lets_in(
            "10.9.9.9",
            "10.1.2.3",
            Some(("x-forwarded-for", "10.1.2.3"))
        ));
        assert!(!lets_in(
            "10.9.9.9",
            "192.0.2.1",
            Some(("x-forwarded-for", "192.0.2.1"))
        ));
        assert!(
            !lets_in("10.9.9.9", "10.9.9.9", None),
            "one that names no client"
        );
    }

    #[test]
    fn what_an_unknown_proxy_forwards_is_from_anybody() {
        for name in ["x-forwarded-for", "forwarded"] {
            assert!(!lets_in("10.1.2.3", "10.1.2.3", Some((name, "10.1.2.3"))));
        }
    }

    #[test]
    fn of_an_issuer_with_many_addresses_the_worst_is_told() {
        let address = |keys, key_age, failing| IssuerMoment {
            name: "circleci".to_owned(),
            keys,
            key_age,
            failing,
        };
        let addresses = [
            address(3, Some(60.0), 0),
            address(2, Some(7200.0), 1),
            address(4, None, 1),
        ];
        let expected = IssuerMoment {
            name: "circleci".to_owned(),
            keys: 2,
            key_age: Some(7200.0),
            failing: 2,
        };
        assert_eq!(worst_of_each(addresses.into_iter()), [expected]);
    }
}
