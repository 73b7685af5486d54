//! Which issuers are known: the only file that knows moka.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::entry::Entry;
use crate::issuer::Issuer;

/// How many organizations have an entry at the same time, over all issuers.
const MOST_ORGANIZATIONS: u64 = 10_000;

/// After which time without a use an organization's entry is dropped. Its keys remain in the archive.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// One entry per concrete issuer. Those in the configuration stay; those of organizations come and go.
pub(super) struct Entries {
    configured: HashMap<Issuer, Arc<Entry>>,
    organizations: Cache<Issuer, Arc<Entry>>,
}

impl Entries {
    pub fn new(configured: impl IntoIterator<Item = Arc<Entry>>) -> Self {
        let configured = configured.into_iter();
        Self {
            configured: configured
                .map(|entry| (entry.issuer().clone(), entry))
                .collect(),
            organizations: Cache::builder()
                .max_capacity(MOST_ORGANIZATIONS)
                .time_to_idle(IDLE)
                .build(),
        }
    }

    /// The entry of a concrete issuer. Never waits.
    pub fn find(&self, issuer: &Issuer) -> Option<Arc<Entry>> {
        let configured = self.configured.get(issuer).cloned();
        configured.or_else(|| self.organizations.get(issuer))
    }

    /// The entry of an organization's issuer, made by `new` if there is none.
    pub fn of_organization(&self, issuer: &Issuer, new: impl FnOnce() -> Arc<Entry>) -> Arc<Entry> {
        self.organizations.get_with_by_ref(issuer, new)
    }

    /// The entries of all organizations of the issuer that the configuration calls `name`.
    pub fn organizations_of(&self, name: &str) -> impl Iterator<Item = Arc<Entry>> {
        let entries = self.organizations.iter().map(|(_, entry)| entry);
        entries.filter(move |entry| &**entry.name() == name)
    }

    /// Every entry, in no order.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        let organizations = self.organizations.iter().map(|(_, entry)| entry);
        self.configured
            .values()
            .cloned()
            .chain(organizations)
            .collect()
    }
}
