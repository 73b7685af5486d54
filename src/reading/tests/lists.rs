//! The entries themselves.

use super::*;
use crate::ledger::newest;

fn listed(answer: Answer) -> Listed {
    match answer {
        Answer::List(listed) => listed,
        other => panic!("{other:?}"),
    }
}

fn story() -> MadeUp {
    let mut log = MadeUp::default();
    for second in 0..8 {
        let push = job("github-push", &[], at(second));
        if second % 2 == 0 {
            log.decided(&allowed(push, &["build"]));
        } else {
            log.decided(&denied(push, "not-trusted"));
        }
    }
    log
}

fn indices(listed: &Listed) -> Vec<u64> {
    listed.entries.iter().map(|entry| entry.index).collect()
}

#[tokio::test]
async fn pages_follow_each_other_from_the_newest_to_the_oldest() {
    let log = story();
    let mut before = String::new();
    let mut seen = Vec::new();
    loop {
        let mut parameters = vec![("outcome", "denied"), ("limit", "2")];
        if !before.is_empty() {
            parameters.push(("before", &before));
        }
        let page = listed(log.ask(Question::List, &parameters).await);
        seen.extend(indices(&page));
        match page.next {
            Some(next) => before = next.to_string(),
            None => break,
        }
    }
    assert_eq!(seen, [7, 5, 3, 1]);
}

#[tokio::test]
async fn who_follows_the_log_is_told_where_to_go_on_also_if_nothing_is_wanted() {
    let log = story();
    let parameters = [("outcome", "denied"), ("from", "4"), ("limit", "3")];
    let page = listed(log.ask(Question::List, &parameters).await);
    assert_eq!((indices(&page), page.next), (vec![5], Some(7)));
    let page = listed(log.ask(Question::List, &[("from", "8")]).await);
    assert_eq!((indices(&page), page.next), (vec![], Some(8)));
}

#[tokio::test]
async fn who_follows_the_log_gets_no_more_octets_at_once_than_others() {
    let mut log = MadeUp::default();
    for number in 0..40 {
        let refused = Happening::PolicyRefused {
            file: format!("acme/{number}.toml"),
            digest: None,
            message: "x".repeat(crate::ledger::LARGEST_PAGE / 4),
            in_force: None,
        };
        log.happened(refused, at(number));
    }
    let (mut from, mut seen) = (0, Vec::new());
    while seen.len() < 40 {
        let asked = from.to_string();
        let page = listed(log.ask(Question::List, &[("from", &asked)]).await);
        assert!(page.entries.len() <= 16, "{}", page.entries.len());
        seen.extend(indices(&page));
        from = page.next.unwrap();
    }
    assert!(seen.into_iter().eq(0..40));
}

#[tokio::test]
async fn an_export_has_what_the_list_has_page_by_page() {
    let log = story();
    let wish = Wish::new(Question::List, at(100));
    let mut export = Export::new(ExportForm::JsonLines, wish);
    let mut text = Vec::new();
    let mut chunks = 0;
    while let Some(chunk) = export.next_chunk(&log).await.unwrap() {
        text.extend(chunk);
        chunks += 1;
    }
    assert!(chunks > 2, "{chunks}");
    let lines = String::from_utf8(text).unwrap();
    let exported: Vec<NumberedEntry> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let all: Vec<u64> = exported.iter().map(|entry| entry.index).collect();
    assert_eq!(all, [7, 6, 5, 4, 3, 2, 1, 0]);
    let logged: Value = serde_json::from_slice(&log.entries[7].leaf).unwrap();
    assert_eq!(exported[0].entry, logged);
}

#[tokio::test]
async fn the_names_of_the_columns_stand_once_above_a_whole_export() {
    let log = story();
    let mut export = Export::new(ExportForm::Csv, Wish::new(Question::List, at(100)));
    let mut text = Vec::new();
    while let Some(chunk) = export.next_chunk(&log).await.unwrap() {
        text.extend(chunk);
    }
    let mut reader = ::csv::Reader::from_reader(&*text);
    assert_eq!(
        reader.headers().unwrap().iter().collect::<Vec<_>>(),
        COLUMNS
    );
    assert_eq!(reader.records().flatten().count(), 8);
}

#[tokio::test]
async fn an_entry_whose_withheld_values_were_deleted_is_listed_as_what_is_left() {
    let mut log = story();
    let left = json!({
        "version": 1, "kind": "policy-refused", "event_id": "019aa2f3-1c5e-7b1f-8c8e-0123456789ab",
        "at_millis": at(9).millis(), "file": "acme/api.toml", "withheld": {"/message": "x"},
    });
    log.leaf(serde_json::to_vec(&left).unwrap());
    let page = listed(log.ask(Question::List, &[("limit", "1")]).await);
    assert_eq!(page.entries[0].entry, left);
    let page = listed(log.ask(Question::List, &[("from", "8")]).await);
    assert_eq!(indices(&page), [8]);
    let page = log
        .ask(Question::List, &[("from", "8"), ("kind", "decision")])
        .await;
    assert!(listed(page).entries.is_empty());
    log.ask(Question::Alarms, &[]).await;
    log.ask(Question::Policy, &[("project", "acme/api")]).await;
}

#[tokio::test]
async fn an_entry_that_only_a_later_version_knows_is_listed_as_it_is_and_otherwise_passed_over() {
    let mut log = story();
    let id = crate::audit::DecisionId::new(at(9)).to_string();
    let later = json!({
        "version": 7, "kind": "role-given", "event_id": id,
        "at_millis": at(9).millis(), "project": "acme/api", "to": [1, {"role": null}],
    });
    log.leaf(serde_json::to_vec(&later).unwrap());
    for parameters in [
        &[("limit", "1")][..],
        &[("from", "8")],
        &[("kind", "role-given")],
        &[("id", &id)],
        &[("project", "acme/api"), ("kind", "role-given")],
        &[("organization", "acme"), ("limit", "1")],
    ] {
        let page = listed(log.ask(Question::List, parameters).await);
        assert_eq!(page.entries[0].entry, later, "{parameters:?}");
    }
    let page = log.ask(Question::List, &[("project", "acme/web")]).await;
    assert!(listed(page).entries.is_empty());
    for question in [Question::Who, Question::Alarms, Question::Use] {
        log.ask(question, &[("project", "acme/api")]).await;
    }
}

#[tokio::test]
async fn an_entry_that_is_broken_is_told_and_not_passed_over() {
    let mut log = story();
    log.leaf(b"{\"kind\":\"decision\"".to_vec());
    let all = Filter::default();
    let fault = walk::walk(&log, &all, |_, _| std::ops::ControlFlow::Continue(()));
    let fault = fault.await.unwrap_err();
    assert_eq!(fault.code(), "entry-unreadable");
    assert!(
        fault.to_string().starts_with("entry 8 of the log"),
        "{fault}"
    );
}

#[tokio::test]
async fn what_the_log_says_last_of_something_is_the_newest_of_its_kind() {
    let mut log = story();
    assert_eq!(newest(&log, "log-named").await.unwrap(), None);
    for key in ["first", "second"] {
        let named = Happening::LogNamed {
            origin: "sts.example.com/audit".into(),
            key: key.into(),
        };
        log.happened(named, at(20));
    }
    for second in 30..40 {
        log.decided(&allowed(job("github-push", &[], at(second)), &["build"]));
    }
    let last = newest(&log, "log-named").await.unwrap().unwrap();
    assert_eq!(last.restored().unwrap()["key"], "second");
}

#[tokio::test]
async fn decisions_without_their_personal_values_are_still_counted() {
    let mut log = MadeUp::default();
    for second in 0..3 {
        let personal = vec!["sub", "actor"];
        let mut record = allowed(job("github-push", &[], at(second)), &["build"]);
        record.claims = RecordedClaims::new(Arc::new((*record.claims).clone()), personal);
        let sealed = crate::audit::Sealed::of_decision(record).unwrap();
        log.leaf(sealed.leaf);
    }
    let page = listed(log.ask(Question::List, &[]).await);
    let entry = &page.entries[0].entry;
    assert!(entry["withheld"]["/claims/actor"].is_string(), "{entry}");
    assert!(entry["claims"].get("actor").is_none() && entry.get("subject").is_none());
    let Answer::Who(who) = log.ask(Question::Who, &[]).await else {
        panic!("not who");
    };
    assert_eq!((who.tokens, who.rows[0].tokens), (3, 3));
    let Answer::Alarms(alarms) = log.ask(Question::Alarms, &[]).await else {
        panic!("no alarms");
    };
    assert_eq!((alarms.allowed, alarms.alarms.len()), (3, 0));
    let mut export = Export::new(ExportForm::Csv, Wish::new(Question::List, at(100)));
    let mut rows = 0;
    while let Some(chunk) = export.next_chunk(&log).await.unwrap() {
        rows += String::from_utf8(chunk).unwrap().lines().count();
    }
    assert_eq!(rows, 4);
}
