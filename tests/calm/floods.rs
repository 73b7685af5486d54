//! Floods, as counts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::audit::Outcome;
use countersign::clock::Seconds;
use futures_util::future::join_all;

use super::*;
use crate::support::issuer::{Answer, FakeIssuer};
use crate::support::log;
use crate::support::service::ci;

/// Where the issuer of the first tests has its keys.
const KEYS: &str = "/keys";

/// How many connections a flood has.
const CONNECTIONS: usize = 64;

/// A service whose issuer `github` has its keys at `issuer`, which knows them.
async fn with_keys_at(issuer: &FakeIssuer) -> TestService {
    issuer.answers(KEYS, known_keys());
    let keys = format!(
        "profile = \"github\"\njwks-url = \"{}{KEYS}\"\n",
        issuer.address()
    );
    let tables = ci().signer().issuer_tables();
    TestService::with(Settings {
        issuers: Some(tables.replace("profile = \"github\"\n", &keys)),
        ..Settings::default()
    })
    .await
}

fn known_keys() -> Answer {
    Answer::Json(ci().signer().jwks("github", None).unwrap())
}

/// A token that names a key which does not exist.
fn unknown_key(service: &TestService, name: usize) -> String {
    let token = service.token("github-push", &[]);
    let (_, rest) = token.split_once('.').unwrap();
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": format!("made-up-{name}") });
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

/// One exchange with an unknown key on each connection; why each was refused.
async fn flood_of_unknown_keys(service: &TestService) -> Vec<String> {
    let tokens: Vec<String> = (0..CONNECTIONS)
        .map(|name| unknown_key(service, name))
        .collect();
    join_all(
        tokens
            .iter()
            .map(|token| service.refusal(token, "acme/api")),
    )
    .await
}

/// Ten jobs whose key is known, one after the other.
async fn ten_jobs(service: &TestService) {
    for _ in 0..10 {
        let answer = service.job("github-push", "acme/api").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_issuer_is_slow_sixty_four_unknown_keys_are_one_request_and_known_keys_serve() {
    let issuer = FakeIssuer::start();
    let service = with_keys_at(&issuer).await;
    ten_jobs(&service).await;
    assert_eq!(issuer.count(KEYS), 1);

    service.advance(Seconds(60));
    issuer.answers(KEYS, Answer::Held(Box::new(known_keys())));
    let meanwhile = async {
        issuer.asked(KEYS, 2).await;
        ten_jobs(&service).await;
        issuer.release();
    };
    let (refusals, ()) = tokio::join!(flood_of_unknown_keys(&service), meanwhile);
    for reason in refusals {
        let expected = ["key-unknown", "issuer-unreachable"];
        assert!(expected.contains(&reason.as_str()), "{reason}");
    }
    flood_of_unknown_keys(&service).await;
    assert_eq!(issuer.count(KEYS), 2, "once a minute");
    service.advance(Seconds(60));
    flood_of_unknown_keys(&service).await;
    assert_eq!(issuer.count(KEYS), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_every_issuer_is_down_known_keys_serve() {
    let issuer = FakeIssuer::start();
    let service = with_keys_at(&issuer).await;
    ten_jobs(&service).await;
    issuer.answers(KEYS, Answer::HangUp);
    for minute in 1..=3 {
        service.advance(Seconds(60));
        let (refusals, ()) = tokio::join!(flood_of_unknown_keys(&service), ten_jobs(&service));
        assert!(refusals.iter().all(|reason| reason == "issuer-unreachable"));
        assert_eq!(issuer.count(KEYS), 1 + minute, "once a minute");
    }
}

/// How many exchanges are on record as allowed, and how many as denied.
async fn on_record(service: &TestService) -> (usize, usize) {
    let records = log::decisions(&*service.parts.service.log).await;
    let allowed = |record: &&_| -> bool {
        let record: &countersign::audit::Record = record;
        record.outcome == Outcome::Allowed
    };
    let allowed = records.iter().filter(allowed).count();
    (allowed, records.len() - allowed)
}

/// What is sent again and again, by name.
fn failing_tokens(service: &TestService, spent: &str, n: usize) -> [String; 4] {
    let stranger = service.token("github-push", &stranger());
    let (signed, _) = stranger.rsplit_once('.').unwrap();
    [
        format!("garbage-{n}"),
        format!("{signed}.{}", "A".repeat(342)),
        stranger,
        spent.to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_failures_adds_no_record_and_keeps_no_exchange_of_its_own_address_out() {
    const ROUNDS: usize = 5;
    let service = telling(20).await;
    let spent = service.token("github-push", &[]);
    assert_eq!(service.exchange(&spent, "acme/api").await.status, 200);
    fail(&service, 19).await;
    assert_eq!(service.refusal(&spent, "acme/api").await, "token-spent");
    assert_eq!(
        on_record(&service).await,
        (1, 2),
        "the garbage and the repeat, each once"
    );

    let flood = join_all((0..CONNECTIONS).map(async |connection| {
        for round in 0..ROUNDS {
            for token in failing_tokens(&service, &spent, connection * ROUNDS + round) {
                assert_eq!(service.refusal(&token, "acme/api").await, "rate-limited");
            }
        }
    }));
    let honest = async {
        for _ in 0..5 {
            ten_jobs(&service).await;
        }
    };
    tokio::join!(flood, honest);
    assert_eq!(on_record(&service).await, (51, 2));
}
