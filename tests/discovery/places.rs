//! Where the keys are: at the profile's path, where the discovery document says, at a configured address, in a file.

use super::*;

#[tokio::test]
async fn a_discovery_document_that_disagrees_is_a_warning_and_no_outage() {
    let issuer = FakeIssuer::start();
    let own = issuer.address().to_owned();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    let document = |iss: &str, keys: &str| Answer::Json(json!({ "issuer": iss, "jwks_uri": keys }));
    let keys = format!("{own}{KEYS}");
    for (answer, expected) in [
        (document(&own, &keys), None),
        (
            document("https://other.example", &keys),
            Some("other.example"),
        ),
        (
            document(&format!("{own}/"), &keys),
            Some("that of the issuer"),
        ),
        (
            document(&own, "https://other.example/keys"),
            Some("scheme, host and port"),
        ),
        (
            Answer::Text(404, "text/html", String::new()),
            Some("status 404"),
        ),
        (
            Answer::Json(json!({ "issuer": 1 })),
            Some("not a discovery document"),
        ),
        (Answer::Redirect(keys.clone()), Some("redirect")),
        (document(&own, &keys), None),
    ] {
        issuer.answers(DOCUMENT, answer);
        world.directory.refresh().await;
        let status = world.status();
        assert!(world.knows("a") && !status.failing, "{expected:?}");
        match (expected, status.warnings.as_slice()) {
            (None, []) => {}
            (Some(text), [warning]) => assert!(warning.contains(text), "{text}: {warning}"),
            (_, warnings) => panic!("{expected:?}: {warnings:?}"),
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_the_discovery_document_where_the_profile_knows_the_keys() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    issuer.answers(DOCUMENT, held(Answer::HangUp));
    let world = World::of(&issuer);
    assert!(world.keys("a").await.is_ok());
    assert_unknown(world.keys("b").await);
}

#[tokio::test]
async fn a_generic_issuer_says_where_its_keys_are() {
    let issuer = FakeIssuer::start();
    let own = issuer.address().to_owned();
    let document = json!({ "issuer": own, "jwks_uri": format!("{own}/keys") });
    issuer.answers(DOCUMENT, Answer::Json(document));
    issuer.answers("/keys", set(&["a"]));
    let world = World::with(trusted("generic", &own), settings());
    assert!(world.keys("a").await.is_ok());
    assert_eq!(issuer.count_of_all(), 2);
    assert!(world.status().warnings.is_empty());
}

#[tokio::test]
async fn a_generic_issuer_whose_keys_are_on_another_host_is_refused() {
    let issuer = FakeIssuer::start();
    let other = FakeIssuer::start();
    other.answers("/keys", set(&["a"]));
    let document = json!({
        "issuer": issuer.address(),
        "jwks_uri": format!("{}/keys", other.address()),
    });
    issuer.answers(DOCUMENT, Answer::Json(document));
    let world = World::with(trusted("generic", issuer.address()), settings());
    assert_unreachable(world.keys("a").await);
    assert!(world.failure().contains("set `jwks-url` if that is right"));
    assert_eq!(other.count_of_all(), 0);
}

#[tokio::test]
async fn the_discovery_document_of_another_issuer_is_not_followed() {
    let issuer = FakeIssuer::start();
    let own = issuer.address();
    let document = json!({ "issuer": format!("{own}/a"), "jwks_uri": format!("{own}/keys") });
    issuer.answers(DOCUMENT, Answer::Json(document));
    issuer.answers("/keys", set(&["a"]));
    let world = World::with(trusted("generic", own), settings());
    assert_unreachable(world.keys("a").await);
    assert_eq!(issuer.count("/keys"), 0);
}

#[tokio::test]
async fn a_configured_key_address_may_be_anywhere_and_needs_no_discovery() {
    let issuer = FakeIssuer::start();
    let elsewhere = FakeIssuer::start();
    elsewhere.answers("/all/keys?v=1", set(&["a"]));
    let trusted = TrustedIssuer {
        jwks_url: Some(format!("{}/all/keys?v=1", elsewhere.address())),
        ..trusted("generic", issuer.address())
    };
    let world = World::with(trusted, settings());
    assert!(world.keys("a").await.is_ok());
    assert_eq!(issuer.count_of_all(), 0);
}

#[tokio::test]
async fn a_key_file_is_read_again_at_each_refresh_and_nobody_is_asked() {
    let issuer = FakeIssuer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let write = |kid: &str| {
        let keys = json!({ "keys": [jwk(kid)] }).to_string();
        std::fs::write(&file, keys).unwrap();
    };
    write("a");
    let trusted = TrustedIssuer {
        jwks_file: Some(file.clone()),
        jwks_url: Some(format!("{}/keys", issuer.address())),
        ..trusted("github", issuer.address())
    };
    let world = World::with(trusted, settings());
    assert!(world.keys("a").await.is_ok());
    write("b");
    world.directory.refresh().await;
    assert!(world.knows("b") && !world.knows("a"));

    std::fs::remove_file(&file).unwrap();
    world.directory.refresh().await;
    assert!(world.knows("b"));
    assert!(world.failure().contains("keys.json"));
    assert_eq!(issuer.count_of_all(), 0);
}
