//! The program as an operator runs it: started, stopped, killed.
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;

use countersign::audit::DecisionId;
use countersign::clock::{Clock as _, SystemClock};
use countersign::fake_ci::Job;
use countersign::ledger::Ledger as _;
use countersign::store::{EmbeddedStore, Options};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::support::service::{Answer, ID_TOKEN, TOKEN_EXCHANGE, answer, ci, copy_policies};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

/// `countersign serve` in a folder of its own.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
    base: String,
    read: String,
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_policies(&folder.path().join("trust-policies"));
    let config = format!(
        "listen = \"127.0.0.1:0\"\npublic-url = \"https://sts.example.com\"\nallow-loopback-http = true\n{}",
        ci().signer().issuer_tables()
    );
    std::fs::write(folder.path().join("countersign.toml"), config).unwrap();
    folder
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("serve")
        .arg("--config")
        .arg(folder.join("countersign.toml"))
        .env_remove("COUNTERSIGN_LOG");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Running {
    /// Starts the service and waits until it says where it listens.
    fn start(folder: &Path) -> Self {
        let mut child = command(folder).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self {
            child,
            log,
            base: String::new(),
            read: String::new(),
        };
        while running.base.is_empty() {
            let mut line = String::new();
            let more = running.log.read_line(&mut line).unwrap() > 0;
            running.read.push_str(&line);
            assert!(more, "the service ended: {}", running.read);
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "listening" {
                entry["url"].as_str().unwrap().clone_into(&mut running.base);
            }
        }
        running
    }

    async fn exchange(&self, http: &reqwest::Client, token: &str) -> Answer {
        self.exchange_or_gone(http, token).await.unwrap()
    }

    /// An exchange; `None` once the service is gone.
    async fn exchange_or_gone(&self, http: &reqwest::Client, token: &str) -> Option<Answer> {
        self.exchange_for("acme/api", http, token).await
    }

    /// The same for another project.
    async fn exchange_for(
        &self,
        project: &str,
        http: &reqwest::Client,
        token: &str,
    ) -> Option<Answer> {
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", ID_TOKEN),
            ("audience", project),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = http.post(format!("{}/oauth/token", self.base));
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.ok()?;
        Some(Answer {
            status,
            headers,
            text,
        })
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for the end; answers how it ended and all that was logged.
    fn ended(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), self.read + &rest)
    }
}

fn token() -> String {
    token_with(Map::new())
}

fn token_with(changes: Map<String, Value>) -> String {
    let job = Job::new("github", Some("github-push"), changes).unwrap();
    let signed = ci()
        .signer()
        .sign(&job, Some("https://sts.example.com"), SystemClock.now());
    signed.unwrap().token
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_no_acknowledged_exchange_is_lost_and_no_spent_token_can_be_spent_again() {
    let folder = folder();
    let http = http();
    let mut acknowledged: Vec<(String, DecisionId)> = Vec::new();
    for _ in 0..3 {
        let running = Arc::new(Running::start(folder.path()));
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (running, http, sender) = (running.clone(), http.clone(), sender.clone());
                tokio::spawn(async move {
                    loop {
                        let token = token();
                        let form = running.exchange_or_gone(&http, &token).await;
                        let Some(answer) = form else { return };
                        assert_eq!(answer.status, 200, "{}", answer.text);
                        let id = answer.json()["decision_id"].as_str().unwrap().to_owned();
                        if sender
                            .send((token, DecisionId::parse(&id).unwrap()))
                            .is_err()
                        {
                            return;
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        for _ in 0..40 {
            acknowledged.push(receiver.recv().await.unwrap());
        }
        running.signal(rustix::process::Signal::KILL);
        while let Some(more) = receiver.recv().await {
            acknowledged.push(more);
        }
        for client in clients {
            client.await.unwrap();
        }
        let running = Arc::into_inner(running).unwrap();
        assert!(!running.ended().0.success());
    }

    let running = Running::start(folder.path());
    for (token, _) in &acknowledged {
        let again = running.exchange(&http, token).await;
        assert_eq!(again.reason(), "token-spent", "{}", again.text);
    }
    running.signal(rustix::process::Signal::TERM);
    assert!(running.ended().0.success());
    let store = EmbeddedStore::open(
        &folder.path().join("data"),
        Arc::new(SystemClock),
        Options::default(),
    );
    let store = store.unwrap();
    for (_, id) in &acknowledged {
        let record = store.decision(*id).await.unwrap();
        assert_eq!(record.unwrap().trust, ["build"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_names_belong_to_the_identity_that_was_let_in_first() {
    let folder = folder();
    let policies = folder.path().join("trust-policies/acme");
    let by_name = "[[trust]]\nname = \"build\"\nissuer = \"github\"\nowner = \"octo-org\"\nrepository = \"octo-repo\"\nscopes = [\"read_registry\"]\n";
    let of_repository = |id: usize| {
        token_with(Map::from_iter([(
            "repository_id".into(),
            id.to_string().into(),
        )]))
    };
    let http = http();
    for round in 0..3 {
        let project = format!("acme/named{round}");
        std::fs::write(policies.join(format!("named{round}.toml")), by_name).unwrap();
        let running = Arc::new(Running::start(folder.path()));
        let mut at_once = tokio::task::JoinSet::new();
        for id in 0..8 {
            let (running, http, project) = (running.clone(), http.clone(), project.clone());
            at_once.spawn(async move {
                let token = of_repository(id);
                let answer = running.exchange_for(&project, &http, &token);
                (id, answer.await.map(|answer| answer.status))
            });
        }
        let mut let_in = Vec::new();
        while let Some(done) = at_once.join_next().await {
            let (id, status) = done.unwrap();
            if status == Some(200) {
                let_in.push(id);
                running.signal(rustix::process::Signal::KILL);
            }
        }
        let [let_in] = let_in[..] else {
            panic!("one identity alone is let in: {let_in:?}");
        };
        Arc::into_inner(running).unwrap().ended();

        let running = Running::start(folder.path());
        for id in 0..8 {
            let token = of_repository(id);
            let answer = running.exchange_for(&project, &http, &token);
            let answer = answer.await.unwrap();
            let expected = if id == let_in { "" } else { "identity-changed" };
            assert_eq!(answer.reason(), expected, "{}", answer.text);
        }
        running.signal(rustix::process::Signal::TERM);
        assert!(running.ended().0.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_in_flight_finish_and_ends_well() {
    let folder = folder();
    let running = Arc::new(Running::start(folder.path()));
    let http = http();
    // Connections are open and requests under way when the signal comes.
    let first = running.exchange(&http, &token()).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let in_flight: Vec<_> = (0..16)
        .map(|_| {
            let (running, http) = (running.clone(), http.clone());
            tokio::spawn(async move { running.exchange_or_gone(&http, &token()).await })
        })
        .collect();
    running.signal(rustix::process::Signal::TERM);
    for exchange in in_flight {
        // One that came before the stop is answered whole; one that came after finds nobody.
        if let Some(answer) = exchange.await.unwrap() {
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }
    let (status, log) = Arc::into_inner(running).unwrap().ended();
    assert!(status.success(), "{log}");
    assert!(log.contains("\"stopped\""), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_one_line_a_request_and_never_a_token() {
    let folder = folder();
    let running = Running::start(folder.path());
    let http = http();
    let token = token();
    let issued = running.exchange(&http, &token).await.access_token();
    let spent = running.exchange(&http, &token).await;
    assert_eq!(spent.reason(), "token-spent");
    let address = format!("{}/{token}?subject_token={token}", running.base);
    assert_eq!(answer(http.get(address)).await.status, 404);
    running.signal(rustix::process::Signal::INT);
    let (status, log) = running.ended();
    assert!(status.success());

    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let requests: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "request")
        .collect();
    assert_eq!(requests.len(), 3, "{log}");
    assert_eq!(
        (&requests[0]["path"], &requests[0]["status"]),
        (&"/oauth/token".into(), &200.into())
    );
    assert_eq!(requests[1]["reason"], "token-spent");
    assert_eq!(requests[1]["project"], "acme/api");
    for secret in [token.as_str(), issued.as_str()] {
        for part in secret.split('.') {
            assert!(!log.contains(part), "a part of a token is in the log");
        }
    }
    assert!(!log.contains("PRIVATE"), "a key is in the log");
}

#[test]
fn a_running_service_has_a_socket_for_commands_that_a_kill_leaves_stale_and_a_stop_removes() {
    let folder = folder();
    let socket = folder.path().join("data/admin.sock");
    let connects = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
    let killed = Running::start(folder.path());
    assert!(connects());
    killed.signal(rustix::process::Signal::KILL);
    killed.ended();
    assert!(socket.exists() && !connects());
    let stopped = Running::start(folder.path());
    assert!(connects());
    stopped.signal(rustix::process::Signal::TERM);
    assert!(stopped.ended().0.success());
    assert!(!socket.exists());
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let folder = folder();
    let first = Running::start(folder.path());
    let second = command(folder.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    assert!(String::from_utf8(second.stderr).unwrap().contains("in use"));
    first.signal(rustix::process::Signal::TERM);
    assert!(first.ended().0.success());
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place_before_anything_starts() {
    let folder = folder();
    std::fs::write(
        folder.path().join("countersign.toml"),
        "listen = \"127.0.0.1:0\"\nlisten-on = 1\n",
    )
    .unwrap();
    let refused = command(folder.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("countersign.toml:2:1") && said.contains("listen-on"),
        "{said}"
    );
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_variable_that_is_no_text_is_told_if_it_is_ours_and_passed_over_if_not() {
    let no_text = OsStr::from_bytes(b"\xff");
    let folder = folder();
    let refused = command(folder.path())
        .env("COUNTERSIGN_LISTEN", no_text)
        .env("ANOTHER", no_text)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("COUNTERSIGN_LISTEN"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn in_a_data_folder_that_others_may_enter_they_cannot_read_the_signing_keys() {
    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let running = Running::start(folder.path());
    for entry in std::fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
    }
    running.signal(rustix::process::Signal::TERM);
    assert!(running.ended().0.success());
}

#[test]
fn the_demo_shows_an_exchange_of_each_ci_system_and_a_denial() {
    let elsewhere = tempfile::tempdir().unwrap();
    let demo = Command::new(PROGRAM)
        .args(["demo", "--once"])
        .current_dir(elsewhere.path())
        .output()
        .unwrap();
    let said = String::from_utf8(demo.stdout).unwrap();
    assert!(
        demo.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&demo.stderr)
    );
    for word in [
        "github",
        "circleci",
        "buildkite",
        "rwx",
        "gitlab",
        "not-trusted",
        "curl",
    ] {
        assert!(said.contains(word), "{word} is missing in\n{said}");
    }
    assert!(!said.contains("eyJ"), "the demo prints no token:\n{said}");
    assert_eq!(
        std::fs::read_dir(elsewhere.path()).unwrap().count(),
        0,
        "it leaves nothing behind"
    );
}
