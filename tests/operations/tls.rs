//! TLS in the service: who speaks it is served, who only begins to is not waited for, and limits hold as they do in clear.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign::http::Patience;
use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::support::service::{Settings, TestService, copy_policies};

/// Who signs certificates in these tests.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    /// Puts a certificate for this machine, good until the begin of `year`, into `folder`.
    fn issue(&self, folder: &Path, year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    /// A client that believes this authority and speaks `versions`.
    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

struct Secured {
    service: TestService,
    authority: Authority,
    shown: CertificateDer<'static>,
}

type Spoken = StreamOwned<ClientConnection, TcpStream>;

impl Secured {
    async fn start(patience: Patience) -> Self {
        let authority = Authority::new();
        let folder: TempDir = tempfile::tempdir().unwrap();
        copy_policies(&folder.path().join("trust-policies"));
        let shown = authority.issue(folder.path(), 2030);
        let settings = Settings {
            tables: "[tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n".to_owned(),
            patience,
            ..Settings::default()
        };
        Self {
            service: TestService::in_folder(folder, settings).await,
            authority,
            shown,
        }
    }

    fn address(&self) -> SocketAddr {
        let address = self.service.base.strip_prefix("http://").unwrap();
        address.parse().unwrap()
    }

    /// Speaks TLS with the service; blocks.
    fn speak(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Spoken {
        let stream = TcpStream::connect(self.address()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(self.authority.client(versions), name).unwrap();
        let mut spoken = StreamOwned::new(connection, stream);
        while spoken.conn.is_handshaking() {
            spoken.conn.complete_io(&mut spoken.sock).unwrap();
        }
        spoken
    }

    /// The certificate that is shown to who comes now.
    fn certificate(&self) -> CertificateDer<'static> {
        let spoken = self.speak(&[&rustls::version::TLS13]);
        spoken.conn.peer_certificates().unwrap()[0].clone()
    }

    /// Looks at the files of the certificate as often as it takes to see a change.
    fn look(&self) {
        let parts = &self.service.parts.service;
        let certificate = parts.certificate.as_ref().unwrap();
        for _ in 0..2 {
            certificate.look(parts.exchange.clock.now(), &parts.metrics.http);
        }
    }

    fn folder(&self) -> &Path {
        self.service.folder.path()
    }
}

/// Asks one thing and reads until the service ends the connection.
fn ask(spoken: &mut Spoken, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
    spoken.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    spoken.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until `metric` stands at `value`: what ends on the other side of a connection is noted a moment later.
async fn until_counted(secured: &Secured, metric: &str, value: &str) {
    let line = format!("{metric} {value}");
    let counted = async {
        loop {
            let mut spoken = secured.speak(&[&rustls::version::TLS13]);
            if ask(&mut spoken, "/metrics")
                .lines()
                .any(|told| told == line)
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), counted)
        .await
        .unwrap_or_else(|_| panic!("never {line}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_tls_1_2_or_1_3_is_served_over_http_1() {
    let secured = Secured::start(Patience::default()).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut spoken = secured.speak(&[version]);
        assert_eq!(spoken.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = ask(&mut spoken, "/healthz");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(secured.certificate(), secured.shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_goes_over_tls_too() {
    let secured = Secured::start(Patience::default()).await;
    let token = secured.service.token("github-push", &[]);
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", crate::support::service::TOKEN_EXCHANGE)
        .append_pair("subject_token", &token)
        .append_pair("subject_token_type", crate::support::service::ID_TOKEN)
        .append_pair("audience", "acme/api")
        .finish();
    let mut spoken = secured.speak(&[&rustls::version::TLS13]);
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    spoken.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    spoken.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"access_token\""), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_is_not_answered() {
    let secured = Secured::start(Patience::default()).await;
    let mut clear = tokio::net::TcpStream::connect(secured.address())
        .await
        .unwrap();
    clear
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: s\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = timeout(Duration::from_secs(60), clear.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(
        !answer.starts_with(b"HTTP"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    until_counted(
        &secured,
        "countersign_tls_handshakes_total{result=\"failed\"}",
        "1",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_end_is_cut_off_while_others_are_served() {
    let secured = Secured::start(Patience {
        handshake: Duration::from_secs(4),
        ..Patience::default()
    })
    .await;
    let slow = (0..20).map(|_| async {
        let mut slow = tokio::net::TcpStream::connect(secured.address())
            .await
            .unwrap();
        // The begin of a message that is said to be longer.
        slow.write_all(&[0x16, 3, 1, 0, 200, 1, 0]).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(60), slow.read_to_end(&mut answer))
            .await
            .unwrap();
    });
    let slow = futures_util::future::join_all(slow);
    let served = async {
        let answer = ask(&mut secured.speak(&[&rustls::version::TLS13]), "/healthz");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    tokio::join!(slow, served);
    until_counted(
        &secured,
        "countersign_tls_handshakes_total{result=\"too-slow\"}",
        "20",
    )
    .await;
    until_counted(&secured, "countersign_connections", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_holds_half_of_the_connections_in_handshakes_and_no_more() {
    let secured = Secured::start(Patience {
        handshake: Duration::from_secs(3600),
        head: Duration::from_secs(3600),
        connections: 8,
        ..Patience::default()
    })
    .await;
    let from_elsewhere = || async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(secured.address()).await.unwrap();
        stream.write_all(&[0x16, 3, 1, 0, 200, 1, 0]).await.unwrap();
        stream
    };
    let mut greedy = Vec::new();
    for _ in 0..4 {
        greedy.push(from_elsewhere().await);
    }
    until_counted(&secured, "countersign_connections", "5").await;
    for _ in 0..20 {
        let mut turned_away = from_elsewhere().await;
        let mut answer = Vec::new();
        let _ = timeout(
            Duration::from_secs(60),
            turned_away.read_to_end(&mut answer),
        )
        .await
        .unwrap();
        assert!(answer.is_empty());
    }
    until_counted(&secured, "countersign_connections_turned_away_total", "20").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_tls_and_then_rests_or_never_reads_is_cut_off() {
    let secured = Secured::start(Patience {
        head: Duration::from_secs(8),
        rest: Duration::from_secs(4),
        ..Patience::default()
    })
    .await;
    let mut rests = secured.speak(&[&rustls::version::TLS13]);
    let ended = tokio::task::spawn_blocking(move || {
        // Without a farewell of TLS, or with one.
        let _ = rests.read_to_end(&mut Vec::new());
    });
    timeout(Duration::from_secs(60), ended)
        .await
        .unwrap()
        .unwrap();

    let mut deaf = secured.speak(&[&rustls::version::TLS13]);
    let pages =
        "GET /errors/not-trusted HTTP/1.1\r\nHost: s\r\nAccept: text/plain\r\n\r\n".repeat(64);
    let ended =
        tokio::task::spawn_blocking(move || while deaf.write_all(pages.as_bytes()).is_ok() {});
    timeout(Duration::from_secs(60), ended)
        .await
        .unwrap()
        .unwrap();
    until_counted(&secured, "countersign_connections", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_connections_that_rest() {
    let secured = Secured::start(Patience {
        head: Duration::from_secs(3600),
        rest: Duration::from_secs(3600),
        ..Patience::default()
    })
    .await;
    let mut rests = secured.speak(&[&rustls::version::TLS13]);
    rests
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: s\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"{\"status\":\"ok\"}") {
        let mut some = [0; 1024];
        let read = rests.read(&mut some).unwrap();
        answer.extend_from_slice(&some[..read]);
    }
    // Sooner than requests in flight are given up.
    let stopped = timeout(Duration::from_secs(15), secured.service.stop());
    stopped.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_is_shown_to_who_comes_next() {
    let secured = Secured::start(Patience::default()).await;
    let mut before = secured.speak(&[&rustls::version::TLS13]);
    let next = secured.authority.issue(secured.folder(), 2031);
    secured.look();
    assert_eq!(secured.certificate(), next);
    let answer = ask(&mut before, "/healthz");
    assert!(
        answer.starts_with("HTTP/1.1 200 "),
        "who is here is served on: {answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_cannot_be_used_changes_nothing_and_is_told() {
    let secured = Secured::start(Patience::default()).await;
    let ready = || ask(&mut secured.speak(&[&rustls::version::TLS13]), "/readyz");
    assert!(ready().contains("\"status\":\"ok\""));
    let key = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(secured.folder().join("tls.key"), key).unwrap();
    secured.look();
    assert_eq!(secured.certificate(), secured.shown);
    let said = ready();
    assert!(
        said.starts_with("HTTP/1.1 200 ") && said.contains("\"status\":\"degraded\""),
        "{said}"
    );
    assert!(said.contains("\"tls\":"), "{said}");
    let told = ask(&mut secured.speak(&[&rustls::version::TLS13]), "/metrics");
    for line in [
        "countersign_tls_certificate_fault 1.0",
        "countersign_tls_certificate_reads_total{result=\"refused\"} 1",
    ] {
        assert!(told.lines().any(|found| found == line), "{line} in\n{told}");
    }
    assert!(
        told.contains("countersign_tls_certificate_expires_in_seconds "),
        "{told}"
    );
    secured.authority.issue(secured.folder(), 2032);
    secured.look();
    assert!(ready().contains("\"status\":\"ok\""));
}
