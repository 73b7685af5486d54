//! What instances have of each other's questions to an issuer: one archive.

use super::*;

/// Another instance: a directory of its own with the same archive.
fn other(world: &World) -> World {
    let directory = directory(
        &world.trusted,
        &world.clock,
        &world.archive,
        world.settings.clone(),
    );
    World {
        trusted: world.trusted.clone(),
        clock: world.clock.clone(),
        archive: world.archive.clone(),
        settings: world.settings.clone(),
        directory: directory.unwrap(),
    }
}

#[tokio::test]
async fn keys_that_another_instance_fetched_serve_where_the_issuer_does_not_answer() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    let here = other(&world);
    world.directory.refresh().await;
    here.directory.refresh().await;
    world.clock.advance(MINUTE);
    issuer.answers(KEYS, set(&["b"]));
    world.directory.refresh().await;
    issuer.answers(KEYS, Answer::HangUp);

    assert!(here.knows("a") && !here.knows("b"));
    assert!(here.keys("b").await.is_ok());
    assert!(!here.knows("a"), "its issuer removed it");
    assert!(here.status().failing, "the issuer has not answered");
    assert_unreachable(here.keys("c").await);
}

#[tokio::test]
async fn keys_that_another_instance_fetched_serve_for_a_day_from_when_it_did() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    let here = other(&world);
    issuer.answers(KEYS, Answer::HangUp);
    here.directory.refresh().await;
    assert!(!here.knows("a"));
    issuer.answers(KEYS, set(&["a"]));
    world.directory.refresh().await;
    issuer.answers(KEYS, Answer::HangUp);
    world.clock.advance(DAY);
    here.directory.refresh().await;
    assert!(here.knows("a"));
    world.clock.advance(Seconds(1));
    here.directory.refresh().await;
    assert!(!here.knows("a"));
}

#[tokio::test]
async fn a_change_that_another_instance_put_on_record_is_not_said_again() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    let here = other(&world);
    world.directory.refresh().await;
    here.directory.refresh().await;
    issuer.answers(KEYS, set(&["b"]));
    world.directory.refresh().await;
    here.directory.refresh().await;
    assert!(here.knows("b"));
    assert_eq!(world.archive.log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_was_archived_in_the_future_is_not_taken_over() {
    let issuer = FakeIssuer::start();
    issuer.answers(KEYS, set(&["a"]));
    let world = World::of(&issuer);
    let here = other(&world);
    here.directory.refresh().await;
    world.clock.advance(DAY);
    issuer.answers(KEYS, set(&["b"]));
    world.directory.refresh().await;
    issuer.answers(KEYS, Answer::HangUp);
    world.clock.set(UnixTime::from_seconds(1_800_000_000));
    here.directory.refresh().await;
    assert!(here.knows("a") && !here.knows("b"));
}
