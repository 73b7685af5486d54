//! The program as a process of its own, started the way that something else starts it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use countersign::clock::{Clock as _, SystemClock};
use countersign::fake_ci::Job;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};

use crate::support::service::{Answer, ID_TOKEN, TOKEN_EXCHANGE, answer, ci, copy_policies};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

/// A service, and whatever runs it. All of it ends when it is dropped.
pub struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
    /// Where it listens.
    pub base: String,
}

impl Program {
    /// Runs `command`, which starts the service at its end, and waits until that listens.
    pub fn start(mut command: Command) -> Self {
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut base, mut read) = (None, String::new());
        while base.is_none() {
            let mut line = String::new();
            let more = log.read_line(&mut line).unwrap() > 0;
            read.push_str(&line);
            assert!(more, "the service ended: {read}");
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            base = entry["url"].as_str().map(str::to_owned);
        }
        Self {
            child,
            log,
            base: base.unwrap(),
        }
    }

    /// The port that it listens on.
    pub fn port(&self) -> &str {
        self.base.rsplit(':').next().unwrap()
    }

    /// Asks it to stop and waits until everything that was started has ended; answers what it logged while it served.
    pub fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{rest}");
        rest
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A folder with a configuration and policies for a service that believes the fake CI, and `more` at the top.
pub fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), more);
    folder
}

/// Writes them.
pub fn configure(folder: &Path, more: &str) -> PathBuf {
    copy_policies(&folder.join("trust-policies"));
    let config = format!(
        "listen = \"127.0.0.1:0\"\npublic-url = \"https://sts.example.com\"\nallow-loopback-http = true\n{more}\n{}",
        ci().signer().issuer_tables()
    );
    let file = folder.join("countersign.toml");
    std::fs::write(&file, config).unwrap();
    file
}

/// A token that a job of the shipped policies holds at this moment.
pub fn token() -> String {
    let job = Job::new("github", Some("github-push"), Map::new()).unwrap();
    let signed = ci()
        .signer()
        .sign(&job, Some("https://sts.example.com"), SystemClock.now());
    signed.unwrap().token
}

/// A client that believes the certificate of a test's proxy, whatever it is for.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap()
}

/// A request to exchange `token` for one of `acme/api`.
pub fn exchange(http: &reqwest::Client, base: &str, token: &str) -> reqwest::RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", ID_TOKEN),
            ("audience", "acme/api"),
        ])
        .finish();
    http.post(format!("{base}/oauth/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}

/// What comes of an exchange that nothing stands against.
pub async fn exchanged(base: &str) -> Answer {
    answer(exchange(&http(), base, &token())).await
}

/// Runs a tool that must find nothing wrong, and answers what it printed on both streams.
pub fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|fault| panic!("{command:?}: {fault}; run tests/run, which installs it"));
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let said = said.concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}
