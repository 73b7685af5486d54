//! One run of wrk against one server.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The script that wrk runs, beside this file.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/post.lua");

/// What is sent, and how.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// `http://host:port`.
    pub base: &'a str,
    pub what: What<'a>,
    pub connections: usize,
    pub seconds: u64,
}

/// What is sent.
#[derive(Clone, Copy)]
pub enum What<'a> {
    /// Every line of a file, once.
    Once(&'a Path),
    /// Every line of a file, and then the file again: for servers that do not care.
    Again(&'a Path),
    /// The same to another path.
    To(&'a str, &'a Path),
}

/// What came of a run. Latencies are in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub requests: f64,
    pub seconds: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// Answers with a status of 400 or more.
    pub refused: f64,
    /// Connections that failed, and answers that did not come.
    pub broken: f64,
    /// Whether there were too few lines, so that the last one was sent again and again.
    pub ran_out: bool,
}

impl Run {
    /// Good answers a second.
    pub fn rate(&self) -> f64 {
        (self.requests - self.refused) / self.seconds
    }

    pub fn errors(&self) -> f64 {
        self.refused + self.broken
    }
}

/// A run that goes on.
pub struct Started(Child);

/// Ends the program if wrk is not there.
pub fn need_wrk() {
    // It answers its version with the exit code 1.
    let there = Command::new("wrk")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if there.is_err() {
        eprintln!("missing: wrk. Install it (on Debian: apt-get install wrk) and run this again.");
        std::process::exit(3);
    }
}

impl Load<'_> {
    /// Does it, from one thread.
    pub fn run(&self) -> Run {
        self.start().ended()
    }

    /// Begins it.
    pub fn start(&self) -> Started {
        let mut command = Command::new("wrk");
        command
            .args(["--threads", "1", "--timeout", "10s", "--latency"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.seconds)])
            .args(["--script", SCRIPT, self.base])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        match self.what {
            What::Once(lines) => command.env("LINES", lines),
            What::Again(lines) => command.env("LINES", lines).env("AGAIN", "1"),
            What::To(path, lines) => command
                .env("LINES", lines)
                .env("AGAIN", "1")
                .env("TARGET", path),
        };
        Started(command.spawn().unwrap())
    }
}

impl Started {
    /// Waits for its end.
    pub fn ended(self) -> Run {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        parse(&text).unwrap_or_else(|| panic!("wrk did not say what it found: {text}"))
    }
}

fn parse(text: &str) -> Option<Run> {
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    let mut run = Run::default();
    for pair in line.split(' ') {
        let (name, value) = pair.split_once('=')?;
        let value: f64 = value.parse().ok()?;
        match name {
            "requests" => run.requests = value,
            "micros" => run.seconds = value / 1e6,
            "p50" => run.p50 = value / 1e3,
            "p99" => run.p99 = value / 1e3,
            "p999" => run.p999 = value / 1e3,
            "refused" => run.refused = value,
            "broken" => run.broken = value,
            "ran_out" => run.ran_out = value > 0.0,
            _ => return None,
        }
    }
    Some(run)
}
