//! Denials and exchanges that look like an attack.

use super::*;

fn told(answer: Answer) -> Alarms {
    match answer {
        Answer::Alarms(alarms) => alarms,
        other => panic!("{other:?}"),
    }
}

async fn alarms(log: &MadeUp, parameters: &[(&str, &str)]) -> Vec<Alarm> {
    told(log.ask(Question::Alarms, parameters).await).alarms
}

fn stranger(number: u32, seconds: u32) -> Record {
    let subject = json!(format!("repo:stranger-{number}/x:ref:refs/heads/main"));
    denied(
        job("github-push", &[("sub", subject)], at(seconds)),
        "not-trusted",
    )
}

fn from(record: Record, address: &str) -> Record {
    Record {
        client_address: Some(address.to_owned()),
        ..record
    }
}

#[tokio::test]
async fn an_ordinary_day_has_no_alarm() {
    let mut log = MadeUp::default();
    for second in 0..20 {
        let id = json!(format!("t{second}"));
        let push = job("github-push", &[("jti", id)], at(second));
        log.decided(&allowed(push, &["build"]));
    }
    log.decided(&stranger(1, 30));
    let told = told(log.ask(Question::Alarms, &[]).await);
    assert_eq!(told.alarms, []);
    assert_eq!((told.allowed, told.denied, told.counted), (20, 1, 0));
}

#[tokio::test]
async fn many_subjects_denied_for_one_reason_within_the_window_are_an_alarm() {
    let mut log = MadeUp::default();
    for number in 0..12 {
        log.decided(&stranger(number, number * 10));
    }
    let found = alarms(&log, &[]).await;
    assert_eq!(found.len(), 1);
    let crowd = &found[0];
    assert_eq!((crowd.kind, crowd.count), (AlarmKind::ManySubjects, 12));
    assert_eq!(crowd.reason.as_deref(), Some("not-trusted"));
    assert_eq!((crowd.subjects.len(), crowd.subjects.others), (10, 2));
    assert_eq!(
        (crowd.first_at.clone(), crowd.last_at.clone()),
        (at(0).to_string(), at(110).to_string())
    );
    assert!(alarms(&log, &[("subjects", "13")]).await.is_empty());
    assert!(alarms(&log, &[("window", "90s")]).await.len() == 1);
    assert!(alarms(&log, &[("window", "80s")]).await.is_empty());
}

#[tokio::test]
async fn one_subject_that_is_denied_often_is_no_crowd() {
    let mut log = MadeUp::default();
    for second in 0..30 {
        log.decided(&stranger(1, second));
    }
    assert!(alarms(&log, &[]).await.is_empty());
}

#[tokio::test]
async fn two_crowds_far_apart_are_two_alarms() {
    let mut log = MadeUp::default();
    for number in 0..10 {
        log.decided(&stranger(number, number));
    }
    for number in 0..10 {
        log.decided(&stranger(number, 20_000 + number));
    }
    let found = alarms(&log, &[]).await;
    let counts: Vec<u64> = found.iter().map(|alarm| alarm.count).collect();
    assert_eq!(counts, [10, 10]);
}

#[tokio::test]
async fn what_is_our_fault_is_no_attack() {
    let mut log = MadeUp::default();
    for number in 0..20 {
        let record = stranger(number, number);
        log.decided(&denied(record, "issuer-unreachable"));
    }
    assert!(alarms(&log, &[]).await.is_empty());
}

#[tokio::test]
async fn a_changed_identity_and_a_spent_token_are_alarms_each_time() {
    let mut log = MadeUp::default();
    let job = |seconds| job("github-push", &[], at(seconds));
    log.decided(&denied(job(1), "identity-changed"));
    log.decided(&denied(from(job(2), "198.51.100.7"), "token-spent"));
    log.decided(&denied(job(3), "token-spent"));
    let found = alarms(&log, &[]).await;
    let kinds: Vec<(AlarmKind, u64)> = found
        .iter()
        .map(|alarm| (alarm.kind, alarm.count))
        .collect();
    assert_eq!(
        kinds,
        [(AlarmKind::IdentityChanged, 1), (AlarmKind::TokenSpent, 2)]
    );
    let addresses: Vec<&str> = found[1].addresses.texts().collect();
    assert_eq!(addresses, ["192.0.2.1", "198.51.100.7"]);
    assert_eq!(found[0].projects.texts().collect::<Vec<_>>(), ["acme/api"]);
}

#[tokio::test]
async fn a_second_exchange_of_one_run_from_another_address_is_an_alarm() {
    let mut log = MadeUp::default();
    let run = |token: &str, seconds| {
        let changed = [("run_id", json!("77")), ("jti", json!(token))];
        allowed(job("github-push", &changed, at(seconds)), &["build"])
    };
    let first = run("a", 1);
    log.decided(&first);
    log.decided(&run("b", 2));
    let elsewhere = from(run("c", 3), "198.51.100.7");
    log.decided(&elsewhere);
    let found = alarms(&log, &[]).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, AlarmKind::RunFromOtherAddress);
    assert_eq!(found[0].runs.texts().collect::<Vec<_>>(), ["77"]);
    assert!(
        found[0]
            .examples
            .contains(&elsewhere.decision_id.to_string())
    );
    assert_eq!(found[0].addresses.len(), 2);
}

#[tokio::test]
async fn one_token_at_two_addresses_is_the_graver_alarm() {
    let mut log = MadeUp::default();
    let token = |address| from(allowed(job("gitlab-push", &[], at(1)), &["build"]), address);
    log.decided(&token("192.0.2.1"));
    log.decided(&token("198.51.100.7"));
    let found = alarms(&log, &[]).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, AlarmKind::TokenFromOtherAddress);
}

#[tokio::test]
async fn without_addresses_nothing_is_said_of_them() {
    let mut log = MadeUp::default();
    for second in 0..3 {
        let mut push = allowed(job("github-push", &[], at(second)), &["build"]);
        push.client_address = None;
        log.decided(&push);
    }
    assert!(alarms(&log, &[]).await.is_empty());
}

#[tokio::test]
async fn counted_denials_are_an_alarm_once_they_are_many() {
    let mut log = MadeUp::default();
    for hour in 0..3 {
        let counted = Happening::DenialsCounted {
            issuer: "github".into(),
            reason: "signature-invalid".into(),
            hour_millis: noon().millis(),
            count: 40,
        };
        log.happened(counted, at(hour * 3600));
    }
    let found = alarms(&log, &[]).await;
    assert_eq!(
        (found.len(), found[0].kind, found[0].count),
        (1, AlarmKind::DenialsCounted, 120)
    );
    assert!(alarms(&log, &[("counted", "121")]).await.is_empty());
}

#[tokio::test]
async fn what_finds_no_place_among_the_alarms_is_counted() {
    let mut log = MadeUp::default();
    for number in 0..4 {
        let name = json!(format!("octo-org/repo-{number}"));
        let record = job("github-push", &[("repository", name)], at(number));
        log.decided(&denied(record, "token-spent"));
    }
    let told = told(log.ask(Question::Alarms, &[("limit", "3")]).await);
    assert_eq!((told.alarms.len(), told.not_listed), (3, 1));
}

#[tokio::test]
async fn what_is_grave_and_old_keeps_its_place_before_what_is_newer() {
    let mut log = MadeUp::default();
    let job = |number: u32| {
        let name = json!(format!("octo-org/repo-{number}"));
        job("github-push", &[("repository", name)], at(number))
    };
    log.decided(&denied(job(0), "identity-changed"));
    for number in 1..4 {
        log.decided(&denied(job(number), "token-spent"));
    }
    for (issuer, count) in [("github", 1), ("gitlab", 99), ("circleci", 100)] {
        let counted = Happening::DenialsCounted {
            issuer: issuer.into(),
            reason: "signature-invalid".into(),
            hour_millis: noon().millis(),
            count,
        };
        log.happened(counted, at(10));
    }
    for (limit, listed, not_listed) in [
        ("1", &[AlarmKind::IdentityChanged][..], 103),
        (
            "2",
            &[AlarmKind::IdentityChanged, AlarmKind::TokenSpent],
            102,
        ),
        (
            "9",
            &[
                AlarmKind::IdentityChanged,
                AlarmKind::TokenSpent,
                AlarmKind::TokenSpent,
                AlarmKind::TokenSpent,
                AlarmKind::DenialsCounted,
            ],
            0,
        ),
    ] {
        let told = told(log.ask(Question::Alarms, &[("limit", limit)]).await);
        let kinds: Vec<AlarmKind> = told.alarms.iter().map(|alarm| alarm.kind).collect();
        assert_eq!((&*kinds, told.not_listed), (listed, not_listed));
    }
    let two = told(log.ask(Question::Alarms, &[("limit", "2")]).await);
    let newest: Vec<&str> = two.alarms[1].repositories.texts().collect();
    assert_eq!(newest, ["octo-org/repo-3"]);
}
