//! The keys of issuers, asked for over real connections on loopback. Time stands still unless a test moves it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};

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
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let outcome = self.check();
        if outcome.is_ok() {
            self.sets.lock().unwrap().insert(issuer.clone(), keys);
            *self.kept.lock().unwrap() += 1;
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
        let directory = directory(&trusted, &clock, &archive, settings).unwrap();
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
        self.directory = directory(trusted, clock, archive, *settings).unwrap();
    }

    /// The issuer that is configured.
    fn issuer(&self) -> Issuer {
        match &self.trusted.form {
            IssuerForm::Exact(issuer) | IssuerForm::PerOrganization { root: issuer, .. } => {
                issuer.clone()
            }
        }
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
        unknown @ KeyError::Unknown { .. } => panic!("{unknown}"),
    }
}

#[tokio::test]
async fn an_issuer_that_is_used_first_is_asked_for_its_keys() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a", "b"]));
    let world = World::of(&issuer);
    assert_eq!(world.keys("a").await.unwrap().len(), 1);
    assert!(world.knows("b"));
    assert_eq!(issuer.count(KEYS), 1);
    assert_eq!((world.status().keys, world.status().fetches), (2, 1));
}

#[tokio::test]
async fn two_hundred_unknown_keys_at_a_time_are_one_request() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, held(set(&["a"])));
    let world = World::of(&issuer);
    let names: Vec<String> = (0..200).map(|n| format!("made-up-{n}")).collect();
    let all = join_all(names.iter().map(|kid| world.keys(kid)));
    let release = async {
        issuer.asked(KEYS, 1).await;
        issuer.release();
    };
    let (answers, ()) = tokio::join!(all, release);
    answers.into_iter().for_each(assert_unknown);
    assert_eq!(issuer.count(KEYS), 1);
}

#[tokio::test]
async fn an_unknown_key_asks_again_once_a_minute() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    assert_unknown(world.keys("b").await);
    issuer.answers(KEYS, set(&["a", "b"]));
    world.clock.advance(Seconds(59));
    assert_unknown(world.keys("b").await);
    assert_eq!(issuer.count(KEYS), 1);
    world.clock.advance(Seconds(1));
    assert!(world.keys("b").await.is_ok());
    assert_eq!(issuer.count(KEYS), 2);
}

#[tokio::test]
async fn an_issuer_that_failed_is_asked_again_once_a_minute_and_is_unreachable_meanwhile() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, Answer::HangUp);
    let world = World::of(&issuer);
    assert_eq!(assert_unreachable(world.keys("a").await), MINUTE);
    issuer.answers(KEYS, set(&["a"]));
    world.clock.advance(Seconds(59));
    assert_eq!(assert_unreachable(world.keys("a").await), Seconds(1));
    assert!(world.status().failing);
    world.clock.advance(Seconds(1));
    assert!(world.keys("a").await.is_ok());
    assert!(!world.status().failing);
}

#[tokio::test]
async fn a_clock_that_was_put_back_does_not_keep_an_issuer_unasked() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    assert_unknown(world.keys("b").await);
    issuer.answers(KEYS, set(&["b"]));
    world.clock.set(UnixTime::from_seconds(1_700_000_000));
    assert!(world.keys("b").await.is_ok());
}

#[tokio::test]
async fn the_two_hundred_and_fifty_seventh_who_waits_is_turned_away() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, held(set(&["a"])));
    let world = World::of(&issuer);
    let mut waiting: Vec<_> = (0..256).map(|_| Box::pin(world.keys("a"))).collect();
    for exchange in &mut waiting {
        assert!(exchange.now_or_never().is_none());
    }
    assert_unreachable(world.keys("a").await);

    // Who goes away leaves a place.
    drop(waiting.pop());
    waiting.push(Box::pin(world.keys("a")));
    assert!(waiting[255].as_mut().now_or_never().is_none());
    issuer.release();
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert_eq!(issuer.count(KEYS), 1);
}

#[tokio::test]
async fn who_waits_for_a_slow_issuer_is_told_when_to_come_back() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, held(set(&["a"])));
    let impatient = FetchSettings {
        longest_wait: Duration::ZERO,
        ..settings()
    };
    let world = World::with(trusted("github", issuer.address()), impatient);
    assert_eq!(assert_unreachable(world.keys("a").await), Seconds(60));

    // The request went on without the one who waited.
    issuer.release();
    world.directory.refresh().await;
    assert!(world.knows("a"));
    assert_eq!(issuer.count(KEYS), 1);
}

#[tokio::test]
async fn a_caller_who_goes_away_does_not_take_the_request_along() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, held(set(&["a"])));
    let world = World::of(&issuer);
    assert!(world.keys("a").now_or_never().is_none());
    issuer.release();
    assert!(world.keys("a").await.is_ok());
    assert_eq!(issuer.count(KEYS), 1);
}

#[tokio::test]
async fn an_issuer_that_never_answers_is_given_up() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, held(set(&["a"])));
    let short = FetchSettings {
        limit: Duration::from_millis(20),
        ..settings()
    };
    let world = World::with(trusted("github", issuer.address()), short);
    assert_unreachable(world.keys("a").await);
    assert_eq!(world.failure(), "the answer took longer than 20ms");
}

#[tokio::test]
async fn a_known_key_waits_for_no_request() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    world.keys("a").await.unwrap();
    issuer.answers(KEYS, held(set(&["a"])));
    world.clock.advance(MINUTE);
    let mut unknown = Box::pin(world.keys("b"));
    assert!((&mut unknown).now_or_never().is_none());
    issuer.asked(KEYS, 2).await;
    assert!(world.keys("a").now_or_never().unwrap().is_ok());
    issuer.release();
    assert_unknown(unknown.await);
}

#[tokio::test]
async fn keys_serve_for_a_day_while_their_issuer_is_down_and_no_longer() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    world.keys("a").await.unwrap();
    issuer.answers(KEYS, Answer::HangUp);
    world.clock.advance(DAY);
    world.directory.refresh().await;
    assert!(world.keys("a").await.is_ok());
    assert_eq!(world.status().keys, 1);

    world.clock.advance(Seconds(1));
    assert!(!world.knows("a"));
    assert_eq!(world.status().keys, 0);
    assert_eq!(assert_unreachable(world.keys("a").await), Seconds(59));
    issuer.answers(KEYS, set(&["a"]));
    world.clock.advance(MINUTE);
    assert!(world.keys("a").await.is_ok());
}

#[tokio::test]
async fn a_key_that_its_issuer_removed_is_dropped_at_the_next_refresh() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a", "b"]));
    let mut world = World::of(&issuer);
    world.directory.refresh().await;
    issuer.answers(KEYS, set(&["b"]));
    assert!(world.knows("a"));
    world.directory.refresh().await;
    assert!(!world.knows("a"));
    assert_unknown(world.keys("a").await);

    // Nor does the archive bring it back.
    issuer.answers(KEYS, Answer::HangUp);
    world.restart();
    world.directory.warm([]).await;
    assert!(world.knows("b"));
    assert!(!world.knows("a"));
}

#[tokio::test]
async fn the_last_good_set_survives_a_restart_while_the_issuer_is_down() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let mut world = World::of(&issuer);
    world.directory.refresh().await;
    issuer.answers(KEYS, held(Answer::HangUp));
    world.clock.advance(DAY);
    world.restart();

    // The issuer has not answered yet.
    world.directory.warm([]).await;
    assert!(world.knows("a"));
    issuer.release();
    world.directory.refresh().await;
    assert!(world.knows("a"));
    assert_unreachable(world.keys("b").await);

    // The day counts from the last success, not from the restart.
    world.clock.advance(Seconds(1));
    assert!(!world.knows("a"));
}

#[tokio::test]
async fn without_a_warm_start_an_archived_key_serves_at_its_first_use() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let mut world = World::of(&issuer);
    world.directory.refresh().await;
    issuer.answers(KEYS, held(Answer::HangUp));
    world.restart();
    assert!(world.keys("a").await.is_ok());
}

#[tokio::test]
async fn an_archived_set_from_the_future_serves_no_longer_than_one_of_today() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let mut world = World::of(&issuer);
    world.directory.refresh().await;
    issuer.answers(KEYS, Answer::HangUp);
    world.clock.set(UnixTime::from_seconds(1_700_000_000));
    world.restart();
    world.directory.warm([]).await;
    world.clock.advance(DAY);
    assert!(world.knows("a"));
    world.clock.advance(Seconds(1));
    assert!(!world.knows("a"));
}

#[tokio::test]
async fn a_set_is_archived_when_it_changes_and_else_once_an_hour() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    world.directory.refresh().await;
    world.clock.advance(Seconds(59 * 60));
    world.directory.refresh().await;
    assert_eq!(world.archive.kept(), 1);
    world.clock.advance(MINUTE);
    world.directory.refresh().await;
    assert_eq!(world.archive.kept(), 2);
    issuer.answers(KEYS, set(&["a", "b"]));
    world.directory.refresh().await;
    assert_eq!(world.archive.kept(), 3);
    issuer.answers(KEYS, Answer::HangUp);
    world.directory.refresh().await;
    assert_eq!(world.archive.kept(), 3);
}

#[tokio::test]
async fn an_archive_that_fails_is_a_warning_and_no_outage() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    *world.archive.broken.lock().unwrap() = true;
    assert!(world.keys("a").await.is_ok());
    world.directory.refresh().await;
    let warnings = world.status().warnings;
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("the disk is full")),
        "{warnings:?}"
    );

    *world.archive.broken.lock().unwrap() = false;
    world.directory.refresh().await;
    assert_eq!(world.archive.kept(), 1);
    let warnings = world.status().warnings;
    assert!(
        !warnings.iter().any(|text| text.contains("archive")),
        "{warnings:?}"
    );
}

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
        other @ KeyError::Unreachable { .. } => panic!("{other}"),
    }
    let warnings = world.status().warnings;
    assert!(warnings.contains(&"the key `short` is an RSA key under 2048 bits".to_owned()));
}

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
    assert_eq!((issuer.count_of_all(), world.archive.kept()), (0, 0));
}

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
