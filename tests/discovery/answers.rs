//! What an issuer may answer.

use super::*;

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let issuer = FakeIssuer::start();
    let elsewhere = format!("{}/elsewhere?secret", issuer.address());
    issuer.answers(KEYS, Answer::Redirect(elsewhere));
    issuer.answers("/elsewhere", set(&["a"]));
    issuer.answers("/elsewhere?secret", set(&["a"]));
    let world = World::of(&issuer);
    assert_unreachable(world.keys("a").await);
    let failure = world.failure();
    assert!(failure.contains("redirect (302)") && failure.contains("/elsewhere"));
    assert!(!failure.contains("secret"), "{failure}");
    assert_eq!(issuer.count_of_all(), 1);
}

#[tokio::test]
async fn an_answer_may_have_256_kib_and_not_a_byte_more() {
    let issuer = FakeIssuer::start();
    let json = json!({ "keys": [jwk("a")] }).to_string();
    let padded = |length: usize| {
        let padding = " ".repeat(length - json.len());
        Answer::Text(200, "application/json", format!("{json}{padding}"))
    };
    let world = World::of(&issuer);
    for (answer, taken) in [
        (padded(256 * 1024), true),
        (padded(256 * 1024 + 1), false),
        (Answer::Endless, false),
    ] {
        issuer.answers(KEYS, answer);
        world.directory.refresh().await;
        assert_eq!(world.status().failing, !taken);
        assert!(world.knows("a"), "the keys from before stay in use");
    }
    assert!(world.failure().contains("more than 256 KiB"));
}

#[tokio::test]
async fn what_is_no_key_set_is_named_and_not_repeated() {
    let only_bad = json!({ "keys": [{ "kty": "oct", "kid": "x", "k": "c2VjcmV0" }] });
    let page = "<html>secret</html>".to_owned();
    let cases = [
        (Answer::Text(200, "text/html", page), "`text/html`"),
        (Answer::Json(json!({ "secret": [] })), "no list `keys`"),
        (Answer::Json(json!({ "keys": [] })), "it is empty"),
        (Answer::Json(only_bad), "`x` is not an asymmetric key"),
        (Answer::Json(json!("secret")), "no list `keys`"),
        (
            Answer::Text(200, "application/json", "{\"secret".to_owned()),
            "not a JWK set",
        ),
        (
            Answer::Text(500, "text/plain", "secret".to_owned()),
            "status 500",
        ),
        (
            Answer::Text(204, "application/json", String::new()),
            "status 204",
        ),
        (Answer::HangUp, "cannot be reached"),
    ];
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    world.directory.refresh().await;
    for (answer, expected) in cases {
        issuer.answers(KEYS, answer);
        world.directory.refresh().await;
        let failure = world.failure();
        assert!(failure.contains(expected), "{expected}: {failure}");
        assert!(!failure.contains("secret"), "{failure}");
        assert!(world.knows("a"), "{expected}: the old keys stay in use");
    }
    assert_eq!(world.archive.kept(), 1);
}

#[tokio::test]
async fn a_key_that_cannot_be_used_costs_the_others_nothing() {
    let issuer = FakeIssuer::start();
    let short = json!({ "kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB" });
    issuer.answers(
        KEYS,
        Answer::Json(json!({ "keys": [jwk(7), short, jwk("a")] })),
    );
    let world = World::of(&issuer);
    assert!(world.keys("a").await.is_ok());
    assert!(world.keys("7").await.is_ok());
    match world.keys("short").await.unwrap_err() {
        KeyError::Unknown { why, .. } => assert_eq!(why, Some("is an RSA key under 2048 bits")),
        other => panic!("{other}"),
    }
    let warnings = world.status().warnings;
    assert!(warnings.contains(&"the key `short` is an RSA key under 2048 bits".to_owned()));
}
