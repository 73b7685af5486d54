//! Which policies the log says are in force, and the text of every version.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::super::draft::{Draft, Entry, Fault};
use super::super::queue::Share;
use super::super::{EmbeddedStore, keys};
use super::sealed_events;
use crate::clock::UnixTime;
use crate::directory::{OnRecord, PolicyChange, PolicyHistory};
use crate::ledger::StoreUnavailable;

/// What is kept of a file.
#[derive(Serialize, Deserialize)]
struct KeptFile {
    file: String,
    on_record: OnRecord,
}

impl PolicyHistory for EmbeddedStore {
    fn policies_on_record(
        &self,
    ) -> BoxFuture<'_, Result<HashMap<String, OnRecord>, StoreUnavailable>> {
        use futures_util::FutureExt;
        let read = |draft: &Draft<'_>| {
            let texts = draft.texts(&[keys::POLICY]);
            texts.map_err(|error| error.to_string())
        };
        async move {
            let found = self.read_each(read, parse).await?;
            let found = found.into_iter().map(|kept| (kept.file, kept.on_record));
            Ok(found.collect())
        }
        .boxed()
    }

    fn record_policies(
        &self,
        changes: Vec<PolicyChange>,
        now: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        let events = sealed_events(changes.iter().map(|change| change.event.clone()), now);
        let kept: Result<Vec<_>, _> = changes.into_iter().map(Keeps::of).collect();
        self.ask(Share::Whole, move |draft| {
            let kept = kept.map_err(|error| Fault::Refused(error.to_string()))?;
            for (event, keeps) in events?.into_iter().zip(kept) {
                if draft.text(&keeps.file)? != keeps.on_record {
                    draft.put_entry(event)?;
                    keeps.put(draft)?;
                }
            }
            Ok(())
        })
    }

    fn policy_text(
        &self,
        digest: String,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        self.read(move |draft| {
            let text = draft.text(&keys::policy_text(&digest));
            // The first octet only says that there is a text: one of no octets has no pieces.
            let text = text.map_err(|error| error.to_string())?;
            Ok(text.map(|text| text.get(1..).unwrap_or_default().to_vec()))
        })
    }
}

/// What one change has written.
struct Keeps {
    file: Vec<u8>,
    /// The JSON of what is remembered of the file.
    on_record: Option<Vec<u8>>,
    /// The key of a text, and the text.
    text: Option<(Vec<u8>, Vec<u8>)>,
}

impl Keeps {
    fn of(change: PolicyChange) -> Result<Self, serde_json::Error> {
        let key = keys::policy(&change.file);
        let file = change.file;
        let json = |on_record| serde_json::to_vec(&KeptFile { file, on_record });
        let text = change.text;
        Ok(Self {
            file: key,
            on_record: change.on_record.map(json).transpose()?,
            text: text.map(|(digest, text)| {
                let marked = [&[1], text.as_slice()].concat();
                (keys::policy_text(&digest), marked)
            }),
        })
    }

    fn put(self, draft: &mut Draft<'_>) -> Result<(), Fault> {
        match self.on_record {
            Some(json) => draft.replace_text(&self.file, &json)?,
            None => draft.remove_text(&self.file)?,
        }
        match self.text {
            Some((key, text)) if draft.text(&key)?.is_none() => draft.put_text(&key, &text),
            _ => Ok(()),
        }
    }
}

fn parse((_, json): &Entry) -> Result<KeptFile, String> {
    serde_json::from_slice(json)
        .map_err(|error| format!("what is kept of a policy is damaged: {error}"))
}
