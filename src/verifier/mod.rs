//! Checks the audit log without trusting whoever wrote it.
//!
//! Nothing here is shared with the writer but SHA-256: entries, notes, tiles and the data folder are read by code of their
//! own, written from the specifications (RFC 6962, and C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles). An
//! error in the writer is found here, not repeated. [`verify`] tells the whole of it.

mod across;
mod align;
mod data_folder;
mod file;
mod kinds;
mod leaf;
mod levels;
mod note;
mod order;
mod report;
mod salvage;
mod shape;
mod source;
mod tiles;
mod tree;
mod values;
mod walk;
mod withheld;

pub use data_folder::DataFolder;
pub use leaf::LeafFault;
pub use note::{Checkpoint, InvalidKey, KeyKind, Note, NoteFault, VerifierKey};
pub use report::{Cosigned, Fault, Place, Report, TOLD, What};
pub use shape::Shape;
pub use source::{Block, Blocks, Kept, Manner, Slot, Source, Tile, Unavailable, Values};
pub use tiles::{Copy, Fetch, Tiles};
pub use tree::Hash;

use levels::Levels;
use report::Faults;
use tree::TILE;
use walk::{Walk, walk};

/// What a log is held against.
#[derive(Debug)]
pub struct Question {
    /// The log's key.
    pub key: VerifierKey,
    /// A checkpoint that was kept from an earlier time: the log must begin with what it says.
    pub since: Option<Vec<u8>>,
    /// Witnesses, each of which must have cosigned some checkpoint of the log.
    pub witnesses: Vec<VerifierKey>,
}

/// A tree that the log must begin with.
struct Earlier {
    whose: String,
    checkpoint: Checkpoint,
}

/// Verifies a log: its checkpoint, every entry, every hash of its tree, and what was asked. `progress` is told how many
/// entries of how many were read.
///
/// The report lists what is wrong; the error says that the log could not be read.
pub fn verify(
    source: &dyn Source,
    question: &Question,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report, Unavailable> {
    let mut faults = Faults::default();
    let mut cosigned = Vec::new();
    let mut earlier = Vec::new();
    // Before the checkpoint, so that it is not the newer of both.
    let cosigned_note = if question.witnesses.is_empty() {
        None
    } else {
        source.cosigned_checkpoint()?
    };
    let nothing = || Unavailable("there is no checkpoint, so there is no log".to_owned());
    let note = source.checkpoint()?.ok_or_else(nothing)?;
    let checkpoint = match read(&note, &question.key) {
        Ok((_, checkpoint)) => checkpoint,
        Err((fault, checkpoint)) => {
            faults.add(Fault::of_log(What::Checkpoint(fault)));
            match checkpoint {
                Some(checkpoint) => checkpoint,
                None => return Ok(empty(faults)),
            }
        }
    };
    if let Some(since) = &question.since {
        match read(since, &question.key) {
            Ok((_, checkpoint)) => earlier.push(Earlier {
                whose: "the earlier checkpoint".to_owned(),
                checkpoint,
            }),
            Err((fault, _)) => faults.add(Fault::of_log(What::Earlier(fault))),
        }
    }
    for witness in &question.witnesses {
        match cosignature(&note, cosigned_note.as_deref(), witness, &question.key) {
            Ok((at, seen)) => {
                let size = seen.size;
                let witness = witness.name().to_owned();
                let whose = format!("the checkpoint that `{witness}` cosigned");
                let checkpoint = seen;
                earlier.push(Earlier { whose, checkpoint });
                cosigned.push(Cosigned { witness, size, at });
            }
            Err(fault) => faults.add(Fault::of_log(What::Cosigned(fault))),
        }
    }

    let size = checkpoint.size;
    let sizes = earlier.iter().map(|earlier| earlier.checkpoint.size);
    let asked: Vec<u64> = sizes.chain([size]).map(|size| size / TILE as u64).collect();
    let advance = |done| progress(done, size);
    let mut walked = walk(source, size, &asked, Manner::Fast, &advance)?;
    if walked.needs_care && source.may_be_shifted() {
        walked = walk(source, size, &asked, Manner::Careful, &advance)?;
    }
    faults.merge(std::mem::take(&mut walked.faults));
    if walked.cut_off {
        faults.add(Fault::of_log(What::RootUnknown));
    } else {
        let levels = Levels::read(source, size, &walked, &mut faults)?;
        levels.compare(checkpoint.root, &mut faults);
        for earlier in &earlier {
            faults.extend(contradiction(&levels, earlier, size));
        }
    }

    if size > 0 {
        let key = &question.key;
        faults.extend(walked.across.other_name(key.name(), &key.to_string()));
    }
    faults.extend(lost_values(source, size, &walked)?);

    let (faults, fault_count) = faults.finish();
    Ok(Report {
        since: question.since.as_ref().and_then(|since| {
            let (_, checkpoint) = read(since, &question.key).ok()?;
            Some(checkpoint.size)
        }),
        origin: checkpoint.origin,
        size,
        root: checkpoint.root,
        faults,
        fault_count,
        cosigned,
        unknown_kinds: walked.unknown_kinds,
        withheld: walked.withheld,
        beyond: source.beyond(size),
        span: walked.span,
    })
}

/// The withheld values that are gone and of which no entry says that they were deleted. An entry that no checkpoint covers
/// yet may say so: whoever is running the service deletes what he deletes at once.
fn lost_values(source: &dyn Source, size: u64, walked: &Walk) -> Result<Vec<Fault>, Unavailable> {
    let mut until = walked.across.until;
    let is_lost = |until: u64| {
        let mut stretches = walked.stretches.iter();
        stretches.any(|stretch| stretch.gone && stretch.last >= until)
    };
    if is_lost(until) {
        until = until.max(source.removed_beyond(size)?);
    }
    let mut faults = Vec::new();
    for stretch in &walked.stretches {
        if stretch.gone && stretch.last >= until {
            let last = stretch.last;
            let (first, place) = source.first_gone(stretch.first.max(until), last)?;
            let fault = Fault::of_entry(first, What::ValuesMissing { first, last });
            faults.push(fault.at(&place.file, place.offset));
        }
    }
    Ok(faults)
}

/// Reads a signed checkpoint of the log. With a fault comes what it says all the same, if it says anything.
fn read(
    octets: &[u8],
    key: &VerifierKey,
) -> Result<(Note, Checkpoint), (NoteFault, Option<Checkpoint>)> {
    let note = Note::parse(octets).map_err(|fault| (fault, None))?;
    let checkpoint = Checkpoint::read(&note).map_err(|fault| (fault, None))?;
    if checkpoint.origin != key.name() {
        let fault = NoteFault::Origin {
            expected: key.name().to_owned(),
            found: checkpoint.origin.clone(),
        };
        return Err((fault, Some(checkpoint)));
    }
    match note.verify(key) {
        Ok(()) => Ok((note, checkpoint)),
        Err(fault) => Err((fault, Some(checkpoint))),
    }
}

/// What a witness cosigned: the checkpoint itself, or the one that the log keeps beside it for this.
fn cosignature(
    note: &[u8],
    cosigned: Option<&[u8]>,
    witness: &VerifierKey,
    key: &VerifierKey,
) -> Result<(u64, Checkpoint), NoteFault> {
    let one = |octets: &[u8]| {
        let (note, checkpoint) = read(octets, key).map_err(|(fault, _)| fault)?;
        Ok((note.verify_cosignature(witness)?, checkpoint))
    };
    match (one(note), cosigned) {
        (Err(NoteFault::Unsigned(_)), Some(cosigned)) => one(cosigned),
        (result, _) => result,
    }
}

/// How the log contradicts an earlier tree, if it does.
fn contradiction(levels: &Levels<'_>, earlier: &Earlier, size: u64) -> Option<Fault> {
    let whose = earlier.whose.clone();
    let Checkpoint {
        size: before,
        root: expected,
        ..
    } = earlier.checkpoint;
    if before > size {
        let earlier = before;
        return Some(Fault::of_log(What::Shorter {
            whose,
            size,
            earlier,
        }));
    }
    let what = match levels.root_at(before) {
        Some(found) if found == expected => return None,
        Some(found) => What::Forked {
            whose,
            size: before,
            expected,
            found,
        },
        None => What::RootUnknown,
    };
    Some(Fault::of_log(what))
}

/// The report of a log whose checkpoint says nothing.
fn empty(faults: Faults) -> Report {
    let (faults, fault_count) = faults.finish();
    Report {
        origin: String::new(),
        size: 0,
        root: Hash::default(),
        faults,
        fault_count,
        since: None,
        cosigned: Vec::new(),
        unknown_kinds: 0,
        withheld: 0,
        beyond: 0,
        span: None,
    }
}
