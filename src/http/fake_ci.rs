//! The pretended CI systems over HTTP: their own paths where they have some, and `/env`, `/token` and `/claims` of ours.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, ContentType};
use actix_web::web::{self, Bytes, Data, Path, Query, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError};
use serde_json::{Value, json};

use crate::fake_ci::{
    AgentRequest, FakeCi, FakeCiError, Job, Signed, claim_sets, complaint, override_from_text,
    overrides_from_json,
};
use crate::issuer::PROFILES;

/// The longest body that is read, in bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// Serves `ci` on `listener`, which must be bound to the address that `ci` was made for. Signals are the caller's to
/// handle.
pub fn serve(listener: TcpListener, ci: Arc<FakeCi>) -> std::io::Result<Server> {
    let ci = Data::from(ci);
    let server = HttpServer::new(move || App::new().app_data(ci.clone()).configure(routes))
        .workers(1)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

/// Every address.
fn routes(config: &mut ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(LONGEST_BODY))
        .default_service(web::to(nothing_here))
        .route("/", web::get().to(page))
        .route("/claims", web::get().to(list_claims))
        .route("/countersign.toml", web::get().to(configuration))
        .route("/env/{profile}", web::get().to(environment))
        .route("/token/{profile}", web::get().to(token))
        .route("/token/{profile}", web::post().to(token))
        .route("/github/token-request", web::get().to(github_token))
        .route(
            "/buildkite/v3/jobs/{job}/oidc/tokens",
            web::post().to(buildkite_token),
        );
    for profile in PROFILES {
        let (name, Some(keys_path)) = (profile.name, profile.keys_path) else {
            continue;
        };
        let mut issuers = vec![format!("/{name}")];
        if profile.organization_in_issuer {
            issuers.push(format!("/{name}/org/{{organization}}"));
        }
        for issuer in issuers {
            config
                .route(
                    &format!("{issuer}/.well-known/openid-configuration"),
                    web::get().to(move |ci: Data<FakeCi>, request: HttpRequest| async move {
                        let organization = request.match_info().get("organization");
                        document(ci.signer().discovery(name, organization))
                    }),
                )
                .route(
                    &format!("{issuer}{keys_path}"),
                    web::get().to(move |ci: Data<FakeCi>, request: HttpRequest| async move {
                        let organization = request.match_info().get("organization");
                        document(ci.signer().jwks(name, organization))
                    }),
                );
        }
    }
}

async fn page(ci: Data<FakeCi>) -> HttpResponse {
    plain(StatusCode::OK, ci.page())
}

async fn list_claims() -> HttpResponse {
    let mut by_profile = serde_json::Map::new();
    for set in claim_sets() {
        let list = by_profile
            .entry(set.profile.name)
            .or_insert_with(|| json!([]));
        if let Value::Array(names) = list {
            names.push(Value::from(set.name));
        }
    }
    HttpResponse::Ok().json(by_profile)
}

async fn configuration(ci: Data<FakeCi>) -> HttpResponse {
    plain(StatusCode::OK, ci.configuration())
}

async fn nothing_here() -> HttpResponse {
    let text = "there is nothing at this address; `/` lists what there is\n";
    plain(StatusCode::NOT_FOUND, text.to_owned())
}

/// What a query may say beside the claims to change.
struct Asked {
    job: Job,
    audience: Option<String>,
}

type Pairs = Query<Vec<(String, String)>>;

/// Reads `claims`, `audience` and the overrides, in the query and in a body.
fn asked(profile: &str, query: Pairs, body: &[u8]) -> Result<Asked, FakeCiError> {
    let (mut set, mut audience) = (None, None);
    let mut overrides = serde_json::Map::new();
    for (name, value) in query.into_inner() {
        match name.as_str() {
            "claims" => set = Some(value),
            "audience" => audience = Some(value).filter(|text| !text.is_empty()),
            _ => {
                let value = override_from_text(profile, &name, &value);
                overrides.insert(name, value);
            }
        }
    }
    overrides.extend(overrides_from_json(body)?);
    let job = Job::new(profile, set.as_deref(), overrides)?;
    Ok(Asked { job, audience })
}

async fn environment(ci: Data<FakeCi>, profile: Path<String>, query: Pairs) -> HttpResponse {
    let lines = asked(&profile, query, b"")
        .and_then(|asked| ci.environment(&asked.job, asked.audience.as_deref()));
    match lines {
        Ok(lines) => plain(StatusCode::OK, lines),
        // `eval` is what becomes of this, so an error must be a command as well.
        Err(error) => plain(
            error.status_code(),
            complaint(&format!("countersign fake-ci: {error}")),
        ),
    }
}

async fn token(
    ci: Data<FakeCi>,
    profile: Path<String>,
    query: Pairs,
    body: Bytes,
) -> Result<HttpResponse, FakeCiError> {
    let asked = asked(&profile, query, &body)?;
    let Signed { token, claims } = ci.token(&asked.job, asked.audience.as_deref())?;
    Ok(fresh(&json!({ "token": token, "claims": claims })))
}

async fn github_token(
    ci: Data<FakeCi>,
    request: HttpRequest,
    query: Pairs,
) -> Result<HttpResponse, FakeCiError> {
    let audience = query.iter().find(|(name, _)| name == "audience");
    let audience = audience.map(|(_, value)| value.as_str());
    let shown = credentials(&request, "bearer");
    let signed = ci.github_token(shown, audience.filter(|text| !text.is_empty()))?;
    let answer = json!({ "count": signed.token.len(), "value": signed.token });
    Ok(fresh(&answer))
}

async fn buildkite_token(
    ci: Data<FakeCi>,
    request: HttpRequest,
    job: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, FakeCiError> {
    let asked: AgentRequest = serde_json::from_slice(&body)
        .map_err(|fault| FakeCiError::NotGiven(format!("the body cannot be read: {fault}")))?;
    let shown = credentials(&request, "token");
    let signed = ci.buildkite_token(shown, &job, &asked)?;
    Ok(fresh(&json!({ "token": signed.token })))
}

/// What follows `scheme` in the header `Authorization` (RFC 9110, section 11.4); empty if there is no such thing.
fn credentials<'a>(request: &'a HttpRequest, scheme: &str) -> &'a str {
    let header = request.headers().get(AUTHORIZATION);
    let parts = header
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '));
    match parts {
        Some((given, rest)) if given.eq_ignore_ascii_case(scheme) => rest.trim(),
        _ => "",
    }
}

fn document(document: Result<Value, FakeCiError>) -> Result<HttpResponse, FakeCiError> {
    document.map(|document| HttpResponse::Ok().json(document))
}

fn fresh(answer: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(answer)
}

fn plain(status: StatusCode, text: String) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header(ContentType::plaintext())
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(text)
}

/// The one table from what is refused to a status.
impl ResponseError for FakeCiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::UnknownProfile { .. }
            | Self::UnknownClaimSet { .. }
            | Self::UnknownOrganization(_) => StatusCode::NOT_FOUND,
            Self::OverridesMalformed(_) => StatusCode::BAD_REQUEST,
            Self::RequestTokenRefused(_) => StatusCode::UNAUTHORIZED,
            Self::AnotherJob { .. } => StatusCode::FORBIDDEN,
            Self::NotGiven(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotLoopback(_) | Self::Library(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let (error, message) = (self.code(), self.to_string());
        let answer = match self {
            Self::UnknownProfile { known, .. } | Self::UnknownClaimSet { known, .. } => {
                json!({ "error": error, "message": message, "known": known })
            }
            _ => json!({ "error": error, "message": message }),
        };
        HttpResponse::build(self.status_code()).json(answer)
    }
}
