//! What a dishonest operator, or a dishonest server, might do to whoever verifies a log.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::writer::{Log, ORIGIN, START, Signer, allowed, entry, put, tile_path};
use super::{codes, of_data, of_tiles, python_of, question, script};

/// How long a verifier may think about a small log.
const SOON: Duration = Duration::from_secs(20);

/// What a command answers, which must be soon.
#[track_caller]
fn soon(mut command: Command) -> Output {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > SOON {
            child.kill().unwrap();
            panic!("it hangs");
        }
        std::thread::yield_now();
    }
    child.wait_with_output().unwrap()
}

/// Ours, with at most 2 GiB of address space.
fn ours(arguments: &[&str]) -> Command {
    limited(
        env!("CARGO_BIN_EXE_countersign"),
        &[&["audit"], arguments].concat(),
    )
}

fn theirs(arguments: &[&str]) -> Command {
    let script = script();
    limited(
        "python3",
        &[&["-B", script.to_str().unwrap()], arguments].concat(),
    )
}

fn limited(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let line = "ulimit -v 2097152 && exec \"$@\"";
    command.args(["-c", line, "sh", program]).args(arguments);
    command
}

#[track_caller]
fn refuses(output: &Output, code: Option<i32>, said: &str) {
    let all = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(all.contains(said), "{all}");
    assert!(
        code.is_none_or(|code| output.status.code() == Some(code)),
        "{all}"
    );
    assert_ne!(output.status.code(), Some(0), "{all}");
    assert!(
        !all.contains("panicked") && !all.contains("Traceback"),
        "{all}"
    );
}

/// Puts in the place of a file what is none: a pipe that nobody writes to, a device without an end, a folder.
fn put_no_file(path: &Path, what: &str) {
    fs::remove_file(path).unwrap();
    match what {
        "a pipe" => {
            let made = Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        }
        "a device" => std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        _ => fs::create_dir(path).unwrap(),
    }
}

#[test]
fn what_is_no_file_in_a_copy_neither_hangs_a_verifier_nor_fills_its_memory() {
    let log = Log::of(300);
    let vkey = log.signer.vkey();
    let partial = tile_path("entries", 1, 44);
    let hashes = tile_path("0", 0, 256);
    for what in ["a pipe", "a device", "a folder"] {
        for (form, name) in [
            ("tiles", "checkpoint"),
            ("tiles", partial.as_str()),
            ("tiles", hashes.as_str()),
            ("data", "checkpoint"),
            ("data", "tree/0"),
            ("data", "records/00000000000000000000"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let here = folder.path().join(form);
            if form == "tiles" {
                log.write_tiles(&here);
            } else {
                log.write_data_folder(&here, 1 << 20);
            }
            put_no_file(&here.join(name), what);
            let here = here.to_str().unwrap();
            let output = soon(ours(&["verify", here, "--key", &vkey]));
            refuses(&output, Some(3), "is no file");
            if form == "tiles" {
                let output = soon(theirs(&[here, "--key", &vkey]));
                refuses(&output, Some(1), "is no file");
            }
        }
    }
}

/// A server that answers every request with the octets that `answer` makes of its path, and says what it was asked.
fn server(
    answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + 'static,
) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, heads) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let Some(first) = head.first() else { continue };
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = asked.send(head.join("\n"));
            // Whoever asked may have gone.
            let _ = answer(&path, &mut stream);
        }
    });
    (url, heads)
}

fn endless(stream: &mut TcpStream, head: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\n")?;
    loop {
        stream.write_all(&[b'x'; 1 << 14])?;
    }
}

#[test]
fn an_answer_without_an_end_does_not_fill_the_memory_of_who_verifies_or_reads() {
    let vkey = Log::of(1).signer.vkey();
    let (url, _heads) = server(|_, stream| endless(stream, ""));
    let output = soon(ours(&["verify", &url, "--key", &vkey]));
    refuses(&output, Some(3), "longer than any part of a log");
    let output = soon(theirs(&[&format!("{url}/audit"), "--key", &vkey]));
    refuses(&output, Some(1), "longer than any part of a log");
    let output = soon(ours(&["list", "--url", &url]));
    refuses(&output, Some(2), "longer than any answer");
}

#[test]
fn a_redirection_leads_no_token_to_another_place() {
    let vkey = Log::of(1).signer.vkey();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    put(&token, b"audit-secret\n");
    let token = token.to_str().unwrap();
    let (elsewhere, heads) = server(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    let (url, _) = server(move |path, stream| {
        write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {elsewhere}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    });
    let audit = format!("{url}/audit");
    for command in [
        ours(&["verify", &url, "--key", &vkey, "--token-file", token]),
        ours(&["list", "--url", &url, "--token-file", token]),
        ours(&["export", "--url", &url, "--token-file", token]),
        theirs(&[&audit, "--key", &vkey, "--token-file", token]),
    ] {
        refuses(&soon(command), None, "302");
    }
    assert_eq!(heads.try_iter().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn what_a_server_says_does_not_steer_the_terminal() {
    let (url, _heads) = server(|_, stream| {
        let body =
            "{\"error\":\"x\",\"error_description\":\"\\u001b]0;owned\\u0007\\u009b31m\\u202e\"}";
        write!(
            stream,
            "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    });
    let vkey = Log::of(1).signer.vkey();
    for command in [
        ours(&["list", "--url", &url]),
        ours(&["tail", "--url", &url]),
        ours(&["export", "--url", &url]),
        ours(&["key", "--url", &url]),
        ours(&["who", "--url", &url]),
        ours(&["verify", &url, "--key", &vkey]),
    ] {
        let output = soon(command);
        let all = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(all).unwrap();
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.contains(steers), "{said:?}");
        assert!(!said.is_empty());
    }
}

#[test]
fn names_and_origins_of_a_log_do_not_steer_the_terminal() {
    let evil = "sts\u{9b}31m\u{202e}\u{7f}/audit";
    let signer = Signer::new(evil, 1, 7);
    let log = Log::of(3);
    let folder = tempfile::tempdir().unwrap();
    log.write_tiles(folder.path());
    let text = format!("{evil}\n3\n{}\n", STANDARD.encode([7; 32]));
    put(
        &folder.path().join("checkpoint"),
        signer.note(&text).as_bytes(),
    );
    put(&folder.path().join("key"), signer.vkey().as_bytes());
    let vkey = log.signer.vkey();
    let here = folder.path().to_str().unwrap();
    for arguments in [&["verify", here][..], &["verify", here, "--key", &vkey]] {
        let output = soon(ours(arguments));
        let all = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(all).unwrap();
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.contains(steers), "{said:?}");
    }
}

/// What each verifier says of a log with this checkpoint: whether it is whole.
fn accepted(log: &Log, checkpoint: &str) -> (bool, bool) {
    let folder = tempfile::tempdir().unwrap();
    log.write_tiles(folder.path());
    put(&folder.path().join("checkpoint"), checkpoint.as_bytes());
    let ours = of_tiles(folder.path(), &question(log)).is_whole();
    (ours, python_of(folder.path(), log, &[]).0)
}

#[test]
fn a_checkpoint_has_as_many_lines_and_signatures_as_it_likes_and_one_meaning() {
    let log = Log::of(5);
    let plain = log.checkpoint(5);
    let (text, line) = plain.split_once("\n\n").unwrap();
    let stranger = Signer::new("w.example.com", 4, 9);
    let impostor = Signer::log(8);
    let note = |text: &str| log.signer.note(text);
    let forged = STANDARD.encode(
        [
            &STANDARD
                .decode(line.trim_end().rsplit_once(' ').unwrap().1)
                .unwrap()[..4],
            &[1; 64],
        ]
        .concat(),
    );
    for (checkpoint, expected) in [
        (plain.clone(), true),
        (note(&format!("{text}\nextension\nmore of it\n")), true),
        (stranger.cosigned(&plain, 1), true),
        // The same signature twice says nothing new; another key of the same name is none of ours.
        (format!("{plain}{line}"), true),
        (
            format!(
                "{plain}{}",
                impostor
                    .note(&format!("{text}\n"))
                    .split_once("\n\n")
                    .unwrap()
                    .1
            ),
            true,
        ),
        // One of this key that is false spoils the note, wherever it stands.
        (format!("{plain}— {ORIGIN} {forged}\n"), false),
        (format!("{text}\n\n— {ORIGIN} {forged}\n{line}"), false),
        (impostor.note(&format!("{text}\n")), false),
        (note(&format!("{text}\n\n")), false),
        (note(&format!("{ORIGIN}\n5\n")), false),
        (note(&text.replace("\n5\n", "\n05\n")), false),
        (note(&text.replace("\n5\n", "\n4\n")), false),
        (note(&text.replace("\n5\n", "\n6\n")), false),
        (note(&text.replace("\n5\n", "\n0\n")), false),
        (note(&text.replace("\n5\n", "\n-5\n")), false),
        (
            note(&text.replace("\n5\n", "\n1152921504606846976\n")),
            false,
        ),
        (
            note(&text.replace("\n5\n", "\n9223372036854775807\n")),
            false,
        ),
        (
            note(&text.replace("\n5\n", "\n9223372036854775808\n")),
            false,
        ),
        (
            note(&text.replace("\n5\n", "\n18446744073709551615\n")),
            false,
        ),
        (
            note(&text.replace("\n5\n", "\n18446744073709551621\n")),
            false,
        ),
        (format!("{plain}\n"), false),
        (format!("\n{plain}"), false),
        (plain.replace('\n', "\r\n"), false),
        (format!("\u{feff}{plain}"), false),
    ] {
        assert_eq!(
            accepted(&log, &checkpoint),
            (expected, expected),
            "{checkpoint:?}"
        );
    }
}

#[test]
fn a_log_without_entries_is_whole_and_one_that_hides_them_is_not() {
    let log = Log::of(0);
    let empty = log.checkpoint_of_nothing();
    assert_eq!(accepted(&log, &empty), (true, true));
    let lie = log.signed(0, &[7; 32]);
    assert_eq!(accepted(&log, &lie), (false, false));
}

/// Whether both verifiers let a leaf through, which is the second of a log.
fn lets_through(leaves: &[Vec<u8>]) -> Vec<(bool, bool)> {
    let folder = tempfile::tempdir().unwrap();
    let ours = leaves.iter().map(|leaf| {
        let mut log = Log::of(1);
        log.leaves.push(leaf.clone());
        let here = tempfile::tempdir().unwrap();
        log.write_tiles(here.path());
        let report = of_tiles(here.path(), &question(&log));
        report
            .faults
            .iter()
            .all(|fault| fault.what.code() != "schema")
    });
    let ours: Vec<bool> = ours.collect();
    for (number, leaf) in leaves.iter().enumerate() {
        put(&folder.path().join(number.to_string()), leaf);
    }
    let code = "import sys, importlib.util as u\n\
        s = u.spec_from_file_location('v', sys.argv[1]); v = u.module_from_spec(s); s.loader.exec_module(v)\n\
        for n in range(int(sys.argv[3])):\n\
        \x20   try:\n        v.check_entry(open(f'{sys.argv[2]}/{n}', 'rb').read()); print(1)\n\
        \x20   except v.Refused: print(0)\n";
    let output = Command::new("python3")
        .args(["-B", "-c", code])
        .arg(script())
        .arg(folder.path())
        .arg(leaves.len().to_string())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    let theirs = said.lines().map(|line| line == "1");
    ours.into_iter().zip(theirs).collect()
}

fn leaf(change: impl FnOnce(&str) -> String) -> Vec<u8> {
    change(&allowed(1, START + 1000).to_string()).into_bytes()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of odd leaves")]
fn no_leaf_says_one_thing_to_one_verifier_and_another_to_the_other() {
    let claim = |json: &str| {
        leaf(|text| text.replace("\"claims\":{", &format!("\"claims\":{{\"odd\":{json},")))
    };
    let member = |json: &str| leaf(|text| text.replacen('{', &format!("{{{json},"), 1));
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let mut through = vec![
        leaf(str::to_owned),
        claim("1.5e300"),
        claim("\"\\u0000\\ud83d\\ude00\""),
        claim("\"\u{2028}\u{feff}\""),
        claim("123456789012345678901234567890"),
        claim(&nested(100)),
        member("\"constructor\":{\"__proto__\":null}"),
        member("\"\":\"\""),
        member("\"/\":1,\"~\":2,\"a/b\":3,\"withheld/claims\":4"),
        leaf(|text| {
            text.replace(
                "\"claims\":{",
                "\"claims\":{\"\":1,\"withheld\":2,\"~0\":3,\"a/b\":4,",
            )
        }),
    ];
    let good = through.len();
    through.extend([
        member("\"subject\":\"other\""),
        member("\"\\u0073ubject\":\"other\""),
        member("\"kind\":\"decision\""),
        member("\"other\":{\"a\":1,\"\\u0061\":2}"),
        claim("{\"x\":[{\"a\":1,\"a\":1}]}"),
        leaf(|text| text.replace("\"claims\":{", "\"claims\":{\"ref\":1,")),
        leaf(|text| {
            text.replace(
                "\"withheld\":{",
                "\"withheld\":{\"/claims/ref\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",",
            )
        }),
        leaf(|text| {
            text.replace(
                "\"withheld\":{",
                "\"withheld\":{\"/claims\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",",
            )
        }),
        leaf(|text| {
            text.replace(
                "\"withheld\":{",
                "\"withheld\":{\"/claims/~2\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",",
            )
        }),
        leaf(|text| {
            text.replace(
                "\"withheld\":{",
                "\"withheld\":{\"/kind\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",",
            )
        }),
        leaf(|text| {
            text.replace(
                "\"withheld\":{",
                "\"withheld\":{\"/x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\",",
            )
        }),
        leaf(|text| format!("{text} ")),
        leaf(|text| format!("{text}{text}")),
        leaf(|text| format!("{text}\0")),
        leaf(|text| format!(" {text}")),
        leaf(|text| format!("\u{feff}{text}")),
        leaf(|text| text.replace("\"version\":1", "\"version\":1.0")),
        leaf(|text| text.replace("\"version\":1", "\"version\":true")),
        leaf(|text| text.replace("\"version\":1", "\"version\":\"1\"")),
        leaf(|text| text.replace("\"version\":1", "\"version\":01")),
        leaf(|text| {
            text.replace(
                &format!("\"at_millis\":{}", START + 1000),
                &format!("\"at_millis\":{}.0", START + 1000),
            )
        }),
        leaf(|text| {
            text.replace(
                &format!("\"at_millis\":{}", START + 1000),
                &format!("\"at_millis\":{}e0", START + 1000),
            )
        }),
        claim("1e400"),
        claim("NaN"),
        claim("-Infinity"),
        claim("\"\\ud800\""),
        claim("\"\\udc00\\ud800\""),
        claim("\"\t\""),
        claim("'a'"),
        claim("[1,]"),
        claim("+1"),
        claim(".5"),
        claim("0x10"),
        claim(&nested(5000)),
        [
            &b"{\"a\":\"\xff\xfe\","[..],
            &leaf(|text| text[1..].to_owned()),
        ]
        .concat(),
        Vec::new(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
    ]);
    let found = lets_through(&through);
    for (number, (found, leaf)) in found.into_iter().zip(&through).enumerate() {
        let expected = number < good;
        assert_eq!(
            found,
            (expected, expected),
            "{number}: {}",
            String::from_utf8_lossy(leaf)
                .chars()
                .take(300)
                .collect::<String>()
        );
    }
}

#[test]
fn logs_of_all_sizes_around_the_edges_of_tiles_are_whole_and_one_entry_fewer_is_not() {
    for size in [1u64, 2, 255, 256, 257, 511, 512, 513] {
        let log = Log::of(size);
        let folder = tempfile::tempdir().unwrap();
        let (tiles, data) = (folder.path().join("tiles"), folder.path().join("data"));
        log.write_tiles(&tiles);
        log.write_data_folder(&data, 50_000);
        assert_eq!(codes(&of_tiles(&tiles, &question(&log))), [], "{size}");
        assert_eq!(codes(&of_data(&data, &question(&log))), [], "{size}");
        assert!(python_of(&tiles, &log, &[]).0, "{size}");
        // The same key signs a history without its last entry: only who kept the later checkpoint can tell, and does.
        let since = folder.path().join("since");
        let later = log.checkpoint(usize::try_from(size).unwrap());
        put(&since, later.as_bytes());
        let shorter = Log::of(size - 1);
        let checkpoint = shorter.checkpoint_or_nothing();
        let tiles = folder.path().join("shorter");
        shorter.write_tiles(&tiles);
        put(&tiles.join("checkpoint"), checkpoint.as_bytes());
        let mut question = question(&log);
        question.since = Some(later.into_bytes());
        assert_eq!(
            codes(&of_tiles(&tiles, &question)),
            [("shorter", None)],
            "{size}"
        );
        assert!(!python_of(&tiles, &log, &["--since", since.to_str().unwrap()]).0);
    }
}

#[test]
fn a_rewritten_history_under_the_same_key_is_whole_alone_and_refused_by_what_was_kept() {
    for (size, kept) in [
        (300u64, 1usize),
        (300, 255),
        (300, 256),
        (300, 257),
        (600, 511),
        (600, 512),
    ] {
        let honest = Log::of(size);
        let entries: Vec<Value> = (0..size)
            .map(|number| {
                let mut one = entry(number);
                if number == 0 {
                    one["story"] = json!("another");
                }
                one
            })
            .collect();
        let rewritten = Log::from(&entries);
        let folder = tempfile::tempdir().unwrap();
        let (tiles, data) = (folder.path().join("tiles"), folder.path().join("data"));
        rewritten.write_tiles(&tiles);
        rewritten.write_data_folder(&data, 1 << 20);
        let since = folder.path().join("since");
        put(&since, honest.checkpoint(kept).as_bytes());
        let mut question = question(&honest);
        assert_eq!(codes(&of_tiles(&tiles, &question)), []);
        question.since = Some(honest.checkpoint(kept).into_bytes());
        assert_eq!(codes(&of_tiles(&tiles, &question)), [("forked", None)]);
        assert_eq!(codes(&of_data(&data, &question)), [("forked", None)]);
        assert!(!python_of(&tiles, &rewritten, &["--since", since.to_str().unwrap()]).0);
        // A checkpoint of another log is no earlier one of this.
        let other = Signer::new("elsewhere.example.com/audit", 1, 7);
        let text = format!(
            "elsewhere.example.com/audit\n1\n{}\n",
            STANDARD.encode([1; 32])
        );
        question.since = Some(other.note(&text).into_bytes());
        put(&since, other.note(&text).as_bytes());
        assert!(!of_tiles(&tiles, &question).is_whole());
        assert!(!python_of(&tiles, &rewritten, &["--since", since.to_str().unwrap()]).0);
    }
}

#[test]
fn a_log_that_signs_an_endless_number_of_entries_does_not_keep_the_verifier_for_ever() {
    let log = Log::of(300);
    let vkey = log.signer.vkey();
    for form in ["tiles", "data"] {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join(form);
        if form == "tiles" {
            log.write_tiles(&here);
        } else {
            log.write_data_folder(&here, 1 << 20);
            // A file of hashes with a hole of a terabyte costs nobody anything.
            let hashes = fs::File::options()
                .write(true)
                .open(here.join("tree/0"))
                .unwrap();
            hashes.set_len(1 << 40).unwrap();
        }
        let text = log.signed(1 << 60, &[7; 32]);
        put(&here.join("checkpoint"), text.as_bytes());
        let output = soon(ours(&["verify", here.to_str().unwrap(), "--key", &vkey]));
        refuses(&output, Some(1), "refused");
    }
}

impl Log {
    fn checkpoint_of_nothing(&self) -> String {
        self.signed(0, &super::writer::sha256(b""))
    }

    fn checkpoint_or_nothing(&self) -> String {
        match self.leaves.len() {
            0 => self.checkpoint_of_nothing(),
            size => self.checkpoint(size),
        }
    }
}
