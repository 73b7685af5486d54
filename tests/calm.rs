//! The service under flood, outage and slow clients: what is counted, what is cut off, and that others are served.

mod failures;
mod floods;
mod program;
mod slow;

use std::time::Duration;

use countersign::http::Patience;
use serde_json::{Value, json};

use crate::support::service::{Settings, TestService};

/// A service that tells an address `burst` times at once why it fails. Nobody is held back.
async fn telling(burst: u32) -> TestService {
    TestService::with(Settings {
        tables: format!("[rate-limit]\nfailures-per-minute = 60\nburst = {burst}\n"),
        patience: Patience {
            hold_back: Duration::ZERO,
            ..Patience::default()
        },
        ..Settings::default()
    })
    .await
}

/// The claims of a job that no policy has heard of.
fn stranger() -> [(&'static str, Value); 2] {
    [
        ("repository_owner_id", json!("666")),
        ("repository_id", json!("667")),
    ]
}

/// Fails `times` times, with one and the same garbage.
async fn fail(service: &TestService, times: usize) {
    for _ in 0..times {
        assert_eq!(
            service.refusal("garbage", "acme/api").await,
            "token-malformed"
        );
    }
}
