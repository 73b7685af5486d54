//! What somebody might send to read what is not theirs, or to make us work or stumble.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::*;

/// The status and the text of an answer to a path that is sent as it is, octet by octet.
async fn raw(audited: &Audited, path: &str) -> (u16, String) {
    let address = audited.service.base.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: s\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_the_tiles_or_past_their_end() {
    let audited = Audited::start().await;
    audited.grow_to(260).await;
    for path in [
        "../checkpoint",
        "0/../../checkpoint",
        "0/../0/000",
        "0/./000",
        "%2e%2e/checkpoint",
        "0/%2e%2e/000",
        "0/..%2f000",
        "..%2f..%2f..%2fetc/passwd",
        "0//000",
        "0/000/",
        "0/000%00",
        "0/%30%30%30",
        "%30/000",
        "0/000?x/../001",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/00001",
        "0/000.p/18446744073709551617",
        "0/x018/x446/x744/x073/x709/x551/615",
        "0/x018/x446/x744/x073/x709/x551/616",
        "0/x072/x057/x594/x037/x927/935",
        "0/x072/x057/x594/x037/x927/936.p/1",
        "7/000.p/1",
        "8/000.p/1",
        "63/x018/x446/x744/x073/x709/x551/615",
        "64/000.p/1",
        "18446744073709551616/000",
        "-1/000",
        "entries/x999/999",
        "entries/../0/000",
        "ENTRIES/000",
        "",
        "0",
        "\\0\\000",
    ] {
        let (status, answer) = raw(&audited, &format!("/audit/tile/{path}")).await;
        let is_plain = path == "0/000?x/../001";
        assert_eq!(status, if is_plain { 200 } else { 404 }, "{path}: {answer}");
    }
    let deep = "x000/".repeat(10_000);
    assert_eq!(
        raw(&audited, &format!("/audit/tile/0/{deep}000")).await.0,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_beyond_the_log_or_beyond_all_numbers_are_answered_and_nothing_stumbles() {
    let audited = Audited::start().await;
    audited.grow_to(50).await;
    let most = u64::MAX;
    for (path, status) in [
        ("entries/50".to_owned(), 404),
        (format!("entries/{most}"), 404),
        ("entries/18446744073709551616".to_owned(), 404),
        ("entries/-1".to_owned(), 404),
        ("entries/+1".to_owned(), 404),
        ("entries/01".to_owned(), 404),
        ("entries/%30".to_owned(), 200),
        ("entries/0%00".to_owned(), 404),
        ("proof/50".to_owned(), 404),
        (format!("proof/{most}"), 404),
        ("proof/0x1".to_owned(), 404),
        ("proof/inclusion".to_owned(), 400),
        ("proof/inclusion?index=50".to_owned(), 404),
        ("proof/inclusion?index=0&size=51".to_owned(), 404),
        ("proof/inclusion?index=0&size=0".to_owned(), 404),
        (format!("proof/inclusion?index={most}&size={most}"), 404),
        ("proof/inclusion?index=18446744073709551616".to_owned(), 400),
        ("proof/inclusion?index=1e3".to_owned(), 400),
        ("proof/consistency".to_owned(), 400),
        ("proof/consistency?from=51".to_owned(), 404),
        (format!("proof/consistency?from={most}"), 404),
        (format!("proof/consistency?from=1&to={most}"), 404),
        ("proof/consistency?from=0&to=0".to_owned(), 200),
        ("proof/consistency?from=2&to=1".to_owned(), 404),
    ] {
        let answer = audited.get(&format!("/api/v1/audit/{path}")).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(status == 200 || !answer.reason().is_empty(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_cannot_be_understood_is_refused_by_the_name_of_what_is_wrong() {
    let audited = Audited::start().await;
    audited.grow_to(60).await;
    let page = audited.json("/api/v1/audit?project=acme/api&limit=1").await;
    let no_next = page["next"].as_str().unwrap_or("none").to_owned();
    let next = audited.json("/api/v1/audit?limit=1").await["next"]
        .as_str()
        .unwrap()
        .to_owned();
    for (query, said) in [
        ("?projct=x".to_owned(), "no parameter `projct`"),
        ("?outcome=maybe".to_owned(), "`outcome` cannot be `maybe`"),
        ("?limit=0".to_owned(), "`limit`"),
        ("?limit=-1".to_owned(), "`limit`"),
        ("?limit=18446744073709551616".to_owned(), "`limit`"),
        (
            "?since=yesterday".to_owned(),
            "`since` cannot be `yesterday`",
        ),
        (
            "?kind=decision&kind=decision".to_owned(),
            "`kind` stands twice",
        ),
        ("?decision_id=x".to_owned(), "`decision_id` cannot be `x`"),
        (
            format!("?kind=decision&cursor={next}"),
            "belongs to another question",
        ),
        (format!("?project=acme/web&cursor={no_next}"), "`cursor`"),
        ("?cursor=AAAA".to_owned(), "`cursor` is not one"),
        (
            format!("?cursor={}", "A".repeat(1000)),
            "`cursor` is not one",
        ),
        ("/export?format=xml".to_owned(), "`format` cannot be `xml`"),
        ("/export?limit=5".to_owned(), "no parameter `limit`"),
        ("/who?cursor=x".to_owned(), "no parameter `cursor`"),
        ("/policy".to_owned(), "`project` is missing"),
        ("/entries/0?x=1".to_owned(), "no parameter `x`"),
        (
            format!("?{}=1", "%22%0a%1b[31m".repeat(1000)),
            "no parameter",
        ),
    ] {
        let answer = audited.get(&format!("/api/v1/audit{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
        assert_eq!(answer.reason(), "audit-query-malformed", "{query}");
        assert!(
            answer.description().contains(said),
            "{query}: {}",
            answer.text
        );
        assert!(answer.text.len() < 1000, "{query}");
        assert!(!answer.text.contains("\\u001b"), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_parameters_are_refused_at_the_first_that_is_wrong() {
    let audited = Audited::start().await;
    let mut query = String::new();
    for number in 0..10_000 {
        write!(query, "p{number}=&").unwrap();
    }
    let (status, _) = raw(&audited, &format!("/api/v1/audit?{query}")).await;
    assert_eq!(status, 400);
    let same = "project=&".repeat(7_000);
    assert_eq!(raw(&audited, &format!("/api/v1/audit?{same}")).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_has_its_places_and_exchanges_need_none_of_them() {
    let audited = Audited::with(Settings {
        patience: nobody_reads(),
        ..with_token()
    })
    .await;
    for path in [
        "/audit/checkpoint",
        "/audit/tile/0/000.p/1",
        "/api/v1/audit",
        "/api/v1/audit/export",
        "/api/v1/audit/entries/0",
        "/api/v1/audit/proof/inclusion?index=0",
        "/api/v1/audit/alarms",
    ] {
        let answer = audited.get(path).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (503, "audit-busy"),
            "{path}"
        );
        assert!(answer.headers.contains_key("retry-after"), "{path}");
    }
    assert_eq!(
        audited.service.job("github-push", "acme/api").await.status,
        200
    );
}

/// A service whose log is larger than what any socket holds, and which is soon impatient.
async fn large() -> Audited {
    let mut settings = with_token();
    settings.patience = Patience {
        head: Duration::from_millis(1500),
        rest: Duration::from_millis(1500),
        audit_exports: 1,
        ..Patience::default()
    };
    let audited = Audited::with(settings).await;
    let log = &audited.service.parts.service.log;
    for _ in 0..20 {
        let events = (0..250).map(|_| Happening::PolicyRefused {
            file: "acme/api.toml".to_owned(),
            digest: None,
            message: "m".repeat(4000),
            in_force: None,
        });
        let now = audited.service.clock.now();
        log.append(events.collect(), now).await.unwrap();
    }
    audited
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_nobody_reads_ends_and_gives_its_place_back() {
    let audited = large().await;
    // Each request has a connection of its own: one that rests may end just when it would be used again.
    let http = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0);
    let http = http.build().unwrap();
    let export = async |filter: &str| {
        let path = format!("{}/api/v1/audit/export{filter}", audited.service.base);
        answer(http.get(path).bearer_auth(TOKEN)).await
    };
    let whole = export("").await;
    assert!(whole.text.len() > 20_000_000, "{}", whole.text.len());
    let last = whole.text.lines().last().unwrap();
    assert!(last.starts_with("{\"index\":0,"), "{last}");

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = audited.service.base.strip_prefix("http://").unwrap();
    let mut stalled = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!(
        "GET /api/v1/audit/export HTTP/1.1\r\nHost: s\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    stalled.write_all(request.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    stalled.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let again = async {
        loop {
            let next = export("?kind=log-named").await;
            if next.status == 200 {
                return next;
            }
            assert_eq!(next.reason(), "audit-busy");
        }
    };
    let next = timeout(Duration::from_secs(60), again).await.unwrap();
    assert_eq!(next.text.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_nested_as_deep_as_can_be_read_leaves_a_log_that_can_be_read() {
    let audited = Audited::start().await;
    let nested = |depth: usize| {
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for depth in [1, 16, 31, 32, 33, 64, 110, 120, 123, 124, 125, 126] {
        for project in ["acme/api", "acme/none"] {
            let token = audited
                .service
                .token("github-push", &[("odd", nested(depth))]);
            let refusal = audited.service.refusal(&token, project).await;
            // The claims themselves are one object.
            assert_eq!(
                refusal == "token-malformed",
                depth > 31,
                "{depth}: {refusal}"
            );
        }
    }
    let listed = audited.json("/api/v1/audit?limit=100").await;
    assert!(!indexes(&listed).is_empty());
    let log = &audited.service.parts.service.log;
    for entry in log.entries(0..audited.size().await).await.unwrap() {
        let read = serde_json::from_slice::<Value>(&entry.leaf);
        assert!(read.is_ok(), "{:?}", entry.index);
        entry.entry().unwrap();
    }
}

/// What the fake CI systems say of a person, where it is long enough to be told from anything else.
const OF_PERSONS: [(&str, &[&str]); 5] = [
    ("github-push", &["actor"]),
    (
        "gitlab-push",
        &["user_login", "user_email", "user_identities"],
    ),
    (
        "gitlab-merge-request-from-fork",
        &["user_login", "user_email"],
    ),
    ("circleci-v2-push", &["sub"]),
    ("buildkite-push", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_leaf_and_no_tile_says_who_the_person_is_whatever_comes_of_the_exchange() {
    let audited = Audited::start().await;
    let mut persons = vec!["\"client_address\":\"".to_owned()];
    for (number, (set, claims)) in OF_PERSONS.into_iter().enumerate() {
        for (at, project) in ["acme/api", "acme/none", "acme/web"].iter().enumerate() {
            let person = format!("person-{number}-{at}-whom-nobody-knows");
            let changes: Vec<(&str, Value)> = claims
                .iter()
                .filter(|name| **name != "sub")
                .map(|name| (*name, person.clone().into()))
                .collect();
            let token = audited.service.token(set, &changes);
            // Once as it is, once as a token that is spent, and once from another time.
            audited.service.exchange(&token, project).await;
            audited.service.exchange(&token, project).await;
            audited
                .service
                .exchange(&format!("{token}x"), project)
                .await;
            persons.push(person);
        }
    }
    let user = "/user/";
    let size = audited.size().await;
    let path = format!("/audit/tile/entries/000.p/{size}");
    let bundle = audited.octets(&path).await;
    assert_eq!(bundle.status, 200);
    let text = String::from_utf8_lossy(&bundle.body).into_owned();
    for person in persons.iter().map(String::as_str).chain([user]) {
        assert!(!text.contains(person), "{person}");
    }
    let listed = audited.get("/api/v1/audit?limit=200").await.text;
    assert!(listed.contains("whom-nobody-knows") && listed.contains("\"client_address\":\"127"));
}
