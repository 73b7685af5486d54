//! The service on PostgreSQL, on several ports: what is true of one instance is true of all.

use std::sync::Arc;

use countersign::clock::{FrozenClock, UnixTime};
use countersign::store::{PostgresOptions, PostgresSettings, PostgresStore};
use serde_json::json;

use crate::support::postgres::shared;
use crate::support::service::{NOON, Settings, TestService};

/// The address of a database of its own, with tables, in which it is noon.
async fn database() -> String {
    let making = tokio::task::spawn_blocking(|| {
        let url = shared().database();
        let settings = PostgresSettings::parse(&url).unwrap();
        let clock = Arc::new(FrozenClock::at(UnixTime::from_seconds(NOON)));
        let options = PostgresOptions::default();
        PostgresStore::open(settings, clock, options)
            .unwrap()
            .close();
        let name = url.rsplit('/').next().unwrap();
        let noon = format!(
            "CREATE OR REPLACE FUNCTION countersign.now_millis() RETURNS bigint LANGUAGE sql VOLATILE
             AS $$ SELECT {NOON}000::bigint $$"
        );
        shared().sql(name, &noon);
        url
    });
    making.await.unwrap()
}

/// One more instance of the service on a database.
async fn instance(url: &str) -> TestService {
    let tables = format!("[store]\nurl = \"{url}\"\nconnections = 6\n");
    let settings = Settings {
        tables,
        ..Settings::default()
    };
    TestService::with(settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_one_instance_exchanged_is_spent_for_the_other() {
    let url = database().await;
    let (one, other) = (instance(&url).await, instance(&url).await);
    let token = one.token("github-push", &[]);
    let first = one.exchange(&token, "acme/api").await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(other.refusal(&token, "acme/api").await, "token-spent");
    let record = other.record(&first).await;
    assert_eq!(record.use_number, Some(1));
    let second = other.job("github-push", "acme/api").await;
    assert_eq!(second.status, 200, "{}", second.text);
    for service in [one, other] {
        assert_eq!(service.get("/readyz").await.status, 200);
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_token_of_one_instance_is_checked_with_the_keys_of_the_other() {
    let url = database().await;
    let (one, other) = (instance(&url).await, instance(&url).await);
    let token = one.job("github-push", "acme/api").await.access_token();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let keys = other.get("/.well-known/jwks.json").await.json();
    let keys = keys["keys"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["kid"] == json!(header.kid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_be_used_often_is_counted_across_instances() {
    let url = database().await;
    let services = [instance(&url).await, instance(&url).await];
    let token = services[0].token("circleci-v2-push", &[]);
    for number in 1..=10_u32 {
        let service = &services[(number % 2) as usize];
        let answer = service.exchange(&token, "acme/web").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(service.record(&answer).await.use_number, Some(number));
    }
    for service in &services {
        assert_eq!(service.refusal(&token, "acme/web").await, "token-spent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_makes_no_tables_where_there_are_none_and_brings_none_to_another_form() {
    let url = tokio::task::spawn_blocking(|| shared().database());
    let url = url.await.unwrap();
    let name = url.rsplit('/').next().unwrap();
    let open = || {
        let settings = PostgresSettings::parse(&url).unwrap();
        let clock = Arc::new(FrozenClock::at(UnixTime::from_seconds(NOON)));
        tokio::task::spawn_blocking(|| {
            let opened = PostgresStore::open_as_is(settings, clock, PostgresOptions::default());
            opened.map(|store| store.close())
        })
    };
    let refused = open().await.unwrap().unwrap_err();
    assert_eq!(refused.code(), "database-empty");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'countersign'";
    assert_eq!(shared().sql(name, schemas), "0");
    instance(&url).await.stop().await;
    assert!(open().await.unwrap().is_ok());
    // As if a later program were asked about what this one keeps.
    let forget = "DELETE FROM countersign.migrations";
    shared().sql(name, forget);
    assert!(open().await.unwrap().is_err());
    let versions = "SELECT count(*) FROM countersign.migrations";
    assert_eq!(shared().sql(name, versions), "0");
}
