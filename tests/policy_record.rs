//! No effect without an entry, no entry without an effect: the service with its real store, from the file to the log.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign::audit::{Entry, Filter, Happening, PolicyLoaded};
use countersign::cli::record_configuration::record_configuration;
use countersign::clock::{Clock as _, Seconds};
use countersign::config::Config;
use countersign::ledger::AuditLog;
use countersign::store::Options;
use countersign::trust::digest_of;
use futures_util::future::join;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::log;
use crate::support::service::{Settings, TestService};

fn file(service: &TestService, path: &str) -> PathBuf {
    service.folder.path().join("trust-policies").join(path)
}

fn the_log(service: &TestService) -> &dyn AuditLog {
    &*service.parts.store
}

async fn loaded(service: &TestService) -> Vec<PolicyLoaded> {
    let events = log::events(the_log(service), "policy-loaded").await;
    let loaded = events.into_iter().map(|event| match event.what {
        Happening::PolicyLoaded(loaded) => loaded,
        other => panic!("{other:?}"),
    });
    loaded.collect()
}

/// How many entries there are of kinds that begin with this.
async fn count(service: &TestService, kind: &str) -> usize {
    let all = log::entries(the_log(service), Filter::default()).await;
    let is = |entry: &&Entry| match entry {
        Entry::Event(event) => event.what.kind().starts_with(kind),
        Entry::Decision(_) => kind == "decision",
        Entry::Unknown(unknown) => panic!("{unknown}"),
    };
    all.iter().filter(is).count()
}

fn policy(name: &str, scope: &str) -> String {
    format!(
        "[[trust]]\nname = \"{name}\"\nissuer = \"github\"\nowner-id = 65\nrepository-id = 74\nscopes = [\"{scope}\"]\n"
    )
}

/// A service with nothing but `acme/api`, whose disk has as much room as the second value says.
async fn with_a_disk(text: &str) -> (TestService, Arc<AtomicU64>) {
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let of_store = free.clone();
    let store = Options {
        free_space: Some(Arc::new(move || Ok(of_store.load(Ordering::SeqCst)))),
        ..Options::default()
    };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("trust-policies/acme")).unwrap();
    fs::write(folder.path().join("trust-policies/acme/api.toml"), text).unwrap();
    let settings = Settings {
        store,
        ..Settings::default()
    };
    (TestService::in_folder(folder, settings).await, free)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_on_record_before_the_first_exchange_that_it_allows() {
    let (first, second) = (policy("release", "a"), policy("deploy", "a"));
    let (service, _) = with_a_disk(&first).await;
    let answer = service.job("github-push", "acme/api").await;
    let project_id = service.record(&answer).await.project_id;
    service.policy("acme/api", &second).await;
    service.job("github-push", "acme/api").await;

    let expected = PolicyLoaded {
        file: "acme/api.toml".to_owned(),
        organization: "acme".to_owned(),
        project: Some("acme/api".to_owned()),
        project_id,
        digest: digest_of(&first),
        added: vec!["trust release".to_owned()],
        ..PolicyLoaded::default()
    };
    let then = PolicyLoaded {
        digest: digest_of(&second),
        before: Some(digest_of(&first)),
        added: vec!["trust deploy".to_owned()],
        removed: vec!["trust release".to_owned()],
        ..expected.clone()
    };
    let entries = log::entries(the_log(&service), Filter::default()).await;
    let of_policies: Vec<Option<String>> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Decision(record) => Some(record.policy_digest.clone()),
            Entry::Event(event) => match &event.what {
                Happening::PolicyLoaded(loaded) => {
                    let shown = if loaded.before.is_none() {
                        &expected
                    } else {
                        &then
                    };
                    assert_eq!(loaded, shown);
                    Some(Some(loaded.digest.clone()))
                }
                _ => None,
            },
            Entry::Unknown(unknown) => panic!("{unknown}"),
        })
        .collect();
    let (first_digest, second_digest) = (Some(digest_of(&first)), Some(digest_of(&second)));
    let order = [
        first_digest.clone(),
        first_digest,
        second_digest.clone(),
        second_digest,
    ];
    assert_eq!(of_policies, order);
    for text in [first, second] {
        let kept = service.parts.store.policy_text(digest_of(&text)).await;
        assert_eq!(kept.unwrap(), Some(text.into_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_puts_nothing_of_policies_keys_and_issuers_on_record_anew() {
    let service = TestService::start().await;
    service.job("github-push", "acme/api").await;
    service.policy("acme/broken", "[[trust]]\n").await;
    let kinds = ["policy-", "signing-key-", "issuer-keys-changed"];
    let before = [
        count(&service, kinds[0]).await,
        count(&service, kinds[1]).await,
        count(&service, kinds[2]).await,
    ];
    assert!(before[0] > 1, "{before:?}");
    assert_eq!((before[1], before[2]), (2, 1));

    // At the start there is no last good version to fall back to, but there was none before either.
    let folder = service.stop().await;
    let service = TestService::in_folder(folder, Settings::default()).await;
    service.job("github-push", "acme/api").await;
    let after = [
        count(&service, kinds[0]).await,
        count(&service, kinds[1]).await,
        count(&service, kinds[2]).await,
    ];
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_was_tightened_while_the_disk_is_full_lets_nobody_in_by_the_one_before() {
    let (service, free) = with_a_disk(&policy("release", "a")).await;
    let directory = &service.parts.service.exchange.directory;
    assert_eq!(service.job("github-push", "acme/api").await.status, 200);
    free.store(0, Ordering::SeqCst);
    fs::write(file(&service, "acme/api.toml"), "").unwrap();
    directory.reload().await.unwrap_err();
    let answer = service.job("github-push", "acme/api").await;
    assert_eq!(
        (answer.status, &*answer.reason()),
        (503, "store-unavailable")
    );

    // The store is there again, and the policy is not on record yet.
    free.store(u64::MAX, Ordering::SeqCst);
    let answer = service.job("github-push", "acme/api").await;
    assert_eq!(
        (answer.status, &*answer.reason()),
        (503, "store-unavailable")
    );
    assert_eq!(loaded(&service).await.len(), 1);

    let (one, other) = join(directory.reload(), directory.reload()).await;
    one.unwrap();
    other.unwrap();
    let answer = service.job("github-push", "acme/api").await;
    assert_eq!(answer.reason(), "not-trusted");
    let said = loaded(&service).await;
    assert_eq!(said.len(), 2);
    assert_eq!(said[1].digest, digest_of(""));
    assert_eq!(said[1].removed, ["trust release"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_and_removed_files_are_on_record() {
    let good = policy("release", "a");
    let (service, _) = with_a_disk(&good).await;
    service.policy("acme/api", "[[trust]]\nname = ").await;
    fs::remove_file(file(&service, "acme/api.toml")).unwrap();
    service.reload().await;
    let refused = log::events(the_log(&service), "policy-refused").await;
    let [refused] = &refused[..] else {
        panic!("{refused:?}")
    };
    let Happening::PolicyRefused {
        file,
        digest,
        message,
        in_force,
    } = &refused.what
    else {
        panic!("{refused:?}")
    };
    assert_eq!(file, "acme/api.toml");
    assert_eq!(*digest, Some(digest_of("[[trust]]\nname = ")));
    assert_eq!(*in_force, Some(digest_of(&good)));
    assert!(message.starts_with("line 2: not TOML"), "{message}");
    let removed = log::events(the_log(&service), "policy-removed").await;
    let expected = Happening::PolicyRemoved {
        file: "acme/api.toml".to_owned(),
        before: Some(digest_of(&good)),
    };
    assert_eq!(removed[0].what, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_issuers_and_of_our_own_are_on_record_with_their_public_halves() {
    let (service, _) = with_a_disk(&policy("release", "a")).await;
    let made = log::events(the_log(&service), "signing-key-made").await;
    let published = service.get("/.well-known/jwks.json").await.json();
    let public: Vec<Value> = made
        .iter()
        .map(|event| match &event.what {
            Happening::SigningKeyMade { public_key, .. } => public_key.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(Value::from(public), published["keys"]);

    service.job("github-push", "acme/api").await;
    let changed = log::events(the_log(&service), "issuer-keys-changed").await;
    let [changed] = &changed[..] else {
        panic!("{changed:?}")
    };
    let Happening::IssuerKeysChanged {
        issuer,
        added,
        removed,
    } = &changed.what
    else {
        panic!("{changed:?}")
    };
    let answer = service.job("github-push", "acme/api").await;
    let claims = service.record(&answer).await.claims;
    let claims = serde_json::to_value(&claims).unwrap();
    assert_eq!(Value::from(issuer.as_str()), claims["iss"]);
    assert!(!added.is_empty() && removed.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_on_record_when_it_differs_from_the_last() {
    let (service, free) = with_a_disk("").await;
    let at = service.folder.path().join("countersign.toml");
    let read = || Config::load(Some(&at), &BTreeMap::new()).unwrap();
    let record = async |config: &Config| {
        record_configuration(config, the_log(&service), service.clock.now()).await
    };
    let said = async || {
        let events = log::events(the_log(&service), "configuration-loaded").await;
        let said = events.into_iter().map(|event| match event.what {
            Happening::ConfigurationLoaded {
                digest,
                before,
                settings,
                ..
            } => (digest, before, settings),
            other => panic!("{other:?}"),
        });
        said.collect::<Vec<_>>()
    };
    let config = read();
    record(&config).await.unwrap();
    let first = said().await;
    record(&config).await.unwrap();
    assert_eq!(said().await, first);
    let text = fs::read_to_string(&at).unwrap();
    fs::write(&at, format!("pin-window = \"1d\"\n{text}")).unwrap();
    let config = read();
    free.store(0, Ordering::SeqCst);
    record(&config).await.unwrap_err();
    free.store(u64::MAX, Ordering::SeqCst);
    record(&config).await.unwrap();
    let all = said().await;
    assert_eq!(all.len(), first.len() + 1);
    let (digest, before, settings) = all.last().unwrap();
    assert_eq!(before.as_ref(), Some(&first.last().unwrap().0));
    assert_ne!(before.as_ref(), Some(digest));
    assert_eq!(settings["pin-window"], "1day");
}

/// One thing that an operator, the disk or a job does.
#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Break,
    Delete,
    Rails(usize),
    DiskFull(bool),
    Reload,
    Job,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_usize).prop_map(Step::Write),
        1 => Just(Step::Break),
        1 => Just(Step::Delete),
        1 => (0..3_usize).prop_map(Step::Rails),
        2 => any::<bool>().prop_map(Step::DiskFull),
        4 => Just(Step::Reload),
        4 => Just(Step::Job),
    ]
}

async fn take(service: &TestService, free: &AtomicU64, step: Step) {
    let api = file(service, "acme/api.toml");
    let rails = file(service, "acme/_organization.toml");
    match step {
        Step::Write(version) => {
            // Long enough for the file to have another size each time: no stamp of two versions is one.
            let text = format!("{}# {}\n", policy("release", "a"), "x".repeat(version));
            fs::write(api, text).unwrap();
        }
        Step::Break => fs::write(api, "[[trust]]\n").unwrap(),
        Step::Delete => drop(fs::remove_file(api)),
        Step::Rails(0) => drop(fs::remove_file(rails)),
        Step::Rails(version) => {
            let text = format!(
                "[[deny]]\nname = \"{}\"\nissuer = \"github\"\nclaims = {{ event_name = \"schedule\" }}\n",
                "x".repeat(version)
            );
            fs::write(rails, text).unwrap();
        }
        Step::DiskFull(full) => free.store(if full { 0 } else { u64::MAX }, Ordering::SeqCst),
        Step::Reload => {
            let directory = &service.parts.service.exchange.directory;
            let reloaded = directory.reload().await;
            assert_eq!(reloaded.is_ok(), directory.settled().is_ok());
        }
        Step::Job => {
            let answer = service.job("github-push", "acme/api").await;
            if answer.status == 200 {
                service.parts.service.exchange.directory.settled().unwrap();
            }
        }
    }
}

/// Walks the log from its beginning: whatever an exchange went by is the last that is said to be in force.
async fn check_order(service: &TestService) {
    let mut in_force: BTreeMap<String, String> = BTreeMap::new();
    for entry in log::entries(the_log(service), Filter::default()).await {
        match entry {
            Entry::Decision(record) => {
                let said = |file: &str| in_force.get(file).cloned();
                if record.policy_digest.is_some() {
                    assert_eq!(record.policy_digest, said("acme/api.toml"));
                    assert_eq!(record.guard_rails_digest, said("acme/_organization.toml"));
                }
            }
            Entry::Unknown(unknown) => panic!("{unknown}"),
            Entry::Event(event) => match event.what {
                Happening::PolicyLoaded(loaded) => {
                    let before = in_force.insert(loaded.file, loaded.digest);
                    assert_eq!(before, loaded.before);
                }
                Happening::PolicyRefused {
                    file,
                    in_force: stays,
                    ..
                } => assert_eq!(in_force.get(&file).cloned(), stays),
                Happening::PolicyRemoved { file, before } => {
                    assert_eq!(in_force.remove(&file), before);
                }
                _ => {}
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_policy_has_an_effect_that_is_not_on_record(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (service, free) = with_a_disk(&policy("release", "a")).await;
            for step in steps {
                take(&service, &free, step).await;
                service.advance(Seconds(1));
            }
            free.store(u64::MAX, Ordering::SeqCst);
            check_order(&service).await;
            service.stop().await;
        });
    }
}
