//! The only room that knows actix-web: what the outside sees.

pub mod admin;
mod api;
mod audit;
mod client_address;
mod connections;
mod error;
mod errors;
mod failures;
pub mod fake_ci;
mod health;
mod log;
mod metrics;
mod oauth;
mod patience;

pub use audit::AuditAccess;
pub use error::RequestError;
pub use failures::FailureLimit;
pub use metrics::{MetricsAccess, serve_metrics};
pub use oauth::read_form;
pub use patience::Patience;

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;

use actix_web::dev::Server;
pub use actix_web::dev::ServerHandle;
use actix_web::guard;
use actix_web::middleware::from_fn;
use actix_web::web::{Data, ServiceConfig, post, resource};
use actix_web::{App, HttpServer, Resource};
use ipnet::IpNet;

use audit::Places;
use connections::{Connections, attended};

use crate::directory::{Peers, PolicyHistory};
use crate::exchange::Exchange;
use crate::ledger::AuditLog;
use crate::metrics::Metrics;
use crate::notary::Notary;

/// How long requests in flight may take to finish once a stop was asked for, in seconds.
const GRACE: u64 = 20;

/// What every handler reads.
pub struct Service {
    /// The exchange, and through it everything else.
    pub exchange: Exchange,
    /// The log of what it did.
    pub log: Arc<dyn AuditLog>,
    /// What signs the log.
    pub notary: Arc<Notary>,
    /// Who may read it.
    pub audit_access: AuditAccess,
    /// The text of every policy that was in force.
    pub policies: Arc<dyn PolicyHistory>,
    /// The other instances of this service.
    pub peers: Arc<Peers>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who may read that.
    pub metrics_access: MetricsAccess,
    /// Whose forwarded client address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How often one address may fail.
    pub failures: FailureLimit,
    /// How long and for how many clients we wait.
    pub patience: Patience,
}

/// Serves on `listener` until the server's handle is told to stop; then requests in flight finish, for 20 seconds at
/// most. Signals are the caller's business.
pub fn serve(listener: TcpListener, service: Arc<Service>) -> std::io::Result<Server> {
    let patience = service.patience;
    let connections = Arc::new(Connections::of(&service));
    let workers = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let places = Data::new(Places::of(&patience));
    let data = Data::from(service);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(places.clone())
            .wrap(from_fn(attended))
            .configure(routes)
    })
    .workers(workers)
    .max_connections(patience.connections.div_ceil(workers).max(1))
    .on_connect(move |io, extensions| connections.watch(io, extensions))
    .client_request_timeout(patience.head)
    .keep_alive(patience.rest)
    .shutdown_timeout(GRACE)
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}

/// A route for reading: GET, and HEAD, which asks for the same without the body (RFC 9110, section 9.3.2).
fn read() -> actix_web::Route {
    actix_web::web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A path with one way to ask. What is asked in another way is told which way is right.
fn only(path: &str, route: actix_web::Route, method: &'static str) -> Resource {
    resource(path)
        .route(route)
        .default_service(actix_web::web::to(move || error::wrong_method(method)))
}

/// Every path we answer.
fn routes(config: &mut ServiceConfig) {
    config
        .service(only(
            "/oauth/token",
            post().to(failures::limited_token),
            "POST",
        ))
        .service(only(
            "/.well-known/oauth-authorization-server",
            read().to(oauth::metadata),
            "GET",
        ))
        .service(only(
            "/.well-known/openid-configuration",
            read().to(oauth::discovery),
            "GET",
        ))
        .service(only(
            "/.well-known/jwks.json",
            read().to(oauth::keys),
            "GET",
        ))
        .service(only("/errors", read().to(errors::all), "GET"))
        .service(only("/errors/{reason}", read().to(errors::one), "GET"))
        .service(only("/healthz", read().to(health::alive), "GET"))
        .service(only("/readyz", read().to(health::ready), "GET"))
        .service(only("/metrics", read().to(metrics::for_readers), "GET"))
        .configure(audit::routes)
        .configure(api::routes)
        .default_service(actix_web::web::to(error::no_such_path));
}
