//! The other instances of this service, and whether they have the same policies and settings in force.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Directory;
use crate::ledger::{Instances, Presence};

/// How often an instance says that it is there.
const MEET_EVERY: Duration = Duration::from_secs(5);

/// The other instances of this service, as they said last.
///
/// Each has policies from a folder of its own, so while a change is rolled out they differ. If that lasts, an exchange is
/// judged by whichever instance it reaches. So it is with those settings that all must have alike.
pub struct Peers {
    /// What an operator knows this instance by.
    name: String,
    directory: Arc<Directory>,
    instances: Arc<dyn Instances>,
    /// The digest of the settings that all instances must have alike.
    settings: String,
    others: ArcSwap<Vec<Presence>>,
}

impl Peers {
    /// This instance is called `name`, and `settings` is the digest of those that all must have alike. Of the others nothing
    /// is known before [`Self::meet`].
    pub fn new(
        name: String,
        settings: String,
        directory: Arc<Directory>,
        instances: Arc<dyn Instances>,
    ) -> Self {
        Self {
            name,
            directory,
            instances,
            settings,
            others: ArcSwap::default(),
        }
    }

    /// Says what is in force here, and learns it of the others. What cannot be learnt stays as it was.
    pub async fn meet(&self) {
        let before = self.disagreeing();
        let myself = Presence {
            name: self.name.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            policies: self.directory.digest(),
            settings: self.settings.clone(),
        };
        match self.instances.meet(myself).await {
            Ok(others) => self.others.store(Arc::new(others)),
            Err(fault) => {
                tracing::debug!(%fault, "nothing is heard of other instances");
                return;
            }
        }
        let now = self.disagreeing();
        let known: BTreeSet<&Presence> = before.iter().collect();
        for other in now.iter().filter(|other| !known.contains(other)) {
            let ours = self.directory.digest();
            if other.policies != ours {
                tracing::warn!(
                    instance = other.name,
                    policies = other.policies,
                    ours,
                    "another instance has other policies in force"
                );
            }
            if other.settings != self.settings {
                tracing::warn!(
                    instance = other.name,
                    "another instance has other settings: its issuers, `public-url`, `[token]` or `pin-window`"
                );
            }
        }
        if now.is_empty() && !before.is_empty() {
            tracing::info!("all instances have the same policies and settings in force");
        }
    }

    /// Meets the others again and again, until this future is dropped.
    pub async fn keep_meeting(&self) {
        loop {
            self.meet().await;
            tokio::time::sleep(MEET_EVERY).await;
        }
    }

    /// How many others were seen of late.
    pub fn seen(&self) -> usize {
        self.others.load().len()
    }

    /// Those that run and have other policies in force than this one, or other settings, sorted by name. After a change on several instances at
    /// once they may differ for as long as it takes until each has met the others again, 5 seconds.
    pub fn disagreeing(&self) -> Vec<Presence> {
        let ours = self.directory.digest();
        let others = self.others.load();
        let differ = others
            .iter()
            .filter(|other| other.policies != ours || other.settings != self.settings);
        differ.cloned().collect()
    }

    /// How many others run and have other policies in force, and how many have other settings.
    pub fn differing(&self) -> (usize, usize) {
        let ours = self.directory.digest();
        let others = self.others.load();
        let policies = others.iter().filter(|other| other.policies != ours);
        let settings = others
            .iter()
            .filter(|other| other.settings != self.settings);
        (policies.count(), settings.count())
    }

    /// Lets nobody wait for this instance any more.
    pub async fn leave(&self) {
        if let Err(fault) = self.instances.leave().await {
            tracing::debug!(%fault, "other instances are not told that this one ends");
        }
    }
}
