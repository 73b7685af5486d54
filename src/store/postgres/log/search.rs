//! Looking for entries, the newest first.
//!
//! The part of the log that can hold what is wanted is narrowed by time first. In what is packed, the postings of all wanted
//! facts are laid over each other, many chunks at once; names and token ids are looked for among those of a chunk. What is
//! not packed, and where only some entries are of the time that is wanted, is looked through by marks. Whatever may be wanted
//! is then read and asked itself.

use std::ops::Range;

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::super::fault::Fault;
use super::batches::{End, Found, Unreadable, each, marks, signed, unsigned};
use super::places::{CHUNK, Places};
use super::terms::{Term, terms};
use crate::audit::{DecisionId, Entry, Filter, LoggedEntry, Record, Wanted};
use crate::ledger::{BEHIND_AT_MOST, LARGEST_PAGE, Page};

/// How many entries are looked through by their marks at first, and at most at once.
const ROWS: (u64, u64) = (128, 4096);

/// The same in chunks, of postings.
const CHUNKS: (u64, u64) = (16, 1024);

/// The same in chunks, of names and token ids.
const CHUNKS_OF_IDS: (u64, u64) = (4, 64);

/// How much one question looks at: so many marks of entries, each of 56 octets, or what takes as long.
const MOST_LOOKS: u64 = 131_072;

/// What a chunk costs of that if its postings are read, and if all its names or token ids are.
const LOOKS_OF_POSTINGS: u64 = 32;
const LOOKS_OF_IDS: u64 = 512;

/// How many entries one question reads that turn out not to be wanted.
const MOST_MISSES: usize = 4096;

/// How many entries are read at once at most.
const READ_AT_ONCE: usize = 256;

/// Where the log ends, and the first batches whose latest times reach $1, $2, $3 and $4; null asks for none.
const PLACE: &str = "
SELECT h.size, p.packed, h.withheld_from, h.put_back,
    (SELECT b.first FROM countersign.log_batches b WHERE b.latest >= $1 ORDER BY b.latest, b.first LIMIT 1),
    (SELECT b.first FROM countersign.log_batches b WHERE b.latest >= $2 ORDER BY b.latest, b.first LIMIT 1),
    (SELECT b.first FROM countersign.log_batches b WHERE b.latest >= $3 ORDER BY b.latest, b.first LIMIT 1),
    (SELECT b.first FROM countersign.log_batches b WHERE b.latest >= $4 ORDER BY b.latest, b.first LIMIT 1)
FROM countersign.log_head h, countersign.log_progress p";

/// The chunks from $2 to before $3 that have all $4 terms of $1, the last first, with the places of each term.
const POSTINGS: &str = "
SELECT p.chunk, array_agg(p.places) FROM countersign.log_postings p
WHERE p.term = ANY ($1::bigint[]) AND p.chunk >= $2 AND p.chunk < $3
GROUP BY p.chunk HAVING count(*) = $4 ORDER BY p.chunk DESC";

/// The chunks from $1 to before $2 that may have a name with the mark $3, with the marks of all their names.
const IDS: &str = "
SELECT c.chunk, c.ids FROM countersign.log_chunks c
WHERE c.chunk >= $1 AND c.chunk < $2 AND position($3::bytea IN c.ids) > 0 ORDER BY c.chunk";

/// The same of the ids of tokens.
const TOKEN_IDS: &str = "
SELECT c.chunk, c.token_ids FROM countersign.log_chunks c
WHERE c.chunk >= $1 AND c.chunk < $2 AND position($3::bytea IN c.token_ids) > 0 ORDER BY c.chunk";

/// The part of the log in which entries can be of a time that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    /// All of it.
    all: Range<u64>,
    /// Where every entry is of a time that is wanted.
    certain: Range<u64>,
    /// How many entries of the log are packed.
    packed: u64,
}

/// At most `limit` entries that `filter` wants, the newest first, from before the entry `before`.
pub(super) async fn search(
    client: &impl GenericClient,
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
) -> Result<Page, Unreadable> {
    let wanted = filter.wanted();
    let span = narrowed(client, &wanted).await?;
    let mut looking = Looking {
        client,
        filter,
        wanted,
        limit,
        at: before.unwrap_or(u64::MAX).min(span.all.end),
        entries: Vec::new(),
        octets: 0,
        misses: 0,
        looks: 0,
    };
    looking.through(&span).await?;
    let next = (looking.at > span.all.start).then_some(looking.at);
    let entries = looking.entries;
    Ok(Page { entries, next })
}

/// A question that is being answered.
struct Looking<'a, C> {
    client: &'a C,
    filter: &'a Filter,
    wanted: Wanted,
    limit: usize,
    /// Everything from here on was looked at.
    at: u64,
    entries: Vec<LoggedEntry>,
    octets: usize,
    misses: usize,
    looks: u64,
}

/// How the part of the log is looked at in which every entry is of a time that is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Every entry is.
    All,
    /// By postings.
    Postings,
    /// By the marks of names, or of token ids.
    Ids(&'static str, u32),
}

impl<C: GenericClient + Sync> Looking<'_, C> {
    async fn through(&mut self, span: &Span) -> Result<(), Unreadable> {
        let packed = self.way_in_packed();
        // Names are rare enough to be asked for wherever they may be.
        let certain = match packed {
            Way::Ids(..) => &span.all,
            _ => &span.certain,
        };
        let packed_until = match packed {
            Way::All => certain.end,
            _ => certain.end.min(span.packed),
        };
        let middle = certain.start.min(packed_until)..packed_until;
        while self.at > span.all.start && !self.is_done() {
            if self.at > middle.end {
                let from = middle.end.max(span.all.start);
                self.by_marks(from).await?;
            } else if self.at > middle.start {
                match packed {
                    Way::All => self.all(middle.start).await?,
                    Way::Ids(asked, mark) => self.by_ids(middle.start, asked, mark).await?,
                    Way::Postings => self.by_postings(middle.start).await?,
                }
            } else {
                self.by_marks(span.all.start).await?;
            }
        }
        Ok(())
    }

    fn way_in_packed(&self) -> Way {
        let marks = &self.wanted.marks;
        match (marks.id, marks.token_id) {
            (0, 0) if terms(marks).next().is_none() => Way::All,
            (0, 0) => Way::Postings,
            (0, token_id) => Way::Ids(TOKEN_IDS, token_id),
            (id, _) => Way::Ids(IDS, id),
        }
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
            || self.octets >= LARGEST_PAGE
            || self.misses >= MOST_MISSES
    }

    fn is_done(&self) -> bool {
        self.is_full() || self.looks >= MOST_LOOKS
    }

    /// Looks at every entry down to `from`.
    async fn all(&mut self, from: u64) -> Result<(), Unreadable> {
        let block = self.limit.saturating_sub(self.entries.len());
        let block = block.clamp(1, READ_AT_ONCE) as u64;
        let first = self.at.saturating_sub(block).max(from);
        let numbers: Vec<u64> = (first..self.at).rev().collect();
        self.take(&numbers, first).await
    }

    /// Looks at entries down to `from` by their marks.
    async fn by_marks(&mut self, from: u64) -> Result<(), Unreadable> {
        let mut block = ROWS.0;
        while self.at > from && !self.is_done() {
            let first = self.at.saturating_sub(block).max(from);
            let found = marks(self.client, first..self.at).await?;
            self.looks += self.at - first;
            let numbered = (first..self.at).rev().zip(found.iter().rev());
            let may_be = numbered.filter(|(_, marks)| self.wanted.may_be(marks));
            let numbers: Vec<u64> = may_be.map(|(number, _)| number).collect();
            self.take(&numbers, first).await?;
            block = (block * 4).min(ROWS.1);
        }
        Ok(())
    }

    /// Looks at packed entries down to `from` by their postings.
    async fn by_postings(&mut self, from: u64) -> Result<(), Unreadable> {
        let terms: Vec<Term> = terms(&self.wanted.marks).collect();
        let count = i64::try_from(terms.len()).unwrap_or(i64::MAX);
        let statement = self.client.prepare_cached(POSTINGS).await?;
        let mut block = CHUNKS.0;
        while self.at > from && !self.is_done() {
            let (low, high, first) = chunks(self.at, block, from);
            let rows = self
                .client
                .query(&statement, &[&terms, &signed(low), &signed(high), &count])
                .await?;
            self.looks += (high - low) * LOOKS_OF_POSTINGS;
            let mut numbers = Vec::new();
            for row in &rows {
                let chunk = unsigned(row, 0)?;
                let places = laid_over(row, chunk)?;
                let found = places.iter().rev();
                let found = found.map(|place| chunk * CHUNK + u64::from(place));
                numbers.extend(found.filter(|number| (first..self.at).contains(number)));
                if numbers.len() >= self.limit.saturating_sub(self.entries.len()) {
                    self.take(&numbers, chunk * CHUNK).await?;
                    numbers.clear();
                    if self.is_full() {
                        return Ok(());
                    }
                }
            }
            self.take(&numbers, first).await?;
            block = (block * 4).min(CHUNKS.1);
        }
        Ok(())
    }

    /// Looks at packed entries down to `from` by the marks of their names or token ids.
    async fn by_ids(&mut self, from: u64, asked: &str, mark: u32) -> Result<(), Unreadable> {
        let mut block = CHUNKS_OF_IDS.0;
        while self.at > from && !self.is_done() {
            let (low, high, first) = chunks(self.at, block, from);
            let mut numbers = with_mark(self.client, asked, low..high, mark).await?;
            self.looks += (high - low) * LOOKS_OF_IDS;
            numbers.retain(|number| (first..self.at).contains(number));
            numbers.reverse();
            self.take(&numbers, first).await?;
            block = (block * 4).min(CHUNKS_OF_IDS.1);
        }
        Ok(())
    }

    /// Reads entries that may be wanted, descending, and keeps those that are. If nothing keeps it from going on after, all
    /// down to `first` was looked at.
    async fn take(&mut self, numbers: &[u64], first: u64) -> Result<(), Unreadable> {
        let mut rest = numbers;
        while !rest.is_empty() {
            let wants = self.limit.saturating_sub(self.entries.len());
            let (some, _) = rest.split_at(rest.len().min(wants.clamp(1, READ_AT_ONCE)));
            let room = LARGEST_PAGE.saturating_sub(self.octets);
            let found = each(self.client, some, room).await?;
            if found.is_empty() {
                break;
            }
            rest = rest.get(found.len()..).unwrap_or_default();
            for found in found {
                self.at = found.entry.index;
                if self.filter.matches(&read(&found)?) {
                    self.octets += found.entry.octets();
                    self.entries.push(found.entry);
                } else {
                    self.misses += 1;
                }
                if self.is_full() {
                    return Ok(());
                }
            }
        }
        self.at = first;
        Ok(())
    }
}

/// The chunks to be looked at next below the entry `at`: at most `block` of them, and the first entry of them that is not
/// before `from`.
fn chunks(at: u64, block: u64, from: u64) -> (u64, u64, u64) {
    let high = at.div_ceil(CHUNK);
    let low = high.saturating_sub(block).max(from / CHUNK);
    (low, high, (low * CHUNK).max(from))
}

/// The places in a chunk that have all terms of a row of [`POSTINGS`].
fn laid_over(row: &Row, chunk: u64) -> Result<Places, Unreadable> {
    let each: Vec<&[u8]> = row.try_get(1)?;
    let mut all: Option<Places> = None;
    for octets in each {
        let places = Places::read(octets).ok_or_else(|| strange_postings(chunk))?;
        all = Some(match all {
            None => places,
            Some(mut all) => {
                all.keep(&places);
                all
            }
        });
    }
    Ok(all.unwrap_or(Places::NONE))
}

/// The entries of chunks whose name, or token id, has a mark; ascending.
async fn with_mark(
    client: &impl GenericClient,
    asked: &str,
    chunks: Range<u64>,
    mark: u32,
) -> Result<Vec<u64>, Unreadable> {
    let statement = client.prepare_cached(asked).await?;
    let mark = mark.to_le_bytes();
    let (low, high) = (signed(chunks.start), signed(chunks.end));
    let rows = client
        .query(&statement, &[&low, &high, &mark.as_slice()])
        .await?;
    let mut numbers = Vec::new();
    for row in rows {
        let chunk = unsigned(&row, 0)?;
        let ids: &[[u8; 4]] = row.try_get::<_, &[u8]>(1)?.as_chunks().0;
        if ids.len() as u64 != CHUNK {
            return Err(strange_chunk(chunk));
        }
        let found = (chunk * CHUNK..).zip(ids).filter(|(_, id)| **id == mark);
        numbers.extend(found.map(|(number, _)| number));
    }
    Ok(numbers)
}

/// Postings that were never written. They are looked at together with the last entry of the chunk.
pub(super) fn strange_postings(chunk: u64) -> Unreadable {
    let (first, last) = (chunk * CHUNK, (chunk + 1) * CHUNK - 1);
    Unreadable::Damaged {
        index: last,
        what: format!(
            "what entries {first} to {last} are found by is not what was written: table `countersign.log_postings`, rows \
             with chunk = {chunk}"
        ),
    }
}

/// Names or token ids that were never written. They are looked at together with the last entry of the chunk.
pub(super) fn strange_chunk(chunk: u64) -> Unreadable {
    let (first, last) = (chunk * CHUNK, (chunk + 1) * CHUNK - 1);
    Unreadable::Damaged {
        index: last,
        what: format!(
            "the marks of the names of entries {first} to {last} are not what was written: table `countersign.log_chunks`, \
             row with chunk = {chunk}"
        ),
    }
}

/// The entry as it is asked. What is JSON and no entry that this program knows is no damage.
fn read(found: &Found) -> Result<Entry, Unreadable> {
    found.entry.entry().map_err(|invalid| Unreadable::Damaged {
        index: found.entry.index,
        what: format!(
            "{invalid}: {}",
            super::batches::place(found.entry.index, found.batch)
        ),
    })
}

/// Where the entries are that are of a time that is wanted.
///
/// The latest time of all entries before rises from batch to batch, so the first that can be wanted is found by its index. An
/// entry may be behind the latest one, but no more than [`BEHIND_AT_MOST`], unless the clock was put back after.
async fn narrowed(client: &impl GenericClient, wanted: &Wanted) -> Result<Span, Unreadable> {
    let since = (wanted.since_millis != i64::MIN).then_some(wanted.since_millis);
    let until = (wanted.until_millis != i64::MAX).then_some(wanted.until_millis);
    let behind = |at: i64| at.saturating_add(BEHIND_AT_MOST);
    let statement = client.prepare_cached(PLACE).await?;
    let (sure_since, sure_until) = (since.map(behind), until.map(behind));
    let row = client
        .query_one(&statement, &[&since, &sure_since, &until, &sure_until])
        .await?;
    let log = Log {
        end: End {
            size: unsigned(&row, 0)?,
            packed: unsigned(&row, 1)? * CHUNK,
            withheld_from: unsigned(&row, 2)?,
        },
        put_back: unsigned(&row, 3)?,
    };
    let place = |asked: Option<i64>, column| match asked {
        None => Ok(None),
        Some(_) => first_of(&row, column, log.end.size).map(Some),
    };
    let times = Times {
        since: place(since, 4)?,
        sure_since: place(sure_since, 5)?,
        until: place(until, 6)?,
        sure_until: place(sure_until, 7)?,
    };
    Ok(log.span(&times))
}

/// The end of the log, and the entry that says that the clock was put back last; 0 if there is none.
struct Log {
    end: End,
    put_back: u64,
}

/// Where the latest time of all entries before reaches a time: the first entry of that batch.
struct Times {
    /// The first time that is wanted, and [`BEHIND_AT_MOST`] later.
    since: Option<u64>,
    sure_since: Option<u64>,
    /// The first time after that is not, and [`BEHIND_AT_MOST`] later.
    until: Option<u64>,
    sure_until: Option<u64>,
}

impl Log {
    fn span(&self, times: &Times) -> Span {
        let size = self.end.size;
        let end = match times.sure_until {
            Some(place) if self.put_back <= place => place,
            _ => size,
        };
        let start = times.since.unwrap_or(0).min(end);
        let sure_start = match times.sure_since {
            None => 0,
            Some(place) if self.put_back <= place => place,
            Some(_) => size,
        };
        let sure_end = times.until.unwrap_or(size).min(end);
        Span {
            all: start..end,
            certain: sure_start.clamp(start, sure_end.max(start))..sure_end.max(start),
            packed: self.end.packed,
        }
    }
}

fn first_of(row: &Row, column: usize, size: u64) -> Result<u64, Fault> {
    let first: Option<i64> = row.try_get(column)?;
    Ok(first.map_or(size, |first| u64::try_from(first).unwrap_or_default()))
}

/// The record of a decision.
pub(super) async fn decision(
    client: &impl GenericClient,
    id: DecisionId,
) -> Result<Option<Record>, Unreadable> {
    let filter = Filter {
        kind: Some("decision".into()),
        id: Some(id.to_string()),
        ..Filter::default()
    };
    let wanted = filter.wanted();
    let span = narrowed(client, &wanted).await?;
    // It is among the first: only what was under way at the same moment can stand before it.
    let packed = span.packed.clamp(span.all.start, span.all.end);
    let (mut at, mut block) = (span.all.start, 1);
    while at < packed {
        let low = at / CHUNK;
        let high = (low + block).min(packed.div_ceil(CHUNK));
        let mut numbers = with_mark(client, IDS, low..high, wanted.marks.id).await?;
        let end = (high * CHUNK).min(packed);
        numbers.retain(|number| (at..end).contains(number));
        if let Some(record) = decision_among(client, &filter, &numbers).await? {
            return Ok(Some(record));
        }
        at = end;
        block = (block * 4).min(CHUNKS_OF_IDS.1);
    }
    let mut block = ROWS.0;
    while at < span.all.end {
        let end = (at + block).min(span.all.end);
        let found = marks(client, at..end).await?;
        let may_be = (at..).zip(&found).filter(|(_, marks)| wanted.may_be(marks));
        let numbers: Vec<u64> = may_be.map(|(number, _)| number).collect();
        if let Some(record) = decision_among(client, &filter, &numbers).await? {
            return Ok(Some(record));
        }
        at = end;
        block = (block * 4).min(ROWS.1);
    }
    Ok(None)
}

async fn decision_among(
    client: &impl GenericClient,
    filter: &Filter,
    numbers: &[u64],
) -> Result<Option<Record>, Unreadable> {
    for number in numbers {
        for found in each(client, &[*number], usize::MAX).await? {
            let entry = read(&found)?;
            if filter.matches(&entry)
                && let Entry::Decision(record) = entry
            {
                return Ok(Some(*record));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(put_back: u64) -> Log {
        Log {
            end: End {
                size: 1000,
                packed: 500,
                withheld_from: 0,
            },
            put_back,
        }
    }

    #[test]
    fn the_time_narrows_what_is_looked_at_and_what_is_certain() {
        let all = Times {
            since: None,
            sure_since: None,
            until: None,
            sure_until: None,
        };
        let span = log(0).span(&all);
        assert_eq!((span.all, span.certain), (0..1000, 0..1000));
        let times = Times {
            since: Some(100),
            sure_since: Some(200),
            until: Some(600),
            sure_until: Some(700),
        };
        let span = log(150).span(&times);
        assert_eq!((span.all, span.certain), (100..700, 200..600));
        let span = log(300).span(&times);
        assert_eq!((span.all, span.certain), (100..700, 600..600));
        let span = log(800).span(&times);
        assert_eq!((span.all, span.certain), (100..1000, 600..600));
        let short = Times {
            since: Some(100),
            sure_since: Some(1000),
            until: Some(100),
            sure_until: Some(1000),
        };
        let span = log(0).span(&short);
        assert_eq!((span.all, span.certain), (100..1000, 100..100));
    }

    #[test]
    fn chunks_are_looked_at_from_the_last_down() {
        assert_eq!(chunks(1, 16, 0), (0, 1, 0));
        assert_eq!(chunks(4096, 16, 0), (0, 1, 0));
        assert_eq!(chunks(4097, 1, 0), (1, 2, 4096));
        assert_eq!(chunks(40_960, 4, 30_000), (7, 10, 30_000));
        assert_eq!(chunks(40_960, 1, 30_000), (9, 10, 36_864));
    }
}
