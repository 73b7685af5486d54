//! The walk over the log that every question makes.

use std::ops::ControlFlow;

use super::ReadingError;
use crate::audit::{Entry, Filter, Record};
use crate::ledger::AuditLog;

/// How many entries are looked at before others have their turn.
const PAGE: usize = 200;

/// Shows `look` the entries that `filter` wants, the newest first, until it has seen enough.
pub(super) async fn walk(
    log: &dyn AuditLog,
    filter: &Filter,
    mut look: impl FnMut(u64, Entry) -> ControlFlow<()>,
) -> Result<(), ReadingError> {
    let mut before = None;
    loop {
        let page = log.search(filter.clone(), before, PAGE).await?;
        for logged in &page.entries {
            if look(logged.index, logged.entry()?).is_break() {
                return Ok(());
            }
        }
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok(()),
        }
        tokio::task::yield_now().await;
    }
}

/// The same for decisions alone, all of them.
pub(super) async fn each_decision(
    log: &dyn AuditLog,
    filter: Filter,
    mut look: impl FnMut(&Record),
) -> Result<(), ReadingError> {
    let filter = Filter {
        kind: Some("decision".into()),
        ..filter
    };
    walk(log, &filter, |_, entry| {
        if let Entry::Decision(record) = entry {
            look(&record);
        }
        ControlFlow::Continue(())
    })
    .await
}
