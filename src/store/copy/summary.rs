//! What two stores are compared by: how many there are of everything, a digest of them, and the root of the tree.

use std::collections::BTreeMap;

use super::parts::{Part, State};
use crate::audit::tree::{Hash, fold, leaf_hash, node_hash};
use crate::digest::{hex, sha256_of_parts};

/// What a store was found to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    counts: BTreeMap<&'static str, Several>,
    root: Hash,
    state: State,
}

/// Some of one kind, in whatever order they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Several {
    count: u64,
    /// The sum of their digests, as four numbers each.
    sum: [u64; 4],
}

/// A summary in the making.
#[derive(Default)]
pub(super) struct Summing {
    counts: BTreeMap<&'static str, Several>,
    /// The whole subtrees of what was read of the log, from the left: how high each is, and its hash.
    peaks: Vec<(u32, Hash)>,
    size: u64,
}

impl Summary {
    /// How many there are of everything, by what it is called.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(what, all)| (*what, all.count))
    }

    /// How many entries the log has.
    pub fn size(&self) -> u64 {
        self.state.size
    }

    /// The root of the tree over the entries, in hexadecimal.
    pub fn root(&self) -> String {
        hex(&self.root)
    }

    /// What differs between two stores first, if anything does.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        for what in self.counts.keys().chain(other.counts.keys()) {
            let (one, two) = (self.several(what), other.several(what));
            if one.count != two.count {
                return Some(format!(
                    "there are {} {what} in the one and {} in the other",
                    one.count, two.count
                ));
            }
            if one != two {
                return Some(format!("the {what} are not the same"));
            }
        }
        if self.root != other.root {
            return Some("the trees of the logs are not the same".into());
        }
        (self.state != other.state).then(|| self.state.differs(&other.state).into())
    }

    fn several(&self, what: &str) -> Several {
        self.counts.get(what).copied().unwrap_or_default()
    }
}

impl State {
    /// What differs first.
    fn differs(&self, other: &Self) -> &'static str {
        if (&self.signed, &self.cosigned) != (&other.signed, &other.cosigned) {
            "the checkpoints are not the same"
        } else if self.checkpoint_key != other.checkpoint_key {
            "the key that signs checkpoints is not the same"
        } else if self.withheld_from != other.withheld_from {
            "not the same withheld values were deleted"
        } else if self.forgotten != other.forgotten {
            "how far spent tokens were forgotten is not the same"
        } else {
            "where the logs end is not the same"
        }
    }
}

impl Summing {
    /// Adds what was read. An error says what in it is not as it was written.
    pub(super) fn add(&mut self, part: &Part) -> Result<(), String> {
        if let Part::Entries(first, entries) = part {
            if *first != self.size {
                return Err(format!(
                    "the log has no entry {}: after {} entries the next is number {first}",
                    self.size, self.size
                ));
            }
            for entry in entries {
                let hash = leaf_hash(&entry.leaf);
                if hash != entry.hash {
                    return Err(format!(
                        "entry {} and its hash in the tree do not agree",
                        self.size
                    ));
                }
                self.grow(hash);
            }
        }
        let count = self.counts.entry(part.what()).or_default();
        for digest in digests(part) {
            count.count += 1;
            for (sum, octets) in count.sum.iter_mut().zip(digest.as_chunks::<8>().0) {
                *sum = sum.wrapping_add(u64::from_be_bytes(*octets));
            }
        }
        Ok(())
    }

    /// What it came to, beside what `state` says.
    pub(super) fn finish(self, state: State) -> Result<Summary, String> {
        let peaks: Vec<Hash> = self.peaks.iter().map(|(_, hash)| *hash).collect();
        let root = fold(&peaks);
        if (self.size, root) != (state.size, state.root) {
            return Err("the tree of the log is not that of its entries".into());
        }
        Ok(Summary {
            counts: self.counts,
            root,
            state,
        })
    }

    /// Adds a leaf to the tree.
    fn grow(&mut self, leaf: Hash) {
        let (mut height, mut hash) = (0, leaf);
        while let Some((_, left)) = self.peaks.pop_if(|(found, _)| *found == height) {
            hash = node_hash(&left, &hash);
            height += 1;
        }
        self.peaks.push((height, hash));
        self.size += 1;
    }
}

/// A digest of each.
fn digests(part: &Part) -> Vec<Hash> {
    let number = |number: i64| number.to_be_bytes();
    match part {
        Part::Entries(first, all) => {
            let each = (*first..).zip(all);
            each.map(|(index, entry)| {
                let index = index.to_be_bytes();
                sha256_of_parts(&[&index, &entry.marks.write(), &entry.withheld])
            })
            .collect()
        }
        Part::Spent(all) => all
            .iter()
            .map(|spent| {
                let (uses, until) = (spent.uses.to_be_bytes(), number(spent.until.millis()));
                sha256_of_parts(&[&spent.key, &uses, &until])
            })
            .collect(),
        Part::Denials(all) => all
            .iter()
            .map(|denial| {
                let until = number(denial.until.millis());
                sha256_of_parts(&[&denial.key, denial.id.as_bytes(), &until])
            })
            .collect(),
        Part::Counted(all) => all
            .iter()
            .map(|counted| {
                let (hour, count) = (number(counted.hour.millis()), counted.count.to_be_bytes());
                let (issuer, reason) = (counted.issuer.as_bytes(), counted.reason.as_bytes());
                sha256_of_parts(&[&hour, issuer, reason, &count])
            })
            .collect(),
        Part::Names(all) => all.iter().map(of_json).collect(),
        Part::Projects(all) => all
            .iter()
            .map(|(path, id)| sha256_of_parts(&[path.as_bytes(), id.as_bytes()]))
            .collect(),
        Part::IssuerKeys(all) => all
            .iter()
            .map(|keys| {
                sha256_of_parts(&[&keys.issuer, &number(keys.fetched.millis()), &keys.body])
            })
            .collect(),
        Part::SigningKeys(all) => all
            .iter()
            .map(|key| sha256_of_parts(&[key.id.as_bytes(), &key.sealed]))
            .collect(),
        Part::Policies(all) => all.iter().map(of_json).collect(),
        Part::PolicyTexts(all) => all
            .iter()
            .map(|(digest, text)| sha256_of_parts(&[digest.as_bytes(), text]))
            .collect(),
    }
}

fn of_json<T: serde::Serialize>(value: &T) -> Hash {
    // What was read from JSON can be written as such.
    let json = serde_json::to_vec(value).unwrap_or_default();
    sha256_of_parts(&[&json])
}
