//! Who asks an issuer, when, and who waits for it.

use super::*;

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
