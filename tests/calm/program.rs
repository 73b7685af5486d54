//! What shows only in a process of its own: its log and its descriptors.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::support::service::write_config;

/// The program on a port of its own. It is killed when it is dropped.
struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
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
            address: String::new(),
            _folder: folder,
        };
        while program.address.is_empty() {
            let mut line = String::new();
            assert_ne!(program.log.read_line(&mut line).unwrap(), 0);
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
    let request = "POST /oauth/token HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n";
    for status in [400, 400, 429, 429, 429] {
        let answer = program.ask(request).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let no_http = program.ask("no HTTP at all\r\n\r\n").await;
    assert!(no_http.unwrap().starts_with("HTTP/1.1 400 "));
    let log = program.logged();
    let of_clients = log.lines().filter(|line| !line.contains("::discovery::"));
    assert_eq!(of_clients.count(), 2, "{log}");
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
