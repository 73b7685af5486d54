//! Names without ids: when they were first loaded, and which ids their first use pinned.

use super::draft::{Draft, Entry, Fault};
use super::keys;
use super::promises::damaged;
use crate::audit::{Event, Happening, Sealed};
use crate::clock::UnixTime;
use crate::ledger::RememberedNames;
use crate::ledger::pins::{self, Pinned, PinnedFor, fresh};
use crate::trust::{NameState, Names, PinWish};

/// Where `names` are kept.
pub(super) fn key(names: &Names) -> Result<Vec<u8>, String> {
    let json = serde_json::to_vec(names).map_err(|error| error.to_string())?;
    Ok(keys::names(&names.project, &json))
}

/// Reads what is kept.
pub(super) fn parse((_, json): &Entry) -> Result<RememberedNames, String> {
    serde_json::from_slice(json).map_err(|error| format!("a pin is damaged: {error}"))
}

/// What is kept under `keys`.
pub(super) fn stored(draft: &Draft<'_>, keys: Vec<Vec<u8>>) -> Result<Vec<Entry>, String> {
    let mut found = Vec::new();
    for key in keys {
        let text = draft.text(&key).map_err(|error| error.to_string())?;
        found.extend(text.map(|text| (key, text)));
    }
    Ok(found)
}

/// Remembers that a policy with these names was loaded, unless one was before.
pub(super) fn note(draft: &mut Draft<'_>, names: Names, now: UnixTime) -> Result<(), Fault> {
    if state(draft, &names)?.is_some() {
        return Ok(());
    }
    let state = fresh(now);
    put(draft, &RememberedNames { names, state })
}

/// What the wishes for a decision would change; or the first names to which other ids are pinned.
pub(super) fn compare(
    draft: &Draft<'_>,
    wishes: &[PinWish],
    decision: PinnedFor,
) -> Result<Result<Vec<Pinned>, Names>, Fault> {
    pins::compare(wishes, decision, |names| state(draft, names))
}

/// Writes what a decision pins, and answers an event for each. Nothing is written if that fails.
pub(super) fn write(
    draft: &mut Draft<'_>,
    pinned: &[Pinned],
    decision: PinnedFor,
) -> Result<Vec<Sealed>, Fault> {
    let mut changed = Vec::new();
    let mut events = Vec::new();
    for pinned in pinned.iter().filter(|pinned| pinned.is_change()) {
        changed.push((
            key(&pinned.now.names).map_err(Fault::Refused)?,
            json(&pinned.now)?,
        ));
        if let Some(made) = pinned.event(decision) {
            events.push(Sealed::of_event(Event::new(made, decision.at))?);
        }
    }
    for (key, text) in changed {
        draft.replace_text(&key, &text)?;
    }
    Ok(events)
}

/// Forgets the ids and lets the window begin anew.
pub(super) fn reset(
    draft: &mut Draft<'_>,
    names: Names,
    by: String,
    now: UnixTime,
) -> Result<Option<Event>, Fault> {
    let Some(before) = state(draft, &names)? else {
        return Ok(None);
    };
    let what = Happening::PinReset {
        names: names.clone(),
        ids: before.pin.map(|pin| pin.ids).unwrap_or_default(),
        by,
    };
    let state = fresh(now);
    let event = Event::new(what, now);
    draft.put_entry(Sealed::of_event(event.clone())?)?;
    put(draft, &RememberedNames { names, state })?;
    Ok(Some(event))
}

fn state(draft: &Draft<'_>, names: &Names) -> Result<Option<NameState>, Fault> {
    let key = key(names).map_err(Fault::Refused)?;
    let Some(text) = draft.text(&key)? else {
        return Ok(None);
    };
    // A pin that cannot be read lets nobody in.
    let kept = parse(&(key, text)).map_err(|_| damaged())?;
    Ok(Some(kept.state))
}

pub(super) fn put(draft: &mut Draft<'_>, kept: &RememberedNames) -> Result<(), Fault> {
    let key = key(&kept.names).map_err(Fault::Refused)?;
    draft.replace_text(&key, &json(kept)?)
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value)
        .map_err(|error| Fault::Refused(format!("it cannot be written: {error}")))
}
