//! The data folder: made, locked, and watched for room.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something that is no folder stands where the folder should be, or above it.
    #[error("`{0}` cannot be a data folder: it, or a part of the path, is not a folder")]
    NotAFolder(PathBuf),
    /// The folder cannot be made or written.
    #[error("the data folder `{0}` cannot be written: {1}; let the user of this process own it")]
    NotWritable(PathBuf, io::Error),
    /// Another store has the folder open, in this process or in another one.
    #[error(
        "the data folder `{0}` is in use; stop the other process, or give this one a folder of its own"
    )]
    InUse(PathBuf),
    /// A newer program wrote the folder.
    #[error(
        "the data folder `{0}` has format {1} and this program reads up to format {2}; use the newer program"
    )]
    Newer(PathBuf, u32, u32),
    /// An older program wrote the folder, in a form that is not read any more.
    #[error(
        "the data folder `{0}` has format {1}, which this program does not read; name a new folder, and keep this one as long as its records matter"
    )]
    Older(PathBuf, u32),
    /// The folder holds a database of some other program.
    #[error("the data folder `{0}` holds the data of another program; name an empty folder")]
    Foreign(PathBuf),
    /// It was to be a copy of another store, which was not finished.
    #[error(
        "the data folder `{0}` is a copy that was not finished; delete it and copy again, nothing was ever served from it"
    )]
    Unfinished(PathBuf),
    /// The database was not opened.
    #[error("the data folder `{0}` was not opened: {1}")]
    Failed(PathBuf, String),
}

impl OpenError {
    /// A name for dashboards, tests and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAFolder(_) => "data-not-a-folder",
            Self::NotWritable(..) => "data-not-writable",
            Self::InUse(_) => "data-in-use",
            Self::Newer(..) => "data-newer",
            Self::Older(..) => "data-older",
            Self::Foreign(_) => "data-foreign",
            Self::Unfinished(_) => "data-unfinished",
            Self::Failed(..) => "data-not-opened",
        }
    }
}

/// The file that says that the folder is a copy in the making.
const UNFINISHED: &str = "copy-unfinished";

/// A folder that is ours alone until this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Our own lock, beside the one that sled holds on its file: sled is closed and opened again after a failure, and
    /// nobody else may step in between.
    lock: File,
}

impl Folder {
    /// Makes the folder if it is not there, for this user only, and locks it.
    pub(super) fn occupy(path: &Path) -> Result<Self, OpenError> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                OpenError::NotAFolder(path.to_owned())
            }
            _ => OpenError::NotWritable(path.to_owned(), error),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(refused)?;
        warn_of_onlookers(path);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(refused)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // Before there was a journal, the database lay in the folder itself.
                if path.join("db").is_file() && path.join("conf").is_file() {
                    return Err(OpenError::Older(path.to_owned(), 1));
                }
                let folder = Self {
                    path: path.to_owned(),
                    lock,
                };
                folder.make_parts().map_err(refused)?;
                Ok(folder)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse(path.to_owned())),
            Err(error) => Err(OpenError::Failed(path.to_owned(), error.to_string())),
        }
    }

    /// Makes the folder, for this user only, with the mark of a copy that is not finished. Durable when this returns.
    pub(super) fn begin(path: &Path) -> Result<(), OpenError> {
        let begun = || {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            let mut mark = OpenOptions::new();
            let mark = mark.create(true).truncate(false).write(true).mode(0o600);
            mark.open(path.join(UNFINISHED))?.sync_all()?;
            File::open(path)?.sync_all()
        };
        begun().map_err(|error: io::Error| OpenError::NotWritable(path.to_owned(), error))
    }

    /// Whether the folder is a copy that is not finished.
    pub(super) fn is_unfinished(path: &Path) -> bool {
        path.join(UNFINISHED).exists()
    }

    /// Takes the mark away from a copy that is finished, which nobody has open. Durable when this returns.
    pub(super) fn finish(path: &Path) -> Result<(), OpenError> {
        let finished = || {
            std::fs::remove_file(path.join(UNFINISHED))?;
            File::open(path)?.sync_all()
        };
        finished().map_err(|error: io::Error| OpenError::NotWritable(path.to_owned(), error))
    }

    fn make_parts(&self) -> io::Result<()> {
        for part in [
            self.index(),
            self.journal(),
            self.records(),
            self.withheld(),
            self.rows(),
            self.tree(),
        ] {
            DirBuilder::new().recursive(true).mode(0o700).create(part)?;
        }
        Ok(())
    }

    /// The folder of the index.
    pub(super) fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    /// The file that holds all of the index.
    pub(super) fn database(&self) -> PathBuf {
        self.index().join("db")
    }

    /// The folder of the journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// The folder of the records.
    pub(super) fn records(&self) -> PathBuf {
        self.path.join("records")
    }

    /// The folder of what the leaves do not hold.
    pub(super) fn withheld(&self) -> PathBuf {
        self.path.join("withheld")
    }

    /// The folder of the rows.
    pub(super) fn rows(&self) -> PathBuf {
        self.path.join("rows")
    }

    /// The folder of the tree.
    pub(super) fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// A file in the folder itself.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Puts a file in place of an earlier one. Durable when this returns; a crash leaves either whole. `step` is called
    /// when it is written, with `false`, and when it has its name, with `true`.
    pub(super) fn replace(
        &self,
        name: &str,
        octets: &[u8],
        mut step: impl FnMut(bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let unfinished = self.file(&format!("{name}.unfinished"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(octets)?;
        file.sync_all()?;
        step(false)?;
        std::fs::rename(&unfinished, self.file(name))?;
        step(true)?;
        File::open(&self.path)?.sync_all()
    }

    /// Deletes a file that may not be there. Durable when this returns.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.file(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(&self.path)?.sync_all(),
        }
    }

    /// How many octets we may still write to the disk.
    pub(super) fn free(&self) -> io::Result<u64> {
        let disk = statvfs(&self.path)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Makes the names of the files durable: a synced file whose name is lost is lost.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        File::open(self.index().join("conf"))?.sync_all()?;
        File::open(self.index())?.sync_all()?;
        File::open(&self.path)?.sync_all()?;
        match self.path.canonicalize()?.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Folder {
    /// Unlocks by word, since a child process that is just being started holds a copy of the handle for a moment.
    fn drop(&mut self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

/// A folder that was there before may be open to others. That is the operator's choice, and worth a line.
fn warn_of_onlookers(path: &Path) {
    let mode = path.metadata().map(|data| data.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        tracing::warn!(folder = %path.display(), "other users may enter the data folder; `chmod 700` it");
    }
}
