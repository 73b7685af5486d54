//! `countersign audit tail`: what comes is shown.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use super::stage::{Stage, command};

/// A tail that follows.
struct Following {
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
}

impl Following {
    fn start(stage: &Stage) -> Self {
        Self::in_folder(&stage.folder(), Stdio::null())
    }

    fn in_folder(folder: &Path, complaints: Stdio) -> Self {
        let mut command = command(folder, "tail");
        command.args(["-f", "--format", "json", "--kind", "decision"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .unwrap();
        let lines = child.stdout.take().map(BufReader::new);
        Self { child, lines }
    }

    /// The decision of the next line.
    async fn next(&mut self) -> String {
        let mut lines = self.lines.take().unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            (lines, line)
        });
        let (lines, line) = reading.await.unwrap();
        self.lines = Some(lines);
        let read = serde_json::from_str(&line);
        let entry: Value = read.unwrap_or_else(|_| panic!("no entry: {line}"));
        entry["entry"]["decision_id"].as_str().unwrap().to_owned()
    }

    /// Interrupts it, and answers its exit code.
    async fn interrupted(mut self) -> i32 {
        let id = i32::try_from(self.child.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        let ended = tokio::task::spawn_blocking(move || self.child.wait());
        ended.await.unwrap().unwrap().code().unwrap()
    }
}

async fn decided(stage: &Stage) -> String {
    let answer = stage.exchange("github-push", "acme/api", &[]).await;
    answer.json()["decision_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_tail_shows_what_comes_also_after_a_restart_until_it_is_interrupted() {
    let stage = Stage::quiet().await;
    let before = decided(&stage).await;
    let mut tail = Following::start(&stage);
    assert_eq!(tail.next().await, before);
    let first = decided(&stage).await;
    let second = decided(&stage).await;
    assert_eq!([tail.next().await, tail.next().await], [first, second]);

    let folder = stage.stopped().await.folder();
    let stage = Stage::again(folder).await;
    let later = decided(&stage).await;
    assert_eq!(tail.next().await, later);
    assert_eq!(tail.interrupted().await, 0);
}

#[tokio::test]
async fn a_tail_of_a_stopped_service_leaves_its_store_alone() {
    let stage = Stage::quiet().await;
    let before = decided(&stage).await;
    let folder = stage.stopped().await.folder();
    let mut tail = Following::in_folder(folder.path(), Stdio::piped());
    assert_eq!(tail.next().await, before);
    let mut complaint = tail.child.stderr.take().map(BufReader::new).unwrap();
    let waiting = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        complaint.read_line(&mut line).unwrap();
        (complaint, line)
    });
    // Kept: whoever complains to nobody stops.
    let (_complaint, line) = waiting.await.unwrap();
    assert!(line.contains("waiting for it"), "{line}");
    // Its store is closed, so the service starts.
    let stage = Stage::again(folder).await;
    let later = decided(&stage).await;
    assert_eq!(tail.next().await, later);
    assert_eq!(tail.interrupted().await, 0);
}

#[tokio::test]
async fn a_tail_that_does_not_follow_shows_the_end_of_the_log() {
    let stage = Stage::with_a_story().await;
    let ran = stage
        .audit("tail", &["-n", "2", "--project", "acme/api"])
        .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.out);
    assert!(
        lines[0].contains("not-trusted") && lines[1].contains("token-spent"),
        "{}",
        ran.out
    );
}
