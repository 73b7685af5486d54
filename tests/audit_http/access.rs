//! Who may read what.

use super::*;

/// What needs no token, what may need one, and what does.
const HASHES: [&str; 6] = [
    "/audit/checkpoint",
    "/audit/key",
    "/audit/schema.json",
    "/api/v1/audit/proof/inclusion?index=0",
    "/api/v1/audit/proof/consistency?from=1",
    "/api/v1/audit/proof/0",
];
const LEAVES: [&str; 2] = ["/audit/tile/0/000.p/1", "/audit/tile/entries/000.p/1"];
const ENTRIES: [&str; 7] = [
    "/api/v1/audit",
    "/api/v1/audit/entries/0",
    "/api/v1/audit/export",
    "/api/v1/audit/who",
    "/api/v1/audit/use",
    "/api/v1/audit/alarms",
    "/api/v1/audit/policy?project=acme/api",
];

/// A service at `public_url` with these lines under `[audit]`.
async fn service(public_url: &str, lines: &str) -> TestService {
    TestService::with(Settings {
        public_url: Some(public_url.to_owned()),
        tables: format!("[audit]\n{lines}\n[rate-limit]\nfailures-per-minute = 0\n"),
        ..Settings::default()
    })
    .await
}

async fn asked(service: &TestService, path: &str, token: &str) -> Answer {
    let request = service.reading(path);
    answer(if token.is_empty() {
        request
    } else {
        request.bearer_auth(token)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_what_is_as_the_configuration_says() {
    let (near, far) = ("http://127.0.0.1:8080", "https://sts.example.com");
    let token = with_token().tables.replace("[audit]\n", "");
    let public = format!("{token}tiles = \"public\"");
    for (public_url, lines, shown, leaves, entries) in [
        (far, "", "", 401, 401),
        (far, "", TOKEN, 401, 401),
        (far, "tiles = \"public\"", "", 200, 401),
        (far, &*token, "", 401, 401),
        (far, &*token, "wrong", 401, 401),
        (far, &*token, TOKEN, 200, 200),
        (far, &*public, "", 200, 401),
        (far, &*public, TOKEN, 200, 200),
        (near, "", "", 200, 200),
        (near, &*token, "", 200, 401),
        (near, &*token, TOKEN, 200, 200),
    ] {
        let service = service(public_url, lines).await;
        let expected = [(&HASHES[..], 200), (&LEAVES, leaves), (&ENTRIES, entries)];
        for (paths, status) in expected {
            for path in paths {
                let answer = asked(&service, path, shown).await;
                let case = format!("{public_url} {lines:?} {shown:?} {path}: {}", answer.text);
                assert_eq!(answer.status, status, "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_learns_what_to_show_or_to_configure() {
    let nobody = service("https://sts.example.com", "").await;
    let answer = asked(&nobody, "/api/v1/audit", "").await;
    assert_eq!(answer.reason(), "audit-token-required");
    assert!(
        answer.description().contains("`token-file`"),
        "{}",
        answer.text
    );
    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"audit\"");

    let audited = Audited::start().await;
    let none = asked(&audited.service, "/api/v1/audit", "").await;
    assert!(none.description().contains("Authorization: Bearer"));
    let wrong = asked(&audited.service, "/api/v1/audit", "wrong").await;
    assert_eq!(
        wrong.headers["www-authenticate"],
        "Bearer realm=\"audit\", error=\"invalid_token\""
    );
    assert_eq!(wrong.headers["cache-control"], "no-store");
    assert_eq!(wrong.json()["error"], "invalid_token");
    assert!(!wrong.text.contains("wrong"), "{}", wrong.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_limited_as_other_failures_are_and_the_right_one_never() {
    let mut settings = with_token();
    settings.tables.push_str("[rate-limit]\nburst = 2\n");
    settings.patience.hold_back = Duration::ZERO;
    let audited = Audited::with(settings).await;
    for status in [401, 401, 429, 429] {
        let answer = asked(&audited.service, "/api/v1/audit", "wrong").await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let limited = asked(&audited.service, "/audit/tile/0/000.p/1", "").await;
    assert_eq!(limited.reason(), "rate-limited");
    assert!(limited.headers.contains_key("retry-after"));
    assert_eq!(audited.get("/api/v1/audit").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_file_is_read_without_the_line_end() {
    let folder = tempfile::tempdir().unwrap();
    crate::support::service::copy_policies(&folder.path().join("trust-policies"));
    std::fs::write(
        folder.path().join("audit-token"),
        format!("{TOKEN}cafe4242\n"),
    )
    .unwrap();
    let settings = Settings {
        tables: "[audit]\ntoken-file = \"audit-token\"\n".to_owned(),
        ..Settings::default()
    };
    let service = TestService::in_folder(folder, settings).await;
    let shown = format!("{TOKEN}cafe4242");
    assert_eq!(asked(&service, "/api/v1/audit", &shown).await.status, 200);
    assert_eq!(asked(&service, "/api/v1/audit", TOKEN).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_for_reading_alone() {
    let audited = Audited::start().await;
    for path in HASHES.iter().chain(&LEAVES).chain(&ENTRIES) {
        let posted = answer(audited.service.post(path).bearer_auth(TOKEN)).await;
        assert_eq!(posted.status, 405, "{path}");
        assert_eq!(posted.headers["allow"], "GET", "{path}");
        let get = audited.get(path).await;
        let head = audited.service.reading(path).build().unwrap();
        let mut head = reqwest::Request::new(reqwest::Method::HEAD, head.url().clone());
        let shown = format!("Bearer {TOKEN}").parse().unwrap();
        head.headers_mut().insert("authorization", shown);
        let head = reqwest::Client::new().execute(head).await.unwrap();
        assert_eq!(head.status().as_u16(), get.status, "{path}");
        assert_eq!(head.headers()["content-type"], get.headers["content-type"]);
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
    }
}
