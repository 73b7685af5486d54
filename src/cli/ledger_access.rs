//! The ledger for commands that run beside the service, or while it is stopped.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::audit::{DecisionId, Event, Filter, InvalidEntry, Record};
use crate::client::{AdminClient, AdminError};
use crate::clock::{Clock as _, FrozenClock, SystemClock, UnixTime};
use crate::config::{Config, StoreLocation};
use crate::issuer::Registry;
use crate::ledger::{RememberedNames, StoreUnavailable};
use crate::reading::{
    Answer, LONGEST_PAGE, Listed, Question, ReadingError, Sources, Wish, answer, list,
};
use crate::store::{
    EmbeddedStore, OpenError, Options, PostgresError, PostgresOptions, PostgresSettings,
    PostgresStore, SharedStore,
};
use crate::trust::Names;

/// How many connections a command makes to a database.
const COMMAND_CONNECTIONS: usize = 4;

/// The ledger of a configuration: opened if no process has it open, else asked of that process.
pub enum LedgerAccess {
    /// A data folder whose service is stopped, which cannot start as long as this is open; or a database, whose services
    /// go on beside this.
    Store(SharedStore),
    /// The service runs.
    Service(AdminClient),
}

/// The ledger cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No service has ever run with this configuration.
    #[error(
        "there is no ledger in `{0}` yet; give the configuration of the service with `--config`"
    )]
    NoLedger(String),
    /// The data folder cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] PostgresError),
    /// The store would be left with files that its service cannot open.
    #[error(
        "the data folder `{folder}` belongs to the user with uid {owner}, and no service answers in it: run this as that user",
        folder = .folder.display()
    )]
    OtherUser {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The store cannot answer.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
    /// The service that has the data folder open cannot be asked.
    #[error("{0}; is it an older version, or just starting or stopping?")]
    Service(#[from] AdminError),
    /// An entry of the log cannot be read.
    #[error(transparent)]
    Entry(InvalidEntry),
    /// The service that has the data folder open answers something else than it was asked.
    #[error(
        "the service that has the data folder open answers in another way; is it another version?"
    )]
    Odd,
    /// A thread of the program ended where it should not.
    #[error("opening the data folder was interrupted")]
    Interrupted,
}

impl From<ReadingError> for AccessError {
    fn from(fault: ReadingError) -> Self {
        match fault {
            ReadingError::Unavailable(fault) => Self::Unavailable(fault),
            ReadingError::Entry(fault) => Self::Entry(fault),
        }
    }
}

/// Asks a service that runs.
pub async fn ask_service(service: &AdminClient, wish: &Wish) -> Result<Answer, AccessError> {
    let path = match wish.question {
        Question::List => "/audit".to_owned(),
        question => format!("/audit/{}", question.name()),
    };
    let json = service.octets(&path, &wish.parameters()).await?;
    let json = json.ok_or(AccessError::Odd)?;
    Answer::read(wish.question, &json).map_err(|_| AccessError::Odd)
}

impl LedgerAccess {
    /// Opens the store of `config`, or finds the service that has it open.
    pub async fn open(config: &Config) -> Result<Self, AccessError> {
        match &config.store {
            StoreLocation::Embedded(folder) => Self::in_folder(folder, &config.store).await,
            StoreLocation::Postgres(settings) => Self::in_database(settings).await,
        }
    }

    /// Opens a database beside the services that have it open, and leaves its tables as they are.
    async fn in_database(settings: &PostgresSettings) -> Result<Self, AccessError> {
        let mut settings = settings.clone();
        settings.connections = settings.connections.min(COMMAND_CONNECTIONS);
        let opening = tokio::task::spawn_blocking(move || {
            PostgresStore::open_as_is(settings, Arc::new(SystemClock), PostgresOptions::default())
        });
        match opening.await.map_err(|_| AccessError::Interrupted)? {
            Ok(store) => Ok(Self::Store(Arc::new(store))),
            Err(PostgresError::Empty(database)) => Err(AccessError::NoLedger(database)),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn in_folder(folder: &Path, location: &StoreLocation) -> Result<Self, AccessError> {
        // A command that only looks makes no data folder where a service was expected.
        if !EmbeddedStore::is_in(folder) {
            return Err(AccessError::NoLedger(folder.display().to_string()));
        }
        let socket = location.admin_socket().unwrap_or_default();
        let owner = folder.metadata().map(|folder| folder.uid());
        let me = rustix::process::getuid().as_raw();
        if let Some(owner) = owner.ok().filter(|owner| *owner != me) {
            if !socket.exists() {
                let folder = folder.to_owned();
                return Err(AccessError::OtherUser { folder, owner });
            }
            return Ok(Self::Service(AdminClient::new(&socket)?));
        }
        let place = folder.to_owned();
        // A command that looks into the store forgets nothing there: for it, no time passes.
        let no_time = Arc::new(FrozenClock::at(UnixTime::EPOCH));
        let opening = tokio::task::spawn_blocking(move || {
            EmbeddedStore::open(&place, no_time, Options::default())
        });
        match opening.await.map_err(|_| AccessError::Interrupted)? {
            Ok(store) => Ok(Self::Store(Arc::new(store))),
            Err(OpenError::InUse(_)) => Ok(Self::Service(AdminClient::new(&socket)?)),
            Err(fault) => Err(fault.into()),
        }
    }

    /// The record of a decision.
    pub async fn decision(&self, id: DecisionId) -> Result<Option<Record>, AccessError> {
        match self {
            Self::Store(store) => Ok(store.decision(id).await?),
            Self::Service(service) => Ok(service.get(&format!("/decisions/{id}"), &[]).await?),
        }
    }

    /// Answers a question about the log. `registry` holds the issuers of the configuration.
    pub async fn ask(&self, registry: &Registry, wish: &Wish) -> Result<Answer, AccessError> {
        match self {
            Self::Store(store) => {
                let sources = Sources {
                    log: &**store,
                    policies: &**store,
                    registry,
                };
                Ok(answer(sources, wish).await?)
            }
            Self::Service(service) => ask_service(service, wish).await,
        }
    }

    /// At most `limit` entries of the log that `filter` wants, the newest first, from before the entry `before`.
    pub async fn search(
        &self,
        filter: &Filter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Listed, AccessError> {
        let wish = Wish {
            filter: filter.clone(),
            before,
            limit: limit.min(LONGEST_PAGE),
            ..Wish::new(Question::List, SystemClock.now())
        };
        match self {
            Self::Store(store) => Ok(list(&**store, &wish).await?),
            Self::Service(service) => match ask_service(service, &wish).await? {
                Answer::List(listed) => Ok(listed),
                _ => Err(AccessError::Odd),
            },
        }
    }

    /// The names without ids of `project`, or of every project, and what is pinned to them.
    pub async fn pins(&self, project: Option<&str>) -> Result<Vec<RememberedNames>, AccessError> {
        match self {
            Self::Store(store) => Ok(store.pins(project.map(str::to_owned)).await?),
            Self::Service(service) => {
                let project = project.map(|project| ("project", project));
                let parameters: Vec<_> = project.into_iter().collect();
                let listed = service.get("/pins", &parameters).await?;
                Ok(listed.unwrap_or_default())
            }
        }
    }

    /// Forgets what is pinned to `names`, on record as done by the user of this process. `None` if nothing is known of
    /// these names.
    pub async fn reset_pin(&self, names: Names) -> Result<Option<Event>, AccessError> {
        let by = format!("uid {}", rustix::process::getuid().as_raw());
        match self {
            Self::Store(store) => Ok(store.reset_pin(names, by, SystemClock.now()).await?),
            Self::Service(service) => {
                let body = json!({"names": names, "by": by});
                Ok(service.post("/pins/reset", &body).await?)
            }
        }
    }

    /// Lets go of the ledger, so that the service can start.
    pub async fn close(self) {
        if let Self::Store(store) = self {
            let _ = tokio::task::spawn_blocking(move || store.close()).await;
        }
    }
}
