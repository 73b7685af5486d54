//! Puts the parts of the service together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::descriptors;
use crate::clock::Clock;
use crate::config::{Config, StoreLocation};
use crate::directory::{Directory, DirectoryError, follow};
use crate::discovery::{FetchSettings, KeyDirectory, SetupFault};
use crate::exchange::Exchange;
use crate::http::{FailureLimit, Patience, Service};
use crate::issuer::Registry;
use crate::ledger::DenialAllowance;
use crate::project_token::{KeyEncryptionKey, KeyRing, RingError, SealError};
use crate::store::{EmbeddedStore, OpenError, Options};
use crate::trust::Limits;

/// How often it is looked whether a signing key is due to be renewed.
const RENEW_EVERY: Duration = Duration::from_secs(60 * 60);

/// The parts, ready to serve.
pub struct Parts {
    /// What the handlers read.
    pub service: Arc<Service>,
    /// The store, to be closed when the last request is done.
    pub store: EmbeddedStore,
    clock: Arc<dyn Clock>,
}

/// A part that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The data folder.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The key encryption file.
    #[error("the key encryption file `{file}` cannot be read: {fault}", file = .file.display())]
    KeyFile {
        /// The file.
        file: PathBuf,
        /// Why not.
        fault: std::io::Error,
    },
    /// What is in it.
    #[error("the key encryption file `{file}` {fault}", file = .file.display())]
    KeyFileContent {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        fault: SealError,
    },
    /// Our signing keys.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// An issuer's settings.
    #[error(transparent)]
    Issuers(#[from] SetupFault),
    /// The policies.
    #[error(transparent)]
    Policies(#[from] DirectoryError),
}

/// Opens the store, reads keys and policies, and makes the service of them. Nobody is asked for keys yet; see
/// [`Parts::keep_up`].
pub async fn assemble(config: &Config, clock: Arc<dyn Clock>) -> Result<Parts, AssembleError> {
    assemble_with(config, clock, Options::default()).await
}

/// The same with a store that is run otherwise.
pub async fn assemble_with(
    config: &Config,
    clock: Arc<dyn Clock>,
    options: Options,
) -> Result<Parts, AssembleError> {
    let encryption = key_encryption(config)?;
    let StoreLocation::Embedded(folder) = &config.store;
    let store = EmbeddedStore::open(folder, clock.clone(), options)?;
    let shared = Arc::new(store.clone());

    let token = &config.token;
    let ring = KeyRing::open(
        shared.clone(),
        encryption,
        token.algorithm,
        token.maximum_lifetime,
        clock.now(),
    )
    .await?;
    let registry = Arc::new(Registry::new(config.issuers.iter().cloned()));
    let settings = FetchSettings {
        loopback_http: config.allow_loopback_http,
        ..FetchSettings::default()
    };
    let keys = KeyDirectory::new(registry.clone(), clock.clone(), shared.clone(), settings)?;
    let directory = Directory::open(
        config.trust_policies.clone(),
        registry.clone(),
        shared.clone(),
        shared.clone(),
        shared.clone(),
        clock.clone(),
    )
    .await?;
    let exchange = Exchange {
        clock: clock.clone(),
        registry,
        keys,
        directory: Arc::new(directory),
        ledger: shared,
        ring: Arc::new(ring),
        allowance: DenialAllowance::new(config.recorded_denials_per_hour),
        public_url: config.public_url.clone(),
        limits: Limits {
            default_lifetime: token.default_lifetime,
            maximum_lifetime: token.maximum_lifetime,
        },
        pin_window: config.pin_window,
    };
    let rate = config.rate_limit;
    let service = Arc::new(Service {
        exchange,
        log: Arc::new(store.clone()),
        trusted_proxies: config.trusted_proxies.clone(),
        failures: FailureLimit::new(rate.failures_per_minute, rate.burst, clock.clone()),
        patience: Patience {
            connections: descriptors::connections(config.max_connections),
            ..Patience::default()
        },
    });
    Ok(Parts {
        service,
        store,
        clock,
    })
}

fn key_encryption(config: &Config) -> Result<Option<KeyEncryptionKey>, AssembleError> {
    let Some(file) = &config.token.key_encryption_file else {
        return Ok(None);
    };
    let content = std::fs::read(file)
        .map(zeroize::Zeroizing::new)
        .map_err(|fault| AssembleError::KeyFile {
            file: file.clone(),
            fault,
        })?;
    KeyEncryptionKey::derive(&content)
        .map(Some)
        .map_err(|fault| AssembleError::KeyFileContent {
            file: file.clone(),
            fault,
        })
}

impl Parts {
    /// What goes on beside the requests, until this future is dropped: issuers are asked for their keys, the folder of
    /// policies is followed, signing keys are renewed.
    pub async fn keep_up(&self) {
        let exchange = &self.service.exchange;
        let named = exchange.directory.organizations_named().into_iter();
        let named = named.filter_map(|(issuer, organization)| {
            let trusted = exchange.registry.named(&issuer)?;
            Some(trusted.form.of_organization(&organization))
        });
        exchange.keys.warm(named).await;
        tokio::join!(
            exchange.keys.refresh_forever(),
            follow(exchange.directory.clone()),
            self.renew_signing_keys(),
        );
    }

    async fn renew_signing_keys(&self) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            if let Err(fault) = self.service.exchange.ring.renew(self.clock.now()).await {
                tracing::error!(%fault, "signing keys were not renewed; the next try is in an hour");
            }
        }
    }
}
