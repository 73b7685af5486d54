//! Questions to the log of a full store.

use std::time::{Duration, Instant};

use countersign::audit::{Filter, Outcome};
use countersign::ledger::AuditLog;

use crate::group::Fault;
use crate::work::{RARELY, decision_id, moment, token_id};

/// How many entries a page has.
const PAGE: usize = 50;

/// How long each question takes: the first page of each filter, by what is common, by what is rare and long ago, and by what
/// is not there; and the tree.
pub async fn at(log: &dyn AuditLog, size: u64) -> Result<Vec<(String, Duration)>, Fault> {
    let mut found = Vec::new();
    for (question, filter) in filters(size) {
        let began = Instant::now();
        let page = log.search(filter, None, PAGE).await?;
        let count = page.entries.len();
        found.push((format!("{question}: {count} entries"), began.elapsed()));
    }
    let began = Instant::now();
    // One of those that are compared has no tree.
    if log.tree().await.is_ok() {
        found.push(("the root of the tree".into(), began.elapsed()));
    }
    let began = Instant::now();
    log.entries(size / 2..size / 2 + 256).await?;
    found.push(("256 entries from the middle".into(), began.elapsed()));
    Ok(found)
}

/// Where a filter has the text that it asks for.
type Field = fn(&mut Filter) -> &mut Option<String>;

fn filters(size: u64) -> Vec<(String, Filter)> {
    let mut filters = vec![("any".to_owned(), Filter::default())];
    let texts: [(&str, Field, &str); 8] = [
        ("kind", |filter| &mut filter.kind, "decision"),
        (
            "project",
            |filter| &mut filter.project,
            "octo-platform-engineering/payments-settlement-service",
        ),
        (
            "organization",
            |filter| &mut filter.organization,
            "octo-platform-engineering",
        ),
        ("issuer", |filter| &mut filter.issuer, "github"),
        (
            "subject",
            |filter| &mut filter.subject,
            "repo:octo-platform-engineering/payments-settlement-service:environment:production",
        ),
        (
            "repository",
            |filter| &mut filter.repository,
            "octo-platform-engineering/payments-settlement-service",
        ),
        ("relationship", |filter| &mut filter.relationship, "release"),
        ("reason", |filter| &mut filter.reason, "not-trusted"),
    ];
    for (name, field, common) in texts {
        for (what, value) in [
            ("", common),
            (", rare and long ago", RARELY),
            (", unknown", "-"),
        ] {
            let mut filter = Filter::default();
            *field(&mut filter) = Some(value.to_owned());
            filters.push((format!("{name}{what}"), filter));
        }
    }
    let millis = |number| Some(moment(number).millis());
    let others = [
        (
            "outcome denied",
            Filter {
                outcome: Some(Outcome::Denied),
                ..Filter::default()
            },
        ),
        (
            "id from the middle",
            Filter {
                id: Some(decision_id(size / 2).to_string()),
                ..Filter::default()
            },
        ),
        (
            "token id from the middle",
            Filter {
                token_id: Some(token_id(size / 2)),
                ..Filter::default()
            },
        ),
        (
            "a minute in the middle",
            Filter {
                since_millis: millis(size / 2),
                until_millis: millis(size / 2 + 60_000),
                ..Filter::default()
            },
        ),
        (
            "an unknown project in the first half",
            Filter {
                project: Some("-".into()),
                until_millis: millis(size / 2),
                ..Filter::default()
            },
        ),
    ];
    filters.extend(others.map(|(name, filter)| (name.to_owned(), filter)));
    filters
}
