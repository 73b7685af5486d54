//! Tools that come as packages of Python, in a folder of the build where `tests/run` puts them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::docs::root;

/// Where they are.
pub fn folder() -> PathBuf {
    let folder = root().join("target/deploy-tools");
    assert!(
        folder.exists(),
        "{} is not there; run tests/run, which makes it",
        folder.display()
    );
    folder
}

/// One of their programs.
pub fn tool(name: &str) -> Command {
    Command::new(folder().join("bin").join(name))
}

/// Runs `tests/deploy/charts.py`, and answers the JSON that it prints.
pub fn charts(arguments: &[&str], input: &str) -> Value {
    let mut child = Command::new("python3")
        .arg(root().join("tests/deploy/charts.py"))
        .args(arguments)
        .env("PYTHONPATH", folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A document of YAML as JSON.
pub fn json(yaml: &str) -> Value {
    charts(&["yaml"], yaml)
}
