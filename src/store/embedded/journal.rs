//! The journal: commits on disk, one after another, before anything else is told of them.
//!
//! It is a folder of segments, files that are filled from front to back and used again once everything in them is
//! durable elsewhere. They are written full of zeros before they are used, so that a sync of a frame has no sizes and no
//! extents of the file system to make durable with it: on ext4 that halves its time.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::{ALIGNED, Commit, decode, encode};
use super::index::write_again;

/// The length of the first segment, in octets. Each new one is twice as long, up to [`LONGEST_SEGMENT`]: a store that is
/// hardly used should not take much of the disk.
const FIRST_SEGMENT: u64 = 256 << 10;

/// The length of a segment under load, in octets.
const LONGEST_SEGMENT: u64 = 8 << 20;

/// How many octets of full segments may wait to be used again. More only gather if nothing reaches the index's disk, and
/// all of them are read at the next start.
const MOST_WAITING: u64 = 128 << 20;

/// The segments of one folder.
#[derive(Clone)]
pub(super) struct Journal(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    pool: Mutex<Pool>,
}

/// The segments that are not being written.
struct Pool {
    /// Full ones, oldest first.
    sealed: VecDeque<Segment>,
    /// Ready to be written; generations rise from the first to the last.
    ready: VecDeque<Segment>,
    next_generation: u64,
    next_length: u64,
    /// Segments of generations before this are not used again, but deleted: what they held is to be forgotten.
    forgotten: u64,
}

/// One file.
struct Segment {
    file: File,
    path: PathBuf,
    generation: u64,
    length: u64,
    /// Where the next frame goes.
    end: u64,
    /// The number of the last commit in it that was synced.
    last: u64,
}

/// Where commits are written. There is one for a journal, and it belongs to the writer.
pub(super) struct Pen {
    journal: Journal,
    active: Option<Segment>,
    /// The number of the last commit that was written.
    written: u64,
    buffer: Vec<u8>,
}

/// A journal that lacks a commit which was acknowledged.
#[derive(Debug, thiserror::Error)]
#[error(
    "the journal is damaged: commit {missing} cannot be read, and a later one can; restore the data folder from a backup"
)]
pub(super) struct Gap {
    missing: u64,
}

impl Journal {
    /// The journal in `folder`, and what is in it, as [`Self::commits`] says. All of that is durable when this returns: a
    /// process that was killed between a write and its sync left octets behind that only the system has.
    pub(super) fn open(folder: &Path, applied: u64) -> io::Result<(Self, Vec<Commit>)> {
        let journal = Self(Arc::new(Inner {
            folder: folder.to_owned(),
            pool: Mutex::new(Pool {
                sealed: VecDeque::new(),
                ready: VecDeque::new(),
                next_generation: 1,
                next_length: FIRST_SEGMENT,
                forgotten: 0,
            }),
        }));
        let found = segments(folder)?;
        let mut commits = BTreeMap::new();
        let mut filled = Vec::new();
        for (generation, path) in &found {
            filled.push(read(path, *generation, &mut commits)?);
        }
        let last = commits.keys().next_back().copied().unwrap_or(0);
        let last_filled = filled.iter().rposition(|filled| *filled);
        for (place, (generation, path)) in found.into_iter().enumerate() {
            let is_filled = filled.get(place) == Some(&true);
            if is_filled {
                write_again(&path, 0..u64::MAX)?;
            }
            // What holds no commit may be written next, if it comes after all that do.
            let is_ready = last_filled.is_none_or(|filled| filled < place);
            journal.take_in(path, generation, last, is_ready)?;
        }
        File::open(folder)?.sync_all()?;
        Ok((journal, run(commits, applied)?))
    }

    /// Takes up a segment that an earlier process left behind.
    fn take_in(&self, path: PathBuf, generation: u64, last: u64, is_ready: bool) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        let mut pool = self.lock();
        pool.next_generation = generation + 1;
        pool.next_length = pool.next_length.max(length).min(LONGEST_SEGMENT);
        let is_ready = is_ready && pool.ready.is_empty() && length >= FIRST_SEGMENT;
        let segment = Segment {
            file,
            path,
            generation,
            length,
            end: if is_ready { 0 } else { length },
            last: if is_ready { 0 } else { last },
        };
        if is_ready {
            pool.ready.push_back(segment);
        } else {
            pool.sealed.push_back(segment);
        }
        Ok(())
    }

    /// The commits up to `until` that are still there: those without a gap that end with the last one, in order. None
    /// after `applied` is missing. One that was cut off at the end was never acknowledged, and is not among them.
    pub(super) fn commits(&self, applied: u64, until: u64) -> io::Result<Vec<Commit>> {
        let mut found = BTreeMap::new();
        for (generation, path) in segments(&self.0.folder)? {
            read(&path, generation, &mut found)?;
        }
        found.retain(|number, _| *number <= until);
        run(found, applied)
    }

    /// Where commits are written from now on.
    pub(super) fn pen(&self) -> Pen {
        Pen {
            journal: self.clone(),
            active: None,
            written: 0,
            buffer: Vec::new(),
        }
    }

    /// Lets the segments be used again whose commits are all durable elsewhere: up to number `durable`. Makes one ready
    /// for when the active one is full. Only one thread may call this.
    pub(super) fn release(&self, durable: u64) -> io::Result<()> {
        self.remove_forgotten()?;
        loop {
            let mut pool = self.lock();
            let Some(first) = pool.sealed.front().filter(|first| first.last <= durable) else {
                return Ok(());
            };
            let is_spare = pool.ready.is_empty()
                && first.length == pool.next_length
                && first.generation >= pool.forgotten;
            let old = first.path.clone();
            let generation = is_spare.then(|| pool.take_generation());
            drop(pool);
            // It leaves the line only when it is gone: one that were forgotten here would be found at the next start.
            if let Some(generation) = generation {
                self.make_ready(&old, generation)?;
            } else {
                std::fs::remove_file(&old)?;
                self.lock().sealed.pop_front();
                self.sync_names()?;
            }
        }
    }

    /// Lets no segment that is there be used again: what it held, and what an earlier use left behind its end, is deleted
    /// with it when its commits are durable elsewhere. The one that is being written must be sealed before.
    pub(super) fn forget(&self) {
        let mut pool = self.lock();
        pool.forgotten = pool.next_generation;
    }

    /// Whether something is still there that is to be forgotten.
    pub(super) fn has_forgotten(&self) -> bool {
        let pool = self.lock();
        let mut all = pool.sealed.iter().chain(&pool.ready);
        all.any(|segment| segment.generation < pool.forgotten)
    }

    /// Deletes the segments that were ready to be written when they were to be forgotten.
    fn remove_forgotten(&self) -> io::Result<()> {
        let pool = self.lock();
        let forgotten = |ready: &&Segment| ready.generation < pool.forgotten;
        let paths: Vec<PathBuf> = pool
            .ready
            .iter()
            .filter(forgotten)
            .map(|ready| ready.path.clone())
            .collect();
        drop(pool);
        for path in &paths {
            std::fs::remove_file(path)?;
            self.lock().ready.retain(|ready| ready.path != *path);
        }
        if paths.is_empty() {
            Ok(())
        } else {
            self.sync_names()
        }
    }

    /// Gives the first of the sealed segments a new generation, by which what is in it counts no more. It may be written
    /// once that name is durable.
    fn make_ready(&self, old: &Path, generation: u64) -> io::Result<()> {
        let path = self.path(generation);
        std::fs::rename(old, &path)?;
        let first = self.lock().sealed.pop_front();
        self.sync_names()?;
        let renamed = |first| Segment {
            path,
            generation,
            end: 0,
            last: 0,
            ..first
        };
        self.lock().ready.extend(first.map(renamed));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0.folder)?.sync_all()
    }

    /// How many octets of full segments wait.
    fn waiting(&self) -> u64 {
        let pool = self.lock();
        pool.sealed.iter().map(|segment| segment.length).sum()
    }

    /// A segment that no commit is in, at least `room` octets long.
    fn empty_segment(&self, room: u64) -> io::Result<Segment> {
        let mut pool = self.lock();
        let forgotten = pool.forgotten;
        let may_be = |ready: &Segment| ready.length >= room && ready.generation >= forgotten;
        if pool.ready.front().is_some_and(may_be)
            && let Some(ready) = pool.ready.pop_front()
        {
            return Ok(ready);
        }
        let generation = pool.take_generation();
        let length = pool.next_length.max(room);
        pool.next_length = (pool.next_length * 2).min(LONGEST_SEGMENT);
        drop(pool);
        let path = self.path(generation);
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        let zeroed = zeros(&file, length)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.sync_names());
        if let Err(error) = zeroed {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Segment {
            file,
            path,
            generation,
            length,
            end: 0,
            last: 0,
        })
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.0.folder.join(format!("{generation:020}"))
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn take_generation(&mut self) -> u64 {
        let generation = self.next_generation;
        self.next_generation += 1;
        generation
    }
}

impl Pen {
    /// Writes `commit` after the one before. Not durable yet. Answers whether a segment was full, and is left now.
    ///
    /// After an error here or in [`Self::sync`] the commit may be on disk or not. The next one is to have the same number
    /// and goes into a segment of its own, where it counts in its stead: what shares a segment with a failed write is not
    /// written again.
    pub(super) fn write(&mut self, commit: &Commit) -> io::Result<bool> {
        let written = self.try_write(commit);
        if written.is_err() {
            self.seal();
        }
        written
    }

    fn try_write(&mut self, commit: &Commit) -> io::Result<bool> {
        let generation = self.active.as_ref().map_or(0, |active| active.generation);
        encode(commit, generation, &mut self.buffer);
        let room = self.buffer.len() as u64;
        let fits = |active: &Segment| active.end + room <= active.length;
        let full = self.active.is_some();
        let turned = !self.active.as_ref().is_some_and(fits);
        if turned {
            self.turn(room)?;
            let generation = self.active.as_ref().map_or(0, |active| active.generation);
            encode(commit, generation, &mut self.buffer);
        }
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("the journal has no segment"));
        };
        active.file.write_all_at(&self.buffer, active.end)?;
        active.end += room;
        self.written = commit.number();
        Ok(turned && full)
    }

    /// Makes durable what was written.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let synced = active.file.sync_data();
        if synced.is_err() {
            self.seal();
        } else {
            active.last = self.written;
        }
        synced
    }

    /// Leaves the segment that is being written.
    pub(super) fn seal(&mut self) {
        if let Some(full) = self.active.take() {
            self.journal.lock().sealed.push_back(full);
        }
    }

    fn turn(&mut self, room: u64) -> io::Result<()> {
        if self.journal.waiting() > MOST_WAITING {
            return Err(io::Error::other(
                "too much of the journal waits to reach the index",
            ));
        }
        let next = self.journal.empty_segment(room)?;
        self.seal();
        self.active = Some(next);
        Ok(())
    }
}

/// Adds the commits of one segment, and answers whether it has any. A number that stood in an earlier one too was not
/// acknowledged there.
fn read(path: &Path, generation: u64, found: &mut BTreeMap<u64, Commit>) -> io::Result<bool> {
    let octets = std::fs::read(path)?;
    let (mut at, mut any) = (0, false);
    while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((commit, used)) = decode(rest, generation) {
            at += used.next_multiple_of(ALIGNED);
            found.insert(commit.number(), commit);
            any = true;
        } else {
            at += ALIGNED;
        }
    }
    Ok(any)
}

/// Those of `found` without a gap that end with the last: what stands before a gap was durable elsewhere long ago, and
/// made again alone it would turn back what came after it.
fn run(found: BTreeMap<u64, Commit>, applied: u64) -> io::Result<Vec<Commit>> {
    let Some(last) = found
        .keys()
        .next_back()
        .copied()
        .filter(|last| *last >= applied)
    else {
        return Ok(Vec::new());
    };
    let mut commits = VecDeque::new();
    for (number, commit) in found.into_iter().rev() {
        if number + commits.len() as u64 != last {
            break;
        }
        commits.push_front(commit);
    }
    let first = last + 1 - commits.len() as u64;
    if first > applied + 1 {
        return Err(io::Error::other(Gap { missing: first - 1 }));
    }
    Ok(commits.into())
}

/// The segments of a folder with their generations, which rise.
fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(generation) = name.and_then(|name| name.parse().ok()) {
            found.push((generation, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn zeros(file: &File, length: u64) -> io::Result<()> {
    let block = vec![0; 256 << 10];
    let mut at = 0;
    while at < length {
        let rest = usize::try_from(length - at).unwrap_or(block.len());
        let part = block.get(..rest.min(block.len())).unwrap_or_default();
        file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
