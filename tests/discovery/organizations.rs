//! Issuers that have a text for each organization.

use super::*;

const NAMED: &str = "a40f5d1f-d889-42e9-94ea-b9b33585fc6b";
const UNNAMED: &str = "00000000-0000-4000-8000-000000000000";
const PUBLIC_KEYS: &str = "/.well-known/jwks-pub.json";

/// A CircleCI whose root form and whose organization [`NAMED`] publish one key each.
fn circleci() -> (FakeIssuer, World) {
    let issuer = FakeIssuer::start();
    issuer.answers(PUBLIC_KEYS, set(&["root"]));
    issuer.answers(&format!("/org/{NAMED}{PUBLIC_KEYS}"), set(&["named"]));
    let template = format!("{}/org/{{organization}}", issuer.address());
    let world = World::with(trusted("circleci", &template), settings());
    (issuer, world)
}

#[tokio::test]
async fn an_organization_that_a_policy_names_has_keys_of_its_own() {
    let (issuer, world) = circleci();
    let iss = format!("{}/org/{NAMED}", issuer.address());
    assert!(world.keys_at(&iss, "named", true).await.is_ok());
    assert_unknown(world.keys_at(&iss, "root", true).await);
    assert_eq!(issuer.count(PUBLIC_KEYS), 0);
}

#[tokio::test]
async fn an_organization_that_no_policy_names_is_never_asked() {
    let (issuer, world) = circleci();
    let named = format!("{}/org/{NAMED}", issuer.address());
    let unnamed = format!("{}/org/{UNNAMED}", issuer.address());
    world.keys_at(&named, "named", true).await.unwrap();

    // The keys of the others are good for its signature.
    assert!(world.keys_at(&unnamed, "named", false).await.is_ok());
    assert_eq!(issuer.count(PUBLIC_KEYS), 0);
    assert!(world.keys_at(&unnamed, "root", false).await.is_ok());
    for kid in ["made-up", "another"] {
        assert_unknown(world.keys_at(&unnamed, kid, false).await);
    }
    assert_eq!(issuer.count(PUBLIC_KEYS), 1);
    world.directory.refresh().await;
    assert_eq!(issuer.count(&format!("/org/{UNNAMED}{PUBLIC_KEYS}")), 0);
    assert_eq!(issuer.count(&format!("/org/{UNNAMED}{DOCUMENT}")), 0);
    assert_eq!(world.directory.status().len(), 2);
}

#[tokio::test]
async fn an_organization_is_refreshed_for_a_day_after_its_last_use() {
    let (issuer, world) = circleci();
    let path = format!("/org/{NAMED}{PUBLIC_KEYS}");
    let named = format!("{}/org/{NAMED}", issuer.address());
    world.keys_at(&named, "named", true).await.unwrap();
    world.clock.advance(DAY);
    world.directory.refresh().await;
    assert_eq!(issuer.count(&path), 2);
    world.clock.advance(Seconds(1));
    world.directory.refresh().await;
    assert_eq!(issuer.count(&path), 2);
    assert_eq!(issuer.count(PUBLIC_KEYS), 2, "the root form always is");
}

#[tokio::test]
async fn a_warm_start_asks_the_organizations_that_policies_name() {
    let (issuer, world) = circleci();
    let named = world.trusted.form.of_organization(NAMED);
    world.directory.warm([named.clone()]).await;
    issuer.asked(PUBLIC_KEYS, 1).await;
    let path = format!("/org/{NAMED}{PUBLIC_KEYS}");
    issuer.asked(&path, 1).await;
    let status = world.directory.status();
    assert!(status.iter().any(|status| status.issuer == named));
}
