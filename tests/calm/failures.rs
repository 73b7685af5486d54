//! How often an address may fail.

use countersign::clock::Seconds;
use countersign::exchange::Caller;
use countersign::http::read_form;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::support::service::{Answer, ID_TOKEN, TOKEN_EXCHANGE, answer, ci};

#[tokio::test(flavor = "multi_thread")]
async fn who_failed_too_often_is_not_told_why_and_an_exchange_that_would_succeed_does() {
    let service = telling(3).await;
    fail(&service, 3).await;
    let untold = service.exchange("garbage", "acme/api").await;
    assert_eq!(
        (untold.status, untold.reason().as_str()),
        (429, "rate-limited")
    );
    assert_eq!(untold.json()["error"], "temporarily_unavailable");
    assert_eq!(untold.headers["retry-after"], "1");
    assert_eq!(untold.headers["cache-control"], "no-store");
    assert!(untold.description().contains("failed"), "{}", untold.text);
    let form = service.form(&[("grant_type", "password")]).await;
    assert_eq!(
        form.reason(),
        "rate-limited",
        "a request that is none fails too"
    );
    for _ in 0..20 {
        assert_eq!(service.job("github-push", "acme/api").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_comes_back_with_time() {
    let service = telling(3).await;
    fail(&service, 3).await;
    service.advance(Seconds(2));
    fail(&service, 2).await;
    assert_eq!(service.refusal("garbage", "acme/api").await, "rate-limited");
    service.advance(Seconds(3600));
    fail(&service, 3).await;
    assert_eq!(service.refusal("garbage", "acme/api").await, "rate-limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn successes_take_nothing_from_the_budget() {
    let service = telling(3).await;
    for _ in 0..20 {
        assert_eq!(service.job("github-push", "acme/api").await.status, 200);
    }
    fail(&service, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_ours_take_nothing_from_the_budget() {
    let dead = ci().signer().issuer_tables().replace(
        "profile = \"github\"\n",
        "profile = \"github\"\njwks-url = \"http://127.0.0.1:9/jwks\"\n",
    );
    let service = TestService::with(Settings {
        tables: "[rate-limit]\nburst = 3\n".to_owned(),
        issuers: Some(dead),
        ..Settings::default()
    })
    .await;
    for _ in 0..10 {
        let answer = service.job("github-push", "acme/api").await;
        assert_eq!(answer.reason(), "issuer-unreachable");
    }
    fail(&service, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_each_client_has_a_budget_of_its_own() {
    let service = TestService::with(Settings {
        top: "trusted-proxies = [\"127.0.0.1\"]\n".to_owned(),
        tables: "[rate-limit]\nburst = 1\n".to_owned(),
        patience: Patience {
            hold_back: Duration::ZERO,
            ..Patience::default()
        },
        ..Settings::default()
    })
    .await;
    let refusal = async |client: &str| -> String {
        let request = service
            .post("/oauth/token")
            .header("x-forwarded-for", client);
        answer(request).await.reason()
    };
    assert_eq!(refusal("192.0.2.1").await, "request-malformed");
    assert_eq!(refusal("192.0.2.1").await, "rate-limited");
    assert_eq!(refusal("192.0.2.2").await, "request-malformed");
    assert_eq!(refusal("2001:db8::1").await, "request-malformed");
    assert_eq!(refusal("2001:db8::2").await, "rate-limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_limit_of_zero_everybody_is_always_told_why() {
    let service = TestService::with(Settings {
        tables: "[rate-limit]\nfailures-per-minute = 0\nburst = 1\n".to_owned(),
        ..Settings::default()
    })
    .await;
    fail(&service, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proved_an_identity_is_on_record_also_beyond_the_limit() {
    let service = telling(3).await;
    fail(&service, 3).await;
    let dev = service.token("github-push", &[("ref", json!("refs/heads/dev"))]);
    let untold = service.exchange(&dev, "acme/api").await;
    assert_eq!(untold.reason(), "rate-limited");
    let record = service.record(&untold).await;
    assert_eq!(record.reason.as_deref(), Some("not-trusted"));
    let unproven = service.token("github-push", &stranger());
    let untold = service.exchange(&unproven, "acme/api").await;
    assert!(
        untold.json().get("decision_id").is_none(),
        "{}",
        untold.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_often_is_refused_in_the_same_words_as_anybody() {
    let service = telling(3).await;
    let exchange = &service.parts.service.exchange;
    for changes in [&stranger()[..], &[("ref", json!("refs/heads/dev"))]] {
        let mut words = Vec::new();
        for fails_often in [false, true] {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", TOKEN_EXCHANGE)
                .append_pair("subject_token", &service.token("github-push", changes))
                .append_pair("subject_token_type", ID_TOKEN)
                .append_pair("audience", "acme/api")
                .finish();
            let caller = Caller {
                fails_often,
                ..Caller::default()
            };
            let request = read_form(form.as_bytes(), "https://sts.example.com", caller).unwrap();
            words.push(exchange.run(request).await.unwrap_err().to_string());
        }
        assert!(!words[0].is_empty());
        assert_eq!(words[0], words[1]);
    }
}

/// A service whose answers to failures beyond the limit, which is one, are not to be waited for.
async fn holding_back(most_held_back: usize) -> TestService {
    let service = TestService::with(Settings {
        tables: "[rate-limit]\nburst = 1\n".to_owned(),
        patience: Patience {
            hold_back: Duration::from_secs(3600),
            most_held_back,
            ..Patience::default()
        },
        ..Settings::default()
    })
    .await;
    fail(&service, 1).await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_beyond_the_limit_is_held_back_and_nobody_else_is() {
    let service = holding_back(10).await;
    let others = async {
        for _ in 0..20 {
            assert_eq!(service.job("github-push", "acme/api").await.status, 200);
        }
        service.advance(Seconds(1));
        fail(&service, 1).await;
    };
    tokio::select! {
        biased;
        held = service.exchange("garbage", "acme/api") => panic!("{}", held.text),
        () = others => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_held_back_than_there_is_room_for_and_the_next_loses_its_connection() {
    let service = holding_back(2).await;
    let failing = || service.exchange("garbage", "acme/api");
    let mut three: FuturesUnordered<_> = [failing(), failing(), failing()].into_iter().collect();
    let untold: Answer = three.next().await.unwrap();
    assert_eq!(untold.reason(), "rate-limited");
    assert_eq!(untold.headers["connection"], "close");
    assert_eq!(service.job("github-push", "acme/api").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_on_while_it_is_held_back_is_waited_with_no_longer() {
    let service = holding_back(10).await;
    let address = service.base.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = connection.split();
    let requests = "POST /oauth/token HTTP/1.1\r\nHost: s\r\n\r\n".repeat(10_000);
    // It need not take all of them.
    let sends = async {
        drop(writer.write_all(requests.as_bytes()).await);
        std::future::pending::<()>().await;
    };
    let told = async {
        let mut answers = Vec::new();
        while !String::from_utf8_lossy(&answers).contains("connection: close") {
            assert_ne!(reader.read_buf(&mut answers).await.unwrap(), 0);
        }
        String::from_utf8(answers).unwrap()
    };
    tokio::select! {
        answers = told => assert!(answers.starts_with("HTTP/1.1 429 "), "{answers}"),
        () = sends => {}
    }
}
