//! The service on a loopback port, with a fake CI beside it and a clock that stands still.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use actix_web::dev::ServerHandle;
use countersign::audit::{DecisionId, Record};
use countersign::cli::assemble::{Parts, assemble_with};
use countersign::clock::{FrozenClock, Seconds, UnixTime};
use countersign::config::Config;
use countersign::fake_ci::{FakeCi, Job};
use countersign::http::{self, Patience};
use countersign::store::Options;
use serde_json::{Map, Value};
use tempfile::TempDir;

/// 2026-11-20T12:00:00Z.
pub const NOON: i64 = 1_795_176_000;

pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// The fake CI of all tests: its keys take a while to make. Each test has a clock of its own for its tokens.
static CI: LazyLock<(Arc<FakeCi>, String)> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let clock = Arc::new(FrozenClock::at(UnixTime::from_seconds(NOON)));
    let ci = Arc::new(FakeCi::new(address, clock).unwrap());
    let served = ci.clone();
    std::thread::spawn(move || {
        let system = actix_web::rt::System::new();
        system.block_on(async { http::fake_ci::serve(listener, served).unwrap().await })
    });
    let base = ci.signer().base().to_owned();
    (ci, base)
});

/// The one who signs for the pretended CI systems.
pub fn ci() -> &'static FakeCi {
    &CI.0
}

/// A service, and everything around it.
pub struct TestService {
    pub base: String,
    pub clock: Arc<FrozenClock>,
    pub folder: TempDir,
    pub parts: Parts,
    handle: ServerHandle,
    http: reqwest::Client,
}

/// What a test may want otherwise.
#[derive(Default)]
pub struct Settings {
    /// More lines for the configuration, above its tables.
    pub top: String,
    /// More tables.
    pub tables: String,
    /// The `[[issuer]]` tables, in place of those of the fake CI.
    pub issuers: Option<String>,
    /// Our issuer name, in place of `https://sts.example.com`.
    pub public_url: Option<String>,
    /// How the store is run.
    pub store: Options,
    /// How long and for how many clients it waits.
    pub patience: Patience,
}

/// An answer: its status, its headers, its body.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub fn reason(&self) -> String {
        self.json()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn description(&self) -> String {
        self.json()["error_description"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn access_token(&self) -> String {
        let token = self.json()["access_token"].as_str().map(str::to_owned);
        token.unwrap_or_else(|| panic!("no token: {} {}", self.status, self.text))
    }
}

impl TestService {
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    /// A service that trusts the fake CI and has the shipped trust policies.
    pub async fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_policies(&folder.path().join("trust-policies"));
        Self::in_folder(folder, settings).await
    }

    /// A service in a folder that has policies, and perhaps data of an earlier one.
    pub async fn in_folder(folder: TempDir, settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = write_config(folder.path(), &address.to_string(), &settings);
        let clock = Arc::new(FrozenClock::at(UnixTime::from_seconds(NOON)));
        let mut parts = assemble_with(&config, clock.clone(), settings.store)
            .await
            .unwrap();
        let service = Arc::get_mut(&mut parts.service).unwrap();
        service.patience = settings.patience;
        let server = http::serve(listener, parts.service.clone()).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            base: format!("http://{address}"),
            clock,
            folder,
            parts,
            handle,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// Ends the service and gives its folder back.
    pub async fn stop(self) -> TempDir {
        self.handle.stop(true).await;
        let store = self.parts.store.clone();
        drop(self.parts);
        tokio::task::spawn_blocking(move || store.close())
            .await
            .unwrap();
        self.folder
    }

    pub fn advance(&self, span: Seconds) {
        self.clock.advance(span);
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.http.get(format!("{}{path}", self.base))).await
    }

    pub async fn head(&self, path: &str) -> Answer {
        answer(self.http.head(format!("{}{path}", self.base))).await
    }

    /// A request for reading that is not sent yet.
    pub fn reading(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.base))
    }

    /// Sends a form to the token endpoint.
    pub async fn form(&self, parameters: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let request = self
            .post("/oauth/token")
            .header("content-type", "application/x-www-form-urlencoded");
        answer(request.body(body)).await
    }

    /// Exchanges `token` for a token of `project`.
    pub async fn exchange(&self, token: &str, project: &str) -> Answer {
        self.exchange_with(token, project, &[]).await
    }

    /// A fresh job of the claim set `set` asks for a token of `project`.
    pub async fn job(&self, set: &str, project: &str) -> Answer {
        self.exchange(&self.token(set, &[]), project).await
    }

    /// Why `token` gets none of `project`; empty if it does.
    pub async fn refusal(&self, token: &str, project: &str) -> String {
        self.exchange(token, project).await.reason()
    }

    /// The same as [`Self::exchange`] with more parameters.
    pub async fn exchange_with(&self, token: &str, project: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", ID_TOKEN),
            ("audience", project),
        ];
        form.extend_from_slice(more);
        self.form(&form).await
    }

    /// A token of a job, made for this service at the moment where its clock stands.
    pub fn token(&self, set: &str, changes: &[(&str, Value)]) -> String {
        let profile = set.split('-').next().unwrap();
        let audience = (profile != "circleci").then_some("https://sts.example.com");
        self.token_for(set, audience, changes)
    }

    pub fn token_for(
        &self,
        set: &str,
        audience: Option<&str>,
        changes: &[(&str, Value)],
    ) -> String {
        use countersign::clock::Clock as _;
        let profile = set.split('-').next().unwrap();
        let changes = changes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let job = Job::new(profile, Some(set), changes.collect::<Map<_, _>>()).unwrap();
        ci().signer()
            .sign(&job, audience, self.clock.now())
            .unwrap()
            .token
    }

    /// The record of the decision that an answer names.
    pub async fn record(&self, answer: &Answer) -> Record {
        let id = answer.json()["decision_id"].as_str().map(str::to_owned);
        let id = id.unwrap_or_else(|| panic!("no decision: {}", answer.text));
        let id = DecisionId::parse(&id).unwrap();
        self.parts
            .service
            .exchange
            .ledger
            .decision(id)
            .await
            .unwrap()
            .unwrap()
    }

    /// Writes a policy file and lets the service read it.
    pub async fn policy(&self, project: &str, text: &str) {
        let file = self
            .folder
            .path()
            .join(format!("trust-policies/{project}.toml"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self.reload().await;
    }

    /// Lets the service read its policy files.
    pub async fn reload(&self) {
        let directory = &self.parts.service.exchange.directory;
        directory.reload().await.unwrap();
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.unwrap(),
    }
}

/// Copies the shipped policies.
pub fn copy_policies(to: &Path) {
    let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("trust-policies/acme");
    std::fs::create_dir_all(to.join("acme")).unwrap();
    for entry in std::fs::read_dir(shipped).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join("acme").join(entry.file_name())).unwrap();
    }
}

/// Writes `countersign.toml` for a service on `address` and reads it.
pub fn write_config(folder: &Path, address: &str, settings: &Settings) -> Config {
    let issuers = settings
        .issuers
        .clone()
        .unwrap_or_else(|| ci().signer().issuer_tables());
    let public_url = settings.public_url.as_deref();
    let public_url = public_url.unwrap_or("https://sts.example.com");
    let text = format!(
        "listen = \"{address}\"\npublic-url = \"{public_url}\"\nallow-loopback-http = true\n{}\n{}\n{issuers}",
        settings.top, settings.tables,
    );
    let file = folder.join("countersign.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), &std::collections::BTreeMap::new())
        .unwrap_or_else(|fault| panic!("{fault}"))
}
