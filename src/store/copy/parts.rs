//! What a store holds, in words that both stores have.

use super::super::KEY;
use serde::{Deserialize, Serialize};

use crate::audit::tree::Hash;
use crate::audit::{DecisionId, Marks};
use crate::clock::UnixTime;
use crate::directory::OnRecord;
use crate::ledger::RememberedNames;
use crate::project_token::StoredKey;

/// What there is once, and is known before everything else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct State {
    /// How many entries the log has.
    pub(in super::super) size: u64,
    /// The root of their tree.
    pub(in super::super) root: Hash,
    /// The latest time of all entries; nothing if there are none.
    pub(in super::super) latest: Option<i64>,
    /// The latest time since the clock was last put back.
    pub(in super::super) latest_since: Option<i64>,
    /// The number of the entry that says so; 0 if there is none.
    pub(in super::super) put_back: u64,
    /// The number of the first entry whose withheld values were not deleted.
    pub(in super::super) withheld_from: u64,
    /// Until when a spent token that was forgotten was to be remembered at most.
    pub(in super::super) forgotten: Option<UnixTime>,
    /// The key that signs checkpoints, as it was kept.
    pub(in super::super) checkpoint_key: Option<Vec<u8>>,
    /// The last checkpoint that was signed.
    pub(in super::super) signed: Option<String>,
    /// The last one that a witness cosigned.
    pub(in super::super) cosigned: Option<String>,
}

/// Some of what a store holds.
pub(in super::super) enum Part {
    /// Entries of the log, one after another: the number of the first, and they.
    Entries(u64, Vec<CopiedEntry>),
    /// Tokens that were used.
    Spent(Vec<SpentToken>),
    /// Denials that are on record.
    Denials(Vec<KnownDenial>),
    /// Denials that are only counted.
    Counted(Vec<Counted>),
    /// Names without ids.
    Names(Vec<RememberedNames>),
    /// Paths of projects with their ids.
    Projects(Vec<(String, String)>),
    /// The last good keys of issuers.
    IssuerKeys(Vec<IssuerKeys>),
    /// Our own keys.
    SigningKeys(Vec<StoredKey>),
    /// What the log says of policy files.
    Policies(Vec<KeptPolicy>),
    /// Texts of policies with their digests.
    PolicyTexts(Vec<(String, Vec<u8>)>),
}

/// An entry of the log with all that is kept of it.
#[derive(Debug, Clone)]
pub(in super::super) struct CopiedEntry {
    /// The hash of its leaf, as it stands in the tree.
    pub(in super::super) hash: Hash,
    /// The leaf.
    pub(in super::super) leaf: Vec<u8>,
    /// What the leaf does not hold; empty if there is nothing, or it was deleted.
    pub(in super::super) withheld: Vec<u8>,
    /// What it is found by.
    pub(in super::super) marks: Marks,
}

/// A token that was used.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct SpentToken {
    /// The beginning of the digest that it is remembered by.
    pub(in super::super) key: [u8; KEY],
    /// How often.
    pub(in super::super) uses: u32,
    /// When it may be forgotten.
    pub(in super::super) until: UnixTime,
}

/// A denial that is on record.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct KnownDenial {
    /// The beginning of the digest of what makes two of them the same.
    pub(in super::super) key: [u8; KEY],
    /// Its record.
    pub(in super::super) id: DecisionId,
    /// When it may be forgotten.
    pub(in super::super) until: UnixTime,
}

/// Denials of one hour that are only counted.
#[derive(Debug, Clone)]
pub(in super::super) struct Counted {
    /// The beginning of the hour.
    pub(in super::super) hour: UnixTime,
    /// The issuer's name in the configuration, or `-`.
    pub(in super::super) issuer: String,
    /// The reason's code.
    pub(in super::super) reason: String,
    /// How many.
    pub(in super::super) count: u64,
}

/// The last good keys of an issuer. Not every store keeps whose they are in words.
#[derive(Debug, Clone)]
pub(in super::super) struct IssuerKeys {
    /// The SHA-256 of the issuer.
    pub(in super::super) issuer: [u8; 32],
    /// When they were fetched.
    pub(in super::super) fetched: UnixTime,
    /// The key set.
    pub(in super::super) body: Vec<u8>,
}

/// What the log says of a policy file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct KeptPolicy {
    /// The file, below the folder of the policies.
    pub(in super::super) file: String,
    /// What is remembered of it.
    pub(in super::super) on_record: OnRecord,
}

impl Part {
    /// How many there are.
    pub(in super::super) fn len(&self) -> usize {
        match self {
            Self::Entries(_, all) => all.len(),
            Self::Spent(all) => all.len(),
            Self::Denials(all) => all.len(),
            Self::Counted(all) => all.len(),
            Self::Names(all) => all.len(),
            Self::Projects(all) => all.len(),
            Self::IssuerKeys(all) => all.len(),
            Self::SigningKeys(all) => all.len(),
            Self::Policies(all) => all.len(),
            Self::PolicyTexts(all) => all.len(),
        }
    }

    /// What they are called.
    pub(in super::super) fn what(&self) -> &'static str {
        match self {
            Self::Entries(..) => "entries of the log",
            Self::Spent(_) => "spent tokens",
            Self::Denials(_) => "denials on record",
            Self::Counted(_) => "counts of denials",
            Self::Names(_) => "names without ids",
            Self::Projects(_) => "ids of projects",
            Self::IssuerKeys(_) => "key sets of issuers",
            Self::SigningKeys(_) => "signing keys",
            Self::Policies(_) => "policies on record",
            Self::PolicyTexts(_) => "texts of policies",
        }
    }
}
