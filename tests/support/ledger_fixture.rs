//! What the tests of the stores share: records, tokens, and a store that can be opened again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign::audit::{Outcome, Record, RecordedClaims};
use countersign::clock::{Clock, FrozenClock, Seconds, UnixTime};
use countersign::directory::{FirstLoads, PolicyHistory, ProjectIds};
use countersign::discovery::KeyArchive;
use countersign::ledger::{Denial, DenialKey, Ledger, Spend};
use countersign::project_token::SigningKeyStore;
use countersign::store::{
    EmbeddedStore, Mishap, Options, PostgresOptions, PostgresSettings, PostgresStore,
};
use countersign::subject::SpentKey;
use countersign::trust::{Names, PinWish};

use crate::support::postgres;

/// A store under test, which may be closed and opened again as often as a test likes.
pub trait Fixture {
    type Store: Ledger
        + KeyArchive
        + SigningKeyStore
        + ProjectIds
        + FirstLoads
        + PolicyHistory
        + Clone
        + 'static;

    /// Opens the store, which must be closed.
    fn open(&self) -> Self::Store;

    /// Closes the store.
    fn close(&self, store: Self::Store);
}

/// The embedded store in a folder of its own.
pub struct Embedded {
    pub folder: tempfile::TempDir,
    pub clock: Arc<FrozenClock>,
}

impl Embedded {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(FrozenClock::at(noon())),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn open_with(&self, options: Options) -> EmbeddedStore {
        EmbeddedStore::open(self.path(), self.clock.clone(), options).unwrap()
    }
}

impl Fixture for Embedded {
    type Store = EmbeddedStore;

    fn open(&self) -> EmbeddedStore {
        self.open_with(Options::default())
    }

    fn close(&self, store: EmbeddedStore) {
        store.close();
    }
}

/// How long exchanges wait for the database in tests of what comes of them, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// The store in a database of its own, on the server that tests share, where time stands still.
pub struct Postgres {
    pub url: String,
    pub clock: Arc<FrozenClock>,
    options: PostgresOptions,
}

impl Postgres {
    pub fn new() -> Self {
        Self::with(PostgresOptions {
            patience: PATIENCE,
            ..PostgresOptions::default()
        })
    }

    pub fn with(options: PostgresOptions) -> Self {
        let fixture = Self {
            url: postgres::shared().database(),
            clock: Arc::new(FrozenClock::at(noon())),
            options,
        };
        // Once, so that the tables are there; then its time is ours.
        fixture.open_with(fixture.options.clone()).close();
        fixture.set_time(noon());
        fixture
    }

    /// A store whose connections break before and after commits, and whose commits are aborted, every third time.
    pub fn failing() -> Self {
        let number = AtomicUsize::new(0);
        let mishap = move || match number.fetch_add(1, Ordering::Relaxed) % 9 {
            0 => Some(Mishap::LostBefore),
            3 => Some(Mishap::LostAfter),
            6 => Some(Mishap::Aborted),
            _ => None,
        };
        Self::with(PostgresOptions {
            mishap: Some(Arc::new(mishap)),
            patience: PATIENCE,
            ..PostgresOptions::default()
        })
    }

    /// Lets it be `now` in the database and on this machine.
    pub fn set_time(&self, now: UnixTime) {
        self.clock.set(now);
        self.sql(&format!(
            "CREATE OR REPLACE FUNCTION countersign.now_millis() RETURNS bigint LANGUAGE sql VOLATILE AS
             $$ SELECT {}::bigint $$",
            now.millis()
        ));
    }

    /// Runs statements in the database, and answers what they print.
    pub fn sql(&self, statements: &str) -> String {
        let database = self.url.rsplit('/').next().unwrap();
        postgres::shared().sql(database, statements)
    }

    pub fn open_with(&self, options: PostgresOptions) -> PostgresStore {
        let mut settings = PostgresSettings::parse(&self.url).unwrap();
        settings.connections = 6;
        PostgresStore::open(settings, self.clock.clone(), options).unwrap()
    }
}

impl Fixture for Postgres {
    type Store = PostgresStore;

    fn open(&self) -> PostgresStore {
        self.open_with(self.options.clone())
    }

    fn close(&self, store: PostgresStore) {
        store.close();
    }
}

/// Opens the store in `path` at noon.
pub fn open(path: &Path) -> EmbeddedStore {
    let clock: Arc<dyn Clock> = Arc::new(FrozenClock::at(noon()));
    EmbeddedStore::open(path, clock, Options::default()).unwrap()
}

pub fn noon() -> UnixTime {
    UnixTime::from_seconds(1_795_003_200)
}

/// Waits for a future on this thread.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

pub fn token(name: &str) -> SpentKey {
    SpentKey::of_unverified(name)
}

/// One use of a token that may be used once, within the hour.
pub fn once(name: &str) -> Spend {
    at_most(1, name)
}

pub fn at_most(max_uses: u32, name: &str) -> Spend {
    Spend {
        key: token(name),
        max_uses,
        until: noon().plus(Seconds(3600)),
        pins: Vec::new(),
    }
}

/// The names of a repository that a policy of `acme/api` gives without ids.
pub fn names(repository: &str) -> Names {
    names_in("acme/api", repository)
}

pub fn names_in(project: &str, repository: &str) -> Names {
    let pairs = [("owner", "octo-org"), ("repository", repository)];
    Names {
        project: project.into(),
        issuer: "github".into(),
        names: pairs
            .map(|(field, name)| (field.into(), name.into()))
            .into(),
    }
}

/// The wish to use these names with these ids.
pub fn wish(names: Names, ids: &[(&str, &str)]) -> PinWish {
    let ids = ids.iter();
    let ids = ids.map(|(field, id)| ((*field).into(), (*id).into()));
    PinWish {
        names,
        ids: ids.collect(),
    }
}

/// One use of a token by names and ids.
pub fn once_as(token_name: &str, wish: PinWish) -> Spend {
    Spend {
        pins: vec![wish],
        ..once(token_name)
    }
}

pub fn denial(token_name: &str, reason: &str) -> Denial {
    let mut record = record();
    record.outcome = Outcome::Denied;
    record.reason = Some(reason.into());
    Denial {
        key: DenialKey::new(&token(token_name), reason, "acme/api", None),
        until: noon().plus(Seconds(3600)),
        record,
    }
}

/// A record as it is made for an exchange that succeeds.
pub fn record() -> Record {
    Record {
        issuer: Some("github".into()),
        verified: true,
        subject: Some("repo:acme/api:ref:refs/heads/main".into()),
        audience: "acme/api".into(),
        project: Some("acme/api".into()),
        trust: vec!["release".into()],
        scopes: vec!["read_registry".into()],
        ..Record::new(Outcome::Allowed, noon())
    }
}

/// A record whose claims hold `octets` octets of text.
pub fn large_record(octets: usize) -> Record {
    let mut record = record();
    let claims = [("padding".to_owned(), "x".repeat(octets).into())];
    record.claims = RecordedClaims::new(Arc::new(claims.into_iter().collect()), Vec::new());
    record
}

/// Asks until the store serves again: it tries to open what failed once a second.
pub fn until_it_serves(store: &EmbeddedStore) {
    let began = std::time::Instant::now();
    while let Err(why) = wait(store.check()) {
        assert!(began.elapsed().as_secs() < 30, "it never recovered: {why}");
        std::thread::yield_now();
    }
}
