//! What came of it: the faults, each with its place.

use std::cmp::Reverse;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::leaf::LeafFault;
use super::note::NoteFault;
use super::tree::Hash;

/// How many faults are told.
pub const TOLD: usize = 20;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, below the source.
    pub file: String,
    /// How many octets before it.
    pub offset: u64,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which entry, from 0, if it is about one.
    pub index: Option<u64>,
    /// Where that is.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: What,
}

impl Fault {
    /// A fault of the log as a whole.
    pub fn of_log(what: What) -> Self {
        Self {
            index: None,
            place: None,
            what,
        }
    }

    /// A fault of an entry.
    pub fn of_entry(index: u64, what: What) -> Self {
        Self {
            index: Some(index),
            ..Self::of_log(what)
        }
    }

    /// The same, with the place.
    #[must_use]
    pub fn at(mut self, file: &str, offset: u64) -> Self {
        self.place = Some(Place {
            file: file.to_owned(),
            offset,
        });
        self
    }
}

fn base64(hash: &Hash) -> String {
    STANDARD.encode(hash)
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// The checkpoint.
    #[error("the checkpoint: {0}")]
    Checkpoint(NoteFault),
    /// The checkpoint that was handed in.
    #[error("the earlier checkpoint: {0}")]
    Earlier(NoteFault),
    /// The checkpoint that a witness should have cosigned.
    #[error("the cosigned checkpoint: {0}")]
    Cosigned(NoteFault),
    /// The log does not begin with what an earlier checkpoint says.
    #[error(
        "the first {size} entries have the root {}, {whose} says {}: these are two different logs",
        base64(.found), base64(.expected)
    )]
    Forked {
        /// Who has the other root.
        whose: String,
        /// The size of the earlier tree.
        size: u64,
        /// Its root.
        expected: Hash,
        /// The root of the entries.
        found: Hash,
    },
    /// The log was longer before.
    #[error(
        "the checkpoint has {size} entries, {whose} has {earlier}: the log was cut off, or put back to an earlier state"
    )]
    Shorter {
        /// Who has more entries.
        whose: String,
        /// The size now.
        size: u64,
        /// The size then.
        earlier: u64,
    },
    /// The tree has another root than the checkpoint.
    #[error("the tree of the {size} entries has the root {}, the checkpoint says {}", base64(.found), base64(.expected))]
    Root {
        /// The size of the tree.
        size: u64,
        /// By the checkpoint.
        expected: Hash,
        /// As it was computed.
        found: Hash,
    },
    /// Too much is missing to compute the root.
    #[error("the root cannot be computed, since entries and their hashes are missing")]
    RootUnknown,
    /// Entries are missing.
    #[error("{}", if .last == .first { format!("entry {first} is missing") } else { format!("entries {first} to {last} are missing") })]
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// Octets that are no entry.
    #[error("{length} octets are no entry")]
    Unreadable {
        /// How many.
        length: u64,
    },
    /// An entry that the tree does not know.
    #[error("an entry stands here that the tree does not know: its hash is {}", base64(.found))]
    Strange {
        /// Its hash.
        found: Hash,
    },
    /// An entry is not the one that the tree has.
    #[error(
        "the entry was changed: its hash is {}, the tree has {}{}",
        base64(.found), base64(.expected),
        .is.map_or(String::new(), |is| format!("; it is entry {is} of the tree"))
    )]
    EntryChanged {
        /// In the tree.
        expected: Hash,
        /// Of the entry.
        found: Hash,
        /// Which entry of the tree it is, if it is another one.
        is: Option<u64>,
    },
    /// A hash of the tree is not that of what stands below it.
    #[error("hash {at} of level {level} was changed: it is {}, what stands below it gives {}", base64(.found), base64(.expected))]
    HashChanged {
        /// The level of the tile.
        level: u8,
        /// Which hash of that level, from 0.
        at: u64,
        /// Of what stands below it.
        expected: Hash,
        /// As it is stored.
        found: Hash,
    },
    /// A hash and what stands below it disagree, and nothing above says which is right.
    #[error(
        "hash {at} of level {level} is {}, what stands below it gives {}; neither fits what stands above",
        base64(.stored), base64(.computed)
    )]
    Disagree {
        /// The level of the tile.
        level: u8,
        /// Which hash of that level, from 0.
        at: u64,
        /// As it is stored.
        stored: Hash,
        /// Of what stands below it.
        computed: Hash,
    },
    /// Entries and their hashes were changed together.
    #[error(
        "entries {first} to {last} fit their hashes, but not what stands above: some were changed together with their hashes"
    )]
    Together {
        /// The first that may be meant.
        first: u64,
        /// The last that may be meant.
        last: u64,
    },
    /// The octets of an entry, or of what was withheld from it, have another checksum than the file says. They are whole.
    #[error(
        "the checksum beside it was changed; the entry and what was withheld from it are whole"
    )]
    Checksum,
    /// A tile is not there.
    #[error("the tile is missing")]
    TileMissing,
    /// A tile is not as long as it must be.
    #[error("the tile has {found} octets, {expected} are expected")]
    TileLength {
        /// How many it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// An entry bundle goes on after its last entry.
    #[error("the bundle has {0} octets after its last entry")]
    BundleLong(usize),
    /// An entry is not as the schema says.
    #[error("the entry is not as the schema says: {0}")]
    Schema(LeafFault),
    /// An entry is too far behind the one before.
    #[error(
        "the entry is of {at}, {} ms before an earlier entry, and no `clock-put-back` stands before it",
        .latest.saturating_sub(*.at)
    )]
    Behind {
        /// Its time.
        at: i64,
        /// The latest time before.
        latest: i64,
    },
    /// A `clock-put-back` that gives another time than the entries before it.
    #[error("it says the latest time before was {before}, the entries before it say {latest}")]
    PutBack {
        /// As it says.
        before: i64,
        /// As it was.
        latest: i64,
    },
    /// An entry says of deleted values what cannot be.
    #[error(
        "it says that the withheld values of the entries before {until} were deleted: {}",
        if .until < .before { format!("an earlier entry says so of those before {before}") }
        else { "that is not an earlier entry".to_owned() }
    )]
    Removed {
        /// As it says.
        until: u64,
        /// As an earlier entry says.
        before: u64,
    },
    /// The log names itself otherwise than its checkpoint does.
    #[error(
        "the last `log-named` before the checkpoint has the origin `{origin}` and the key `{key}`: the checkpoint is of another log, or signed with another key"
    )]
    OtherName {
        /// As the entry says.
        origin: String,
        /// As the entry says.
        key: String,
    },
    /// The log does not name itself.
    #[error("no `log-named` says whose log it is and with which key it is signed")]
    Nameless,
    /// A withheld value is not the one whose digest is in the entry.
    #[error(
        "the value that was withheld at `{0}` was changed: it has another digest than the entry says"
    )]
    WithheldChanged(String),
    /// A withheld value of which the entry says nothing.
    #[error("a withheld value is there for `{0}`, of which the entry has no digest")]
    WithheldUnknown(String),
    /// Withheld values of an entry are not there, while others of it are, or should be.
    #[error(
        "the value that was withheld at `{0}` is missing, and nothing says that it was deleted"
    )]
    WithheldMissing(String),
    /// The withheld values of several entries are not there.
    #[error(
        "{}, and no `personal-values-removed` says that they were deleted",
        if .last == .first { format!("the withheld values of entry {first} are missing") }
        else { format!("the withheld values of entries {first} to {last} are missing") }
    )]
    ValuesMissing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// Withheld values that cannot be read.
    #[error("the withheld values of the entry cannot be read: {0}")]
    WithheldForm(String),
}

impl What {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Checkpoint(_) => "checkpoint-invalid",
            Self::Earlier(_) => "earlier-checkpoint-invalid",
            Self::Cosigned(_) => "cosignature-invalid",
            Self::Forked { .. } => "forked",
            Self::Shorter { .. } => "shorter",
            Self::Root { .. } => "root-mismatch",
            Self::RootUnknown => "root-unknown",
            Self::Missing { .. } => "entry-missing",
            Self::Unreadable { .. } => "entry-unreadable",
            Self::Strange { .. } => "entry-strange",
            Self::EntryChanged { .. } => "entry-changed",
            Self::HashChanged { .. } => "hash-changed",
            Self::Disagree { .. } => "entry-or-hash-changed",
            Self::Together { .. } => "entry-and-hash-changed",
            Self::Checksum => "checksum-changed",
            Self::TileMissing => "tile-missing",
            Self::TileLength { .. } => "tile-length",
            Self::BundleLong(_) => "bundle-too-long",
            Self::Schema(_) => "schema",
            Self::Behind { .. } => "time-behind",
            Self::PutBack { .. } => "time-put-back",
            Self::WithheldChanged(_) => "withheld-changed",
            Self::WithheldUnknown(_) => "withheld-unknown",
            Self::WithheldForm(_) => "withheld-unreadable",
            Self::WithheldMissing(_) | Self::ValuesMissing { .. } => "withheld-missing",
            Self::Removed { .. } => "removed-invalid",
            Self::OtherName { .. } => "log-other-name",
            Self::Nameless => "log-not-named",
        }
    }
}

/// How many faults are kept while they are found: some become one in the end.
const KEPT: usize = 4 * TOLD;

/// Faults as they are found: the first ones, and how many there are.
#[derive(Debug, Default)]
pub struct Faults {
    of_log: Vec<Fault>,
    of_entries: Vec<Fault>,
    count: u64,
}

impl Faults {
    /// Adds one. Whoever finds faults in the order of entries loses none of the first [`TOLD`].
    pub fn add(&mut self, fault: Fault) {
        self.count += 1;
        let kept = if fault.index.is_none() {
            &mut self.of_log
        } else {
            &mut self.of_entries
        };
        if kept.len() < KEPT {
            kept.push(fault);
        }
    }

    /// Adds several.
    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.add(fault));
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.of_log.extend(other.of_log);
        self.of_entries.extend(other.of_entries);
    }

    /// The first [`TOLD`], those of the log as a whole before those of entries, and how many there are. Entries that are
    /// missing side by side are one fault.
    pub fn finish(mut self) -> (Vec<Fault>, u64) {
        let mut found = self.of_log;
        found.append(&mut self.of_entries);
        found.sort_by_key(|fault| {
            let in_log = matches!(fault.what, What::Root { .. } | What::RootUnknown);
            (fault.index, Reverse(in_log))
        });
        let mut told: Vec<Fault> = Vec::new();
        for fault in found {
            if let (
                Some(Fault {
                    what: What::Missing { last, .. },
                    ..
                }),
                What::Missing {
                    first,
                    last: further,
                },
            ) = (told.last_mut(), &fault.what)
                && *last + 1 == *first
            {
                *last = *further;
                self.count -= 1;
                continue;
            }
            told.push(fault);
        }
        told.truncate(TOLD);
        (told, self.count)
    }
}

/// What came of a verification.
#[derive(Debug)]
pub struct Report {
    /// Whose log it is, by its checkpoint.
    pub origin: String,
    /// How many entries the checkpoint covers.
    pub size: u64,
    /// The root by the checkpoint.
    pub root: Hash,
    /// The faults, the first [`TOLD`].
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
    /// The size of the earlier checkpoint that was handed in.
    pub since: Option<u64>,
    /// Which witnesses cosigned what.
    pub cosigned: Vec<Cosigned>,
    /// How many entries are of kinds that this program does not know; of these the common members alone were checked.
    pub unknown_kinds: u64,
    /// How many withheld values were compared with their digests.
    pub withheld: u64,
    /// How many entries the source has beyond the checkpoint. They are not checked.
    pub beyond: u64,
    /// The times of the first and the last entry, in milliseconds since the epoch.
    pub span: Option<(i64, i64)>,
}

/// A cosignature that verified.
#[derive(Debug)]
pub struct Cosigned {
    /// The witness.
    pub witness: String,
    /// The size of the tree that it saw.
    pub size: u64,
    /// When, in seconds since the epoch.
    pub at: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.fault_count == 0
    }
}
