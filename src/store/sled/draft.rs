//! A commit in the making: reads see what it already holds, and nothing is written before it is complete.

use std::collections::BTreeMap;

use super::keys::{self, LONGEST_PIECE};
use crate::clock::UnixTime;

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

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        Self::Broken(error)
    }
}

/// The writes that were decided so far, over the database.
pub(super) struct Draft<'a> {
    tree: &'a sled::Tree,
    writes: Writes,
    needs_room: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn over(tree: &'a sled::Tree) -> Self {
        Self {
            tree,
            writes: Writes::new(),
            needs_room: false,
        }
    }

    /// The value under `key`, as it will be after the commit.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, sled::Error> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.tree.get(key)?.map(|value| value.to_vec())),
        }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    /// Every key that begins with `prefix`, with its value, in order, as it will be after the commit.
    pub(super) fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, sled::Error> {
        let mut found = BTreeMap::new();
        for entry in self.tree.scan_prefix(prefix) {
            let (key, value) = entry?;
            found.insert(key.to_vec(), Some(value.to_vec()));
        }
        let ours = self.writes.range(prefix.to_vec()..);
        for (key, value) in ours.take_while(|(key, _)| key.starts_with(prefix)) {
            found.insert(key.clone(), value.clone());
        }
        let present = |(key, value): (_, Option<_>)| value.map(|value| (key, value));
        Ok(found.into_iter().filter_map(present).collect())
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

    /// At most `limit` texts whose keys begin with `kind` and are not below `from`, with their keys, in order. What the
    /// commit in the making writes is not among them.
    pub(super) fn stored_texts(
        &self,
        kind: u8,
        from: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<Entry>, sled::Error> {
        let mut texts = Vec::new();
        for entry in self.tree.range(from..vec![kind + 1]) {
            let (piece, value) = entry?;
            join_piece(&mut texts, &piece, value.to_vec());
            if texts.len() > limit {
                texts.truncate(limit);
                break;
            }
        }
        Ok(texts)
    }

    /// Forgets at most `limit` spent tokens and denials whose time is over.
    ///
    /// The time is looked up under the key itself: an entry of the index that no longer agrees with it is dropped, and
    /// the key stays.
    pub(super) fn forget_expired(
        &mut self,
        now: UnixTime,
        limit: usize,
    ) -> Result<usize, sled::Error> {
        let due = self
            .tree
            .range(vec![keys::INDEX]..keys::index_after(now))
            .keys()
            .take(limit)
            .collect::<Result<Vec<_>, _>>()?;
        for entry in &due {
            let key = keys::indexed(entry).unwrap_or_default();
            let until = self.get(key)?.and_then(|value| keys::until(key, &value));
            if until.is_some_and(|until| until < now) {
                self.remove(key.to_vec());
            }
            self.remove(entry.to_vec());
        }
        Ok(due.len())
    }

    /// Wants to know whether there is room to write, even if nothing is written.
    pub(super) fn need_room(&mut self) {
        self.needs_room = true;
    }

    pub(super) fn needs_room(&self) -> bool {
        self.needs_room || !self.writes.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn into_writes(self) -> Writes {
        self.writes
    }
}

/// Adds a piece to the text that it belongs to. Pieces come in order.
fn join_piece(texts: &mut Vec<Entry>, piece: &[u8], value: Vec<u8>) {
    let key = piece.split_last_chunk::<2>().map_or(piece, |(key, _)| key);
    match texts.last_mut() {
        Some((last, text)) if last == key => text.extend(value),
        _ => texts.push((key.to_vec(), value)),
    }
}

/// How many octets `writes` hold.
pub(super) fn octets(writes: &Writes) -> u64 {
    let one =
        |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
    writes.iter().map(one).sum::<usize>() as u64
}
