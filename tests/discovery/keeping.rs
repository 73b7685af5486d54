//! How long keys are used, and what of them outlives the process.

use super::*;

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
    world.directory.refresh().await;
    world.archive.breaks(true);
    world.clock.advance(DAY);
    world.directory.refresh().await;
    assert!(world.keys("a").await.is_ok());
    let warnings = world.status().warnings;
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("the disk is full")),
        "{warnings:?}"
    );

    world.archive.breaks(false);
    world.directory.refresh().await;
    assert_eq!(world.archive.kept(), 2);
    let warnings = world.status().warnings;
    assert!(
        !warnings.iter().any(|text| text.contains("archive")),
        "{warnings:?}"
    );
}
