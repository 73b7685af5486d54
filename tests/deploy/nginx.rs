//! A real nginx with the configuration that is shipped, in front of real instances.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::program::{PROGRAM, Program, exchange, folder, http, run, token};
use crate::docs::markdown::blocks;
use crate::docs::read;
use crate::support::postgres::{free_port, start, unprivileged};
use crate::support::service::{Answer, answer};

/// nginx in front of two ports, until it is dropped.
pub struct Nginx {
    child: Child,
    base: String,
    _folder: tempfile::TempDir,
}

/// The configuration, with the places that are other ones here.
fn configuration(folder: &Path, port: u16, alive: u16, instances: [&str; 2]) -> String {
    let certified = rcgen::generate_simple_self_signed(vec!["sts.example.com".to_owned()]).unwrap();
    std::fs::write(folder.join("certificate"), certified.cert.pem()).unwrap();
    let key = certified.signing_key.serialize_pem();
    std::fs::write(folder.join("certificate-key"), key).unwrap();
    let text = read("deploy/nginx.conf");
    let here = folder.display().to_string();
    let places = [
        ("/tmp/", format!("{here}/tmp-")),
        ("countersign-1:8080", format!("127.0.0.1:{}", instances[0])),
        ("countersign-2:8080", format!("127.0.0.1:{}", instances[1])),
        ("listen 8443", format!("listen 127.0.0.1:{port}")),
        ("127.0.0.1:8081", format!("127.0.0.1:{alive}")),
        ("/run/secrets/", format!("{here}/")),
    ];
    places.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

impl Nginx {
    /// Starts it in front of two ports of this machine.
    pub fn start(instances: [&str; 2]) -> Self {
        Self::start_with(instances, |_, text| text)
    }

    /// Starts it with a configuration that was changed, and whatever else that put into its folder.
    fn start_with(instances: [&str; 2], change: impl FnOnce(&Path, String) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, alive) = (free_port(), free_port());
        let text = configuration(folder.path(), port, alive, instances);
        let text = change(folder.path(), text);
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        // As in its container, it is nobody.
        run(Command::new("chmod")
            .args(["-R", "a+rwX"])
            .arg(folder.path()));
        let nginx = |last: &[&str]| {
            let mut command = unprivileged("nginx");
            command.args(["-e", "stderr", "-c"]).arg(&file).args(last);
            command
        };
        let said = run(&mut nginx(&["-t"]));
        assert!(
            said.contains("test is successful") && !said.contains("[warn]"),
            "{said}"
        );
        let mut serving = nginx(&["-g", "daemon off;"]);
        serving.stdin(Stdio::null()).stdout(Stdio::null());
        serving.stderr(Stdio::null());
        let child = start(serving);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "nginx does not listen"
            );
            std::thread::yield_now();
        }
        Self {
            child,
            base: format!("https://127.0.0.1:{port}"),
            _folder: folder,
        }
    }

    /// An exchange through it.
    pub async fn exchange(&self, token: &str, forwarded: &str) -> Answer {
        // A job has another address than the proxy.
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .local_address(std::net::IpAddr::from([127, 0, 0, 2]))
            .build();
        let request = exchange(&http.unwrap(), &self.base, token);
        answer(request.header("x-forwarded-for", forwarded)).await
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// An instance that cannot exchange: it answers everything with 503, and counts what it was asked.
fn unable() -> (String, std::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (asked, asks) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut read = vec![0; 65_536];
            let _ = connection.read(&mut read);
            let body = r#"{"error":"temporarily_unavailable","reason":"store-unavailable"}"#;
            let _ = write!(
                connection,
                "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len(),
            );
            if asked.send(()).is_err() {
                return;
            }
        }
    });
    (port, asks)
}

/// An instance with the configuration in `folder`.
pub fn instance(folder: &tempfile::TempDir) -> Program {
    let mut command = Command::new(PROGRAM);
    command
        .args(["serve", "--config"])
        .arg(folder.path().join("countersign.toml"));
    Program::start(command)
}

const BEHIND_A_PROXY: &str = "trusted-proxies = [\"127.0.0.1\"]";

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_gone_is_noticed_by_no_job() {
    let folders = [folder(BEHIND_A_PROXY), folder(BEHIND_A_PROXY)];
    let [first, second] = folders.each_ref().map(instance);
    let nginx = Nginx::start([first.port(), second.port()]);
    // What a job writes into the header by itself is not believed.
    for _ in 0..4 {
        let answer = nginx.exchange(&token(), "192.0.2.7").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let log = first.stop();
    assert!(
        log.contains("\"client_address\":\"127.0.0.2\"") && !log.contains("192.0.2.7"),
        "{log}"
    );
    for _ in 0..8 {
        let answer = nginx.exchange(&token(), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    // Figures are not for the world.
    let figures = http().get(format!("{}/metrics", nginx.base));
    assert_eq!(answer(figures).await.status, 404);
    second.stop();
    let answer = nginx.exchange(&token(), "").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.headers["retry-after"], "2");
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_without_a_database_cannot_do_the_other_one_does() {
    let folder = folder(BEHIND_A_PROXY);
    let able = instance(&folder);
    let (unable, asks) = unable();
    let nginx = Nginx::start([&unable, able.port()]);
    for _ in 0..8 {
        let answer = nginx.exchange(&token(), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert!(asks.try_iter().count() > 0);
    able.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_use_token_is_good_once_behind_a_proxy_too() {
    let folder = folder(BEHIND_A_PROXY);
    let only = instance(&folder);
    let nginx = Nginx::start([only.port(), only.port()]);
    let token = token();
    let asked = (0..6).map(|_| nginx.exchange(&token, ""));
    let answers = futures_util::future::join_all(asked).await;
    let granted = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(granted.count(), 1);
    only.stop();
}

/// A certificate and its key, for the name that the page gives to instances on machines of their own.
fn certified(folder: &Path) {
    let names = vec!["countersign.internal".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(folder.join("certificate.pem"), certified.cert.pem()).unwrap();
    let key = certified.signing_key.serialize_pem();
    std::fs::write(folder.join("key.pem"), key).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_on_other_machines_are_asked_over_tls_and_believed_by_their_certificate() {
    let tls = "trusted-proxies = [\"127.0.0.1\"]\n[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"";
    let instances = folder(tls);
    certified(instances.path());
    let only = instance(&instances);
    let [block] = &blocks("nginx")[..] else {
        panic!("one page says how nginx speaks TLS to instances");
    };
    let through = |believes: &Path| {
        Nginx::start_with([only.port(), only.port()], |folder, text| {
            let believed = folder.join("countersign-ca.pem");
            std::fs::copy(believes.join("certificate.pem"), &believed).unwrap();
            let place = "/etc/nginx/countersign-ca.pem";
            let before = "proxy_pass http://countersign;";
            assert!(text.contains(before) && block.text.contains(place));
            let block = block.text.replace(place, believed.to_str().unwrap());
            text.replace(before, &block)
        })
    };
    let nginx = through(instances.path());
    let answer = nginx.exchange(&token(), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    let others = tempfile::tempdir().unwrap();
    certified(others.path());
    let nginx = through(others.path());
    let answer = nginx.exchange(&token(), "").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    only.stop();
}
