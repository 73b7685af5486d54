//! A change of what is believed of an issuer is on record before it has an effect.

use super::*;

impl World {
    /// What went on record since it was last asked: the text of `iss`, the names of keys that are new, and of those that
    /// are gone.
    fn said(&self) -> Vec<(String, Vec<String>, Vec<String>)> {
        let log = std::mem::take(&mut *self.archive.log.lock().unwrap());
        let names = |keys: &[IssuerKey]| keys.iter().map(|key| key.key_id.clone()).collect();
        log.iter()
            .map(|event| match event {
                Happening::IssuerKeysChanged {
                    issuer,
                    added,
                    removed,
                } => (issuer.clone(), names(added), names(removed)),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn changed(&self, added: &[&str], removed: &[&str]) -> (String, Vec<String>, Vec<String>) {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        (self.issuer().to_string(), names(added), names(removed))
    }
}

#[track_caller]
fn assert_not_on_record(keys: Keys) {
    let fault = keys.unwrap_err();
    assert!(matches!(fault, KeyError::NotOnRecord { .. }), "{fault}");
}

/// The other key of GitHub, under another name.
fn other_jwk(kid: &str) -> Value {
    let published = include_str!("../data/jwks/github.json");
    let published: Value = serde_json::from_str(published).unwrap();
    let mut key = published["keys"][1].clone();
    key["kid"] = kid.into();
    key
}

#[tokio::test]
async fn keys_are_on_record_by_name_and_thumbprint_when_they_come_and_when_they_go() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a", "b"]));
    let world = World::of(&issuer);
    world.directory.refresh().await;
    assert_eq!(world.said(), [world.changed(&["a", "b"], &[])]);
    world.directory.refresh().await;
    assert_eq!(world.said(), []);

    // The same name for another key is another key.
    let keys = json!({"keys": [jwk("a"), other_jwk("b")]});
    issuer.answers(KEYS, Answer::Json(keys));
    world.directory.refresh().await;
    let log = world.archive.log.lock().unwrap().clone();
    let [Happening::IssuerKeysChanged { added, removed, .. }] = &log[..] else {
        panic!("{log:?}");
    };
    assert_eq!((&*added[0].key_id, &*removed[0].key_id), ("b", "b"));
    assert_ne!(added[0].sha256, removed[0].sha256);
    assert_eq!(
        (added.len(), removed.len(), added[0].sha256.len()),
        (1, 1, 64)
    );
}

#[tokio::test]
async fn a_set_that_is_written_otherwise_changes_nothing() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a", "b"]));
    let world = World::of(&issuer);
    world.directory.refresh().await;
    world.said();
    let unusable = json!({"kty": "RSA", "kid": "c", "n": "AQAB", "e": "AQAB"});
    let keys = json!({"keys": [jwk("b"), unusable, jwk("a")], "more": 1});
    issuer.answers(KEYS, Answer::Json(keys));
    world.directory.refresh().await;
    assert_eq!(world.said(), []);
    assert_eq!(world.archive.kept(), 2);
}

#[tokio::test]
async fn keys_that_cannot_be_put_on_record_are_not_used_and_those_before_are() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    world.directory.refresh().await;
    world.said();
    world.archive.breaks(true);
    issuer.answers(KEYS, set(&["b"]));
    world.clock.advance(MINUTE);
    assert_not_on_record(world.keys("b").await);
    assert!(world.knows("a") && !world.knows("b"));
    assert!(world.status().failing);
    let why = world.failure();
    assert!(
        why.contains("on record") && why.contains("the disk is full"),
        "{why}"
    );

    world.archive.breaks(false);
    world.directory.refresh().await;
    assert!(world.knows("b") && !world.knows("a"));
    assert!(!world.status().failing);
    assert_eq!(world.said(), [world.changed(&["b"], &["a"])]);
}

#[tokio::test]
async fn the_first_keys_of_an_issuer_are_not_used_before_they_are_on_record() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    world.archive.breaks(true);
    assert_not_on_record(world.keys("a").await);
    assert!(!world.knows("a"));

    // As soon as the store is there again, and without another question to the issuer.
    world.archive.breaks(false);
    assert!(world.keys("a").await.is_ok());
    assert_eq!(issuer.count(KEYS), 1);
    assert!(!world.status().failing);
    assert_eq!(world.said(), [world.changed(&["a"], &[])]);
}

#[tokio::test]
async fn a_use_of_a_known_key_brings_what_could_not_be_put_on_record_into_force() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a", "b"]));
    let world = World::of(&issuer);
    world.directory.refresh().await;
    world.archive.breaks(true);
    issuer.answers(KEYS, set(&["b"]));
    world.directory.refresh().await;
    assert!(
        world.keys("a").await.is_ok(),
        "the store is down in any case"
    );
    world.archive.breaks(false);
    world.said();
    world.clock.advance(Seconds(1));
    assert!(world.keys("b").await.is_ok());
    // A try that is under way is joined.
    assert_unknown(world.keys("c").await);
    assert!(!world.knows("a"));
    assert_eq!(world.said(), [world.changed(&[], &["a"])]);
}

#[tokio::test]
async fn known_keys_stay_known_while_the_store_is_down_however_long() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    world.directory.refresh().await;
    world.archive.breaks(true);
    for _ in 0..3 {
        world.clock.advance(DAY);
        world.directory.refresh().await;
        assert!(world.knows("a"));
    }
    assert!(!world.status().failing);
}

#[tokio::test]
async fn a_restart_puts_nothing_on_record_that_is_there() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a", "b"]));
    let mut world = World::of(&issuer);
    world.directory.refresh().await;
    world.said();
    world.restart();
    world.directory.refresh().await;
    assert_eq!(world.said(), []);
    world.restart();
    issuer.answers(KEYS, set(&["b", "c"]));
    world.directory.refresh().await;
    assert_eq!(world.said(), [world.changed(&["c"], &["a"])]);
}

#[tokio::test]
async fn a_change_that_failed_and_is_on_the_disk_all_the_same_is_not_repeated() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    world.directory.refresh().await;
    world.said();
    world.archive.breaks(true);
    *world.archive.fails_late.lock().unwrap() = true;
    issuer.answers(KEYS, set(&["b"]));
    world.directory.refresh().await;
    assert!(world.knows("a") && !world.knows("b"));
    assert_eq!(world.said(), [world.changed(&["b"], &["a"])]);
    world.archive.breaks(false);

    // The issuer went back: that is a change of what the log says, though not of what is believed.
    issuer.answers(KEYS, set(&["a"]));
    world.directory.refresh().await;
    assert!(world.knows("a"));
    assert_eq!(world.said(), [world.changed(&["a"], &["b"])]);
    world.directory.refresh().await;
    assert_eq!(world.said(), []);
}

#[tokio::test]
async fn archived_keys_that_this_version_takes_no_more_are_on_record_as_removed() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a", "b"]));
    let mut world = World::of(&issuer);
    world.directory.refresh().await;
    world.said();
    issuer.answers(KEYS, Answer::HangUp);
    // As if this version did not take the key `b`.
    let spoil = |world: &World| {
        let mut sets = world.archive.sets.lock().unwrap();
        let kept = sets.get_mut(&world.issuer()).unwrap();
        let form = String::from_utf8(kept.body.clone()).unwrap();
        let spoilt = form.replace("\\\"kid\\\":\\\"b\\\"", "\\\"kid\\\":null");
        assert_ne!(form, spoilt);
        kept.body = spoilt.into_bytes();
    };
    spoil(&world);
    world.archive.breaks(false);
    world.restart();
    world.directory.refresh().await;
    assert!(world.knows("a") && !world.knows("b"));
    assert_eq!(world.said(), [world.changed(&[], &["b"])]);
    world.restart();
    world.directory.refresh().await;
    assert_eq!(world.said(), []);
}

#[tokio::test]
async fn an_archive_from_before_there_was_a_log_goes_on_record_before_it_is_used() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, Answer::HangUp);
    let world = World::of(&issuer);
    let body = json!({"keys": [jwk("a")]}).to_string().into_bytes();
    let fetched = UnixTime::from_seconds(1_800_000_000);
    let archived = ArchivedKeys { body, fetched };
    world
        .archive
        .sets
        .lock()
        .unwrap()
        .insert(world.issuer(), archived);
    world.directory.warm([]).await;
    assert!(world.knows("a"));
    assert_eq!(world.said(), [world.changed(&["a"], &[])]);
}

#[tokio::test]
async fn the_keys_of_a_file_are_on_record_too() {
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
        ..trusted("github", issuer.address())
    };
    let mut world = World::with(trusted, settings());
    world.directory.refresh().await;
    assert_eq!(world.said(), [world.changed(&["a"], &[])]);
    world.clock.advance(DAY);
    world.directory.refresh().await;
    assert_eq!((world.said(), world.archive.kept()), (vec![], 1));
    write("b");
    world.restart();
    world.directory.refresh().await;
    assert_eq!(world.said(), [world.changed(&["b"], &["a"])]);

    // The archive says what the log said. It does not stand in for the file.
    std::fs::remove_file(&file).unwrap();
    world.restart();
    world.directory.refresh().await;
    assert!(!world.knows("b"));
}

#[tokio::test]
async fn each_organization_is_on_record_under_the_text_of_its_own_iss() {
    const ORGANIZATION: &str = "a40f5d1f-d889-42e9-94ea-b9b33585fc6b";
    let issuer = FakeIssuer::start();
    let path = format!("/org/{ORGANIZATION}/.well-known/jwks-pub.json");
    issuer.answers(&path, set(&["own"]));
    let template = format!("{}/org/{{organization}}", issuer.address());
    let world = World::with(trusted("circleci", &template), settings());
    let iss = format!("{}/org/{ORGANIZATION}", issuer.address());
    world.keys_at(&iss, "own", true).await.unwrap();
    assert_eq!(world.said(), [(iss, vec!["own".to_owned()], vec![])]);
}
