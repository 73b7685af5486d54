//! One try to get an issuer's keys, from the archive to the comparison with the discovery document.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::timeout;

use super::ArchivedKeys;
use super::entry::{Entry, Snapshot};
use super::fault::FetchFault;
use super::source::Fetched;
use crate::clock::{Seconds, UnixTime};
use crate::digest::sha256;
use crate::issuer::KeySet;

/// How old the archived time of an unchanged key set may grow. After a restart keys may so be taken for older than
/// they are by this span, never for younger.
const ARCHIVED_AGAIN_AFTER: Seconds = Seconds(60 * 60);

/// How far a try has come. Once its sender is gone, it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is known that was not known before.
    Begun,
    /// What the archive held can be used.
    Restored,
    /// The issuer has answered, or it has not: nobody waits any longer. The archive and the discovery document follow.
    Answered,
}

/// What the archive holds of one issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Archived {
    digest: [u8; 32],
    fetched: UnixTime,
}

/// Runs a try that began at `now`, after the one `before` it has ended: an issuer never sees two requests at a time.
pub(super) async fn run(
    entry: Arc<Entry>,
    phase: watch::Sender<Phase>,
    before: Option<watch::Receiver<Phase>>,
    now: UnixTime,
) {
    if let Some(before) = before {
        over(before).await;
    }
    restore(&entry, now).await;
    phase.send_replace(Phase::Restored);

    let limit = entry.shared.settings.limit;
    let fetched = timeout(limit, entry.source.fetch(entry.issuer(), &entry.fetcher)).await;
    match fetched.unwrap_or(Err(FetchFault::TooSlow(limit))) {
        Err(fault) => {
            let text = fault.to_string();
            tracing::warn!(issuer = %entry.name(), address = %entry.issuer(), "no keys: {text}");
            entry.note_failure(now, text);
            phase.send_replace(Phase::Answered);
        }
        Ok(Fetched {
            keys,
            unusable,
            body,
        }) => {
            publish(
                &entry,
                Snapshot {
                    keys,
                    unusable,
                    fetched: now,
                },
            );
            phase.send_replace(Phase::Answered);
            archive(&entry, ArchivedKeys { body, fetched: now }).await;
            compare(&entry).await;
        }
    }
}

/// Waits until a try is over.
pub(super) async fn over(mut flight: watch::Receiver<Phase>) {
    while flight.changed().await.is_ok() {}
}

/// Waits until what the archive held can be used.
pub(super) async fn restored(mut flight: watch::Receiver<Phase>) {
    // An error says that the try is over, and so is its first step.
    let _over = flight.wait_for(|phase| *phase != Phase::Begun).await;
}

/// Takes the last good key set from the archive if nothing is known yet.
async fn restore(entry: &Entry, now: UnixTime) {
    if entry.source.is_local() || entry.snapshot().is_some() {
        return;
    }
    let shared = &entry.shared;
    let archived = match timeout(
        shared.settings.limit,
        shared.archive.last_good(entry.issuer()),
    )
    .await
    {
        Ok(Ok(Some(archived))) => archived,
        Ok(Ok(None)) => return,
        Ok(Err(fault)) => return archive_failed(entry, "read", &fault.to_string()),
        Err(_) => return archive_failed(entry, "read", "it does not answer"),
    };
    match KeySet::parse(&archived.body) {
        Ok((keys, unusable)) => {
            entry.tries().archived = Some(Archived::of(&archived));
            entry.publish(Snapshot {
                keys,
                unusable,
                // A set from the future would be used for longer than a day.
                fetched: archived.fetched.min(now),
            });
        }
        // A later version may take fewer keys than the one that archived them.
        Err(fault) => archive_failed(entry, "used", &fault.to_string()),
    }
}

/// Lets every exchange from here on see `snapshot`.
fn publish(entry: &Entry, snapshot: Snapshot) {
    let after: Vec<String> = snapshot.keys.ids().into_iter().map(str::to_owned).collect();
    let unusable: Vec<String> = snapshot
        .unusable
        .iter()
        .map(|key| format!("`{}` {}", key.kid, key.why))
        .collect();
    let before = entry.publish(snapshot);
    entry.note_success();

    let before = before.as_ref().map(|before| before.keys.ids());
    let before = before.unwrap_or_default();
    let added: Vec<&str> = after
        .iter()
        .map(String::as_str)
        .filter(|kid| !before.contains(kid))
        .collect();
    let removed: Vec<&&str> = before
        .iter()
        .filter(|kid| !after.iter().any(|other| other == **kid))
        .collect();
    if !added.is_empty() || !removed.is_empty() {
        tracing::info!(
            issuer = %entry.name(), address = %entry.issuer(), ?added, ?removed, ?unusable,
            "the issuer's keys changed"
        );
    }
}

/// Keeps a key set for the next start: at once if it changed, else so that its time is never long out of date.
async fn archive(entry: &Entry, keys: ArchivedKeys) {
    let archived = Archived::of(&keys);
    let due = entry.tries().archived.is_none_or(|before| {
        before.digest != archived.digest
            || archived.fetched >= before.fetched.plus(ARCHIVED_AGAIN_AFTER)
    });
    if entry.source.is_local() || !due {
        return;
    }
    let shared = &entry.shared;
    match timeout(
        shared.settings.limit,
        shared
            .archive
            .keep(entry.issuer(), keys, None, shared.clock.now()),
    )
    .await
    {
        Ok(Ok(())) => {
            let mut tries = entry.tries();
            tries.archived = Some(archived);
            tries.archive_fault = None;
        }
        Ok(Err(fault)) => archive_failed(entry, "written", &fault.to_string()),
        Err(_) => archive_failed(entry, "written", "it does not answer"),
    }
}

fn archive_failed(entry: &Entry, what: &str, why: &str) {
    let text = format!("the archive of key sets cannot be {what}: {why}");
    tracing::warn!(issuer = %entry.name(), address = %entry.issuer(), "{text}");
    entry.tries().archive_fault = Some(text);
}

/// Compares with the discovery document, and says so once if that changed something.
async fn compare(entry: &Entry) {
    let limit = entry.shared.settings.limit;
    let compared = timeout(limit, entry.source.compare(entry.issuer(), &entry.fetcher)).await;
    let disagreements = compared.unwrap_or_else(|_| {
        vec![format!(
            "the discovery document cannot be read: {}",
            FetchFault::TooSlow(limit)
        )]
    });
    let mut tries = entry.tries();
    if tries.disagreements != disagreements {
        for text in &disagreements {
            tracing::warn!(issuer = %entry.name(), address = %entry.issuer(), "{text}");
        }
        tries.disagreements = disagreements;
    }
}

impl Archived {
    fn of(keys: &ArchivedKeys) -> Self {
        Self {
            digest: sha256(&keys.body),
            fetched: keys.fetched,
        }
    }
}
