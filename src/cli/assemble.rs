//! Puts the parts of the service together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::descriptors;
use super::record_configuration::record_configuration;
use crate::client::WitnessClient;
use crate::clock::{Clock, Seconds};
use crate::config::{Config, InvalidAuditToken, StoreLocation, Tiles};
use crate::directory::{Directory, DirectoryError, Peers, follow};
use crate::discovery::{FetchSettings, KeyDirectory, SetupFault};
use crate::exchange::Exchange;
use crate::http::{
    AuditAccess, Certificate, CertificateFault, FailureLimit, MetricsAccess, Patience, Service,
};
use crate::issuer::Registry;
use crate::ledger::{DenialAllowance, StoreUnavailable, Topic};
use crate::metrics::Metrics;
use crate::notary::{self, KeptIn, Notary, NotaryError, Witness};
use crate::project_token::{KeyEncryptionKey, KeyRing, RingError, SealError};
use crate::store::{
    EmbeddedStore, OpenError, Options, PostgresError, PostgresOptions, PostgresSettings,
    PostgresStore, SharedStore,
};
use crate::trust::Limits;

/// How often it is looked whether a signing key is due to be renewed.
const RENEW_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often signing keys are read that another instance may have made, if nothing is heard of that. A key is published for
/// ten times as long before it signs.
const READ_KEYS_EVERY: Duration = Duration::from_secs(60);

/// How often the log is signed if nobody asks for a checkpoint: so much of it can be rolled back unnoticed.
const SIGN_EVERY: Duration = Duration::from_secs(10);

/// How often what is new is shown to the witnesses.
const COSIGN_EVERY: Duration = Duration::from_secs(30);

/// How often it is looked whether withheld values are to be deleted.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often it is looked whether the files of the certificate were replaced. What was is in use after twice that.
const LOOK_AT_CERTIFICATE_EVERY: Duration = Duration::from_secs(5);

/// The parts, ready to serve.
pub struct Parts {
    /// What the handlers read.
    pub service: Arc<Service>,
    /// The store, to be closed when the last request is done.
    pub store: SharedStore,
    clock: Arc<dyn Clock>,
    /// How long withheld values are kept; `None` is for ever.
    values_kept: Option<Seconds>,
}

/// A part that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The data folder.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The database.
    #[error(transparent)]
    Database(#[from] PostgresError),
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
    /// The certificate for TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// The token for reading the log.
    #[error(transparent)]
    AuditToken(#[from] InvalidAuditToken),
    /// A witness that cannot be asked.
    #[error("a witness of the log cannot be asked: {0}")]
    Witness(String),
    /// Our signing keys.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] StoreUnavailable),
    /// What signs the log.
    #[error(transparent)]
    Notary(#[from] NotaryError),
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
    assemble_from(config, clock, options, count(config)).await
}

/// What a service of this configuration counts.
pub fn count(config: &Config) -> Arc<Metrics> {
    let names = config.issuers.iter().map(|issuer| issuer.name.clone());
    Arc::new(Metrics::new(names))
}

/// The same as [`assemble`] for one who counts already.
pub async fn assemble_counting(
    config: &Config,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) -> Result<Parts, AssembleError> {
    assemble_from(config, clock, Options::default(), metrics).await
}

async fn assemble_from(
    config: &Config,
    clock: Arc<dyn Clock>,
    options: Options,
    metrics: Arc<Metrics>,
) -> Result<Parts, AssembleError> {
    let options = Options {
        metrics: metrics.store.clone(),
        ..options
    };
    let certificate = config
        .tls
        .as_ref()
        .map(|files| Certificate::read(&files.certificate, &files.key, clock.now()));
    let certificate = certificate.transpose()?;
    let encryption = key_encryption(config)?;
    let audit_access = audit_access(config)?;
    let (store, clock) = open_store(config, clock, options)?;
    // First of all: a data folder that was rolled back must not serve.
    let notary = Notary::open(store.clone(), &*clock, signing(config)?).await?;
    notary.ask_witnesses_first().await;
    record_configuration(config, &*store, clock.now()).await?;

    let token = &config.token;
    let ring = KeyRing::open(
        store.clone(),
        encryption,
        token.algorithm,
        token.maximum_lifetime,
        clock.now(),
    )
    .await?;
    let registry = Arc::new(Registry::new(config.issuers.iter().cloned()));
    let settings = FetchSettings {
        loopback_http: config.allow_loopback_http,
        metrics: metrics.issuers.clone(),
        ..FetchSettings::default()
    };
    let keys = KeyDirectory::new(registry.clone(), clock.clone(), store.clone(), settings)?;
    let directory = Directory::open(
        config.trust_policies.clone(),
        registry.clone(),
        store.clone(),
        store.clone(),
        store.clone(),
        clock.clone(),
    )
    .await?;
    let directory = Arc::new(directory);
    let name = instance_name(config.listen.port());
    let peers = Arc::new(Peers::new(
        name,
        config.agreed_digest(),
        directory.clone(),
        store.clone(),
    ));
    let exchange = Exchange {
        clock: clock.clone(),
        registry,
        keys,
        directory,
        ledger: store.clone(),
        ring: Arc::new(ring),
        allowance: DenialAllowance::new(config.audit.recorded_denials_per_hour),
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
        log: store.clone(),
        notary,
        audit_access,
        policies: store.clone(),
        peers,
        metrics,
        metrics_access: MetricsAccess {
            readers: config.metrics.readers.clone(),
            elsewhere: config.metrics.listen.is_some(),
        },
        certificate,
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
        values_kept: config.audit.personal_values,
    })
}

/// What an operator knows this instance by: the machine, pod or container, and the port on it.
pub(super) fn instance_name(port: u16) -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let machine = machine.unwrap_or_default();
    let machine = match machine.trim() {
        "" => "localhost",
        name => name,
    };
    format!("{machine}:{port}")
}

/// Opens the store, and answers the clock of everything: this machine's, or the database's where several instances must
/// agree about the time.
fn open_store(
    config: &Config,
    clock: Arc<dyn Clock>,
    options: Options,
) -> Result<(SharedStore, Arc<dyn Clock>), AssembleError> {
    match &config.store {
        StoreLocation::Embedded(folder) => {
            let store = EmbeddedStore::open(folder, clock.clone(), options)?;
            Ok((Arc::new(store), clock))
        }
        StoreLocation::Postgres(settings) => {
            let settings = PostgresSettings::clone(settings);
            let options = PostgresOptions {
                metrics: options.metrics,
                ..PostgresOptions::default()
            };
            let store = PostgresStore::open(settings, clock, options)?;
            let clock = store.clock();
            Ok((Arc::new(store), clock))
        }
    }
}

/// How the log is signed.
fn signing(config: &Config) -> Result<notary::Settings, AssembleError> {
    let witnesses = config.audit.witnesses.iter().map(|witness| {
        let client = WitnessClient::new(&witness.url).map_err(AssembleError::Witness)?;
        Ok(Witness {
            key: witness.key.clone(),
            asks: Box::new(client),
        })
    });
    Ok(notary::Settings {
        kept_in: match &config.store {
            StoreLocation::Embedded(_) => KeptIn::Folder,
            StoreLocation::Postgres(_) => KeptIn::Database,
        },
        public_url: config.public_url.clone(),
        encryption: key_encryption(config)?,
        copy: config.audit.checkpoint_copy.clone(),
        witnesses: witnesses.collect::<Result<_, AssembleError>>()?,
    })
}

fn audit_access(config: &Config) -> Result<AuditAccess, InvalidAuditToken> {
    let tokens = config.audit.tokens.iter();
    let digests = tokens.map(|token| token.digest().map(|digest| *digest.as_bytes()));
    Ok(AuditAccess::new(
        &config.public_url,
        config.audit.tiles == Tiles::Public,
        digests.collect::<Result<_, _>>()?,
    ))
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
        tokio::join!(
            self.sign_the_log(),
            self.have_the_log_cosigned(),
            self.forget_personal_values(),
            async {
                exchange.keys.warm(named).await;
                exchange.keys.refresh_forever().await;
            },
            follow(exchange.directory.clone()),
            self.renew_signing_keys(),
            self.follow_certificate(),
            self.follow_signing_keys(),
            self.service.peers.keep_meeting(),
        );
    }

    /// Signs what is new now and then, also when nobody asks.
    async fn sign_the_log(&self) {
        loop {
            self.service.notary.tend().await;
            tokio::time::sleep(SIGN_EVERY).await;
        }
    }

    /// Shows what is new to the witnesses. They may be slow, and signing does not wait for them.
    async fn have_the_log_cosigned(&self) {
        loop {
            self.service.notary.have_cosigned().await;
            tokio::time::sleep(COSIGN_EVERY).await;
        }
    }

    /// Deletes withheld values whose time is over.
    async fn forget_personal_values(&self) {
        let Some(kept) = self.values_kept else {
            return;
        };
        loop {
            let now = self.clock.now();
            let removed = self
                .service
                .log
                .remove_personal_values(now.minus(kept), now);
            match removed.await {
                Ok(false) => {}
                Ok(true) => tracing::info!("withheld values older than {kept} were deleted"),
                Err(fault) => tracing::warn!(%fault, "withheld values were not deleted"),
            }
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }

    /// Looks whether the files of the certificate were replaced.
    async fn follow_certificate(&self) {
        let Some(certificate) = &self.service.certificate else {
            return;
        };
        let metrics = &self.service.metrics.http;
        loop {
            tokio::time::sleep(LOOK_AT_CERTIFICATE_EVERY).await;
            certificate.look(self.clock.now(), metrics);
        }
    }

    /// Reads the keys that other instances make.
    async fn follow_signing_keys(&self) {
        let mut following = self.store.following(Topic::SigningKeys);
        let mut said = false;
        loop {
            match self.service.exchange.ring.follow().await {
                Ok(()) => said = false,
                Err(fault) if !said => {
                    said = true;
                    tracing::error!(%fault, "signing keys of other instances cannot be read");
                }
                Err(_) => {}
            }
            let _ = tokio::time::timeout(READ_KEYS_EVERY, following.changed()).await;
        }
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
