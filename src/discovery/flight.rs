//! One try to get an issuer's keys, from the archive to the comparison with the discovery document.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::timeout;

use super::archived::{self, Archived, Prints, prints};
use super::entry::{Entry, Errand, Snapshot};
use super::fault::FetchFault;
use super::source::Fetched;
use crate::clock::UnixTime;
use crate::issuer::KeySet;

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

/// Runs a try that began at `now`, after the one `before` it has ended: an issuer never sees two requests at a time.
pub(super) async fn run(
    entry: Arc<Entry>,
    phase: watch::Sender<Phase>,
    before: Option<watch::Receiver<Phase>>,
    errand: Errand,
    now: UnixTime,
) {
    if let Some(before) = before {
        over(before).await;
    }
    restore(&entry, now).await;
    phase.send_replace(Phase::Restored);

    if let Errand::Record(fetched, at) = errand {
        believe(&entry, &phase, fetched, at).await;
        return;
    }
    let limit = entry.shared.settings.limit;
    let began = Instant::now();
    let fetched = timeout(limit, entry.source.fetch(entry.issuer(), &entry.fetcher)).await;
    let fetched = fetched.unwrap_or(Err(FetchFault::TooSlow(limit)));
    let took = began.elapsed();
    let result = match fetched {
        Ok(fetched) => {
            let taken = believe(&entry, &phase, fetched, now).await;
            if taken { "succeeded" } else { "not-recorded" }
        }
        Err(fault) => {
            take_over(&entry, now).await;
            fail(&entry, &phase, now, &fault.to_string());
            fault.code()
        }
    };
    let metrics = &entry.shared.settings.metrics;
    metrics.fetched(entry.name(), result, took);
}

/// Ends a try that brought no keys.
fn fail(entry: &Entry, phase: &watch::Sender<Phase>, now: UnixTime, why: &str) {
    if entry.note_failure(now, why) {
        tracing::warn!(issuer = %entry.name(), address = %entry.issuer(), "no keys: {why}");
    }
    phase.send_replace(Phase::Answered);
}

/// Takes the keys that a try brought which began at `at`. No change of what is believed has an effect before it is on
/// record: a set that cannot be put there is not used, but kept, so that the issuer need not be asked again; the one before
/// grows old. A set that changes nothing needs no store. Answers whether they are taken.
async fn believe(
    entry: &Entry,
    phase: &watch::Sender<Phase>,
    found: Fetched,
    at: UnixTime,
) -> bool {
    let believed = prints(&found.keys);
    let changes = entry.changes(&believed);
    if changes && let Err(why) = archive(entry, &found.body, at, &believed).await {
        entry.set_unrecorded(Some((found, at)));
        let why = format!("its keys changed, and are not used until that is on record: {why}");
        fail(entry, phase, at, &why);
        return false;
    }
    let Fetched {
        keys,
        unusable,
        body,
    } = found;
    let snapshot = Snapshot {
        keys,
        unusable,
        fetched: at,
    };
    publish(entry, snapshot);
    entry.note_success();
    entry.set_unrecorded(None);
    phase.send_replace(Phase::Answered);
    if !changes {
        // What is wrong with the archive is said in the status.
        let _kept = archive(entry, &body, at, &believed).await;
    }
    compare(entry).await;
    true
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

/// Asks the archive if it is not known what it holds, and takes the last good key set from it if none is known yet.
async fn restore(entry: &Entry, now: UnixTime) {
    if entry.tries().archived.is_some() {
        return;
    }
    let Ok(Some((body, fetched))) = ask_archive(entry).await else {
        return;
    };
    if entry.source.is_local() || entry.snapshot().is_some() {
        return;
    }
    let parsed = KeySet::parse(&body);
    let believed = parsed.as_ref().map(|(keys, _)| prints(keys));
    // A later version may take other keys of a set than the one that archived it, or none. That is a change too.
    let kept = archive(entry, &body, fetched, &believed.unwrap_or_default()).await;
    match parsed {
        Ok((keys, unusable)) if kept.is_ok() => {
            entry.publish(Snapshot {
                keys,
                unusable,
                // A set from the future would be used for longer than a day.
                fetched: fetched.min(now),
            });
        }
        Ok(_) => {}
        Err(fault) => {
            archive_failed(entry, "used", &fault.to_string());
        }
    }
}

/// Takes the keys that another instance fetched since ours were, from the archive, where it has put them on record. For the
/// time in which the issuer answers it and not us.
async fn take_over(entry: &Entry, now: UnixTime) {
    if entry.source.is_local() {
        return;
    }
    let Ok(Some((body, fetched))) = ask_archive(entry).await else {
        return;
    };
    let ours = entry.snapshot();
    let is_later = ours.is_none_or(|ours| ours.fetched < fetched);
    // A set from the future would be taken again and again, each time for another day.
    if !is_later || fetched > now {
        return;
    }
    // Another version of this program may read a set otherwise, and then other keys of it are on record.
    if let Ok((keys, unusable)) = KeySet::parse(&body)
        && is_on_record(entry, &prints(&keys))
    {
        let snapshot = Snapshot {
            keys,
            unusable,
            fetched,
        };
        publish(entry, snapshot);
    }
}

fn is_on_record(entry: &Entry, believed: &Prints) -> bool {
    let tries = entry.tries();
    let archived = tries.archived.as_ref();
    archived.is_some_and(|archived| archived.on_record == *believed)
}

/// Learns what the archive holds, and answers the key set and when it was fetched.
async fn ask_archive(entry: &Entry) -> Result<Option<(Vec<u8>, UnixTime)>, String> {
    let shared = &entry.shared;
    let limit = shared.settings.limit;
    let kept = match timeout(limit, shared.archive.last_good(entry.issuer())).await {
        Ok(Ok(kept)) => kept.map(archived::read),
        Ok(Err(fault)) => return Err(archive_failed(entry, "read", &fault.to_string())),
        Err(_) => return Err(archive_failed(entry, "read", "it does not answer")),
    };
    let mut tries = entry.tries();
    tries.archive_fault = None;
    let archived = kept.as_ref().map(|kept| kept.archived.clone());
    tries.archived = Some(archived.unwrap_or_default());
    Ok(kept.map(|kept| (kept.body, kept.fetched)))
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

/// Keeps a key set for the next start, in one commit with what the log is to say of it: at once if it changes anything,
/// else so that its time is never long out of date.
async fn archive(
    entry: &Entry,
    body: &[u8],
    fetched: UnixTime,
    believed: &Prints,
) -> Result<(), String> {
    if entry.tries().archived.is_none() {
        ask_archive(entry).await?;
    }
    if !is_on_record(entry, believed) {
        // Another instance may have put it on record since. If that is not known, it is said twice.
        let _known = ask_archive(entry).await;
    }
    let before = entry.tries().archived.clone().unwrap_or_default();
    let change = archived::change(entry.issuer(), &before.on_record, believed);
    // A second copy of a file on this machine is of no use; what the log says of it is.
    let due = !entry.source.is_local() && before.is_outdated(body, fetched);
    let changes = change.is_some();
    if !changes && !due {
        return Ok(());
    }
    let shared = &entry.shared;
    let keys = archived::to_keep(body, fetched, believed);
    let now = shared.clock.now();
    let keeping = shared.archive.keep(entry.issuer(), keys, change, now);
    let why = match timeout(shared.settings.limit, keeping).await {
        Ok(Ok(())) => {
            let mut tries = entry.tries();
            tries.archived = Some(Archived::of(body, fetched, believed.clone()));
            tries.archive_fault = None;
            return Ok(());
        }
        Ok(Err(fault)) => fault.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    if changes {
        // What was not acknowledged may be on record all the same.
        entry.tries().archived = None;
    }
    Err(archive_failed(entry, "written", &why))
}

/// Says what is wrong with the archive, in the log, in the status, and to the caller.
fn archive_failed(entry: &Entry, what: &str, why: &str) -> String {
    let text = format!("the archive of key sets cannot be {what}: {why}");
    if entry.note_archive_fault(&text) {
        tracing::warn!(issuer = %entry.name(), address = %entry.issuer(), "{text}");
    }
    text
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
