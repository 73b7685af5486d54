//! Serves over TLS. This is what `HttpServer` of actix-web does, with one thing more: a connection has its place among
//! those of its peer, and its watch, from before its handshake. actix-web tells of a connection only after that, so one
//! peer could keep everybody out with handshakes that it does not finish.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::HttpService;
use actix_service::map_config;
use actix_tls::accept::{TlsError, max_concurrent_tls_connect};
use actix_web::App;
use actix_web::dev::{AppConfig, Server, ServiceFactory};
use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::super::audit::Places;
use super::super::connections::{Admitted, Connections, Watch, attended};
use super::super::patience::Patience;
use super::super::{GRACE, Service, routes};
use super::Certificate;
use crate::metrics::{Handshake, HttpMetrics};

/// How long a client that was told that the connection ends may take to end it too.
const GOODBYE: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The watch over the connection that is served.
    static WATCH: Option<Rc<Watch>>;
}

/// Serves `service` on `listener` with `certificate`, as [`super::super::serve`] does in clear.
pub(in crate::http) fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    certificate: &Arc<Certificate>,
    workers: usize,
) -> std::io::Result<Server> {
    let config = certificate.server_config().map_err(std::io::Error::other)?;
    let patience = service.patience;
    let metrics = service.metrics.http.clone();
    let connections = Arc::new(Connections::of(&service));
    let places = Data::new(Places::of(&patience));
    let data = Data::from(service);
    // Else so many handshakes that are not finished, 256 a worker, would keep everybody out, whoever began them.
    max_concurrent_tls_connect(patience.connections);
    let most = patience.connections.div_ceil(workers).max(1);
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(most)
        .shutdown_timeout(GRACE)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let builder = builder.listen("countersign-tls", listener, move || {
        let app = App::new()
            .app_data(data.clone())
            .app_data(places.clone())
            .wrap(from_fn(attended))
            .configure(routes);
        let (stopping, counted) = (stopping.clone(), metrics.clone());
        let spoken = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KeepAlive::from(patience.rest))
            .client_request_timeout(patience.head)
            .client_disconnect_timeout(GOODBYE)
            .on_connect_ext(move |_: &_, extensions| {
                counted.handshake(Handshake::Done);
                if let Ok(Some(watch)) = WATCH.try_with(Clone::clone) {
                    extensions.insert(watch);
                }
            })
            .finish(map_config(app, |()| AppConfig::default()))
            .rustls_0_23_with_config(config.clone(), handshakes(&patience));
        Gate {
            behind: spoken,
            connections: connections.clone(),
            metrics: metrics.clone(),
        }
    })?;
    Ok(builder.run())
}

fn handshakes(patience: &Patience) -> actix_http::TlsAcceptorConfig {
    actix_http::TlsAcceptorConfig::default().handshake_timeout(patience.handshake)
}

/// Lets connections in, or turns them away, before anything is done for them.
struct Gate<S> {
    behind: S,
    connections: Arc<Connections>,
    metrics: HttpMetrics,
}

impl<F, T, D> ServiceFactory<TcpStream> for Gate<F>
where
    F: ServiceFactory<TcpStream, Config = (), Response = (), Error = TlsError<T, D>>,
    F::Service: 'static,
    F::Future: 'static,
    T: 'static,
    D: 'static,
{
    type Response = ();
    type Error = TlsError<T, D>;
    type Config = ();
    type Service = Gate<Rc<F::Service>>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, F::InitError>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let behind = self.behind.new_service(());
        let (connections, metrics) = (self.connections.clone(), self.metrics.clone());
        async move {
            Ok(Gate {
                behind: Rc::new(behind.await?),
                connections,
                metrics,
            })
        }
        .boxed_local()
    }
}

impl<S, T, D> actix_web::dev::Service<TcpStream> for Gate<Rc<S>>
where
    S: actix_web::dev::Service<TcpStream, Response = (), Error = TlsError<T, D>> + 'static,
{
    type Response = ();
    type Error = TlsError<T, D>;
    type Future = LocalBoxFuture<'static, Result<(), Self::Error>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.behind.poll_ready(context)
    }

    fn call(&self, stream: TcpStream) -> Self::Future {
        let watch = match self.connections.admit(&stream) {
            Admitted::TurnedAway => return async { Ok(()) }.boxed_local(),
            Admitted::Unwatched => None,
            Admitted::Watched(watch) => Some(watch),
        };
        let metrics = self.metrics.clone();
        let served = self.behind.call(stream);
        // The scope holds the watch until the connection ends, however far it came.
        WATCH
            .scope(watch, served)
            .map(move |served| {
                match &served {
                    Err(TlsError::Timeout) => metrics.handshake(Handshake::TooSlow),
                    Err(TlsError::Tls(_)) => metrics.handshake(Handshake::Failed),
                    Ok(()) | Err(TlsError::Service(_)) => {}
                }
                served
            })
            .boxed_local()
    }
}
