//! Entries by filter, page by page and all at once.

use countersign::clock::Seconds;
use serde_json::json;

use super::*;

/// Every entry of a list with pages of seven; before each next page `between` happens.
async fn in_sevens(audited: &Audited, query: &str, between: impl AsyncFn()) -> Vec<u64> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/audit?limit=7&{query}&cursor={cursor}");
        let page = audited.json(&path).await;
        assert!(indexes(&page).len() <= 7);
        found.extend(indexes(&page));
        between().await;
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return found,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_no_gap_and_no_repeat_while_entries_are_added() {
    let audited = Audited::start().await;
    audited.grow_to(60).await;
    let found = in_sevens(&audited, "", async || audited.add(3).await).await;
    assert_eq!(found, (0..60).rev().collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_is_counted_from_the_moment_of_the_first_page() {
    let audited = Audited::start().await;
    audited.grow_to(60).await;
    audited.service.advance(Seconds(60));
    let later = async || {
        audited.service.advance(Seconds(60));
        audited.add(3).await;
    };
    let found = in_sevens(&audited, "since=90s", later).await;
    assert_eq!(found, (0..60).rev().collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_counts_entries_pages_by_number_in_either_direction() {
    let audited = Audited::start().await;
    audited.grow_to(60).await;
    let page = audited.json("/api/v1/audit?before=40&limit=3").await;
    assert_eq!(
        (indexes(&page), &page["next"]),
        (vec![39, 38, 37], &json!(37))
    );
    let last = audited.json("/api/v1/audit?before=2").await;
    assert_eq!((indexes(&last), last.get("next")), (vec![1, 0], None));
    let most = format!("/api/v1/audit?before={}&limit=1", u64::MAX);
    assert_eq!(indexes(&audited.json(&most).await), [59]);

    let page = audited.json("/api/v1/audit?from=57&limit=2").await;
    assert_eq!((indexes(&page), &page["next"]), (vec![57, 58], &json!(59)));
    let end = audited.json("/api/v1/audit?from=60").await;
    assert_eq!((indexes(&end), &end["next"]), (vec![], &json!(60)));
    audited.add(1).await;
    assert_eq!(indexes(&audited.json("/api/v1/audit?from=60").await), [60]);
    let beyond = format!("/api/v1/audit?from={}", u64::MAX);
    assert_eq!(indexes(&audited.json(&beyond).await), [0; 0]);

    let next = audited.json("/api/v1/audit?limit=1").await["next"].clone();
    let both = format!("/api/v1/audit?before=3&cursor={}", next.as_str().unwrap());
    assert_eq!(audited.get(&both).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_fifty_entries_unless_the_caller_says_otherwise() {
    let audited = Audited::start().await;
    audited.grow_to(1100).await;
    for (limit, entries) in [
        ("", 50),
        ("limit=1", 1),
        ("limit=1000", 1000),
        ("limit=5000", 1000),
    ] {
        let page = audited.json(&format!("/api/v1/audit?{limit}")).await;
        assert_eq!(indexes(&page).len(), entries, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_what_they_are_about() {
    let audited = Audited::start().await;
    let service = &audited.service;
    let allowed = service.job("github-push", "acme/api").await.json();
    service.advance(Seconds(60));
    let dev = service.token("github-push", &[("ref", json!("refs/heads/dev"))]);
    let denied = service.exchange(&dev, "acme/api").await.json();
    service.advance(Seconds(60));
    let other = service.job("gitlab-push", "acme/mobile").await.json();
    audited.add(5).await;

    let (first, third) = (&allowed["audit_index"], &other["audit_index"]);
    let record = audited
        .json(&format!("/api/v1/audit/entries/{first}"))
        .await["entry"]
        .clone();
    let id = |answer: &Value| answer["decision_id"].as_str().unwrap().to_owned();
    let [first, third] = [first, third].map(|index| index.as_u64().unwrap());
    let second = first + 1;
    let text = |name: &str| record[name].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("kind=decision".to_owned(), vec![third, second, first]),
        (
            "kind=decision&outcome=allowed".to_owned(),
            vec![third, first],
        ),
        ("outcome=denied".to_owned(), vec![second]),
        ("reason=not-trusted".to_owned(), vec![second]),
        ("kind=decision&project=acme/mobile".to_owned(), vec![third]),
        (
            "kind=decision&organization=acme&issuer=github".to_owned(),
            vec![second, first],
        ),
        (
            format!("repository={}&outcome=allowed", text("repository")),
            vec![first],
        ),
        (format!("token_id={}", text("token_id")), vec![first]),
        (format!("id={}", id(&allowed)), vec![first]),
        (format!("decision_id={}", id(&denied)), vec![second]),
        ("relationship=build&outcome=allowed".to_owned(), vec![first]),
        ("kind=decision&since=90s".to_owned(), vec![third, second]),
        (
            "kind=decision&since=1m&until=2026-11-20T12:02:00Z".to_owned(),
            vec![second],
        ),
        ("kind=decision&until=1795176001000".to_owned(), vec![first]),
        (
            "kind=decision&until=2026-11-20T13:00:01%2B01:00".to_owned(),
            vec![first],
        ),
        ("project=acme/none".to_owned(), vec![]),
    ] {
        assert_eq!(audited.indexes(&query).await, expected, "{query}");
    }
    let subject = text("subject");
    let subject = url::form_urlencoded::byte_serialize(subject.as_bytes());
    let query = format!("subject={}&outcome=allowed", subject.collect::<String>());
    assert_eq!(audited.indexes(&query).await, [first]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_the_list_in_one_stream() {
    let audited = Audited::start().await;
    audited.service.job("github-push", "acme/api").await;
    audited.grow_to(1500).await;
    for filter in [
        "",
        "kind=decision",
        "kind=signing-key-retired",
        "project=acme/none",
    ] {
        let lines = audited.get(&format!("/api/v1/audit/export?{filter}")).await;
        assert_eq!(lines.headers["content-type"], "application/x-ndjson");
        let lines: Vec<Value> = lines
            .text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let numbers: Vec<u64> = lines
            .iter()
            .map(|line| line["index"].as_u64().unwrap())
            .collect();
        assert_eq!(
            numbers,
            audited.indexes(&format!("{filter}&limit=1000")).await
        );
        let page = audited.json(&format!("/api/v1/audit?{filter}")).await;
        let page = page["entries"].as_array().unwrap();
        assert_eq!(&lines[..page.len()], &page[..], "{filter}");
        let csv = audited
            .get(&format!("/api/v1/audit/export?format=csv&{filter}"))
            .await;
        assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
        assert_eq!(csv.text.lines().count(), lines.len() + 1, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reviewers_get_answers_about_one_project_and_about_all() {
    let audited = Audited::start().await;
    audited.service.job("github-push", "acme/api").await;
    let who = audited
        .json("/api/v1/audit/who?project=acme/api&since=1d")
        .await;
    assert_eq!(who["tokens"], 1);
    assert_eq!(who["rows"][0]["relationship"], "build");
    assert_eq!(
        audited.json("/api/v1/audit/who?project=acme/web").await["tokens"],
        0
    );
    let policy = audited.json("/api/v1/audit/policy?project=acme/api").await;
    assert_eq!(policy["project"], "acme/api");
    assert_eq!(policy["at"], "2026-11-20T12:00:00.000Z");
    let used = audited.json("/api/v1/audit/use?organization=acme").await;
    assert!(used["relationships"].is_array());
    let alarms = audited.json("/api/v1/audit/alarms?window=1h").await;
    assert!(alarms.is_object());
}
