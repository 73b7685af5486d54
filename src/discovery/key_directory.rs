//! Whose keys are these? The answer for the exchange, and the work in the background that keeps it ready.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};

use super::cache::Entries;
use super::entry::{Entry, Shared};
use super::fault::{KeyError, SetupFault};
use super::fetch::{FetchSettings, Fetcher};
use super::status::IssuerStatus;
use super::{KeyArchive, flight};
use crate::clock::{Clock, Seconds};
use crate::issuer::{Issuer, Match, PublicKey, Registry, TrustedIssuer, is_secure};

/// How many issuers the background asks at the same time.
const REFRESHED_AT_A_TIME: usize = 8;

/// The public keys of all registered issuers. Cheap to clone; all clones are one directory.
#[derive(Clone)]
pub struct KeyDirectory(Arc<Inner>);

struct Inner {
    registry: Arc<Registry>,
    entries: Entries,
    /// By the issuer's name in the configuration. Issuers with one `ca-file` and one proxy share a client.
    fetchers: HashMap<Arc<str>, Fetcher>,
    shared: Arc<Shared>,
}

impl KeyDirectory {
    /// A directory of the issuers in `registry`, which are the only ones it ever asks. Nothing is asked yet.
    pub fn new(
        registry: Arc<Registry>,
        clock: Arc<dyn Clock>,
        archive: Arc<dyn KeyArchive>,
        settings: FetchSettings,
    ) -> Result<Self, SetupFault> {
        let fetchers = fetchers(&registry, &settings)?;
        let shared = Arc::new(Shared {
            clock,
            archive,
            settings,
        });
        let configured = registry.all().filter_map(|trusted| {
            let issuer = trusted.form.root().clone();
            let fetcher = fetchers.get(&trusted.name)?.clone();
            Some(Entry::new(trusted, issuer, true, fetcher, shared.clone()))
        });
        let entries = Entries::new(configured);
        Ok(Self(Arc::new(Inner {
            registry,
            entries,
            fetchers,
            shared,
        })))
    }

    /// The keys that `issuer`, a concrete one, publishes under `kid`, if they are known. Never waits for anything.
    pub fn known(&self, issuer: &Issuer, kid: &str) -> Option<Arc<[PublicKey]>> {
        let now = self.0.shared.clock.now();
        self.0.entries.find(issuer)?.known(kid, now)
    }

    /// The keys that the concrete issuer in `matched` publishes under `kid`: at once if they are known, else after at
    /// most one request. The caller may go away meanwhile; the request goes on for the others.
    ///
    /// `named` says whether some policy names the organization in `matched`. One that no policy names is never asked,
    /// since anybody can make up organizations: its token is checked with the keys of the root form and of the
    /// organizations that are named, which are the same in practice, so that it can be answered `not-trusted`.
    pub async fn keys(
        &self,
        trusted: &TrustedIssuer,
        matched: &Match,
        kid: &str,
        named: bool,
    ) -> Result<Arc<[PublicKey]>, KeyError> {
        let unlisted = || KeyError::Unreachable {
            issuer: matched.issuer.clone(),
            retry_after: Seconds(60),
        };
        if named || matched.organization.is_none() {
            let entry = self.entry(trusted, matched).ok_or_else(unlisted)?;
            return entry.keys(kid).await;
        }
        let entries = &self.0.entries;
        let root = entries.find(trusted.form.root()).ok_or_else(unlisted)?;
        let now = self.0.shared.clock.now();
        if let Some(keys) = root.known(kid, now) {
            return Ok(keys);
        }
        let mut organizations = entries.organizations_of(&trusted.name);
        match organizations.find_map(|organization| organization.known(kid, now)) {
            Some(keys) => Ok(keys),
            None => root.keys(kid).await,
        }
    }

    /// Makes a start: every configured issuer and each of `named`, the concrete issuers of the organizations that
    /// policies name, is asked in the background. When this returns, what the archive held can be used.
    pub async fn warm(&self, named: impl IntoIterator<Item = Issuer>) {
        for issuer in named {
            if let Some((trusted, matched)) = self.0.registry.find(issuer.as_str()) {
                self.entry(&trusted, &matched);
            }
        }
        let entries = self.0.entries.all();
        join_all(
            entries
                .iter()
                .map(|entry| flight::restored(entry.refresh())),
        )
        .await;
    }

    /// Asks every configured issuer, and every organization that was used within a day, once. Returns when all have
    /// answered or failed to; which of them did stands in [`Self::status`].
    pub async fn refresh(&self) {
        let now = self.0.shared.clock.now();
        let entries = self.0.entries.all().into_iter();
        let in_use = entries.filter(|entry| entry.is_in_use(now));
        stream::iter(in_use)
            .for_each_concurrent(REFRESHED_AT_A_TIME, |entry| async move {
                flight::over(entry.refresh()).await;
            })
            .await;
    }

    /// Refreshes every [`FetchSettings::refresh_every`], until this future is dropped. A request that is under way then
    /// ends by itself.
    pub async fn refresh_forever(&self) {
        loop {
            tokio::time::sleep(self.0.shared.settings.refresh_every).await;
            self.refresh().await;
        }
    }

    /// How it stands with each issuer that is known, sorted by name and address.
    pub fn status(&self) -> Vec<IssuerStatus> {
        let now = self.0.shared.clock.now();
        let entries = self.0.entries.all();
        let mut status: Vec<_> = entries.iter().map(|entry| entry.status(now)).collect();
        status.sort_by(|a, b| (&a.name, &a.issuer).cmp(&(&b.name, &b.issuer)));
        status
    }

    /// The entry of a concrete issuer, which may be asked. `None` if it is not of a registered one.
    fn entry(&self, trusted: &TrustedIssuer, matched: &Match) -> Option<Arc<Entry>> {
        let Inner {
            entries,
            fetchers,
            shared,
            ..
        } = &*self.0;
        if let Some(entry) = entries.find(&matched.issuer) {
            return Some(entry);
        }
        matched.organization.as_ref()?;
        let fetcher = fetchers.get(&trusted.name)?;
        Some(entries.of_organization(&matched.issuer, || {
            let issuer = matched.issuer.clone();
            Entry::new(trusted, issuer, false, fetcher.clone(), shared.clone())
        }))
    }
}

fn fetchers(
    registry: &Registry,
    settings: &FetchSettings,
) -> Result<HashMap<Arc<str>, Fetcher>, SetupFault> {
    let mut by_way = HashMap::new();
    let mut by_name = HashMap::new();
    for trusted in registry.all() {
        check_key_address(trusted, settings)?;
        let way = (&trusted.ca_file, &trusted.proxy);
        let fetcher = match by_way.get(&way) {
            Some(fetcher) => Fetcher::clone(fetcher),
            None => Fetcher::new(trusted)?,
        };
        by_way.insert(way, fetcher.clone());
        by_name.insert(trusted.name.clone(), fetcher);
    }
    Ok(by_name)
}

/// Keys that a stranger on the way could exchange are no keys.
fn check_key_address(trusted: &TrustedIssuer, settings: &FetchSettings) -> Result<(), SetupFault> {
    match &trusted.jwks_url {
        Some(address) if !is_secure(address, settings.loopback_http) => {
            Err(SetupFault::KeyAddress {
                issuer: trusted.name.to_string(),
                address: address.clone(),
            })
        }
        _ => Ok(()),
    }
}
