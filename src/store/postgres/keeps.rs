//! What is kept beside the ledger: keys of issuers and our own, ids of projects, first loads, and which policies are on
//! record.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::project_id::random_id;
use super::fault::{Fault, sealed_events};
use super::names::{id_of, write_state};
use super::{PostgresStore, changes};
use crate::audit::Happening;
use crate::clock::UnixTime;
use crate::digest::{hex, sha256};
use crate::directory::{FirstLoads, OnRecord, PolicyChange, PolicyHistory, ProjectIds};
use crate::discovery::{ArchivedKeys, KeyArchive};
use crate::issuer::Issuer;
use crate::ledger::pins::fresh;
use crate::ledger::{StoreUnavailable, Topic};
use crate::project_token::{SigningKeyStore, StoredKey};
use crate::trust::{Names, ProjectPath};

/// What stands before the digest of an issuer whose name is not known.
pub(super) const DIGEST: &str = "sha256:";

/// What the keys of an issuer are kept under if they come from a store that keeps whose they are as a digest alone.
pub(super) fn by_digest(issuer: &[u8; 32]) -> String {
    format!("{DIGEST}{}", hex(issuer))
}

impl KeyArchive for PostgresStore {
    fn last_good(
        &self,
        issuer: &Issuer,
    ) -> BoxFuture<'_, Result<Option<ArchivedKeys>, StoreUnavailable>> {
        let issuer = issuer.as_str().to_owned();
        self.read_soon(move |client| {
            async move {
                let asked = client
                    .prepare_cached(
                        "SELECT fetched, body FROM countersign.issuer_keys WHERE issuer = $1 OR issuer = $2",
                    )
                    .await?;
                let copied = by_digest(&sha256(issuer.as_bytes()));
                let Some(row) = client.query_opt(&asked, &[&issuer, &copied]).await? else {
                    return Ok(None);
                };
                Ok(Some(ArchivedKeys {
                    fetched: UnixTime::from_millis(row.try_get(0)?),
                    body: row.try_get(1)?,
                }))
            }
            .boxed()
        })
    }

    fn keep(
        &self,
        issuer: &Issuer,
        keys: ArchivedKeys,
        change: Option<Happening>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let issuer = issuer.as_str().to_owned();
        self.change(move |transaction| {
            async move {
                transaction
                    .execute(
                        "INSERT INTO countersign.issuer_keys (issuer, fetched, body) VALUES ($1, $2, $3)
                         ON CONFLICT (issuer) DO UPDATE SET fetched = excluded.fetched, body = excluded.body",
                        &[&issuer, &keys.fetched.millis(), &keys.body],
                    )
                    .await?;
                let copied = by_digest(&sha256(issuer.as_bytes()));
                let forget = "DELETE FROM countersign.issuer_keys WHERE issuer = $1";
                transaction.execute(forget, &[&copied]).await?;
                Ok(((), sealed_events(change, now)?))
            }
            .boxed()
        })
    }
}

impl SigningKeyStore for PostgresStore {
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreUnavailable>> {
        self.read(|client| {
            async move {
                let asked = "SELECT id, sealed FROM countersign.signing_keys ORDER BY id";
                let rows = client.query(asked, &[]).await?;
                let keys = rows.iter().map(|row| {
                    Ok(StoredKey {
                        id: row.try_get(0)?,
                        sealed: row.try_get(1)?,
                    })
                });
                keys.collect()
            }
            .boxed()
        })
    }

    fn replace_signing_keys(
        &self,
        known: Vec<String>,
        added: Vec<StoredKey>,
        removed: Vec<String>,
        events: Vec<Happening>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        self.change(move |transaction| {
            async move {
                // An empty table has no row to lock, so the table is. Who reads it need not wait.
                transaction
                    .batch_execute(
                        "LOCK TABLE countersign.signing_keys IN SHARE ROW EXCLUSIVE MODE",
                    )
                    .await?;
                let rows = transaction
                    .query("SELECT id FROM countersign.signing_keys", &[])
                    .await?;
                let kept: Result<BTreeSet<String>, _> =
                    rows.iter().map(|row| row.try_get(0)).collect();
                if kept? != known.into_iter().collect() {
                    return Ok((false, Vec::new()));
                }
                transaction
                    .execute(
                        "DELETE FROM countersign.signing_keys WHERE id = ANY ($1)",
                        &[&removed],
                    )
                    .await?;
                for StoredKey { id, sealed } in &added {
                    transaction
                        .execute(
                            "INSERT INTO countersign.signing_keys (id, sealed) VALUES ($1, $2)
                             ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
                            &[id, sealed],
                        )
                        .await?;
                }
                let entries = sealed_events(events, now)?;
                changes::tell(transaction, Topic::SigningKeys).await?;
                Ok((true, entries))
            }
            .boxed()
        })
    }
}

impl ProjectIds for PostgresStore {
    fn ids_of(
        &self,
        paths: Vec<ProjectPath>,
    ) -> BoxFuture<'_, Result<Vec<String>, StoreUnavailable>> {
        self.change(move |transaction| {
            async move {
                let asked: Vec<&str> = paths.iter().map(ProjectPath::as_str).collect();
                loop {
                    let rows = transaction
                        .query(
                            "SELECT path, id FROM countersign.projects WHERE path = ANY ($1)",
                            &[&asked],
                        )
                        .await?;
                    let mut known = HashMap::new();
                    for row in &rows {
                        known.insert(row.try_get::<_, &str>(0)?, row.try_get::<_, &str>(1)?);
                    }
                    let ids = asked
                        .iter()
                        .map(|path| known.get(path).copied().map(str::to_owned));
                    if let Some(ids) = ids.collect::<Option<Vec<_>>>() {
                        return Ok((ids, Vec::new()));
                    }
                    let missing = asked
                        .iter()
                        .copied()
                        .filter(|path| !known.contains_key(path));
                    // Each once, and in the same order by everybody who is about to write them.
                    let missing: Vec<&str> = missing.collect::<BTreeSet<_>>().into_iter().collect();
                    let ids: Option<Vec<_>> = missing.iter().map(|_| random_id()).collect();
                    let no_id = || Fault::Refused("there is no randomness for an id".into());
                    // Whoever else gives a path its id, or has that id, was first: then it is looked again.
                    transaction
                        .execute(
                            "INSERT INTO countersign.projects (path, id)
                             SELECT p.path, p.id FROM unnest($1::text[], $2::text[]) AS p (path, id)
                             ON CONFLICT DO NOTHING",
                            &[&missing, &ids.ok_or_else(no_id)?],
                        )
                        .await?;
                }
            }
            .boxed()
        })
    }
}

impl FirstLoads for PostgresStore {
    fn note_names(
        &self,
        names: Vec<Names>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        self.change(move |transaction| {
            async move {
                let mut rows = Vec::with_capacity(names.len());
                for names in &names {
                    let (id, json) = id_of(names)?;
                    rows.push((id, json, names.project.as_str()));
                }
                rows.sort_unstable();
                rows.dedup();
                let ids: Vec<&[u8]> = rows.iter().map(|(id, ..)| id.as_slice()).collect();
                let names: Vec<&str> = rows.iter().map(|(_, json, _)| json.as_str()).collect();
                let projects: Vec<&str> = rows.iter().map(|(.., project)| *project).collect();
                transaction
                    .execute(
                        "INSERT INTO countersign.names AS n (id, names, project, state, version)
                         SELECT w.id, w.names, w.project, $4, 0
                         FROM unnest($1::bytea[], $2::text[], $3::text[]) AS w (id, names, project)
                         ON CONFLICT (id) DO UPDATE SET state = excluded.state, version = n.version + 1
                             WHERE n.state IS NULL",
                        &[&ids, &names, &projects, &write_state(&fresh(now))?],
                    )
                    .await?;
                Ok(((), Vec::new()))
            }
            .boxed()
        })
    }
}

impl PolicyHistory for PostgresStore {
    fn policies_on_record(
        &self,
    ) -> BoxFuture<'_, Result<HashMap<String, OnRecord>, StoreUnavailable>> {
        self.read(|client| {
            async move {
                let rows = client
                    .query("SELECT file, on_record FROM countersign.policies", &[])
                    .await?;
                let mut files = HashMap::new();
                for row in &rows {
                    files.insert(row.try_get(0)?, read_on_record(row.try_get(1)?)?);
                }
                Ok(files)
            }
            .boxed()
        })
    }

    fn record_policies(
        &self,
        changes: Vec<PolicyChange>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        self.change(move |transaction| {
            async move {
                // Who comes second waits here, and then sees what the first has written.
                transaction
                    .batch_execute("LOCK TABLE countersign.policies IN SHARE ROW EXCLUSIVE MODE")
                    .await?;
                let events = put_on_record(transaction, changes).await?;
                Ok(((), sealed_events(events, now)?))
            }
            .boxed()
        })
    }

    fn policy_text(
        &self,
        digest: String,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        self.read(move |client| {
            async move {
                let asked = "SELECT content FROM countersign.policy_texts WHERE digest = $1";
                let found = client.query_opt(asked, &[&digest]).await?;
                Ok(found.map(|row| row.try_get(0)).transpose()?)
            }
            .boxed()
        })
    }
}

/// Writes changes down, and answers what the log is to say of them: nothing of those in which another instance was first.
/// However many there are, these are four statements: others wait for them.
async fn put_on_record(
    transaction: &deadpool_postgres::Transaction<'_>,
    changes: Vec<PolicyChange>,
) -> Result<Vec<Happening>, Fault> {
    let files: Vec<&str> = changes.iter().map(|change| &*change.file).collect();
    let asked = "SELECT file, on_record FROM countersign.policies WHERE file = ANY ($1)";
    let mut before = HashMap::new();
    for row in transaction.query(asked, &[&files]).await? {
        let (file, json): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        before.insert(file, read_on_record(&json)?);
    }
    let texts = changes.iter().filter_map(|change| change.text.as_ref());
    let (digests, texts): (Vec<_>, Vec<_>) = texts.map(|(digest, text)| (digest, text)).unzip();
    transaction
        .execute(
            "INSERT INTO countersign.policy_texts (digest, content)
             SELECT t.digest, t.content FROM unnest($1::text[], $2::bytea[]) AS t (digest, content)
             ON CONFLICT DO NOTHING",
            &[&digests, &texts],
        )
        .await?;
    let mut events = Vec::new();
    // What is to stand there in the end, also of a file that is in more than one change.
    let mut after = BTreeMap::new();
    for change in changes {
        if before.get(&change.file) == change.on_record.as_ref() {
            continue;
        }
        let json = change.on_record.as_ref().map(serde_json::to_string);
        after.insert(change.file.clone(), json.transpose()?);
        match change.on_record {
            Some(on_record) => before.insert(change.file, on_record),
            None => before.remove(&change.file),
        };
        events.push(change.event);
    }
    let gone = after.iter().filter(|(_, json)| json.is_none());
    let gone: Vec<&String> = gone.map(|(file, _)| file).collect();
    let kept = after
        .iter()
        .filter_map(|(file, json)| Some((file, json.as_ref()?)));
    let (files, kept): (Vec<_>, Vec<_>) = kept.unzip();
    transaction
        .execute(
            "INSERT INTO countersign.policies (file, on_record)
             SELECT p.file, p.on_record FROM unnest($1::text[], $2::text[]) AS p (file, on_record)
             ON CONFLICT (file) DO UPDATE SET on_record = excluded.on_record",
            &[&files, &kept],
        )
        .await?;
    let forget = "DELETE FROM countersign.policies WHERE file = ANY ($1)";
    transaction.execute(forget, &[&gone]).await?;
    Ok(events)
}

fn read_on_record(json: &str) -> Result<OnRecord, Fault> {
    let damaged = |error| Fault::Refused(format!("what is kept of a policy is damaged: {error}"));
    serde_json::from_str(json).map_err(damaged)
}

impl PostgresStore {
    /// Changes something in one transaction, see [`Self::transact`].
    fn change<T, F>(&self, change: F) -> BoxFuture<'_, Result<T, StoreUnavailable>>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(
                &'a deadpool_postgres::Transaction<'_>,
            ) -> BoxFuture<'a, Result<super::transact::Changed<T>, Fault>>
            + Send
            + 'static,
    {
        let changed = self.transact(change);
        async move { Ok(changed.await?.0) }.boxed()
    }
}
