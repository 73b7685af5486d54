//! The log of a service that runs, before both verifiers: as it is served, and as it lies in the data folder.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use countersign::audit::Happening;
use countersign::clock::{Clock as _, Seconds};
use countersign::verifier::{DataFolder, Question, Report, VerifierKey, verify};
use serde_json::json;

use super::command::{run, says};
use super::documents::script;
use super::writer::{Signer, put, sha256};
use super::{codes, python};
use crate::support::service::{Settings, TestService};

const TOKEN: &str = "6f1c3a5e7d9b0842c4e6a8f0b2d4c6e8";

/// A service whose log is read, and a folder for what a reviewer keeps.
struct Live {
    service: TestService,
    kept: tempfile::TempDir,
}

impl Live {
    async fn with(audit: &str) -> Self {
        let settings = Settings {
            tables: format!("[audit]\n{audit}\n"),
            ..Settings::default()
        };
        let service = TestService::with(settings).await;
        let kept = tempfile::tempdir().unwrap();
        let live = Self { service, kept };
        let key = live.service.get("/audit/key").await.text;
        put(&live.kept.path().join("key"), key.as_bytes());
        put(&live.kept.path().join("token"), TOKEN.as_bytes());
        live
    }

    /// Tokens that are issued, and some that are not.
    async fn exchange(&self) {
        let service = &self.service;
        for set in ["github-push", "github-pull_request", "gitlab-push"] {
            let token = service.token(set, &[]);
            for _ in 0..3 {
                service.exchange(&token, "acme/api").await;
            }
        }
        service.exchange("no token", "acme/api").await;
        let denied = service.token("github-push", &[("ref", json!("refs/heads/other"))]);
        assert_eq!(service.exchange(&denied, "acme/api").await.status, 400);
        let allowed = service.job("github-push", "acme/api").await;
        assert_eq!(allowed.status, 200, "{}", allowed.text);
        // So that there is more than one tile.
        let events = (0..300).map(|number| Happening::SigningKeyRetired {
            key_id: format!("key {number}"),
        });
        let log = &service.parts.service.log;
        log.append(events.collect(), service.clock.now())
            .await
            .unwrap();
    }

    /// The checkpoint, kept under this name too.
    async fn checkpoint(&self, name: &str) -> u64 {
        let note = self.service.get("/audit/checkpoint").await.text;
        put(&self.kept.path().join(name), note.as_bytes());
        note.lines().nth(1).unwrap().parse().unwrap()
    }

    /// What both verifiers say of the service; they are given `more` arguments.
    #[track_caller]
    fn is_whole(&self, size: u64, more: &[&str]) -> String {
        let (here, base) = (self.kept.path(), self.service.base.as_str());
        let ours = [&[base, "--key", "key"], more].concat();
        let output = tokio::task::block_in_place(|| run(here, &ours));
        says(&output, 0, &format!("whole: {size} entries"), "");
        let audit = format!("{base}/audit");
        let files = more.iter().map(|given| match *given {
            given if given.starts_with("--") => given.to_owned(),
            given => here.join(given).to_str().unwrap().to_owned(),
        });
        let files: Vec<String> = files.collect();
        let key = here.join("key").to_str().unwrap().to_owned();
        let mut theirs = vec![audit.as_str(), "--key", &key];
        theirs.extend(files.iter().map(String::as_str));
        let said = tokio::task::block_in_place(|| python(&theirs));
        says(&said, 0, &format!("whole: {size} entries"), "");
        String::from_utf8(output.stdout).unwrap()
    }

    fn report(&self) -> Report {
        self.report_of(&self.service.folder.path().join("data"))
    }

    fn report_of(&self, data: &Path) -> Report {
        let key = std::fs::read_to_string(self.kept.path().join("key")).unwrap();
        let question = Question {
            key: VerifierKey::parse(&key).unwrap(),
            since: None,
            witnesses: Vec::new(),
        };
        verify(&DataFolder::new(data), &question, &|_, _| {}).unwrap()
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_service_is_verified_by_whoever_has_the_token() {
    let digest = hex(&sha256(TOKEN.as_bytes()));
    let live = Live::with(&format!("token-sha256 = \"{digest}\"")).await;
    live.exchange().await;
    let before = live.checkpoint("earlier").await;
    live.exchange().await;
    let size = live.checkpoint("now").await;
    assert!(before > 300 && size > before + 300, "{before}, {size}");
    let token = ["--token-file", "token"];
    live.is_whole(size, &token);
    let said = live.is_whole(size, &[&token[..], &["--since", "earlier"]].concat());
    let continues = format!("it continues the earlier checkpoint of {before} entries");
    assert!(said.contains(&continues), "{said}");

    let base = live.service.base.as_str();
    let without = [base, "--key", "key"];
    let output = tokio::task::block_in_place(|| run(live.kept.path(), &without));
    says(&output, 3, "", "asks for an audit token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_the_page_verify_an_entry_of_a_running_service() {
    let digest = hex(&sha256(TOKEN.as_bytes()));
    let live = Live::with(&format!("token-sha256 = \"{digest}\"")).await;
    let job = live.service.job("github-push", "acme/api").await.json();
    live.exchange().await;
    let script = [script("shell"), script("sh")].concat();
    let run = Command::new("sh")
        .args(["-c", &script])
        .current_dir(live.kept.path())
        .env("SERVICE", &live.service.base)
        .env("AUDIT_TOKEN", TOKEN)
        .env("INDEX", job["audit_index"].to_string())
        .env("no_proxy", "127.0.0.1")
        .output();
    let output = run.unwrap();
    for expected in [
        "Signature Verified Successfully",
        "the entry is in the log",
        "/client_address: as in the entry",
    ] {
        says(&output, 0, expected, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn public_tiles_are_verified_by_everybody_and_the_folder_while_it_is_used_and_after() {
    let live = Live::with("tiles = \"public\"").await;
    live.exchange().await;
    let size = live.checkpoint("now").await;
    live.is_whole(size, &[]);
    // The service goes on, and its folder is read while it does.
    let report = tokio::join!(live.exchange(), async {
        tokio::task::block_in_place(|| live.report())
    });
    let report = report.1;
    assert!(report.is_whole(), "{:#?}", report.faults);
    let size = live.checkpoint("now").await;
    let report = tokio::task::block_in_place(|| live.report());
    assert!(report.is_whole(), "{:#?}", report.faults);
    assert_eq!((report.size, report.unknown_kinds), (size, 0));
    assert!(report.withheld >= 10, "{}", report.withheld);

    let withheld = report.withheld;
    let Live { service, kept } = live;
    let folder = service.stop().await;
    let data = folder.path().join("data");
    let here = kept.path();
    let arguments = [data.to_str().unwrap(), "--key", "key", "--since", "now"];
    let output = tokio::task::block_in_place(|| run(here, &arguments));
    says(&output, 0, "whole: ", "");
    says(
        &output,
        0,
        &format!("{withheld} withheld values have the digests of their entries"),
        "",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_retention_deleted_are_not_missed_and_others_are() {
    let live = Live::with("tiles = \"public\"").await;
    live.exchange().await;
    let size = live.checkpoint("before").await;
    live.service.advance(Seconds(10 * 24 * 3600));
    live.exchange().await;
    let removed = {
        let (log, now) = (&live.service.parts.service.log, live.service.clock.now());
        log.remove_personal_values(now.minus(Seconds(24 * 3600)), now)
    };
    assert!(removed.await.unwrap(), "there are values of ten days ago");
    // No checkpoint has the entry that says so yet.
    let report = tokio::task::block_in_place(|| live.report());
    assert!(report.is_whole(), "{:#?}", report.faults);
    assert_eq!(report.size, size);
    assert!(report.beyond > 300);
    let size = live.checkpoint("now").await;
    live.is_whole(size, &["--since", "before"]);
    let report = tokio::task::block_in_place(|| live.report());
    assert!(report.is_whole(), "{:#?}", report.faults);
    assert!(report.withheld > 0);

    let data = live.service.folder.path().join("data");
    let files = std::fs::read_dir(data.join("withheld")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    std::fs::remove_file(&files[0]).unwrap();
    let report = tokio::task::block_in_place(|| live.report());
    let [fault] = report.faults.as_slice() else {
        panic!("{:#?}", report.faults);
    };
    assert_eq!(fault.what.code(), "withheld-missing");
    assert!(fault.index.unwrap() > 300, "{fault:?}");
    let place = fault.place.as_ref().unwrap();
    assert!(files[0].ends_with(&place.file) && place.offset == 0);
    assert_eq!(codes(&report).len(), 1);
}

/// A witness that signs whatever it is given, until the test ends.
fn witness(signer: Signer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = cosign(stream.unwrap(), &signer);
        }
    });
    url
}

fn cosign(mut stream: TcpStream, signer: &Signer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(given) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = given.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    let (_, note) = body.split_once("\n\n").unwrap();
    let cosigned = signer.cosigned(note, 1_795_176_000);
    let answer = cosigned.strip_prefix(note).unwrap();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_a_witness_cosigned_is_found_beside_a_later_one() {
    let signer = Signer::new("witness.example.com/w1", 4, 9);
    let vkey = signer.vkey();
    let url = witness(signer);
    let tables =
        format!("tiles = \"public\"\n[[audit.witness]]\nkey = \"{vkey}\"\nurl = \"{url}\"");
    let live = Live::with(&tables).await;
    put(&live.kept.path().join("witness"), vkey.as_bytes());
    live.exchange().await;
    let cosigned = live.checkpoint("cosigned").await;
    live.service.parts.service.notary.have_cosigned().await;
    live.exchange().await;
    let size = live.checkpoint("now").await;
    let said = live.is_whole(size, &["--witness", "witness"]);
    let expected = format!("`witness.example.com/w1` cosigned {cosigned} entries");
    assert!(said.contains(&expected), "{said}");
}
