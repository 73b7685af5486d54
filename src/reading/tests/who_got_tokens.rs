//! Who got a token, by which relationship.

use super::*;

fn told(answer: Answer) -> Who {
    match answer {
        Answer::Who(who) => who,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tokens_are_told_by_repository_and_relationship_with_their_refs() {
    let mut log = MadeUp::default();
    for second in 0..4 {
        let push = job("github-push", &[branch("main")], at(second));
        log.decided(&allowed(push, &["build"]));
    }
    let both = allowed(
        job("github-push", &[branch("next")], at(5)),
        &["build", "release"],
    );
    log.decided(&both);
    log.decided(&denied(job("github-push", &[], at(6)), "not-trusted"));
    log.decided(&allowed(job("gitlab-push", &[], at(7)), &["build"]));

    let who = told(log.ask(Question::Who, &[("project", "acme/api")]).await);
    assert_eq!((who.tokens, who.rows.len(), who.not_listed), (6, 3, 0));
    let first = &who.rows[0];
    assert_eq!(
        (first.issuer.as_str(), first.relationship.as_str()),
        ("github", "build")
    );
    assert_eq!(first.repository.as_deref(), Some("octo-org/octo-repo"));
    assert_eq!(first.tokens, 5);
    assert_eq!(
        (first.first_at.as_str(), first.last_at.as_str()),
        ("2026-11-18T12:00:00.000Z", "2026-11-18T12:00:05.000Z")
    );
    assert_eq!(first.last_decision_id, both.decision_id.to_string());
    assert_eq!(first.scopes, ["read_registry"]);
    let refs: Vec<&str> = first.refs.texts().collect();
    assert_eq!(refs, ["refs/heads/next", "refs/heads/main"]);
}

#[tokio::test]
async fn a_relationship_and_a_period_narrow_the_answer() {
    let mut log = MadeUp::default();
    for second in 0..10 {
        let push = job("github-push", &[], at(second));
        log.decided(&allowed(push, &["build", "release"]));
    }
    let parameters = [
        ("relationship", "release"),
        ("since", "2026-11-18T12:00:03Z"),
        ("until", "2026-11-18T12:00:05Z"),
    ];
    let who = told(log.ask(Question::Who, &parameters).await);
    assert_eq!((who.tokens, who.rows.len()), (2, 1));
    assert_eq!(who.rows[0].relationship, "release");
    let nobody = log.ask(Question::Who, &[("outcome", "denied")]).await;
    assert_eq!(told(nobody).tokens, 0);
}

#[tokio::test]
async fn those_that_got_most_are_listed_and_the_others_counted() {
    let mut log = MadeUp::default();
    for number in [0, 1, 0, 2, 3, 4] {
        let name = json!(format!("octo-org/repo-{number}"));
        let push = job("github-push", &[("repository", name)], at(number));
        log.decided(&allowed(push, &["build"]));
    }
    let who = told(log.ask(Question::Who, &[("limit", "2")]).await);
    assert_eq!((who.tokens, who.rows.len(), who.not_listed), (6, 2, 3));
    assert_eq!(who.rows[0].repository.as_deref(), Some("octo-org/repo-0"));
    assert_eq!(who.rows[0].tokens, 2);
}

#[tokio::test]
async fn without_a_repository_the_subject_tells_who() {
    let mut log = MadeUp::default();
    log.decided(&allowed(job("rwx-locked-vault", &[], at(0)), &["deploy"]));
    let who = told(log.ask(Question::Who, &[]).await);
    assert_eq!(who.rows[0].repository, None);
    assert!(who.rows[0].subject.is_some());
    assert!(who.rows[0].refs.is_empty());
}
