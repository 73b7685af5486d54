//! What shows only in a process of its own: its log and its descriptors.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::support::service::{ID_TOKEN, TOKEN_EXCHANGE, ci, write_config};

/// The program on a port of its own. It is killed when it is dropped.
struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
    /// What it logged until it listened.
    begin: String,
    address: String,
    _folder: tempfile::TempDir,
}

impl Program {
    /// Starts it with at most `files` descriptors, and waits until it listens.
    fn start(files: usize, settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_config(folder.path(), "127.0.0.1:0", settings);
        std::fs::create_dir(folder.path().join("trust-policies")).unwrap();
        let program = env!("CARGO_BIN_EXE_countersign");
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit -n {files} && exec \"$@\""))
            .args(["sh", program, "serve", "--config"])
            .arg(folder.path().join("countersign.toml"))
            .env_remove("COUNTERSIGN_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut program = Self {
            child,
            log,
            begin: String::new(),
            address: String::new(),
            _folder: folder,
        };
        while program.address.is_empty() {
            let mut line = String::new();
            assert_ne!(program.log.read_line(&mut line).unwrap(), 0);
            program.begin.push_str(&line);
            let line: Value = serde_json::from_str(&line).unwrap();
            if let Some(url) = line["url"].as_str() {
                let address = url.strip_prefix("http://").unwrap();
                address.clone_into(&mut program.address);
            }
        }
        program
    }

    /// Sends `text` on a connection of its own, and waits for its end. `None` if there was no answer.
    async fn ask(&self, text: &str) -> Option<String> {
        let mut connection = TcpStream::connect(&self.address).await.ok()?;
        connection.write_all(text.as_bytes()).await.ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.ok()?;
        Some(answer).filter(|answer| !answer.is_empty())
    }

    /// The status of the answer to a request that has nothing but its line.
    async fn status(&self, line: &str) -> String {
        let request = format!("{line} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
        let answer = self.ask(&request).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    /// Kills it; all that it logged since it listened.
    fn logged(mut self) -> String {
        self.child.kill().unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Killed already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_limit_has_no_line_in_the_log() {
    let settings = Settings {
        tables: "[rate-limit]\nfailures-per-minute = 1\nburst = 2\n".to_owned(),
        ..Settings::default()
    };
    let program = Program::start(1024, &settings);
    for status in ["400", "400", "429", "429", "429"] {
        assert_eq!(program.status("POST /oauth/token").await, status);
    }
    for _ in 0..3 {
        assert_eq!(program.status("GET /nope").await, "404");
        assert_eq!(program.status("GET /errors/nope").await, "404");
        assert_eq!(program.status("PUT /oauth/token").await, "405");
    }
    let no_http = program.ask("no HTTP at all\r\n\r\n").await;
    assert!(no_http.unwrap().starts_with("HTTP/1.1 400 "));
    assert_eq!(of_clients(&program.logged()), 2);
}

/// How many lines of the log clients caused.
fn of_clients(log: &str) -> usize {
    let lines = log.lines().filter(|line| !line.contains("::discovery::"));
    lines.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_for_what_is_not_there_has_as_many_lines_as_an_address_may_fail() {
    let settings = Settings {
        tables: "[rate-limit]\nfailures-per-minute = 1\nburst = 2\n".to_owned(),
        ..Settings::default()
    };
    let program = Program::start(1024, &settings);
    for n in 0..5 {
        assert_eq!(program.status(&format!("GET /nope-{n}")).await, "404");
        assert_eq!(program.status("DELETE /errors").await, "405");
    }
    assert_eq!(of_clients(&program.logged()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_anybody_may_read_have_no_line_in_the_log() {
    let program = Program::start(1024, &Settings::default());
    for path in [
        "/healthz",
        "/readyz",
        "/errors",
        "/errors/not-trusted",
        "/audit/checkpoint",
        "/audit/key",
        "/.well-known/jwks.json",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(program.status(&format!("{method} {path}")).await, "200");
        }
    }
    assert_eq!(of_clients(&program.logged()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_audit_tokens_nor_what_an_auditor_asks_for_stand_in_the_log() {
    let (right, wrong) = ("a-token-that-is-right", "a-token-that-is-wrong");
    // SHA-256 of the right one.
    let digest = "daa853edf4a4f71f46d53daaf7ea4ef0c8566c51e8e6b238386eeb2b271ca827";
    let settings = Settings {
        tables: format!("[audit]\ntoken-sha256 = \"{digest}\"\n"),
        ..Settings::default()
    };
    let program = Program::start(1024, &settings);
    for (token, query, status) in [
        (right, "subject=somebody", "200"),
        (right, "subjekt=somebody", "400"),
        (wrong, "subject=somebody", "401"),
    ] {
        let request = format!(
            "GET /api/v1/audit?{query} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\
            Authorization: Bearer {token}\r\n\r\n"
        );
        let answer = program.ask(&request).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let log = program.logged();
    assert_eq!(of_clients(&log), 2, "{log}");
    assert!(log.contains("\"path\":\"/api/v1/audit\"") && log.contains("audit-token-required"));
    for secret in [right, wrong, digest, "somebody"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_ours_that_anybody_can_cause_have_no_line_beyond_the_limit_either() {
    let dead = ci().signer().issuer_tables().replace(
        "profile = \"github\"\n",
        "profile = \"github\"\njwks-url = \"http://127.0.0.1:9/jwks\"\n",
    );
    let settings = Settings {
        tables: "[rate-limit]\nfailures-per-minute = 1\nburst = 2\n".to_owned(),
        issuers: Some(dead),
        ..Settings::default()
    };
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    let program = Program::start(1024, &settings);
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", TOKEN_EXCHANGE)
        .append_pair("subject_token", &token)
        .append_pair("subject_token_type", ID_TOKEN)
        .append_pair("audience", "acme/api")
        .finish();
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: {}\r\n\
        Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    for _ in 0..5 {
        let answer = program.ask(&request).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    for status in ["400", "400", "429"] {
        assert_eq!(program.status("POST /oauth/token").await, status);
    }
    let log = program.logged();
    assert_eq!(of_clients(&log), 4, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_turned_away_beyond_the_share_of_its_address_is_counted_in_one_line() {
    let settings = Settings {
        top: "max-connections = 4\n".to_owned(),
        ..Settings::default()
    };
    let program = Program::start(1024, &settings);
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(TcpStream::connect(&program.address).await.unwrap());
    }
    let mut turned_away = 0;
    let ends = open.iter_mut().map(|connection| connection.read_u8());
    let mut ends: FuturesUnordered<_> = ends.collect();
    while turned_away < 18 {
        assert!(ends.next().await.unwrap().is_err());
        turned_away += 1;
    }
    drop(ends);
    let log = program.logged();
    assert_eq!(of_clients(&log), 1, "{log}");
    assert!(log.contains("turned away"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_descriptors_that_makes_the_share_of_an_address_small_is_warned_of_at_start() {
    let program = Program::start(1024, &Settings::default());
    assert!(program.begin.contains("LimitNOFILE"), "{}", program.begin);
    assert!(program.begin.contains("\"of_one_address\":192"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_descriptors_serves_again_once_it_has_some() {
    let settings = Settings {
        top: "max-connections = 5000\n".to_owned(),
        ..Settings::default()
    };
    let program = Program::start(200, &settings);
    let request = "GET /healthz HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n";
    let is_served = async || program.ask(request).await.is_some();
    assert!(is_served().await);
    let mut open = Vec::new();
    // Connected is not accepted: those beyond the descriptors wait in the kernel.
    for _ in 0..300 {
        open.push(TcpStream::connect(&program.address).await.unwrap());
    }
    drop(open);
    let again = async { while !is_served().await {} };
    tokio::time::timeout(Duration::from_secs(60), again)
        .await
        .unwrap();
    let log = program.logged();
    assert!(log.contains("Too many open files"), "{log}");
}
