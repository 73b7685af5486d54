//! Traces, as a collector gets them from the program.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::fake_ci::Job;
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::support::service::{ID_TOKEN, TOKEN_EXCHANGE, answer, ci, copy_policies};

/// What one request brought.
struct Received {
    head: String,
    body: Vec<u8>,
}

/// A collector that takes what comes.
fn collector() -> (String, Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while let Some(request) = take(&mut stream) {
                stream
                    .get_mut()
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .unwrap();
                if sender.send(request).is_err() {
                    return;
                }
            }
        }
    });
    (endpoint, received)
}

fn take(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some(Received { head, body })
}

/// A field of a message in protobuf: its number, and its octets or its number.
enum Field<'a> {
    Octets(u64, &'a [u8]),
    Number(u64, u64),
}

fn varint(octets: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let octet = octets[0];
        *octets = &octets[1..];
        value |= u64::from(octet & 0x7F) << shift;
        if octet < 0x80 {
            break;
        }
    }
    value
}

fn fields(mut octets: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    while !octets.is_empty() {
        let key = varint(&mut octets);
        let (number, kind) = (key >> 3, key & 7);
        let width = match kind {
            0 => {
                fields.push(Field::Number(number, varint(&mut octets)));
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut octets)).unwrap(),
            5 => 4,
            _ => panic!("a field of kind {kind}"),
        };
        let (content, rest) = octets.split_at(width);
        fields.push(Field::Octets(number, content));
        octets = rest;
    }
    fields
}

/// The octets of each field `number`.
fn each<'a>(message: &'a [u8], number: u64) -> Vec<&'a [u8]> {
    let of_number = |field: &Field<'a>| match field {
        Field::Octets(found, octets) if *found == number => Some(*octets),
        _ => None,
    };
    fields(message).iter().filter_map(of_number).collect()
}

fn text(message: &[u8], number: u64) -> String {
    let found = each(message, number);
    String::from_utf8(found.first().copied().unwrap_or_default().to_vec()).unwrap()
}

/// A span of `opentelemetry.proto.trace.v1`.
#[derive(Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    attributes: BTreeMap<String, String>,
}

fn hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

fn attributes(message: &[u8], number: u64) -> BTreeMap<String, String> {
    let pairs = each(message, number).into_iter().map(|pair| {
        let value = each(pair, 2)[0];
        let shown = match &fields(value)[0] {
            Field::Octets(_, octets) => String::from_utf8(octets.to_vec()).unwrap(),
            Field::Number(_, number) => number.to_string(),
        };
        (text(pair, 1), shown)
    });
    pairs.collect()
}

/// The spans of a request by their names, each of which is there once.
fn spans(body: &[u8]) -> BTreeMap<String, Span> {
    let mut found = BTreeMap::new();
    for resource_spans in each(body, 1) {
        let resource = attributes(each(resource_spans, 1)[0], 1);
        assert_eq!(resource["service.name"], "countersign");
        for span in each(resource_spans, 2)
            .into_iter()
            .flat_map(|scope| each(scope, 2))
        {
            let name = text(span, 5);
            let first = |number| each(span, number).first().map(|octets| hex(octets));
            let read = Span {
                trace: first(1).unwrap(),
                id: first(2).unwrap(),
                parent: first(4).unwrap_or_default(),
                attributes: attributes(span, 9),
            };
            assert!(
                found.insert(name.clone(), read).is_none(),
                "{name} is there twice"
            );
        }
    }
    found
}

/// The program, with a collector.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
    base: String,
    _folder: TempDir,
}

impl Running {
    fn start(telemetry: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_policies(&folder.path().join("trust-policies"));
        std::fs::write(folder.path().join("headers"), "X-Key: for the collector\n").unwrap();
        let config = format!(
            "listen = \"127.0.0.1:0\"\npublic-url = \"https://sts.example.com\"\nallow-loopback-http = true\n[telemetry]\n{telemetry}\n{}",
            ci().signer().issuer_tables()
        );
        let file = folder.path().join("countersign.toml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["serve", "--config"])
            .arg(&file)
            .env_remove("COUNTERSIGN_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let base = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the service ended");
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "listening" {
                break entry["url"].as_str().unwrap().to_owned();
            }
        };
        Self {
            child,
            log,
            base,
            _folder: folder,
        }
    }

    /// A job asks for a token, within the trace that `traceparent` names. Answers the token that it showed.
    async fn exchange(&self, traceparent: &str) -> String {
        let job = Job::new("github", Some("github-push"), Map::new()).unwrap();
        let signed = ci()
            .signer()
            .sign(&job, Some("https://sts.example.com"), SystemClock.now());
        let token = signed.unwrap().token;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", TOKEN_EXCHANGE)
            .append_pair("subject_token", &token)
            .append_pair("subject_token_type", ID_TOKEN)
            .append_pair("audience", "acme/api")
            .finish();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client
            .post(format!("{}/oauth/token", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("traceparent", traceparent)
            .timeout(Duration::from_secs(60))
            .body(body);
        let answer = answer(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        token
    }

    /// Ends it, and answers what it said meanwhile.
    fn end(mut self) -> String {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let mut said = String::new();
        self.log.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_a_trace_of_its_steps_within_that_of_its_caller() {
    let (endpoint, received) = collector();
    let running = Running::start(&format!(
        "otlp-endpoint = \"{endpoint}\"\nheaders-file = \"headers\"\nsample-ratio = 1\n"
    ));
    let token = running.exchange(&format!("00-{TRACE}-{CALLER}-01")).await;
    running.end();

    let request = received.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(
        request.head.starts_with("post /v1/traces http/1.1"),
        "{}",
        request.head
    );
    for header in [
        "content-type: application/x-protobuf",
        "x-key: for the collector",
    ] {
        assert!(
            request.head.contains(header),
            "{header} in {}",
            request.head
        );
    }
    let spans = spans(&request.body);
    let names: Vec<&str> = spans.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "commit", "decide", "exchange", "keys", "read", "sign", "verify"
        ]
    );
    assert!(spans.values().all(|span| span.trace == TRACE), "{spans:#?}");
    let whole = &spans["exchange"];
    assert_eq!(whole.parent, CALLER);
    for (step, parent) in [
        ("read", whole),
        ("verify", whole),
        ("keys", &spans["verify"]),
        ("decide", whole),
        ("commit", whole),
        ("sign", whole),
    ] {
        assert_eq!(spans[step].parent, parent.id, "{step}");
        assert!(spans[step].attributes.is_empty(), "{spans:#?}");
    }
    let said: Vec<&str> = whole.attributes.keys().map(String::as_str).collect();
    let expected = [
        "countersign.decision_id",
        "countersign.issuer",
        "countersign.outcome",
        "http.response.status_code",
    ];
    assert_eq!(said, expected);
    assert_eq!(whole.attributes["countersign.outcome"], "allowed");
    assert_eq!(whole.attributes["http.response.status_code"], "200");
    let all = String::from_utf8_lossy(&request.body);
    for secret in token.split('.').chain(["acme", "octo", "127.0.0.1/"]) {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_or_the_ratio_leaves_out_is_not_sent() {
    for (ratio, sampled) in [("0", "01"), ("1", "00")] {
        let (endpoint, received) = collector();
        let settings = format!("otlp-endpoint = \"{endpoint}\"\nsample-ratio = {ratio}\n");
        let running = Running::start(&settings);
        running
            .exchange(&format!("00-{TRACE}-{CALLER}-{sampled}"))
            .await;
        running.end();
        assert!(received.try_recv().is_err(), "{ratio} {sampled}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_keeps_nobody_waiting_and_is_told_of_once() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let settings = format!("otlp-endpoint = \"http://{nobody}\"\nsample-ratio = 1\n");
    let running = Running::start(&settings);
    for _ in 0..20 {
        running.exchange("").await;
    }
    let said = running.end();
    let lines = said
        .lines()
        .filter(|line| line.contains("the collector takes no traces"));
    assert_eq!(lines.count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_keeps_nobody_waiting() {
    // It takes connections, and nothing else.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let running = Running::start(&format!(
        "otlp-endpoint = \"{endpoint}\"\nsample-ratio = 1\n"
    ));
    for _ in 0..20 {
        running.exchange("").await;
    }
    let said = running.end();
    assert!(said.contains("\"stopped\""), "{said}");
}

#[test]
fn a_file_of_headers_that_cannot_be_read_is_said_and_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("countersign.toml");
    let config =
        "[telemetry]\notlp-endpoint = \"http://127.0.0.1:4318\"\nheaders-file = \"none\"\n";
    std::fs::write(&file, config).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["serve", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("the file of headers"), "{said}");
}
