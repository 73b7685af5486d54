//! A ledger with many records, written straight to the store.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use countersign::audit::{Explanation, Outcome, Record, RecordedClaims};
use countersign::clock::{Clock as _, SystemClock, UnixTime};
use countersign::issuer::profile_named;
use countersign::ledger::{Denial, DenialKey, Ledger as _, Spend, remember_until};
use countersign::store::{EmbeddedStore, Options as StoreOptions};
use countersign::subject::SpentKey;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use uuid::Uuid;

use crate::drive::tokens::{LIFETIME, PROJECT};
use crate::house::House;

/// How many are on their way to the disk at once.
const AT_ONCE: usize = 2048;

/// One of so many is a denial.
const DENIED: usize = 1000;

/// How many projects the records are of, beside [`PROJECT`], which has one of `DENIED`.
const PROJECTS: usize = 500;

/// Writes so many records, as exchanges do it; answers how many a second.
pub fn fill(house: &House, data: &Path, records: usize) -> f64 {
    let claims = house.issuer.signer.claims();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = EmbeddedStore::open(data, Arc::new(SystemClock), StoreOptions::default()).unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        let written = stream::iter(0..records).map(|number| {
            if number % 100_000 == 0 {
                eprintln!("{number} of {records} records");
            }
            write(&store, number, &claims)
        });
        let mut written = written.buffer_unordered(AT_ONCE);
        while written.next().await.is_some() {}
    });
    store.close();
    records as f64 / began.elapsed().as_secs_f64()
}

/// Leaves behind what the exchange of one token does.
async fn write(store: &EmbeddedStore, number: usize, claims: &Value) {
    let jti = Uuid::new_v4().to_string();
    let record = record(number, claims, &jti, SystemClock.now());
    let key = SpentKey::of_unverified(&jti);
    let until = UnixTime::from_millis(record.at_millis).seconds() + LIFETIME;
    let until = remember_until(UnixTime::from_seconds(until));
    if is_denied(number) {
        let key = DenialKey::new(&key, "denied-by-rule", PROJECT, None);
        let record = denied(record);
        store
            .record_denial(Denial { key, until, record })
            .await
            .unwrap();
        return;
    }
    let spend = Spend {
        key,
        max_uses: 1,
        until,
        pins: Vec::new(),
    };
    store.spend(spend, record).await.unwrap();
}

/// Whether the exchange of this number is denied.
pub fn is_denied(number: usize) -> bool {
    number.is_multiple_of(DENIED)
}

/// The record of an exchange as it is if it is denied.
pub fn denied(record: Record) -> Record {
    Record {
        outcome: Outcome::Denied,
        reason: Some("denied-by-rule".into()),
        explanation: Some(Explanation::default()),
        project: Some(PROJECT.into()),
        trust: Vec::new(),
        token_id: None,
        token_expires: None,
        ..record
    }
}

/// A name of a project token, as the exchange makes them.
fn token_id(now: UnixTime) -> String {
    let millis = u64::try_from(now.millis()).unwrap();
    let nanos = u32::try_from(millis % 1000).unwrap() * 1_000_000;
    let moment = uuid::Timestamp::from_unix(uuid::NoContext, millis / 1000, nanos);
    Uuid::new_v7(moment).to_string()
}

/// The record of the exchange of this number.
pub fn record(number: usize, claims: &Value, jti: &str, now: UnixTime) -> Record {
    let mut claims = claims.as_object().cloned().unwrap();
    claims.insert("jti".to_owned(), jti.into());
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let project = format!("organization-{}/project-{}", number % 50, number % PROJECTS);
    let personal = profile_named("github").unwrap().claims.iter();
    let personal = personal
        .filter(|claim| claim.personal)
        .map(|claim| claim.name);
    Record {
        issuer: Some("github".into()),
        verified: true,
        subject: text("sub").map(|subject| format!("{subject}:{}", number % 10_000)),
        repository: text("repository"),
        run_id: text("run_id"),
        claims: RecordedClaims::new(Arc::new(claims), personal.collect()),
        audience: project.clone(),
        project: Some(project),
        project_id: Some("0123456789abcdef".into()),
        policy_digest: Some(format!("sha256:{number:064x}")),
        trust: vec![format!("release {}", number % 20)],
        scopes: vec!["publish".into(), "read".into()],
        token_id: Some(token_id(now)),
        token_expires: Some(now.seconds() + 900),
        client_address: Some("192.0.2.1".into()),
        user_agent: Some("curl/8.14.1".into()),
        ..Record::new(Outcome::Allowed, now)
    }
}
