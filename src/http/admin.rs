//! Local administration while the service runs: the embedded store admits one process, so commands ask that process over
//! a socket in the data folder. Whoever may open the socket may read the data folder itself.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::{Data, Json, Path as Segment, Query, get, post};
use actix_web::{App, HttpResponse, HttpServer};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Service, error, log};
use crate::audit::DecisionId;
use crate::ledger::StoreUnavailable;
use crate::reading::{Question, ReadingError, Sources, Wish, answer};
use crate::trust::Names;

/// How long requests in flight may take to finish once a stop was asked for, in seconds.
const GRACE: u64 = 5;

/// The socket, and what is served on it.
pub struct AdminServer {
    socket: SocketFile,
    handle: ServerHandle,
}

/// Removed when it is dropped.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl AdminServer {
    /// Listens at `path`, for this user only, and serves. A socket that stands there is replaced, so whoever calls this
    /// must know that no other process serves it: that it holds the store.
    pub fn start(path: &Path, service: Arc<Service>) -> std::io::Result<Self> {
        let listener = bind(path)?;
        let socket = SocketFile(path.to_owned());
        let data = Data::from(service);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .wrap(from_fn(log::one_line))
                .route("/audit", get().to(list))
                .route("/audit/{question}", get().to(question))
                .route("/decisions/{id}", get().to(decision))
                .route("/pins", get().to(pins))
                .route("/pins/reset", post().to(reset))
                .default_service(actix_web::web::to(error::no_such_path))
        })
        .workers(1)
        .shutdown_timeout(GRACE)
        .disable_signals()
        .listen_uds(listener)?
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { socket, handle })
    }

    /// Lets requests in flight finish, for 5 seconds at most, and removes the socket.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        drop(self.socket);
    }
}

/// A socket at `path` that nobody else may open.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Made in a folder that nobody else may enter, so that there is no moment in which others may connect.
    let apart = tempfile::Builder::new()
        .prefix(".admin-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(folder)?;
    let made = apart.path().join("s");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    std::fs::rename(&made, path)?;
    Ok(listener)
}

async fn decision(service: Data<Service>, id: Segment<String>) -> HttpResponse {
    let Ok(id) = DecisionId::parse(&id) else {
        return malformed("a decision id is a UUID");
    };
    match service.exchange.ledger.decision(id).await {
        Ok(Some(record)) => HttpResponse::Ok().json(record),
        Ok(None) => unknown("there is no decision of this name"),
        Err(fault) => unavailable(&fault),
    }
}

async fn list(service: Data<Service>, asked: Query<Vec<(String, String)>>) -> HttpResponse {
    read(&service, Question::List, &asked).await
}

async fn question(
    service: Data<Service>,
    name: Segment<String>,
    asked: Query<Vec<(String, String)>>,
) -> HttpResponse {
    match Question::named(&name) {
        Some(question) => read(&service, question, &asked).await,
        None => unknown("there is no such question"),
    }
}

/// Answers a question about the log.
async fn read(service: &Service, question: Question, asked: &[(String, String)]) -> HttpResponse {
    let parameters = asked.iter();
    let parameters = parameters.map(|(name, value)| (name.as_str(), value.as_str()));
    let now = service.exchange.clock.now();
    let wish = match Wish::read(question, parameters, now) {
        Ok(wish) => wish,
        Err(invalid) => return malformed(&invalid.to_string()),
    };
    let sources = Sources {
        log: &*service.log,
        policies: &*service.policies,
        registry: &service.exchange.registry,
    };
    match answer(sources, &wish).await {
        Ok(answer) => HttpResponse::Ok().json(answer),
        Err(ReadingError::Unavailable(fault)) => unavailable(&fault),
        Err(fault @ ReadingError::Entry(_)) => {
            HttpResponse::InternalServerError().json(self::fault(&fault.to_string()))
        }
    }
}

/// Whose pins.
#[derive(Deserialize)]
struct Whose {
    project: Option<String>,
}

async fn pins(service: Data<Service>, whose: Query<Whose>) -> HttpResponse {
    let listed = service.exchange.ledger.pins(whose.into_inner().project);
    listed.await.map_or_else(
        |fault| unavailable(&fault),
        |pins| HttpResponse::Ok().json(pins),
    )
}

/// Which pin is to be forgotten, and who asks for it.
#[derive(Deserialize)]
struct Reset {
    names: Names,
    by: String,
}

async fn reset(service: Data<Service>, wish: Json<Reset>) -> HttpResponse {
    let Reset { names, by } = wish.into_inner();
    let exchange = &service.exchange;
    match exchange
        .ledger
        .reset_pin(names, by, exchange.clock.now())
        .await
    {
        Ok(Some(event)) => HttpResponse::Ok().json(event),
        Ok(None) => unknown("nothing is known of these names"),
        Err(fault) => unavailable(&fault),
    }
}

fn malformed(what: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(fault(what))
}

fn unknown(what: &str) -> HttpResponse {
    HttpResponse::NotFound().json(fault(what))
}

fn unavailable(fault_of_store: &StoreUnavailable) -> HttpResponse {
    HttpResponse::ServiceUnavailable().json(fault(&fault_of_store.to_string()))
}

fn fault(what: &str) -> Value {
    json!({"error": what})
}
