//! Changes that all instances must hear of: each is told by NOTIFY as it is committed, and looked for now and then, because a
//! connection that was cut has told nothing.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool, Transaction};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::connect::{Connector, Purpose};
use super::fault::Fault;
use super::{PostgresStore, leased};
use crate::ledger::{Changes, Following, StoreUnavailable, Topic};

/// How long it is not looked again at least: whoever may connect to the database may notify, as often as they like.
const REST: Duration = Duration::from_millis(50);

/// How long after a connection was lost the next one is made.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// How long a statement of ours may take.
const LIMIT: Duration = Duration::from_secs(2);

/// What was heard so far: how often each topic was changed.
pub(super) struct Feed {
    topics: [(Topic, watch::Sender<u64>); Topic::ALL.len()],
    /// Somebody told of a change.
    told: Notify,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            topics: Topic::ALL.map(|topic| (topic, watch::Sender::new(0))),
            told: Notify::new(),
        }
    }
}

impl Changes for PostgresStore {
    fn following(&self, topic: Topic) -> Following {
        let mut topics = self.0.feed.topics.iter();
        let found = topics.find(|(other, _)| *other == topic);
        found.map_or_else(Following::alone, |(_, heard)| {
            Following::of(heard.subscribe())
        })
    }
}

/// Tells all instances of a change, if and when `transaction` is committed.
pub(super) async fn tell(transaction: &Transaction<'_>, topic: Topic) -> Result<(), Fault> {
    let statement = transaction
        .prepare_cached(
            "WITH counted AS (
                 INSERT INTO countersign.changes AS c (kind, version) VALUES ($1, 1)
                 ON CONFLICT (kind) DO UPDATE SET version = c.version + 1
             )
             SELECT pg_notify('countersign', $1)",
        )
        .await?;
    transaction.execute(&statement, &[&topic.as_str()]).await?;
    Ok(())
}

/// Looks for changes whenever one is told of, and every so often in any case. Ends with the runtime.
pub(super) async fn look(feed: Arc<Feed>, pool: Pool, connector: Arc<Connector>, every: Duration) {
    loop {
        if let Err(fault) = look_once(&feed, &pool, &connector).await {
            // That the database cannot be used is said by whoever needs it.
            tracing::debug!(%fault, "it is not known what other instances have changed");
        }
        sleep(REST).await;
        let _ = timeout(every, feed.told.notified()).await;
    }
}

async fn look_once(
    feed: &Feed,
    pool: &Pool,
    connector: &Connector,
) -> Result<(), StoreUnavailable> {
    let client = leased(pool, connector).await?;
    let asked = async {
        let statement = client
            .prepare_cached("SELECT kind, version FROM countersign.changes")
            .await?;
        client.query(&statement, &[]).await
    };
    let Ok(rows) = timeout(LIMIT, asked).await else {
        // It may still be busy with that.
        drop(Object::take(client));
        return Err(Fault::Lost("there is no answer".into()).into());
    };
    let rows = rows.map_err(Fault::from)?;
    for row in rows {
        let (kind, version): (String, i64) = (
            row.try_get(0).map_err(Fault::from)?,
            row.try_get(1).map_err(Fault::from)?,
        );
        for (topic, heard) in &feed.topics {
            if topic.as_str() == kind {
                let version = version.cast_unsigned();
                heard.send_if_modified(|before| std::mem::replace(before, version) != version);
            }
        }
    }
    Ok(())
}

/// Hears what is told, on a connection of its own. Ends with the runtime.
pub(super) async fn listen(feed: Arc<Feed>, connector: Arc<Connector>) {
    loop {
        if let Err(fault) = listen_once(&feed, &connector).await {
            let fault = StoreUnavailable::from(fault);
            tracing::debug!(%fault, "changes of other instances are not heard at once");
        }
        sleep(LISTEN_AGAIN).await;
    }
}

async fn listen_once(feed: &Arc<Feed>, connector: &Arc<Connector>) -> Result<(), Fault> {
    let hears = feed.clone();
    let hear = Arc::new(move |_: tokio_postgres::Notification| hears.told.notify_one());
    let (client, connection) = connector.connect(Purpose::Anything, hear).await?;
    let listening = client.batch_execute("LISTEN countersign");
    let silent = |_| Err(tokio_postgres::Error::__private_api_timeout());
    timeout(LIMIT, listening).await.unwrap_or_else(silent)?;
    // What was changed while nobody listened.
    feed.told.notify_one();
    let ended = connection.await;
    drop(client);
    ended.map_err(|_| Fault::Lost("it was interrupted".into()))
}

/// Starts both, in the runtime of the store.
pub(super) fn start(
    runtime: &tokio::runtime::Handle,
    feed: &Arc<Feed>,
    pool: &Pool,
    connector: &Arc<Connector>,
    look_every: Duration,
) {
    runtime.spawn(look(
        feed.clone(),
        pool.clone(),
        connector.clone(),
        look_every,
    ));
    runtime.spawn(listen(feed.clone(), connector.clone()));
}
