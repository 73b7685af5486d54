//! `/metrics`: what it says, whom it is told, and that the documentation says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use countersign::http;
use serde_json::json;

use crate::support::service::{Settings, TestService, answer};

/// Each sample by its name and labels, as written.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        (name.to_owned(), value)
    });
    samples.collect()
}

async fn told(service: &TestService) -> BTreeMap<String, f64> {
    let answer = service.get("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    samples(&answer.text)
}

/// A service at which something of each kind has happened.
async fn busy() -> TestService {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    assert_eq!(service.exchange(&token, "acme/api").await.status, 200);
    assert_eq!(service.refusal(&token, "acme/api").await, "token-spent");
    let stranger = service.token("github-push", &[("repository_id", json!("667"))]);
    assert_eq!(service.refusal(&stranger, "acme/api").await, "not-trusted");
    assert_eq!(
        service.refusal("garbage", "acme/api").await,
        "token-malformed"
    );
    assert_eq!(service.form(&[]).await.reason(), "request-malformed");
    service.parts.service.notary.tend().await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_are_counted_by_outcome_reason_and_issuer() {
    let service = busy().await;
    let told = told(&service).await;
    for (outcome, reason, issuer) in [
        ("allowed", "none", "github"),
        ("denied", "token-spent", "github"),
        ("denied", "not-trusted", "github"),
        ("denied", "token-malformed", "-"),
        ("denied", "request-malformed", "-"),
    ] {
        let name = format!(
            "countersign_exchanges_total{{outcome=\"{outcome}\",reason=\"{reason}\",issuer=\"{issuer}\"}}"
        );
        assert_eq!(told.get(&name), Some(&1.0), "{name} in {told:#?}");
    }
    for (name, expected) in [
        (
            "countersign_exchange_duration_seconds_count{outcome=\"allowed\"}",
            1.0,
        ),
        (
            "countersign_exchange_duration_seconds_count{outcome=\"denied\"}",
            4.0,
        ),
        (
            "countersign_exchanges_total{outcome=\"allowed\",reason=\"none\",issuer=\"gitlab\"}",
            0.0,
        ),
        ("countersign_ready", 1.0),
        ("countersign_store_available", 1.0),
        ("countersign_policy_problems", 0.0),
        ("countersign_log_fault", 0.0),
        (
            "countersign_issuer_fetches_total{issuer=\"github\",result=\"succeeded\"}",
            1.0,
        ),
        ("countersign_issuer_key_age_seconds{issuer=\"github\"}", 0.0),
    ] {
        assert_eq!(told.get(name), Some(&expected), "{name} in {told:#?}");
    }
    assert!(told["countersign_store_commit_duration_seconds_count"] >= 2.0);
    assert!(told["countersign_store_commit_changes_sum"] >= 2.0);
    assert!(told["countersign_log_checkpoint_entries"] >= 2.0);
    assert!(told["countersign_connections"] >= 1.0);
    assert!(told["countersign_http_answers_total{status=\"4xx\"}"] >= 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_seen_in_the_metric_that_is_named_for_it() {
    let service = TestService::start().await;
    service.policy("acme/broken", "[[trust]]\nname = 7\n").await;
    let token = service.token("github-push", &[("iss", json!("https://ci.example"))]);
    assert_eq!(service.refusal(&token, "acme/api").await, "issuer-unknown");
    let store = service.parts.store.clone();
    tokio::task::spawn_blocking(move || store.close())
        .await
        .unwrap();
    let refused = service.job("github-push", "acme/api").await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    let told = told(&service).await;
    for (name, expected) in [
        ("countersign_policy_problems", 1.0),
        ("countersign_ready", 0.0),
        ("countersign_store_available", 0.0),
        (
            "countersign_exchanges_total{outcome=\"denied\",reason=\"issuer-unknown\",issuer=\"-\"}",
            1.0,
        ),
        (
            "countersign_exchanges_total{outcome=\"failed\",reason=\"store-unavailable\",issuer=\"github\"}",
            1.0,
        ),
    ] {
        assert_eq!(told.get(name), Some(&expected), "{name} in {told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_caller_chose_and_nothing_of_a_tenant_is_in_a_label() {
    let service = busy().await;
    let text = service.get("/metrics").await.text;
    // Without the figures and the digest, in which three digits may stand by chance.
    let series = text.lines().filter(|line| !line.contains("digest="));
    let series = series.map(|line| line.rsplit_once(' ').map_or(line, |(series, _)| series));
    let series: Vec<&str> = series.collect();
    for word in ["acme", "octo", "667", "garbage", "push", "127.0.0.1", "eyJ"] {
        let holds = series.iter().find(|series| series.contains(word));
        assert_eq!(holds, None, "{word}");
    }
    let labels: BTreeSet<&str> = text
        .split(['{', ','])
        .skip(1)
        .filter_map(|part| part.split_once("=\"").map(|(name, _)| name))
        .collect();
    let expected = [
        "digest", "issuer", "kind", "le", "outcome", "reason", "result", "status", "version",
    ];
    assert_eq!(labels, BTreeSet::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_wrong_with_the_format() {
    let service = busy().await;
    let text = service.get("/metrics").await.text;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`promtool` is needed (on Debian: apt-get install prometheus)");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let said = promtool.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success() && stderr.is_empty(),
        "{stderr}\n{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_open_metrics_gets_them() {
    let service = busy().await;
    let asked = service.reading("/metrics").header(
        "accept",
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    );
    let open = answer(asked).await;
    let kind = open.headers["content-type"].to_str().unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    assert!(open.text.ends_with("# EOF\n"));
    assert!(open.text.contains("# TYPE countersign_exchanges counter\n"));
    let plain = service.get("/metrics").await;
    let kind = plain.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let names = |text: &str| samples(text).into_keys().collect::<BTreeSet<_>>();
    assert_eq!(names(&open.text), names(&plain.text));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_reader_is_told_where_it_says_who_is() {
    let service = TestService::with(Settings {
        tables: "[metrics]\nreaders = [\"192.0.2.0/24\"]\n".to_owned(),
        ..Settings::default()
    })
    .await;
    let refused = service.get("/metrics").await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.description().contains("`[metrics]`"),
        "{}",
        refused.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_forwards_that_is_not_trusted_is_told_nothing() {
    let service = TestService::start().await;
    let asked = service
        .reading("/metrics")
        .header("x-forwarded-for", "127.0.0.1");
    assert_eq!(answer(asked).await.status, 403);
    let service = TestService::with(Settings {
        top: "trusted-proxies = [\"127.0.0.1\"]\n".to_owned(),
        ..Settings::default()
    })
    .await;
    for (client, status) in [("10.0.0.7", 200), ("203.0.113.9", 403), ("127.0.0.1", 403)] {
        let asked = service
            .reading("/metrics")
            .header("x-forwarded-for", client);
        assert_eq!(answer(asked).await.status, status, "{client}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_on_a_listener_of_their_own_are_not_on_the_service_s() {
    let service = TestService::with(Settings {
        tables: "[metrics]\nlisten = \"127.0.0.1:9464\"\n".to_owned(),
        ..Settings::default()
    })
    .await;
    assert_eq!(service.get("/metrics").await.status, 404);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = http::serve_metrics(listener, service.parts.service.clone()).unwrap();
    let handle = server.handle();
    tokio::spawn(server);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, status) in [
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/oauth/token", 404),
    ] {
        let asked = client.get(format!("{base}{path}"));
        assert_eq!(answer(asked).await.status, status, "{path}");
    }
    handle.stop(false).await;
}

/// What the table of the documentation says of each metric: its type and its labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let (_, table) = page
        .split_once("| metric | type | labels | means |")
        .unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, ..] = cells[..] else {
            panic!("{row}")
        };
        let labels = labels
            .split(", ")
            .map(|label| label.trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        (name.trim_matches('`').to_owned(), (kind.to_owned(), labels))
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_names_each_metric_with_its_type_and_labels_and_no_other() {
    let service = busy().await;
    let text = service.get("/metrics").await.text;
    let documented = documented();
    let mut said = BTreeSet::new();
    for line in text.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').unwrap();
            let kind = if name.ends_with("_info") {
                "info"
            } else {
                kind
            };
            let row = documented
                .get(name)
                .unwrap_or_else(|| panic!("{name} is not in the page"));
            assert_eq!(row.0, kind, "{name}");
            said.insert(name.to_owned());
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let sample = line.split(['{', ' ']).next().unwrap();
        let name = said
            .iter()
            .filter(|name| sample.starts_with(name.as_str()))
            .max_by_key(|name| name.len());
        let (_, expected) = &documented[name.unwrap()];
        let labels = line.split_once('{').map_or("", |(_, labels)| labels);
        let labels: BTreeSet<String> = labels
            .split("\",")
            .filter_map(|label| Some(label.split_once("=\"")?.0.to_owned()))
            .filter(|label| label != "le")
            .collect();
        assert_eq!(&labels, expected, "{line}");
    }
    // What this service has none of; the page says so of each.
    let elsewhere = [
        "countersign_store_connections",
        "countersign_tls_certificate_expires_in_seconds",
    ];
    let missing: BTreeSet<&str> = documented
        .keys()
        .map(String::as_str)
        .filter(|name| !said.contains(*name))
        .collect();
    assert_eq!(missing, BTreeSet::from(elsewhere));
}
