//! Questions, asked of made-up logs.

mod alarms;
mod lists;
mod policies;
mod use_of_relationships;
mod who_got_tokens;

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use serde_json::{Map, Value, json};

use super::*;
use crate::audit::tree::Hash;
use crate::audit::{
    Event, Filter, Happening, LoggedEntry, Outcome, PolicyLoaded, Record, RecordedClaims,
};
use crate::clock::{Seconds, UnixTime};
use crate::directory::{OnRecord, PolicyChange as RecordedChange};
use crate::issuer::{IssuerForm, PROFILES, TrustedIssuer};
use crate::ledger::{Kept, LogFault, Page, TreeHead};

/// 2026-11-18T12:00:00Z, when every made-up story begins.
pub(super) fn noon() -> UnixTime {
    UnixTime::from_seconds(1_795_003_200)
}

/// A log in memory, whose pages look at few entries so that every walk crosses several.
#[derive(Default)]
pub(super) struct MadeUp {
    pub(super) entries: Vec<LoggedEntry>,
    texts: HashMap<String, String>,
    in_force: HashMap<String, String>,
}

/// How many entries one question looks at.
const LOOKED_AT: usize = 3;

impl MadeUp {
    /// Adds a decision.
    pub(super) fn decided(&mut self, record: &Record) {
        self.leaf(serde_json::to_vec(record).unwrap());
    }

    /// Adds an event.
    pub(super) fn happened(&mut self, what: Happening, at: UnixTime) {
        self.leaf(serde_json::to_vec(&Event::new(what, at)).unwrap());
    }

    /// Adds a leaf as it is.
    pub(super) fn leaf(&mut self, leaf: Vec<u8>) {
        let index = self.entries.len() as u64;
        self.entries.push(LoggedEntry {
            index,
            leaf,
            withheld: None,
        });
    }

    /// Brings a version of a policy file into force.
    pub(super) fn policy(&mut self, file: &str, text: &str, loaded: PolicyLoaded, at: UnixTime) {
        let digest = format!("sha256:{}", self.texts.len());
        self.texts.insert(digest.clone(), text.to_owned());
        let before = self.in_force.insert(file.to_owned(), digest.clone());
        let (organization, rest) = file.split_once('/').unwrap();
        let project = (rest != "_organization.toml").then(|| file.replace(".toml", ""));
        let loaded = PolicyLoaded {
            file: file.to_owned(),
            organization: organization.to_owned(),
            project,
            digest,
            before,
            ..loaded
        };
        self.happened(Happening::PolicyLoaded(loaded), at);
    }

    pub(super) async fn ask(&self, question: Question, parameters: &[(&str, &str)]) -> Answer {
        let now = noon().plus(Seconds(24 * 3600));
        let wish = Wish::read(question, parameters.iter().copied(), now).unwrap();
        let registry = registry();
        let sources = Sources {
            log: self,
            policies: self,
            registry: &registry,
        };
        let answer = answer(sources, &wish).await.unwrap();
        // Whoever asks over a wire reads the same.
        let json = serde_json::to_vec(&answer).unwrap();
        assert_eq!(Answer::read(question, &json).unwrap(), answer);
        answer
    }
}

/// The issuers by their profiles' names.
pub(super) fn registry() -> Registry {
    Registry::new(PROFILES.into_iter().filter_map(|profile| {
        let url = profile.default_url?;
        let form = IssuerForm::parse(url, profile.organization_in_issuer, false).unwrap();
        let audience = "https://sts.example.com";
        Some(TrustedIssuer::new(profile.name, profile, form, audience))
    }))
}

/// The record of a job whose token has the claims of a file in `tests/data/claims`, some of them changed.
pub(super) fn job(set: &str, changed: &[(&str, Value)], at: UnixTime) -> Record {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/claims")
        .join(format!("{set}.json"));
    let mut claims: Map<String, Value> =
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    for (name, value) in changed {
        claims.insert((*name).to_owned(), value.clone());
    }
    let issuer = set.split('-').next().unwrap();
    let issuer = registry().named(issuer).unwrap().clone();
    let facts = issuer.profile.facts;
    let text = |claim: Option<&str>| match claims.get(claim?)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    Record {
        issuer: Some(issuer.name.to_string()),
        verified: true,
        subject: text(Some("sub")),
        repository: text(facts.repository),
        run_id: text(facts.run_id),
        audience: "acme/api".to_owned(),
        project: Some("acme/api".to_owned()),
        client_address: Some("192.0.2.1".to_owned()),
        claims: RecordedClaims::new(Arc::new(claims), Vec::new()),
        ..Record::new(Outcome::Allowed, at)
    }
}

/// The job was let in by these relationships.
pub(super) fn allowed(record: Record, trust: &[&str]) -> Record {
    Record {
        trust: trust.iter().map(ToString::to_string).collect(),
        scopes: vec!["read_registry".to_owned()],
        ..record
    }
}

/// The job was denied for this reason.
pub(super) fn denied(record: Record, reason: &str) -> Record {
    Record {
        outcome: Outcome::Denied,
        reason: Some(reason.to_owned()),
        ..record
    }
}

fn no<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreUnavailable>> {
    ready(Err(StoreUnavailable("only read".into()))).boxed()
}

impl AuditLog for MadeUp {
    fn append(
        &self,
        _: Vec<Happening>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<u64, StoreUnavailable>> {
        no()
    }

    fn tree(&self) -> BoxFuture<'_, Result<TreeHead, StoreUnavailable>> {
        no()
    }

    fn hashes(&self, _: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>> {
        no()
    }

    fn tile_hashes(
        &self,
        _: u8,
        _: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<Hash>, StoreUnavailable>> {
        no()
    }

    fn entries(
        &self,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Vec<LoggedEntry>, StoreUnavailable>> {
        let entries = self.entries.iter();
        let within = entries.filter(|entry| range.contains(&entry.index));
        ready(Ok(within.cloned().collect())).boxed()
    }

    fn search(
        &self,
        filter: Filter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreUnavailable>> {
        let before = before.unwrap_or(u64::MAX);
        let entries = self.entries.iter().rev();
        let older: Vec<&LoggedEntry> = entries.filter(|entry| entry.index < before).collect();
        let looked_at = &older[..older.len().min(LOOKED_AT)];
        let wanted = looked_at.iter().filter(|logged| {
            let entry = logged.entry();
            entry.map_or(filter == Filter::default(), |entry| filter.matches(&entry))
        });
        let entries: Vec<LoggedEntry> =
            wanted.take(limit).map(|logged| (*logged).clone()).collect();
        let last = if entries.len() == limit {
            entries.last().map(|last| last.index)
        } else {
            looked_at.last().map(|last| last.index)
        };
        let next = last.filter(|last| *last > 0);
        ready(Ok(Page { entries, next })).boxed()
    }

    fn remove_personal_values(
        &self,
        _: UnixTime,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        no()
    }

    fn fault(&self) -> Option<LogFault> {
        None
    }

    fn checkpoint_key(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        no()
    }

    fn keep_checkpoint_key(
        &self,
        _: Option<Vec<u8>>,
        _: Vec<u8>,
        _: Happening,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        no()
    }

    fn checkpoint(&self, _: Kept) -> BoxFuture<'_, Result<Option<String>, StoreUnavailable>> {
        no()
    }

    fn keep_checkpoint(&self, _: Kept, _: String) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        no()
    }
}

impl PolicyHistory for MadeUp {
    fn policies_on_record(
        &self,
    ) -> BoxFuture<'_, Result<HashMap<String, OnRecord>, StoreUnavailable>> {
        let files = self.in_force.iter().map(|(file, digest)| {
            let on_record = OnRecord {
                in_force: Some(digest.clone()),
                ..OnRecord::default()
            };
            (file.clone(), on_record)
        });
        ready(Ok(files.collect())).boxed()
    }

    fn record_policies(
        &self,
        _: Vec<RecordedChange>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        no()
    }

    fn policy_text(
        &self,
        digest: String,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        let text = self.texts.get(&digest);
        ready(Ok(text.map(|text| text.clone().into_bytes()))).boxed()
    }
}

/// The moment so many seconds after noon.
pub(super) fn at(seconds: u32) -> UnixTime {
    noon().plus(Seconds(seconds))
}

/// A branch as a claim.
pub(super) fn branch(name: &str) -> (&'static str, Value) {
    ("ref", json!(format!("refs/heads/{name}")))
}
