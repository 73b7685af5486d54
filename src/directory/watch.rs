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

/// Reloads `directory` whenever its folder changes, until this future is dropped. What goes wrong is logged and tried
/// again with the next change or sweep.
pub async fn follow(directory: Arc<Directory>) {
    let changed = Arc::new(Notify::new());
    let _watcher = watcher(&directory, changed.clone());
    loop {
        if tokio::time::timeout(SWEEP, changed.notified())
            .await
            .is_ok()
        {
            tokio::time::sleep(SETTLE).await;
        }
        match directory.reload().await {
            Ok(()) => {}
            Err(fault @ DirectoryError::Unreadable { .. }) => {
                tracing::error!(%fault, "policies stay as they are");
            }
            Err(fault) => tracing::warn!(%fault, "policies stay as they are until the next try"),
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
