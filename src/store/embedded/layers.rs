//! What stands in the journal, and in log and index not yet.
//!
//! The writer adds to the top layer; another thread takes that from time to time, makes it in log and index, and
//! drops it, so that nobody waits for either. Whoever reads looks into the layers first, and sees everything that was
//! acknowledged.

use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::draft::{Entry, Writes};
use super::frame::Commit;
use super::log::{Added, Erased};
use super::reached::Reached;

#[derive(Default)]
pub(super) struct Layers(RwLock<Both>);

#[derive(Default)]
struct Both {
    /// What was written last.
    top: Layer,
    /// How far the top layer follows the journal.
    reached: Reached,
    /// What is on its way into log and index.
    below: Option<Arc<Layer>>,
    /// How many layers were dropped.
    dropped: u64,
}

impl Both {
    /// What the layers change from `from` on and before `to`.
    fn changes(&self, from: &[u8], to: &[u8]) -> Writes {
        let range = (Bound::Included(from), Bound::Excluded(to));
        let mut over = Writes::new();
        for layer in self.below.as_deref().into_iter().chain([&self.top]) {
            let changes = layer.writes.range::<[u8], _>(range);
            over.extend(changes.map(|(key, value)| (key.clone(), value.clone())));
        }
        over
    }
}

/// What some commits write, one after another.
#[derive(Default)]
pub(super) struct Layer {
    /// The number of the first of `entries`.
    pub(super) first: u64,
    /// What is added to the log.
    pub(super) entries: Vec<Added>,
    /// What is made forgotten of entries, after those of this layer were added.
    pub(super) erased: Vec<Erased>,
    /// How many commits this is.
    commits: usize,
    /// What changes in the index.
    pub(super) writes: Writes,
}

impl Layers {
    /// Adds a commit, and answers how many changes wait in the top layer.
    pub(super) fn add(&self, commit: Commit) -> usize {
        let first = commit.first();
        let mut both = self.write();
        let top = &mut both.top;
        // Appending to what is empty costs nothing.
        if top.entries.is_empty() {
            top.first = first;
            top.entries = commit.entries;
        } else {
            top.entries.extend(commit.entries);
        }
        top.erased.extend(commit.erased);
        if top.writes.is_empty() {
            top.writes = commit.writes;
        } else {
            top.writes.extend(commit.writes);
        }
        top.commits += 1;
        let waiting = top.writes.len() + top.entries.len() + top.erased.len();
        both.reached = commit.reached;
        waiting
    }

    /// How far the layers follow the journal.
    pub(super) fn reached(&self) -> Reached {
        self.read().reached
    }

    /// Takes the top layer for log and index; it stays to be seen until [`Self::drop_below`]. `None` if there is
    /// nothing in it.
    pub(super) fn take_top(&self) -> Option<(Arc<Layer>, Reached)> {
        let mut both = self.write();
        if both.top.commits == 0 {
            return None;
        }
        let taken = Arc::new(std::mem::take(&mut both.top));
        both.below = Some(taken.clone());
        Some((taken, both.reached))
    }

    /// Drops what log and index have now.
    pub(super) fn drop_below(&self) {
        let mut both = self.write();
        both.dropped += 1;
        let below = both.below.take();
        // It may be large, and nobody should wait for the lock meanwhile.
        drop(both);
        drop(below);
    }

    /// Drops everything: it was made in the index from the journal.
    pub(super) fn clear(&self, reached: Reached) {
        let mut both = self.write();
        let emptied = Both {
            reached,
            dropped: both.dropped + 1,
            ..Both::default()
        };
        let cleared = std::mem::replace(&mut *both, emptied);
        drop(both);
        drop(cleared);
    }

    /// The value under `key` in the layers over `tree`, or in it.
    pub(super) fn get(
        &self,
        tree: &sled::Tree,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, sled::Error> {
        let both = self.read();
        let below = || both.below.as_ref()?.writes.get(key);
        if let Some(value) = both.top.writes.get(key).or_else(below) {
            return Ok(value.clone());
        }
        // A layer is dropped only after the tree has what was in it.
        drop(both);
        Ok(tree.get(key)?.map(|value| value.to_vec()))
    }

    /// At most `limit` keys from `from` on and before `to`, with their values, in order.
    pub(super) fn range(
        &self,
        tree: &sled::Tree,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, sled::Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        // The tree may have to read the disk, and the writer needs the lock, so it is not held at first. If a layer was
        // dropped meanwhile, the tree may have had some of the next one and not the rest.
        let both = self.read();
        let (dropped, over) = (both.dropped, both.changes(from, to));
        drop(both);
        let found = merged(tree.range(from..to), over, limit)?;
        let both = self.read();
        if both.dropped == dropped {
            return Ok(found);
        }
        merged(tree.range(from..to), both.changes(from, to), limit)
    }

    fn read(&self) -> RwLockReadGuard<'_, Both> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Both> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At most `limit` of the entries of a tree with what lies `over` them, in order.
fn merged(
    tree: impl Iterator<Item = Result<(sled::IVec, sled::IVec), sled::Error>>,
    over: Writes,
    limit: usize,
) -> Result<Vec<Entry>, sled::Error> {
    let mut over = over.into_iter().peekable();
    let mut found: Vec<Entry> = Vec::new();
    for entry in tree {
        let (key, value) = entry?;
        let mut covered = false;
        while let Some((changed, value)) = over.next_if(|(changed, _)| changed.as_slice() <= &*key)
        {
            covered = changed.as_slice() == &*key;
            found.extend(value.map(|value| (changed, value)));
        }
        if !covered {
            found.push((key.to_vec(), value.to_vec()));
        }
        if found.len() >= limit {
            break;
        }
    }
    // What the tree did not reach comes after all that it has.
    let is_full = found.len() >= limit;
    let rest = over.filter_map(|(key, value)| value.map(|value| (key, value)));
    found.extend(rest.take(if is_full { 0 } else { limit }));
    found.truncate(limit);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::log::sealed;
    use super::super::reached::LogEnd;
    use super::*;

    fn commit(changes: &[(&str, Option<&str>)]) -> Commit {
        let changes = changes.iter();
        let writes = changes.map(|(key, value)| (key.as_bytes().to_vec(), value.map(Into::into)));
        Commit {
            reached: Reached::default(),
            entries: Vec::new(),
            erased: Vec::new(),
            writes: writes.collect(),
        }
    }

    fn seen(layers: &Layers, tree: &sled::Tree, limit: usize) -> String {
        let found = layers.range(tree, b"a", b"z", limit).unwrap();
        let text = |octets: &Vec<u8>| String::from_utf8_lossy(octets).into_owned();
        for (key, value) in &found {
            assert_eq!(layers.get(tree, key).unwrap().as_ref(), Some(value));
        }
        let found = found.iter();
        let pairs = found.map(|(key, value)| text(key) + &text(value));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_newest_layer_counts_and_the_tree_shows_through_where_there_is_none() {
        let tree = sled::Config::new().temporary(true).open().unwrap();
        for key in ["a", "b", "c", "d", "z"] {
            tree.insert(key, "0").unwrap();
        }
        let layers = Layers::default();
        let first = commit(&[("aa", Some("1")), ("b", None), ("c", Some("1"))]);
        layers.add(first);
        assert_eq!(seen(&layers, &tree, 9), "a0 aa1 c1 d0");
        layers.take_top().unwrap();
        let second = commit(&[("b", Some("2")), ("c", None), ("y", Some("2"))]);
        layers.add(second);
        assert_eq!(seen(&layers, &tree, 9), "a0 aa1 b2 d0 y2");
        assert_eq!(seen(&layers, &tree, 3), "a0 aa1 b2");
        assert_eq!(layers.get(&tree, b"c").unwrap(), None);
        layers.drop_below();
        assert_eq!(seen(&layers, &tree, 9), "a0 b2 d0 y2");
        layers.clear(Reached::default());
        assert_eq!(seen(&layers, &tree, 0), "");
        assert_eq!(seen(&layers, &tree, 9), "a0 b0 c0 d0");
    }

    #[test]
    fn entries_of_several_commits_stand_in_one_layer_in_order() {
        let layers = Layers::default();
        let mut log = LogEnd::default();
        for leaf in ["one", "other"] {
            let added = log.add(sealed(leaf.into()), false);
            layers.add(Commit {
                entries: vec![added],
                reached: Reached { number: 1, log },
                ..commit(&[])
            });
        }
        let (taken, reached) = layers.take_top().unwrap();
        let leaves = taken.entries.iter().map(|added| added.leaf.as_slice());
        assert!(leaves.eq([&b"one"[..], b"other"]));
        assert_eq!((taken.first, reached.log.size), (0, 2));
        assert!(layers.take_top().is_none());
    }
}
