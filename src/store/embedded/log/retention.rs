//! Deleting what leaves do not hold, when it has been kept as long as it should.
//!
//! First the marks are erased that come from what is deleted, in small commits: they could tell a guessed value from a
//! wrong one. Then one commit says that the values are deleted, from where they are not seen any more, and holds the entry
//! about it. The follower then deletes what the journal has of them, and their files last: as long as one of those is
//! there, it is not done, and the next start goes on with it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::EmbeddedStore;
use super::super::draft::{Draft, Fault};
use super::super::queue::Share;
use super::super::reached::LogEnd;
use super::heap::Place;
use super::row::{REPOSITORY, Row, SUBJECT};
use super::whole::{Erased, LogFiles, MOST_ERASED, Unreadable, WITHHELD_FILE};
use crate::audit::{Event, Happening, Sealed};
use crate::clock::UnixTime;
use crate::ledger::StoreUnavailable;

/// How often it is tried again because an entry came in between that has its values in the file that was to go.
const TRIES: usize = 5;

/// How many rows are looked at at once.
const BLOCK: u64 = 4096;

/// What is to be deleted.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// The withheld values before this place, the beginning of a file.
    from: u64,
    /// Where the withheld values ended when this was planned.
    end: u64,
    /// Those of the entries from this one on,
    first: u64,
    /// to before this one.
    until: u64,
}

/// Keeps the promise of [`crate::ledger::AuditLog::remove_personal_values`].
pub(super) async fn remove(
    store: &EmbeddedStore,
    before: UnixTime,
    now: UnixTime,
) -> Result<bool, StoreUnavailable> {
    for _ in 0..TRIES {
        let planned = store.read_log(move |shared| {
            shared.in_log(|files, log| planned(files, log, before.millis()))
        });
        let Some(plan) = planned.await? else {
            return Ok(false);
        };
        let mut at = plan.first;
        while at < plan.until {
            let end = plan.until.min(at + MOST_ERASED);
            let erased = store.read_log(move |shared| {
                shared.in_log(|files, _| without_telling_marks(files, at, end))
            });
            if let Some(erased) = erased.await? {
                let erasing = store.ask(Share::Whole, |draft| {
                    draft.erase(erased);
                    Ok(())
                });
                erasing.await?;
            }
            at = end;
        }
        let removing = store.ask(Share::Whole, move |draft| plan.carry_out(draft, now));
        if removing.await? {
            let Ok(()) = store.0.progress.gone(plan.from, &store.0.signal).await else {
                return Err(StoreUnavailable(
                    "the values are deleted for whoever asks; their files will be when the store goes on".into(),
                ));
            };
            return Ok(true);
        }
    }
    Ok(false)
}

impl Plan {
    /// Puts it into a commit. Answers false, and does nothing, if something came in between.
    fn carry_out(&self, draft: &mut Draft<'_>, now: UnixTime) -> Result<bool, Fault> {
        let log = *draft.log();
        let takes_last = self.from > log.withheld;
        if self.from <= log.withheld_from || (takes_last && self.end != log.withheld) {
            return Ok(false);
        }
        let until = if takes_last { log.size } else { self.until };
        let removed = Happening::PersonalValuesRemoved { until };
        let event = Sealed::of_event(Event::new(removed, now))?;
        draft.put_entry(event)?;
        draft.remove_withheld(self.from);
        Ok(true)
    }
}

/// Which files can be deleted, all of whose entries are from before `before`.
fn planned(files: &LogFiles, log: &LogEnd, before: i64) -> Result<Option<Plan>, Unreadable> {
    let ends_before = |place: u64| files.partition(log.size, |row| row.withheld.start < place);
    let mut from = log.withheld_from;
    let first = ends_before(from)?;
    let mut until = first;
    while from < log.withheld {
        let next = ends_before(from + WITHHELD_FILE)?;
        if !all_before(files, until, next, before)? {
            break;
        }
        from += WITHHELD_FILE;
        until = next;
    }
    let plan = Plan {
        from,
        end: log.withheld,
        first,
        until,
    };
    Ok((from > log.withheld_from).then_some(plan))
}

/// Whether every entry of a range that has withheld values is from before `before`.
fn all_before(files: &LogFiles, first: u64, end: u64, before: i64) -> Result<bool, Unreadable> {
    let mut at = end;
    while at > first {
        let start = at.saturating_sub(BLOCK).max(first);
        let rows = files.rows.read(start..at)?;
        // The last ones are the ones that may be too young.
        for (index, row) in rows.iter().rev() {
            let row = files.whole(index, row)?;
            if row.withheld.length > 0 && row.marks.at_millis >= before {
                return Ok(false);
            }
        }
        at = start;
    }
    Ok(true)
}

/// The rows of a range without the marks of values that leaves do not hold. `None` if there are no such marks.
fn without_telling_marks(
    files: &LogFiles,
    first: u64,
    end: u64,
) -> Result<Option<Erased>, Unreadable> {
    let read = files.rows.read(first..end)?;
    let tells = |row: &Row| {
        row.withheld.length > 0 && (row.marks.subject != 0 || row.marks.repository != 0)
    };
    let rows = read.iter().map(|(_, row)| Row::read(row));
    let places: Vec<Place> = rows.filter(tells).map(|row| row.withheld).collect();
    let mut values = files.withheld.read_all(&places).into_iter();
    let (mut octets, mut any) = (Vec::new(), false);
    for (index, written) in read.iter() {
        let row = Row::read(written);
        let erased = match tells(&row).then(|| values.next()).flatten() {
            None => 0,
            Some(Ok(json)) => marks_of(&json),
            // What cannot be read may have been anything.
            Some(Err(_)) => SUBJECT | REPOSITORY,
        };
        // A row that is damaged stays so: it is not for this to make it look whole.
        let changes = erased != 0 && Row::is_whole(written, index);
        let now = if changes {
            row.without(erased).write(index)
        } else {
            *written
        };
        any |= now != *written;
        octets.extend(now);
    }
    Ok(any.then_some(Erased {
        first,
        rows: octets,
    }))
}

/// The marks that come from these withheld values.
fn marks_of(json: &[u8]) -> u8 {
    let Ok(values) = serde_json::from_slice::<Places>(json) else {
        return SUBJECT | REPOSITORY;
    };
    let subject = values.subject.map_or(0, |_| SUBJECT);
    subject | values.repository.map_or(0, |_| REPOSITORY)
}

/// Those of the places of withheld values that have marks.
#[derive(Deserialize)]
struct Places {
    #[serde(rename = "/subject")]
    subject: Option<IgnoredAny>,
    #[serde(rename = "/repository")]
    repository: Option<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_of_what_is_withheld_are_those_that_tell() {
        assert_eq!(
            marks_of(br#"{"/client_address":{},"/subject":{}}"#),
            SUBJECT
        );
        assert_eq!(marks_of(br#"{"/repository":{}}"#), REPOSITORY);
        assert_eq!(marks_of(br#"{"/claims/actor":{"json":"\"/subject\""}}"#), 0);
        assert_eq!(marks_of(b"damaged"), SUBJECT | REPOSITORY);
    }
}
