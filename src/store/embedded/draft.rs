//! A commit in the making: reads see what it already holds, and nothing is written before it is complete.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::index::Index;
use super::keys::{self, LONGEST_PIECE};
use super::layers::Layers;
use super::log::{Added, Erased, Place, withholds};
use super::reached::LogEnd;
use super::shared::Shared;
use crate::audit::{Event, Happening, Sealed, Unsealable};
use crate::clock::{Seconds, UnixTime};

/// Keys with their new values; `None` removes.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A key with its value.
pub(super) type Entry = (Vec<u8>, Vec<u8>);

/// Why a job has no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// This job cannot be done, and has written nothing. Its neighbours are not touched.
    Refused(String),
    /// The database failed. Nothing of the whole draft may be kept.
    Broken(sled::Error),
}

impl From<Unsealable> for Fault {
    fn from(error: Unsealable) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        Self::Broken(error)
    }
}

/// Keys that may be forgotten within this span stand in one list.
const ALIKE: Seconds = Seconds(600);

/// How many lists are looked at for a small number of keys.
const LISTS: usize = 16;

/// The writes that were decided so far, over what is there.
pub(super) struct Draft<'a> {
    tree: &'a sled::Tree,
    layers: &'a Layers,
    /// Where the log ends with the entries that were added.
    log: LogEnd,
    entries: Vec<Added>,
    erased: Vec<Erased>,
    writes: Writes,
    /// The keys that are put with a time after which they may be forgotten.
    expiring: Vec<(UnixTime, Vec<u8>)>,
    /// How far spent tokens are forgotten, once that was looked up.
    forgotten: OnceCell<Option<UnixTime>>,
    needs_room: bool,
}

/// What a draft came to.
pub(super) struct Drafted {
    /// What is added to the log.
    pub(super) entries: Vec<Added>,
    /// What is made forgotten of entries.
    pub(super) erased: Vec<Erased>,
    /// Where the log ends then.
    pub(super) log: LogEnd,
    /// What changes in the index.
    pub(super) writes: Writes,
}

impl<'a> Draft<'a> {
    /// A draft over `index`, what `shared` has over it, and the records.
    pub(super) fn over(index: &'a Index, shared: &'a Shared) -> Result<Self, String> {
        Ok(Self {
            tree: index.tree()?,
            layers: &shared.layers,
            log: shared.layers.reached().log,
            entries: Vec::new(),
            erased: Vec::new(),
            writes: Writes::new(),
            expiring: Vec::new(),
            forgotten: OnceCell::new(),
            needs_room: false,
        })
    }

    /// The value under `key`, as it will be after the commit.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, sled::Error> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.layers.get(self.tree, key),
        }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    /// Puts the value of a spent token or a denial, which may be forgotten after `until`.
    pub(super) fn put_until(&mut self, until: UnixTime, key: Vec<u8>, value: Vec<u8>) {
        self.expiring.push((until, key.clone()));
        self.put(key, value);
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    /// Every key that begins with `prefix`, with its value, in order, as it will be after the commit.
    pub(super) fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, sled::Error> {
        let to = keys::after_all(prefix);
        let found = self.layers.range(self.tree, prefix, &to, usize::MAX)?;
        let found = found.into_iter().map(|(key, value)| (key, Some(value)));
        let mut found: BTreeMap<_, _> = found.collect();
        let ours = self.writes.range(prefix.to_vec()..);
        for (key, value) in ours.take_while(|(key, _)| key.starts_with(prefix)) {
            found.insert(key.clone(), value.clone());
        }
        let present = |(key, value): (_, Option<_>)| value.map(|value| (key, value));
        Ok(found.into_iter().filter_map(present).collect())
    }

    /// At most `limit` keys from `from` on and before `to`, with their values, in order, as they are before the commit.
    pub(super) fn page(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, sled::Error> {
        self.layers.range(self.tree, from, to, limit)
    }

    /// Puts a text in place of an earlier one.
    pub(super) fn replace_text(&mut self, key: &[u8], text: &[u8]) -> Result<(), Fault> {
        self.remove_text(key)?;
        self.put_text(key, text)
    }

    /// Puts a text where there is none.
    pub(super) fn put_text(&mut self, key: &[u8], text: &[u8]) -> Result<(), Fault> {
        let pieces = text.len().div_ceil(LONGEST_PIECE);
        if u16::try_from(pieces).is_err() {
            return Err(Fault::Refused(format!(
                "a text of {} octets is too long to keep",
                text.len()
            )));
        }
        for (number, piece) in (0..=u16::MAX).zip(text.chunks(LONGEST_PIECE)) {
            self.put(keys::piece(key, number), piece.to_vec());
        }
        Ok(())
    }

    pub(super) fn remove_text(&mut self, key: &[u8]) -> Result<(), Fault> {
        for (piece, _) in self.scan(key)? {
            self.remove(piece);
        }
        Ok(())
    }

    /// The text that was put under `key`.
    pub(super) fn text(&self, key: &[u8]) -> Result<Option<Vec<u8>>, sled::Error> {
        let pieces = self.scan(key)?;
        Ok((!pieces.is_empty()).then(|| pieces.into_iter().flat_map(|(_, piece)| piece).collect()))
    }

    /// Every text whose key begins with `prefix`, with its key, in order, as it will be after the commit.
    pub(super) fn texts(&self, prefix: &[u8]) -> Result<Vec<Entry>, sled::Error> {
        let mut texts = Vec::new();
        for (piece, value) in self.scan(prefix)? {
            join_piece(&mut texts, &piece, value);
        }
        Ok(texts)
    }

    /// Adds an entry to the log, and answers its number. It can never be changed.
    ///
    /// If it is further behind the latest entry than requests that overlap are, one goes before it that says that the clock
    /// was put back.
    pub(super) fn put_entry(&mut self, sealed: Sealed) -> Result<u64, Fault> {
        let at = sealed.marks.at_millis;
        let put_back = self.log.put_back_from(at).map(|before_millis| {
            let put_back = Happening::ClockPutBack { before_millis };
            Sealed::of_event(Event::new(put_back, UnixTime::from_millis(at)))
        });
        if let Some(put_back) = put_back.transpose()? {
            self.entries.push(self.log.add(put_back, true));
        }
        let index = self.log.size;
        self.entries.push(self.log.add(sealed, false));
        Ok(index)
    }

    /// Adds an entry of another log, which comes to the same place here: whether the clock was put back is known of it.
    pub(super) fn place(&mut self, sealed: Sealed, is_put_back: bool) {
        self.entries.push(self.log.add(sealed, is_put_back));
    }

    /// The same of an entry whose withheld values were deleted there: they are gone from here too.
    pub(super) fn place_without_values(&mut self, sealed: Sealed, is_put_back: bool) {
        let had_values = withholds(&sealed.leaf);
        let mut added = self.log.add(sealed, is_put_back);
        // They would be in the first file, which is not there.
        added.row.withheld = Place {
            start: 0,
            length: u32::from(had_values),
        };
        self.entries.push(added);
    }

    /// Adds entries, one after another, and answers the number of the first.
    pub(super) fn put_entries(&mut self, all: Vec<Sealed>) -> Result<Option<u64>, Fault> {
        let mut first = None;
        for sealed in all {
            let index = self.put_entry(sealed)?;
            first.get_or_insert(index);
        }
        Ok(first)
    }

    /// Where the log ends, with what this adds.
    pub(super) fn log(&self) -> &LogEnd {
        &self.log
    }

    /// Writes rows again without marks that are made forgotten.
    pub(super) fn erase(&mut self, erased: Erased) {
        self.erased.push(erased);
    }

    /// Lets no withheld value from before `from` be seen any more, the beginning of a file.
    pub(super) fn remove_withheld(&mut self, from: u64) {
        self.log.withheld_from = self.log.withheld_from.max(from);
        self.log.withheld = self.log.withheld.max(from);
    }

    /// Forgets spent tokens and denials whose time is over: `limit`, and some more that stand beside them. Answers how
    /// many it looked at.
    ///
    /// The time is looked up under the key itself: one that has got another time meanwhile stands in another list
    /// too, and stays. How far spent tokens are forgotten is written beside it, see [`Self::remembers`].
    pub(super) fn forget_expired(
        &mut self,
        now: UnixTime,
        limit: usize,
    ) -> Result<usize, sled::Error> {
        let until = keys::expiry_after(now);
        let most = limit.div_ceil(keys::MOST_LISTED).max(LISTS);
        let due = self
            .layers
            .range(self.tree, &[keys::EXPIRY], &until, most)?;
        let before = self.forgotten()?;
        let mut forgotten = before;
        let mut seen = 0;
        for (entry, list) in due {
            if seen >= limit {
                break;
            }
            for key in list.chunks_exact(keys::EXPIRING) {
                seen += 1;
                let until = self.get(key)?.and_then(|value| keys::until(key, &value));
                if let Some(until) = until.filter(|until| *until < now) {
                    self.remove(key.to_vec());
                    if keys::is_spent(key) {
                        forgotten = forgotten.max(Some(until));
                    }
                }
            }
            self.remove(entry);
        }
        if let Some(until) = forgotten.filter(|_| forgotten != before) {
            self.put(keys::FORGOTTEN_KEY.to_vec(), keys::time(until).to_vec());
        }
        Ok(seen)
    }

    /// Whether a spent token that was to be remembered until `until` would still be here. Always so, unless the clock ran
    /// ahead, tokens were forgotten by it, and it was put back: then nobody knows which were spent.
    pub(super) fn remembers(&self, until: UnixTime) -> Result<bool, sled::Error> {
        Ok(self.forgotten()? < Some(until))
    }

    /// The same for every job of a commit: what is forgotten in it is decided last.
    fn forgotten(&self) -> Result<Option<UnixTime>, sled::Error> {
        if let Some(forgotten) = self.forgotten.get() {
            return Ok(*forgotten);
        }
        let value = self.get(keys::FORGOTTEN_KEY)?;
        let forgotten = value.and_then(|value| keys::split_time(&value).map(|(until, _)| until));
        Ok(*self.forgotten.get_or_init(|| forgotten))
    }

    /// Wants to know whether there is room to write, even if nothing is written.
    pub(super) fn need_room(&mut self) {
        self.needs_room = true;
    }

    pub(super) fn needs_room(&self) -> bool {
        self.needs_room || !self.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.entries.is_empty() && self.erased.is_empty()
    }

    /// What the commit `number` writes.
    pub(super) fn finish(mut self, number: u64) -> Drafted {
        self.list_expiring(number);
        Drafted {
            entries: self.entries,
            erased: self.erased,
            log: self.log,
            writes: self.writes,
        }
    }

    /// Notes what may be forgotten when: a list of keys under the last of their times. Those of one list expire at about
    /// the same time, so none is kept much longer than it must be.
    fn list_expiring(&mut self, number: u64) {
        let mut expiring = std::mem::take(&mut self.expiring);
        expiring.sort_unstable();
        let alike = |(one, _): &(UnixTime, _), (other, _): &(UnixTime, _)| *other < one.plus(ALIKE);
        let mut lists = Vec::new();
        let mut rest = expiring.as_slice();
        while let Some(first) = rest.first() {
            let length = rest.iter().take(keys::MOST_LISTED);
            let length = length.take_while(|next| alike(first, next)).count();
            let (list, left) = rest.split_at(length.max(1));
            lists.push(list);
            rest = left;
        }
        for (count, list) in (0..=u16::MAX).zip(lists) {
            let last = list.last().map_or(UnixTime::EPOCH, |(until, _)| *until);
            let names: Vec<u8> = list.iter().flat_map(|(_, key)| key.clone()).collect();
            self.writes
                .insert(keys::expiry(last, number, count), Some(names));
        }
    }
}

/// Adds a piece to the text that it belongs to. Pieces come in order.
pub(super) fn join_piece(texts: &mut Vec<Entry>, piece: &[u8], value: Vec<u8>) {
    let key = piece.split_last_chunk::<2>().map_or(piece, |(key, _)| key);
    match texts.last_mut() {
        Some((last, text)) if last == key => text.extend(value),
        _ => texts.push((key.to_vec(), value)),
    }
}

impl Drafted {
    /// Whether nothing is written.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.entries.is_empty() && self.erased.is_empty()
    }

    /// How many octets of the disk this takes at most.
    pub(super) fn room(&self) -> u64 {
        let writes = self.writes.iter();
        let writes = writes.map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        let entries: usize = self.entries.iter().map(Added::octets).sum();
        // Everything is written to the journal and then to its place; a write of the index with the rest of its leaf
        // when that is written anew.
        (writes.sum::<usize>().saturating_mul(8) + entries.saturating_mul(2)) as u64
    }
}
