//! Connections: made within seconds or not at all, set up alike, and never to a log that is behind what we have seen.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{AsyncMessage, Client, Config, Notification, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::fault::Fault;
use super::{InvalidSettings, PostgresSettings};
use crate::audit::tree::Hash;
use crate::digest::hex;
use crate::metrics::StoreMetrics;

/// How long one server has to answer with a connection that is ready.
const PATIENCE: Duration = Duration::from_millis(1200);

/// How long a statement waits for a lock that another holds. Nobody holds one longer than a commit takes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long octets that were sent may be without an answer of the other machine, and how long a connection may be silent
/// before the other machine is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a transaction may do nothing: whoever is cut off in one keeps others from the end of the log no longer.
const IDLE: Duration = Duration::from_secs(3);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The tables, which may not be there yet.
    Migrations,
    /// The commits of exchanges: none is ever cancelled, as what became of it would not be known.
    Commits,
    /// Everything else.
    Anything,
}

/// Makes connections.
pub(super) struct Connector {
    settings: PostgresSettings,
    metrics: StoreMetrics,
    tls: MakeRustlsConnect,
    /// The number of the server that answered last, of those that the address names.
    answered: AtomicUsize,
    /// How often a server said that a commit is not on its standby.
    unconfirmed: AtomicU64,
    seen: Mutex<Option<Seen>>,
    /// Why the database cannot be used although it answers.
    refused: Mutex<Option<String>>,
}

/// What is told of notifications.
pub(super) type Hear = Arc<dyn Fn(Notification) + Send + Sync>;

/// What was seen of the log.
#[derive(Debug, Clone, Copy)]
struct Seen {
    log_id: Uuid,
    /// The last entry that was seen: how many there were with it, and its hash.
    last: Option<(u64, Hash)>,
}

impl Connector {
    /// Whatever cannot be read of what the settings name is an error here already.
    pub(super) fn new(
        settings: PostgresSettings,
        metrics: StoreMetrics,
    ) -> Result<Self, InvalidSettings> {
        settings.config()?;
        Ok(Self {
            tls: settings.tls()?,
            settings,
            metrics,
            answered: AtomicUsize::new(0),
            unconfirmed: AtomicU64::new(0),
            seen: Mutex::new(None),
            refused: Mutex::new(None),
        })
    }

    pub(super) fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// Counts what failed on a connection. What was not asked of the server, or is told otherwise than it was written, is
    /// counted by who finds it.
    pub(super) fn count(&self, fault: &Fault) {
        if !matches!(fault, Fault::Refused(_)) {
            self.metrics.failed(fault.kind());
        }
    }

    /// Why the database cannot be used although it answers, if that is so.
    pub(super) fn refused(&self) -> Option<String> {
        let refused = self.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A number that rises whenever a server says that a commit may not be on its standby.
    pub(super) fn unconfirmed(&self) -> u64 {
        self.unconfirmed.load(Ordering::Acquire)
    }

    /// Notes the last entry of the log as it is acknowledged: `size` entries, the last of which has this hash.
    pub(super) fn saw(&self, size: u64, hash: Hash) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.as_mut()
            && seen.last.is_none_or(|(before, _)| before < size)
        {
            seen.last = Some((size, hash));
        }
    }

    /// How many entries of the log were seen.
    pub(super) fn seen_size(&self) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.and_then(|seen| seen.last).map_or(0, |(size, _)| size)
    }

    /// Makes a connection that is ready for use. What it hears of is told to `hear`. [`Fault::Behind`] if one server
    /// answers whose log is not the one that was seen, and no other can be had.
    pub(super) async fn connect(
        self: &Arc<Self>,
        purpose: Purpose,
        hear: Hear,
    ) -> Result<(Client, JoinHandle<()>), Fault> {
        let config = self.settings.config();
        // That is not the server's fault, which was not even asked.
        let config = config.map_err(|fault| Fault::Refused(fault.to_string()))?;
        let servers = servers(&config);
        let first = self.answered.load(Ordering::Relaxed);
        let (mut faults, mut behind) = (Vec::new(), Vec::new());
        for turn in 0..servers.len() {
            let number = (first + turn) % servers.len();
            let Some(server) = servers.get(number) else {
                continue;
            };
            let made = timeout(PATIENCE, async {
                let (client, mut connection) = server.connect(self.tls.clone()).await?;
                let connector = self.clone();
                let hear = hear.clone();
                let task = tokio::spawn(async move {
                    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                        match message {
                            Ok(AsyncMessage::Notice(notice)) => connector.noticed(&notice),
                            Ok(AsyncMessage::Notification(told)) => hear(told),
                            Ok(_) => {}
                            Err(error) => {
                                tracing::debug!(
                                    error = super::fault::in_words(&error),
                                    "a connection to the database ended"
                                );
                                break;
                            }
                        }
                    }
                });
                self.set_up(&client, purpose).await?;
                Ok::<_, Fault>((client, task))
            });
            match made.await {
                Ok(Ok(made)) => {
                    self.answered.store(number, Ordering::Relaxed);
                    return Ok(made);
                }
                Ok(Err(Fault::Behind(why))) => behind.push(why),
                Ok(Err(fault)) => faults.push(crate::ledger::StoreUnavailable::from(fault).0),
                Err(_) => faults.push("the server does not answer".to_owned()),
            }
        }
        // Of those that the address names, it may be the only one that answers.
        if !behind.is_empty() {
            return Err(Fault::Behind(behind.join("; ")));
        }
        Err(Fault::Lost(faults.join("; ")))
    }

    async fn set_up(&self, client: &Client, purpose: Purpose) -> Result<(), Fault> {
        let limit = match purpose {
            Purpose::Commits | Purpose::Migrations => 0,
            Purpose::Anything => self.settings.statement_timeout.as_millis(),
        };
        let lock = match purpose {
            Purpose::Migrations => 0,
            _ => LOCK_TIMEOUT.as_millis(),
        };
        let (silence, idle) = (SILENCE.as_secs(), IDLE.as_millis());
        // What the functions rely on is not left to the settings of a database or a role. Names without a schema are the
        // server's own: others may make functions in `public` that fit better, and would decide who is let in.
        client
            .batch_execute(&format!(
                "SET search_path = pg_catalog;
                 SET statement_timeout = {limit}; SET lock_timeout = {lock};
                 SET idle_in_transaction_session_timeout = {idle};
                 SET tcp_user_timeout = '{silence}s'; SET tcp_keepalives_idle = {silence};
                 SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3;
                 SET default_transaction_isolation = 'read committed';
                 SET default_transaction_read_only = off;
                 SET bytea_output = hex; SET client_min_messages = warning; SET jit = off;
                 SELECT set_config('synchronous_commit', 'on', false)
                     WHERE current_setting('synchronous_commit') <> 'remote_apply'"
            ))
            .await?;
        if purpose == Purpose::Migrations {
            return Ok(());
        }
        let checked = self.check_log(client).await;
        if let Err(Fault::Behind(why)) = &checked {
            tracing::error!("{why}");
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = match &checked {
            Err(Fault::Behind(why)) => Some(why.clone()),
            _ => None,
        };
        checked
    }

    /// Whether this is the log that was seen before, and has what was seen of it. A standby that took over without the last
    /// commits of the server before it has not: what was answered on their strength would be done twice.
    async fn check_log(&self, client: &Client) -> Result<(), Fault> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match seen {
            Some(seen) => seen.last.map_or(0, |(size, _)| size).to_string(),
            None => "h.size".to_owned(),
        };
        let asked = format!(
            "SELECT h.log_id::text, h.size::text,
                 (SELECT encode(substr(b.hashes, ({place} - 1 - b.first)::integer * 32 + 1, 32), 'hex')
                  FROM countersign.log_batches b WHERE b.first < {place} ORDER BY b.first DESC LIMIT 1)
             FROM countersign.log_head h"
        );
        let answer = client.simple_query(&asked).await?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |column: usize| row.and_then(|row| row.get(column));
        let log_id = text(0).and_then(|id| Uuid::parse_str(id).ok());
        let size = text(1).and_then(|size| size.parse::<u64>().ok());
        let (Some(log_id), Some(size)) = (log_id, size) else {
            return Err(Fault::Behind("the database has no end of the log".into()));
        };
        let Some(seen) = seen else {
            // What was there before us may have been acknowledged by others.
            let last = text(2).and_then(hash_of).map(|hash| (size, hash));
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.get_or_insert(Seen { log_id, last });
            return Ok(());
        };
        let database = self.settings.shown();
        if log_id != seen.log_id {
            return Err(Fault::Behind(format!(
                "the database `{database}` is another one than before: it has the log {log_id}, not {}; restart to go on \
                 with it",
                seen.log_id
            )));
        }
        let Some((before, hash)) = seen.last else {
            return Ok(());
        };
        if size < before {
            return Err(Fault::Behind(format!(
                "the database `{database}` has lost what was acknowledged: its log has {size} entries and had {before}; \
                 find the server that has them, or restart to go on with what there is"
            )));
        }
        if text(2) != Some(hex(&hash).as_str()) {
            return Err(Fault::Behind(format!(
                "the database `{database}` has lost what was acknowledged: the entry {} of its log is another one than it \
                 was; find the server that has it, or restart to go on with what there is",
                before - 1
            )));
        }
        Ok(())
    }

    fn noticed(&self, notice: &DbError) {
        let warns = notice.parsed_severity() == Some(Severity::Warning);
        if warns {
            // Which words it has depends on the server's language; nothing else that we ask for makes it warn.
            self.unconfirmed.fetch_add(1, Ordering::AcqRel);
            tracing::warn!(
                said = notice.message(),
                code = notice.code().code(),
                "the database warns"
            );
        }
    }
}

fn hash_of(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    (text.len() == 2 * hash.len()).then_some(())?;
    for (octet, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// One configuration for each server that the address names, so that one that hangs keeps nobody from the next.
fn servers(all: &Config) -> Vec<Config> {
    let count = all.get_hosts().len().max(all.get_hostaddrs().len());
    let each = |number: usize| {
        let mut one = Config::new();
        match all.get_hosts().get(number) {
            Some(Host::Tcp(name)) => {
                one.host(name);
            }
            Some(Host::Unix(folder)) => {
                one.host_path(folder);
            }
            None => {}
        }
        if let Some(address) = all.get_hostaddrs().get(number) {
            one.hostaddr(*address);
        }
        if let Some(port) = all.get_ports().get(number).or(all.get_ports().first()) {
            one.port(*port);
        }
        if let Some(user) = all.get_user() {
            one.user(user);
        }
        if let Some(password) = all.get_password() {
            one.password(password);
        }
        if let Some(database) = all.get_dbname() {
            one.dbname(database);
        }
        if let Some(options) = all.get_options() {
            one.options(options);
        }
        if let Some(name) = all.get_application_name() {
            one.application_name(name);
        }
        one.ssl_mode(all.get_ssl_mode())
            .ssl_negotiation(all.get_ssl_negotiation())
            .channel_binding(all.get_channel_binding())
            .target_session_attrs(all.get_target_session_attrs())
            .connect_timeout(all.get_connect_timeout().copied().unwrap_or(PATIENCE))
            .tcp_user_timeout(all.get_tcp_user_timeout().copied().unwrap_or(SILENCE))
            .keepalives(all.get_keepalives())
            .keepalives_idle(all.get_keepalives_idle().min(SILENCE))
            .keepalives_interval(all.get_keepalives_interval().unwrap_or(SILENCE / 5))
            .keepalives_retries(all.get_keepalives_retries().unwrap_or(3));
        one
    };
    (0..count).map(each).collect()
}

/// Fills the pool.
pub(super) struct ForPool(pub(super) Arc<Connector>);

impl deadpool_postgres::Connect for ForPool {
    fn connect(
        &self,
        _: &Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async move {
            let made = self.0.connect(Purpose::Anything, Arc::new(|_| {})).await;
            made.map_err(|fault| match fault {
                Fault::Said(error) => error,
                // The pool knows no other reasons; whoever asked it looks for ours.
                Fault::Refused(_) | Fault::Behind(_) | Fault::Lost(_) => {
                    tokio_postgres::Error::__private_api_timeout()
                }
            })
        })
    }
}
