//! What the tests of the stores share: records, tokens, and a store that can be opened again.

use std::path::Path;
use std::sync::Arc;

use countersign::audit::{Outcome, Record, RecordedClaims};
use countersign::clock::{Clock, FrozenClock, Seconds, UnixTime};
use countersign::directory::{FirstLoads, PolicyHistory, ProjectIds};
use countersign::discovery::KeyArchive;
use countersign::ledger::{AuditLog, Denial, DenialKey, Ledger, Spend};
use countersign::project_token::SigningKeyStore;
use countersign::store::{EmbeddedStore, Options};
use countersign::subject::SpentKey;
use countersign::trust::{Names, PinWish};

/// A store under test, which may be closed and opened again as often as a test likes.
pub trait Fixture {
    type Store: Ledger
        + AuditLog
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
