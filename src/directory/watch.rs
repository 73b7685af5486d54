//! Keeps up with the folder: reads it again when the system says that something changed, and every half minute in any
//! case, for file systems that say nothing.

use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::{Directory, DirectoryError, locked};

/// How long after a first change further ones are waited for: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// How often the folder is read although nothing was said.
const SWEEP: Duration = Duration::from_secs(30);

/// How often what could not be put on record is tried again. No exchange succeeds meanwhile.
const RETRY: Duration = Duration::from_secs(1);

/// Reloads `directory` whenever its folder changes, until this future is dropped. What goes wrong is logged and tried
/// again with the next change or sweep; soon, if exchanges wait for it.
pub async fn follow(directory: Arc<Directory>) {
    let changed = Arc::new(Notify::new());
    let _watcher = watcher(&directory, changed.clone());
    let mut said = None;
    loop {
        let pause = match directory.settled() {
            Ok(()) => SWEEP,
            Err(_) => RETRY,
        };
        if tokio::time::timeout(pause, changed.notified())
            .await
            .is_ok()
        {
            tokio::time::sleep(SETTLE).await;
        }
        let fault = directory.reload().await.err();
        // Every second the same is said once.
        let text = fault.as_ref().map(ToString::to_string);
        if text != said || pause == SWEEP {
            tell(fault, said.is_some());
        }
        said = text;
    }
}

fn tell(fault: Option<DirectoryError>, failed_before: bool) {
    match fault {
        None if failed_before => tracing::info!("policies are read again"),
        None => {}
        Some(fault @ DirectoryError::Unreadable { .. }) => {
            tracing::error!(%fault, "policies stay as they are");
        }
        Some(fault) => {
            tracing::error!(%fault, "policies stay as they are, and no exchange succeeds until they are on record");
        }
    }
}

fn watcher(directory: &Directory, changed: Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let folder = locked(&directory.folder).path().to_path_buf();
    let watching = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is an event too.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed.notify_one();
        }
    })
    .and_then(|mut watcher| {
        watcher
            .watch(&folder, RecursiveMode::Recursive)
            .map(|()| watcher)
    });
    watching
        .inspect_err(
            |fault| tracing::warn!(%fault, "the folder is not watched, only read every 30 s"),
        )
        .ok()
}
