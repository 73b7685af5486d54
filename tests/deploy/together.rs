//! Two instances on one database, as they are shipped: one service.

use std::collections::BTreeMap;

use countersign::config::{Config, StoreLocation};

use super::nginx::{Nginx, instance};
use super::program::{folder, token};
use crate::docs::root;
use crate::support::postgres::shared;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_at_two_instances_behind_a_proxy() {
    let store = format!(
        "trusted-proxies = [\"127.0.0.1\"]\n[store]\nurl = \"{}\"",
        shared().database()
    );
    let folders = [folder(&store), folder(&store)];
    let [first, second] = folders.each_ref().map(instance);
    let nginx = Nginx::start([first.port(), second.port()]);
    for _ in 0..4 {
        let token = token();
        let asked = (0..6).map(|_| nginx.exchange(&token, ""));
        let answers = futures_util::future::join_all(asked).await;
        let granted = answers.iter().filter(|answer| answer.status == 200);
        assert_eq!(granted.count(), 1);
    }
    // What one of them granted, the other one knows to be spent.
    let token = token();
    assert_eq!(nginx.exchange(&token, "").await.status, 200);
    first.stop();
    let answer = nginx.exchange(&token, "").await;
    assert_eq!(answer.reason(), "token-spent");
    assert_eq!(
        nginx.exchange(&super::program::token(), "").await.status,
        200
    );
    second.stop();
}

#[test]
fn the_configuration_of_compose_is_one() {
    let file = root().join("deploy/compose/countersign.toml");
    let config =
        Config::load(Some(&file), &BTreeMap::new()).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(config.public_url, "https://sts.example.com");
    assert_eq!(config.trusted_proxies.len(), 1);
    assert!(matches!(config.store, StoreLocation::Postgres(_)));
}
