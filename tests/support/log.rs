//! Reads the log in tests.

use countersign::audit::{Entry, Event, Filter, Record};
use countersign::ledger::AuditLog;

/// Every entry that `filter` wants, the oldest first.
pub async fn entries(log: &dyn AuditLog, filter: Filter) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = log.search(filter.clone(), before, 1000).await.unwrap();
        found.extend(page.entries.iter().map(|logged| logged.entry().unwrap()));
        before = page.next;
        if before.is_none() {
            found.reverse();
            return found;
        }
    }
}

/// Every event of one kind, the oldest first.
pub async fn events(log: &dyn AuditLog, kind: &str) -> Vec<Event> {
    let filter = Filter {
        kind: Some(kind.into()),
        ..Filter::default()
    };
    let found = entries(log, filter).await;
    let event = |entry| match entry {
        Entry::Event(event) => Some(event),
        Entry::Decision(_) | Entry::Unknown(_) => None,
    };
    found.into_iter().filter_map(event).collect()
}

/// Every decision, the oldest first.
pub async fn decisions(log: &dyn AuditLog) -> Vec<Record> {
    let found = entries(log, Filter::default()).await;
    let decision = |entry| match entry {
        Entry::Decision(record) => Some(*record),
        Entry::Event(_) | Entry::Unknown(_) => None,
    };
    found.into_iter().filter_map(decision).collect()
}
