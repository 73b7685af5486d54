//! `countersign audit verify`, as a reviewer runs it: on folders and against a service.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::writer::{Log, put};

pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_countersign");
    let command = Command::new(program)
        .current_dir(folder)
        .args(["audit", "verify"])
        .args(arguments)
        .output();
    command.unwrap()
}

#[track_caller]
pub fn says(output: &Output, code: i32, out: &str, err: &str) {
    let (said, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(code), "{said}{complaint}");
    assert!(said.contains(out), "{said}");
    assert!(complaint.contains(err), "{complaint}");
}

#[test]
fn the_command_says_what_it_found_and_its_exit_code_says_whether() {
    let log = Log::of(300);
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    log.write_tiles(&here.join("tiles"));
    log.write_data_folder(&here.join("data"), 1 << 20);
    put(
        &here.join("vkey"),
        format!("{}\n", log.signer.vkey()).as_bytes(),
    );
    put(&here.join("earlier"), log.checkpoint(100).as_bytes());
    let vkey = log.signer.vkey();
    for source in ["tiles", "data"] {
        for key in [vkey.as_str(), "vkey"] {
            let output = run(here, &[source, "--key", key, "--since", "earlier"]);
            says(
                &output,
                0,
                "whole: 300 entries of `sts.example.com/audit`",
                "",
            );
            says(
                &output,
                0,
                "it continues the earlier checkpoint of 100 entries",
                "",
            );
            assert!(output.stderr.is_empty());
        }
        says(
            &run(here, &[source]),
            0,
            "(taken from the log itself)",
            "Keep the key elsewhere",
        );
    }
    let output = run(here, &["tiles", "--format", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["outcome"], &told["key_from"], &told["size"]),
        (&"whole".into(), &"source".into(), &300.into())
    );

    says(
        &run(here, &["nowhere", "--key", &vkey]),
        3,
        "",
        "`nowhere` is no log",
    );
    says(
        &run(here, &["tiles", "--key", "nofile"]),
        2,
        "",
        "`nofile` cannot be read",
    );
    says(
        &run(here, &["tiles", "--key", "a+b+c"]),
        2,
        "",
        "`a+b+c` is no key",
    );
    says(
        &run(here, &["tiles", "--key", &vkey, "--since", "nofile"]),
        2,
        "",
        "`nofile` cannot be read",
    );
    says(
        &run(here, &["tiles", "--key", &vkey, "--witness", &vkey]),
        2,
        "",
        "is not the key of a witness",
    );
    says(
        &run(here, &["tiles", "--token-file", "vkey"]),
        2,
        "",
        "--token-file is for a service",
    );
    let database = run(here, &["postgres://countersign:secret@db/sts"]);
    says(&database, 2, "", "give the URL of the service");
    assert!(!String::from_utf8_lossy(&database.stderr).contains("secret"));
    says(&run(here, &[]), 2, "", "SOURCE");
    says(
        &run(here, &["http://127.0.0.1:1", "--key", &vkey]),
        3,
        "",
        "does not answer",
    );

    super::tampering::flip(&here.join("data/tree/0"), 32 * 7);
    let output = run(here, &["data", "--key", "vkey"]);
    says(&output, 1, "refused: 1 fault in 300 entries", "");
    says(
        &output,
        1,
        "hash-changed, entry 7, tree/0 at 224: hash 7 of level 0 was changed",
        "",
    );
    let output = run(here, &["data", "--key", "vkey", "--format", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["faults"][0]["code"], "hash-changed");
    assert_eq!(told["faults"][0]["offset"], 224);
}

/// Serves a folder below `/audit` to whoever has the token, until the test ends.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = answer(stream.unwrap(), &folder);
        }
    });
    url
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap()?;
    let head: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let may = head
        .iter()
        .any(|line| line.eq_ignore_ascii_case("authorization: Bearer audit-secret"));
    let name = request
        .split(' ')
        .nth(1)
        .unwrap()
        .strip_prefix("/audit/")
        .unwrap_or("none");
    let (status, body) = match fs::read(folder.join(name)) {
        _ if !may => ("401 Unauthorized", Vec::new()),
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

#[test]
fn a_service_is_verified_as_a_copy_is() {
    let log = Log::of(600);
    let folder = tempfile::tempdir().unwrap();
    let (here, tiles) = (folder.path(), folder.path().join("tiles"));
    log.write_tiles(&tiles);
    // The service has gone on since this checkpoint, and dropped the partial tiles of then.
    put(&tiles.join("checkpoint"), log.checkpoint(300).as_bytes());
    put(&tiles.join("tile/1/000.p/1"), &log.levels()[1][0]);
    put(&here.join("token"), b"audit-secret\n");
    put(&here.join("wrong"), b"guessed\n");
    let (url, vkey) = (serve(tiles.clone()), log.signer.vkey());
    for address in [url.clone(), format!("{url}/audit/")] {
        let output = run(here, &[&address, "--key", &vkey, "--token-file", "token"]);
        says(&output, 0, "whole: 300 entries", "");
    }
    let output = run(here, &[&url, "--token-file", "token"]);
    says(&output, 0, "(taken from the log itself)", "warning");
    let output = run(here, &[&url, "--key", &vkey, "--token-file", "wrong"]);
    says(&output, 3, "", "asks for an audit token");
    super::tampering::flip(&tiles.join("tile/entries/000"), 300);
    let output = run(here, &[&url, "--key", &vkey, "--token-file", "token"]);
    says(&output, 1, "refused: ", "");
    // The verifier in Python reads the same.
    let python = |token: &str| {
        let address = format!("{url}/audit");
        let token = here.join(token);
        super::python(&[
            &address,
            "--key",
            &vkey,
            "--token-file",
            token.to_str().unwrap(),
        ])
    };
    says(&python("token"), 1, "refused: entry", "");
    super::tampering::flip(&tiles.join("tile/entries/000"), 300);
    says(&python("token"), 0, "whole: 300 entries", "");
}
