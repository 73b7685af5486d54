//! The promises of the ledger.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::batch::{Change, Deed, Outcome, PinnedNames, kept};
use super::fault::{Fault, fitting};
use super::names::{Asked, AtHand, Versions, compare, id_of, read_state, write_state};
use super::task::{Answer, Next, Task, unexpected};
use super::{PostgresStore, arrived, look_up};
use crate::audit::{DecisionId, Event, Happening, Record, Sealed};
use crate::clock::UnixTime;
use crate::ledger::pins::{PinnedFor, fresh};
use crate::ledger::{
    Denial, DenialKey, Ledger, RememberedNames, Spend, Spent, StoreUnavailable, Unrecorded,
};
use crate::trust::{NameState, Names};

impl Ledger for PostgresStore {
    fn spend(
        &self,
        spend: Spend,
        record: Record,
    ) -> BoxFuture<'_, Result<Spent, StoreUnavailable>> {
        async move {
            let mut spending = Spending::new(spend, record, self.0.at_hand.clone());
            let at_hand = self.versions_at_hand(&spending.spend)?;
            let mut decided = at_hand.map(|versions| spending.decide(0, &versions));
            if !matches!(decided, Some(Ok(Ok(_)))) {
                // What is at hand may be outdated. The commit finds that out of what lets in, and nothing does of what does
                // not, so that is read anew.
                let read = self.read_versions(&spending.spend).await?;
                decided = Some(spending.decide(0, &read));
            }
            match decided.transpose()? {
                Some(Ok(change)) => spending.change = change,
                Some(Err(answer)) => return Ok(answer),
                None => return Err(unexpected()),
            }
            self.submit(self.0.options.waiting, |answer| Waiting {
                spending,
                answer,
            })
            .await
        }
        .boxed()
    }

    fn record_denial(&self, denial: Denial) -> BoxFuture<'_, Result<DecisionId, StoreUnavailable>> {
        async move {
            let id = denial.record.decision_id;
            let sealed = fitting(Sealed::of_decision(denial.record))?;
            let change = Change {
                deed: Deed::Deny {
                    key: *denial.key.as_bytes(),
                    until: denial.until.millis(),
                },
                id: Uuid::from_bytes(*id.as_bytes()),
                pins: Vec::new(),
                entries: vec![sealed],
            };
            // Exchanges that succeed find a place also when many fail.
            self.submit(self.0.options.waiting / 2, |answer| Denying {
                change,
                id,
                answer,
            })
            .await
        }
        .boxed()
    }

    fn denial_on_record(
        &self,
        key: DenialKey,
    ) -> BoxFuture<'_, Result<Option<DecisionId>, StoreUnavailable>> {
        self.read_soon(move |client| {
            async move {
                let statement = client
                    .prepare_cached("SELECT decision_id FROM countersign.denials WHERE key = $1")
                    .await?;
                let found = client
                    .query_opt(&statement, &[&kept(key.as_bytes())])
                    .await?;
                let id: Option<Uuid> = found.map(|row| row.try_get(0)).transpose()?;
                Ok(id.map(|id| DecisionId::from_bytes(id.into_bytes())))
            }
            .boxed()
        })
    }

    fn count_denial(&self, what: Unrecorded, at: UnixTime) {
        self.0.counts.count(what, at);
    }

    fn decision(&self, id: DecisionId) -> BoxFuture<'_, Result<Option<Record>, StoreUnavailable>> {
        self.recorded(id)
    }

    fn name_states(
        &self,
        names: Vec<Names>,
    ) -> BoxFuture<'_, Result<HashMap<Names, NameState>, StoreUnavailable>> {
        async move {
            let ids: Result<Vec<_>, _> = names.iter().map(id_of).collect();
            let ids: Vec<_> = ids?.into_iter().map(|(id, _)| id).collect();
            let read = self.ask_names(ids.clone()).await?;
            let mut states = HashMap::new();
            for (names, id) in names.into_iter().zip(ids) {
                if let Some((_, Some(state))) = read.get(&id) {
                    states.insert(names, read_state(state)?);
                }
            }
            Ok(states)
        }
        .boxed()
    }

    fn pins(
        &self,
        project: Option<String>,
    ) -> BoxFuture<'_, Result<Vec<RememberedNames>, StoreUnavailable>> {
        let read = self.read(move |client| {
            async move {
                let rows = if let Some(project) = &project {
                    let of_one = "SELECT names, state FROM countersign.names
                                  WHERE project = $1 AND state IS NOT NULL";
                    client.query(of_one, &[project]).await?
                } else {
                    let of_all =
                        "SELECT names, state FROM countersign.names WHERE state IS NOT NULL";
                    client.query(of_all, &[]).await?
                };
                let mut found = Vec::new();
                for row in rows {
                    let (names, state): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
                    found.push(RememberedNames {
                        names: serde_json::from_str(names)?,
                        state: read_state(state)?,
                    });
                }
                Ok(found)
            }
            .boxed()
        });
        async move {
            let mut found = read.await?;
            found.sort_by(|one: &RememberedNames, other| one.names.cmp(&other.names));
            Ok(found)
        }
        .boxed()
    }

    fn reset_pin(
        &self,
        names: Names,
        by: String,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<Option<Event>, StoreUnavailable>> {
        let reset = self.transact(move |transaction| {
            async move {
                let (id, _) = id_of(&names)?;
                let found = transaction
                    .query_opt(
                        "SELECT state FROM countersign.names WHERE id = $1 FOR UPDATE",
                        &[&id.as_slice()],
                    )
                    .await?;
                let before: Option<String> = found.map(|row| row.try_get(0)).transpose()?.flatten();
                let Some(before) = before else {
                    return Ok((None, Vec::new()));
                };
                let what = Happening::PinReset {
                    names,
                    ids: read_state(&before)?
                        .pin
                        .map(|pin| pin.ids)
                        .unwrap_or_default(),
                    by,
                };
                transaction
                    .execute(
                        "UPDATE countersign.names SET state = $2, version = version + 1 WHERE id = $1",
                        &[&id.as_slice(), &write_state(&fresh(now))?],
                    )
                    .await?;
                let event = Event::new(what, now);
                let sealed = fitting(Sealed::of_event(event.clone()))?;
                Ok((Some(event), vec![sealed]))
            }
            .boxed()
        });
        async move { Ok(reset.await?.0) }.boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        // A commit of nothing: the database answers, takes writes, and has the tables.
        async move { self.add(Vec::new()).await.map(|_| ()) }.boxed()
    }
}

impl PostgresStore {
    /// What is remembered of the names of a spend as it was last read, if it was.
    fn versions_at_hand(&self, spend: &Spend) -> Result<Option<Versions>, Fault> {
        if spend.pins.is_empty() {
            return Ok(Some(Versions::new()));
        }
        let ids: Result<Vec<_>, _> = spend.pins.iter().map(|wish| id_of(&wish.names)).collect();
        let ids = ids?;
        let known = self.0.at_hand.of(ids.iter().map(|(id, _)| *id));
        let all = ids.iter().all(|(id, _)| known.contains_key(id));
        Ok(all.then_some(known))
    }

    /// Reads what is remembered of the names of a spend. Names that are new are written down as known of nothing, so that
    /// there is something that two first uses meet at.
    async fn read_versions(&self, spend: &Spend) -> Result<Versions, StoreUnavailable> {
        let mut rows = Vec::with_capacity(spend.pins.len());
        for wish in &spend.pins {
            let (id, json) = id_of(&wish.names)?;
            rows.push((id, json, wish.names.project.clone()));
        }
        rows.sort_unstable();
        let read = self.read_soon(move |client| {
            async move {
                let ids: Vec<[u8; 32]> = rows.iter().map(|(id, ..)| *id).collect();
                let keys: Vec<&[u8]> = ids.iter().map(<[u8; 32]>::as_slice).collect();
                let names: Vec<&str> = rows.iter().map(|(_, json, _)| json.as_str()).collect();
                let projects: Vec<&str> = rows.iter().map(|(.., path)| path.as_str()).collect();
                let written = client
                    .prepare_cached(
                        "INSERT INTO countersign.names (id, names, project, version)
                         SELECT n.id, n.names, n.project, 0
                         FROM unnest($1::bytea[], $2::text[], $3::text[]) AS n (id, names, project)
                         ON CONFLICT DO NOTHING",
                    )
                    .await?;
                client
                    .execute(&written, &[&keys, &names, &projects])
                    .await?;
                look_up::names(client, &ids).await
            }
            .boxed()
        });
        let read = read.await?;
        self.0.at_hand.learn(&read);
        Ok(read)
    }

    /// Asks for the versions of names, together with all others who do at the moment.
    async fn ask_names(&self, ids: Vec<[u8; 32]>) -> Result<Versions, StoreUnavailable> {
        if ids.is_empty() {
            return Ok(Versions::new());
        }
        self.0.status.usable()?;
        let (answer, answered) = oneshot::channel();
        self.0.ask_names(Asked { ids, answer })?;
        let patience = self.0.options.reads();
        let waiting = async move {
            let late = |_| {
                Err(StoreUnavailable(
                    "the database has not answered in time".into(),
                ))
            };
            let waited = tokio::time::timeout(patience, arrived(answered)).await;
            waited.unwrap_or_else(late)
        };
        self.run(waiting).await
    }
}

/// One use of a token, in the making.
struct Spending {
    spend: Spend,
    of: PinnedFor,
    /// The record as the entry of the first use, until that is taken.
    sealed: Option<Result<Sealed, Fault>>,
    /// The record, if it may have to be sealed again.
    record: Option<Box<Record>>,
    at_hand: Arc<AtHand>,
    change: Change,
}

impl Spending {
    fn new(spend: Spend, mut record: Record, at_hand: Arc<AtHand>) -> Self {
        // Most uses of a token are its first.
        record.use_number = Some(1);
        let again =
            (spend.max_uses > 1 || !spend.pins.is_empty()).then(|| Box::new(record.clone()));
        Self {
            of: PinnedFor {
                decision_id: record.decision_id,
                at: UnixTime::from_millis(record.at_millis),
            },
            sealed: Some(fitting(Sealed::of_decision(record))),
            record: again,
            at_hand,
            change: Change::adding(Vec::new()),
            spend,
        }
    }

    /// The change of the use after `used` others, given what is remembered of the names.
    fn decide(&mut self, used: u32, versions: &Versions) -> Result<Result<Change, Spent>, Fault> {
        let pinned = match compare(&self.spend.pins, self.of, versions)? {
            Ok(pinned) => pinned,
            Err(differ) => return Ok(Err(Spent::IdentityChanged(differ))),
        };
        if used >= self.spend.max_uses {
            return Ok(Err(Spent::Exhausted));
        }
        let mut entries = Vec::with_capacity(1 + pinned.len());
        entries.push(self.entry(used + 1)?);
        let mut pins = Vec::with_capacity(pinned.len());
        for pinned in &pinned {
            let (id, _) = id_of(&pinned.now.names)?;
            let version = versions.get(&id).map_or(-1, |(version, _)| *version);
            let changes = pinned.is_change();
            let state = changes
                .then(|| write_state(&pinned.now.state))
                .transpose()?;
            pins.push(PinnedNames { id, version, state });
            if let Some(made) = pinned.event(self.of) {
                entries.push(fitting(Sealed::of_event(Event::new(made, self.of.at)))?);
            }
        }
        Ok(Ok(Change {
            deed: Deed::Spend {
                key: *self.spend.key.as_bytes(),
                before: used,
                until: self.spend.until.millis(),
            },
            id: Uuid::from_bytes(*self.of.decision_id.as_bytes()),
            pins,
            entries,
        }))
    }

    /// The record as the entry of this use.
    fn entry(&mut self, number: u32) -> Result<Sealed, Fault> {
        match (self.sealed.take(), &self.record) {
            (Some(sealed), _) if number == 1 => sealed,
            (_, Some(record)) => {
                let mut record = record.clone();
                record.use_number = Some(number);
                fitting(Sealed::of_decision(*record))
            }
            (_, None) => Err(Fault::Refused("a record is sealed once".into())),
        }
    }
}

/// One use of a token that waits for its commit.
struct Waiting {
    spending: Spending,
    answer: Answer<Spent>,
}

impl Waiting {
    /// Sends what was decided, or answers it.
    fn follow(&mut self, decided: Result<Result<Change, Spent>, Fault>) -> Next {
        match decided {
            Ok(Ok(change)) => {
                self.spending.change = change;
                return Next::Again;
            }
            Ok(Err(spent)) => self.answer.give(Ok(spent)),
            Err(fault) => self.answer.give(Err(fault.into())),
        }
        Next::Finished
    }

    fn used_before(&self) -> u32 {
        match self.spending.change.deed {
            Deed::Spend { before, .. } => before,
            _ => 0,
        }
    }
}

impl Task for Waiting {
    fn change(&self) -> &Change {
        &self.spending.change
    }

    fn settle(&mut self, outcome: Outcome) -> Next {
        let answer = match outcome {
            Outcome::Done(Some(index)) => {
                let pins = &self.spending.change.pins;
                let changed = pins.iter().filter_map(|pin| {
                    let state = pin.state.clone()?;
                    Some((pin.id, (pin.version + 1, Some(state))))
                });
                self.spending.at_hand.learn(&changed.collect());
                Ok(Spent::Nth {
                    number: self.used_before() + 1,
                    index,
                })
            }
            Outcome::Used(used) if used >= self.spending.spend.max_uses => Ok(Spent::Exhausted),
            Outcome::Used(used) => return self.hear(Outcome::Used(used)),
            Outcome::Forgotten => Err(StoreUnavailable(
                "the clock was put back behind tokens that were forgotten: whether this one was spent is not known"
                    .into(),
            )),
            _ => Err(unexpected()),
        };
        self.answer.give(answer);
        Next::Finished
    }

    fn hear(&mut self, outcome: Outcome) -> Next {
        let Outcome::Used(used) = outcome else {
            return Next::Again;
        };
        let pins = self.spending.change.pins.iter().map(|pin| pin.id);
        let versions = self.spending.at_hand.of(pins);
        match self.spending.decide(used, &versions) {
            // Whether other ids are pinned is for the database to say: what is at hand may be outdated.
            Ok(Err(Spent::IdentityChanged(_))) => Next::Again,
            decided => self.follow(decided),
        }
    }

    fn names_changed(&mut self, now: &Versions) -> Next {
        self.spending.at_hand.learn(now);
        let decided = self.spending.decide(self.used_before(), now);
        self.follow(decided)
    }

    fn fail(&self, why: &StoreUnavailable) {
        self.answer.give(Err(why.clone()));
    }

    fn waits_since(&self) -> Option<Instant> {
        self.answer.waits_since()
    }
}

/// A denial that waits for its commit.
struct Denying {
    change: Change,
    id: DecisionId,
    answer: Answer<DecisionId>,
}

impl Task for Denying {
    fn change(&self) -> &Change {
        &self.change
    }

    fn settle(&mut self, outcome: Outcome) -> Next {
        self.answer.give(match outcome {
            Outcome::Done(_) => Ok(self.id),
            Outcome::OnRecord(id) => Ok(DecisionId::from_bytes(id.into_bytes())),
            _ => Err(unexpected()),
        });
        Next::Finished
    }

    fn hear(&mut self, outcome: Outcome) -> Next {
        match outcome {
            Outcome::OnRecord(_) => self.settle(outcome),
            _ => Next::Again,
        }
    }

    fn names_changed(&mut self, _: &Versions) -> Next {
        Next::Finished
    }

    fn fail(&self, why: &StoreUnavailable) {
        self.answer.give(Err(why.clone()));
    }

    fn waits_since(&self) -> Option<Instant> {
        self.answer.waits_since()
    }
}
