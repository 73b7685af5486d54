//! Clients that take their time: each is cut off, by time or by number, and others are served meanwhile.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::*;

/// A service that is soon impatient, though not sooner than actix-web can tell: its timers begin up to half a second ago.
async fn impatient() -> TestService {
    TestService::with(Settings {
        patience: Patience {
            head: Duration::from_millis(1500),
            body: Duration::from_millis(300),
            rest: Duration::from_millis(700),
            ..Patience::default()
        },
        ..Settings::default()
    })
    .await
}

fn address(service: &TestService) -> SocketAddr {
    let address = service.base.strip_prefix("http://").unwrap();
    address.parse().unwrap()
}

/// A connection from another address of this machine than the usual one, or from that.
async fn connect_from(host: &str, service: &TestService) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{host}:0").parse().unwrap()).unwrap();
    socket.connect(address(service)).await.unwrap()
}

async fn connect(service: &TestService) -> TcpStream {
    connect_from("127.0.0.1", service).await
}

/// A connection on which `text` was sent.
async fn sent(service: &TestService, text: &str) -> TcpStream {
    let mut connection = connect(service).await;
    connection.write_all(text.as_bytes()).await.unwrap();
    connection
}

/// What arrives until the connection ends. A connection that does not end fails the test.
async fn until_its_end(mut connection: TcpStream) -> String {
    let mut arrived = Vec::new();
    let whole = connection.read_to_end(&mut arrived);
    let end = timeout(Duration::from_secs(60), whole).await;
    // A reset is an end too.
    let _ = end.unwrap_or_else(|_| panic!("the connection did not end"));
    String::from_utf8(arrived).unwrap()
}

/// Reads until `end` has arrived.
async fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut arrived = Vec::new();
    while !arrived.ends_with(end.as_bytes()) {
        let read = connection.read_buf(&mut arrived).await.unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&arrived));
    }
    String::from_utf8(arrived).unwrap()
}

/// Twenty clients do as `one` does, and end, while a job is served.
async fn twenty_of_them_harm_nobody<F>(service: &TestService, one: impl Fn() -> F)
where
    F: Future<Output = ()>,
{
    let twenty = futures_util::future::join_all((0..20).map(|_| one()));
    let job = async {
        let answer = service.job("github-push", "acme/api").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    tokio::join!(twenty, job);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_cut_off() {
    let service = impatient().await;
    twenty_of_them_harm_nobody(&service, async || {
        let slow = sent(&service, "POST /oauth/token HTTP/1.1\r\nHost: s").await;
        let answer = until_its_end(slow).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_head_that_does_not_end_is_cut_off() {
    let service = impatient().await;
    twenty_of_them_harm_nobody(&service, async || {
        let mut slow = sent(&service, "GET /healthz HTTP/1.1\r\nHost: s\r\n\r\n").await;
        read_until(&mut slow, "{\"status\":\"ok\"}").await;
        slow.write_all(b"GET /heal").await.unwrap();
        assert_eq!(until_its_end(slow).await, "");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_end_is_cut_off() {
    let service = impatient().await;
    twenty_of_them_harm_nobody(&service, async || {
        let head = "POST /oauth/token HTTP/1.1\r\nHost: s\r\nContent-Length: 100\r\n\
            Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant_type";
        let answer = until_its_end(sent(&service, head).await).await;
        assert!(answer.contains("did not arrive in time"), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_goes_on_after_its_answer_is_cut_off() {
    let service = impatient().await;
    twenty_of_them_harm_nobody(&service, async || {
        let head = "POST /oauth/token HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\
            Content-Type: text/plain\r\n\r\n1\r\na\r\n";
        let mut slow = sent(&service, head).await;
        let answer = read_until(&mut slow, "}").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        slow.write_all(b"1\r\nb\r\n").await.unwrap();
        until_its_end(slow).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_never_reads_is_cut_off() {
    // Not by the time of a rest: this one would keep a processor busy for as long.
    let service = TestService::with(Settings {
        patience: Patience {
            rest: Duration::from_secs(3600),
            ..Patience::default()
        },
        ..Settings::default()
    })
    .await;
    let page = "GET /errors/not-trusted HTTP/1.1\r\nHost: s\r\nAccept: text/plain\r\n\r\n";
    let pages = page.repeat(64);
    let asks = async {
        let mut deaf = connect(&service).await;
        while deaf.write_all(pages.as_bytes()).await.is_ok() {}
    };
    let job = async {
        let answer = service.job("github-push", "acme/api").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    let both = async { tokio::join!(asks, job) };
    timeout(Duration::from_secs(60), both).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_silent_or_rests_is_closed() {
    let service = impatient().await;
    twenty_of_them_harm_nobody(&service, async || {
        until_its_end(connect(&service).await).await;
        let rests = sent(&service, "GET /healthz HTTP/1.1\r\nHost: s\r\n\r\n").await;
        let answer = until_its_end(rests).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_holds_half_of_the_connections_and_no_more() {
    let service = TestService::with(Settings {
        patience: Patience {
            head: Duration::from_secs(3600),
            connections: 8,
            ..Patience::default()
        },
        ..Settings::default()
    })
    .await;
    let mut greedy = Vec::new();
    for _ in 0..4 {
        // Each is asked something, so that it is known to have been let in.
        let mut connection = sent(&service, "GET /healthz HTTP/1.1\r\nHost: s\r\n\r\n").await;
        read_until(&mut connection, "{\"status\":\"ok\"}").await;
        connection.write_all(b"GET ").await.unwrap();
        greedy.push(connection);
    }
    for _ in 0..20 {
        assert_eq!(until_its_end(connect(&service).await).await, "");
    }
    let mut other = connect_from("127.0.0.2", &service).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n";
    other.write_all(request.as_bytes()).await.unwrap();
    let answer = until_its_end(other).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(greedy.pop());
    until_one_is_let_in(&service).await;
}

/// Tries until a place that was given back is there: the service learns of an end when it looks.
async fn until_one_is_let_in(service: &TestService) {
    let request = "GET /healthz HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n";
    let tries = async {
        loop {
            let mut connection = connect(service).await;
            if connection.write_all(request.as_bytes()).await.is_ok()
                && until_its_end(connection).await.starts_with("HTTP/1.1 200 ")
            {
                return;
            }
        }
    };
    timeout(Duration::from_secs(60), tries).await.unwrap();
}
