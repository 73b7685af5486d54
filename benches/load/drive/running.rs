//! A server as a child process, in a folder of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::tokens::{AUDIENCE, PROJECT};

/// A million policies take a while to read.
const LONGEST_START: Duration = Duration::from_secs(600);

/// How often it is looked whether the child listens.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// The child. It is killed when this is dropped.
pub struct Running {
    child: Child,
    /// `http://host:port`.
    pub base: String,
}

impl Running {
    /// Starts `command`, which logs to a file as if to a journal, and waits until it logs where it listens.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let child = command
            .env_remove("COUNTERSIGN_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        let mut running = Self {
            child,
            base: String::new(),
        };
        let (began, mut said) = (Instant::now(), BufReader::new(File::open(log).unwrap()));
        let mut line = String::new();
        while running.base.is_empty() {
            said.read_line(&mut line).unwrap();
            if line.ends_with('\n') {
                running.base = address(&line).unwrap_or_default();
                line.clear();
                continue;
            }
            // The end of what is there yet, perhaps within a line.
            let ended = running.child.try_wait().unwrap();
            let late = began.elapsed() > LONGEST_START;
            assert!(
                ended.is_none() && !late,
                "it does not serve: {}",
                std::fs::read_to_string(log).unwrap()
            );
            std::thread::sleep(LOOK_EVERY);
        }
        running
    }

    /// `countersign serve` in a folder that [`lay_out`] made.
    pub fn service(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.arg("serve").arg("--config");
        command.arg(folder.join("countersign.toml"));
        Self::start(command, &folder.join("log"))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the log entry that says it.
fn address(line: &str) -> Option<String> {
    // Most lines are others, and with many policies there are many.
    if !line.contains("listening") {
        return None;
    }
    let entry: Value = serde_json::from_str(line).ok()?;
    let listening = entry.get("message")? == "listening";
    let url = entry.get("url")?.as_str()?;
    listening.then(|| url.to_owned())
}

/// Writes a configuration that trusts `issuer`, and a policy with one relationship. Callers tell their address in
/// `X-Forwarded-For` if they want to be told apart.
pub fn lay_out(folder: &Path, issuer: &str) {
    let config = format!(
        "listen = \"127.0.0.1:0\"\npublic-url = \"{AUDIENCE}\"\nallow-loopback-http = true\n\
        trusted-proxies = [\"127.0.0.1\"]\n\n[[issuer]]\nname = \"github\"\nprofile = \"github\"\n\
        url = \"{issuer}\"\nmax-token-age = \"2h\"\n\n[audit]\ntiles = \"public\"\n"
    );
    std::fs::write(folder.join("countersign.toml"), config).unwrap();
    let policy = folder.join(format!("trust-policies/{PROJECT}.toml"));
    std::fs::create_dir_all(policy.parent().unwrap()).unwrap();
    std::fs::write(policy, TRUSTED).unwrap();
}

/// The relationship that trusts the jobs of `Signer::token`.
pub const TRUSTED: &str = r#"[[trust]]
name = "release"
issuer = "github"
owner = "octo-org"
owner-id = "65123456"
repository = "octo-repo"
repository-id = "74123456"
environment = "production"
scopes = ["publish", "read"]
lifetime = "15m"

[trust.claims]
ref = "refs/heads/main"
"#;
