//! The keys of issuers, asked for over real connections on loopback. Time stands still unless a test moves it.

mod answers;
mod asking;
mod keeping;
mod organizations;
mod places;
mod recording;
mod sharing;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};

use countersign::audit::{Happening, IssuerKey};
use countersign::clock::{FrozenClock, Seconds, UnixTime};
use countersign::discovery::{
    ArchivedKeys, FetchSettings, IssuerStatus, KeyArchive, KeyDirectory, KeyError, SetupFault,
};
use countersign::issuer::{
    Issuer, IssuerForm, Match, PublicKey, Registry, TrustedIssuer, profile_named,
};
use countersign::ledger::StoreUnavailable;

use crate::support::issuer::{Answer, FakeIssuer};

const KEYS: &str = "/.well-known/jwks";
const DOCUMENT: &str = "/.well-known/openid-configuration";
const MINUTE: Seconds = Seconds(60);
const DAY: Seconds = Seconds(24 * 60 * 60);

/// An archive without a disk.
#[derive(Default)]
struct InMemory {
    sets: Mutex<HashMap<Issuer, ArchivedKeys>>,
    kept: Mutex<usize>,
    broken: Mutex<bool>,
    /// Whether what fails is on the disk all the same.
    fails_late: Mutex<bool>,
    log: Mutex<Vec<Happening>>,
}

impl InMemory {
    fn check(&self) -> Result<(), StoreUnavailable> {
        if *self.broken.lock().unwrap() {
            return Err(StoreUnavailable("the disk is full".to_owned()));
        }
        Ok(())
    }

    fn kept(&self) -> usize {
        *self.kept.lock().unwrap()
    }

    fn breaks(&self, broken: bool) {
        *self.broken.lock().unwrap() = broken;
    }
}

impl KeyArchive for InMemory {
    fn last_good(
        &self,
        issuer: &Issuer,
    ) -> BoxFuture<'_, Result<Option<ArchivedKeys>, StoreUnavailable>> {
        let found = self.sets.lock().unwrap().get(issuer).cloned();
        let found = self.check().map(|()| found);
        Box::pin(async move { found })
    }

    fn keep(
        &self,
        issuer: &Issuer,
        keys: ArchivedKeys,
        change: Option<Happening>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let outcome = self.check();
        if outcome.is_ok() || *self.fails_late.lock().unwrap() {
            self.sets.lock().unwrap().insert(issuer.clone(), keys);
            *self.kept.lock().unwrap() += 1;
            self.log.lock().unwrap().extend(change);
        }
        Box::pin(async move { outcome })
    }
}

/// A directory of one configured issuer.
struct World {
    trusted: TrustedIssuer,
    clock: Arc<FrozenClock>,
    archive: Arc<InMemory>,
    settings: FetchSettings,
    directory: KeyDirectory,
}

type Keys = Result<Arc<[PublicKey]>, KeyError>;

impl World {
    /// With GitHub's profile, which knows where the keys are.
    fn of(issuer: &FakeIssuer) -> Self {
        Self::with(trusted("github", issuer.address()), settings())
    }

    fn with(trusted: TrustedIssuer, settings: FetchSettings) -> Self {
        let clock = Arc::new(FrozenClock::at(UnixTime::from_seconds(1_800_000_000)));
        let archive = Arc::new(InMemory::default());
        let directory = directory(&trusted, &clock, &archive, settings.clone()).unwrap();
        Self {
            trusted,
            clock,
            archive,
            settings,
            directory,
        }
    }

    /// The same after a restart: another directory, with the same archive.
    fn restart(&mut self) {
        let Self {
            trusted,
            clock,
            archive,
            settings,
            ..
        } = self;
        self.directory = directory(trusted, clock, archive, settings.clone()).unwrap();
    }

    /// The issuer that is configured.
    fn issuer(&self) -> Issuer {
        self.trusted.form.root().clone()
    }

    async fn keys(&self, kid: &str) -> Keys {
        self.keys_at(self.issuer().as_str(), kid, true).await
    }

    async fn keys_at(&self, iss: &str, kid: &str, named: bool) -> Keys {
        let matched: Match = self.trusted.form.matches(iss).unwrap();
        self.directory
            .keys(&self.trusted, &matched, kid, named)
            .await
    }

    fn knows(&self, kid: &str) -> bool {
        self.directory.known(&self.issuer(), kid).is_some()
    }

    fn status(&self) -> IssuerStatus {
        let issuer = self.issuer();
        let mut all = self.directory.status().into_iter();
        all.find(|status| status.issuer == issuer).unwrap()
    }

    fn failure(&self) -> String {
        self.status().last_failure.unwrap().text
    }
}

fn settings() -> FetchSettings {
    FetchSettings {
        // A test that waits is a test that hangs: these only end it.
        limit: Duration::from_secs(60),
        longest_wait: Duration::from_secs(60),
        loopback_http: true,
        ..FetchSettings::default()
    }
}

fn trusted(profile: &str, url: &str) -> TrustedIssuer {
    let profile = profile_named(profile).unwrap();
    let form = IssuerForm::parse(url, profile.organization_in_issuer, true).unwrap();
    TrustedIssuer::new("ci", profile, form, "https://sts.example.com")
}

fn directory(
    trusted: &TrustedIssuer,
    clock: &Arc<FrozenClock>,
    archive: &Arc<InMemory>,
    settings: FetchSettings,
) -> Result<KeyDirectory, SetupFault> {
    let registry = Arc::new(Registry::new([trusted.clone()]));
    KeyDirectory::new(registry, clock.clone(), archive.clone(), settings)
}

/// A key that GitHub published, under another name.
fn jwk(kid: impl Into<Value>) -> Value {
    let published = include_str!("data/jwks/github.json");
    let published: Value = serde_json::from_str(published).unwrap();
    let mut key = published["keys"][0].clone();
    key["kid"] = kid.into();
    key
}

fn set(kids: &[&str]) -> Answer {
    let keys: Vec<Value> = kids.iter().map(|kid| jwk(*kid)).collect();
    Answer::Json(json!({ "keys": keys }))
}

fn held(answer: Answer) -> Answer {
    Answer::Held(Box::new(answer))
}

#[track_caller]
fn assert_unknown(keys: Keys) {
    let fault = keys.unwrap_err();
    assert!(matches!(fault, KeyError::Unknown { .. }), "{fault}");
}

#[track_caller]
fn assert_unreachable(keys: Keys) -> Seconds {
    match keys.unwrap_err() {
        KeyError::Unreachable { retry_after, .. } => retry_after,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_background_refreshes_until_it_is_stopped() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let often = FetchSettings {
        refresh_every: Duration::from_millis(1),
        ..settings()
    };
    let world = World::with(trusted("github", issuer.address()), often);
    tokio::select! {
        () = world.directory.refresh_forever() => {}
        () = issuer.asked(KEYS, 3) => {}
    }
    assert!(world.knows("a"));
}

#[test]
fn settings_with_which_no_key_could_be_fetched_are_refused_at_the_start() {
    let base = || trusted("github", "http://127.0.0.1:1");
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "not a certificate").unwrap();
    let broken = folder.path().join("broken.pem");
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&broken, pem).unwrap();
    let cases = [
        (
            TrustedIssuer {
                ca_file: Some(broken),
                ..base()
            },
            "no usable certificate",
        ),
        (
            TrustedIssuer {
                ca_file: Some(PathBuf::from("/nowhere/ca.pem")),
                ..base()
            },
            "cannot be read",
        ),
        (
            TrustedIssuer {
                ca_file: Some(empty),
                ..base()
            },
            "holds no certificate",
        ),
        (
            TrustedIssuer {
                proxy: Some("user:secret@ not a proxy".to_owned()),
                ..base()
            },
            "names a `proxy`",
        ),
        (
            TrustedIssuer {
                jwks_url: Some("http://keys.example/jwks".to_owned()),
                ..base()
            },
            "not an `https://` address",
        ),
        (
            TrustedIssuer {
                jwks_url: Some("keys.json".to_owned()),
                ..base()
            },
            "not an `https://` address",
        ),
    ];
    let clock = Arc::new(FrozenClock::at(UnixTime::from_seconds(0)));
    for (trusted, expected) in cases {
        let outcome = directory(&trusted, &clock, &Arc::default(), settings());
        let text = outcome.err().unwrap().to_string();
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
