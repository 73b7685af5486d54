//! Files of a log that somebody else has put together.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use super::source::Unavailable;

/// The longest file that is read whole: the longest values withheld from an entry fit, and the longest bundle.
const LONGEST: u64 = 64 << 20;

/// Opens a file, if there is one. A pipe may let us wait for ever, and a device may have no end: neither is part of a log.
pub fn open(path: &Path) -> Result<Option<File>, Unavailable> {
    // Merely to open a pipe is to wait for who writes to it.
    let is_file = std::fs::metadata(path).map(|found| found.is_file());
    match is_file.and_then(|is_file| is_file.then(|| File::open(path)).transpose()) {
        Ok(Some(file)) => Ok(Some(file)),
        Ok(None) => Err(Unavailable(format!("`{}` is no file", path.display()))),
        Err(fault) if matches!(fault.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(fault) => Err(unreadable(path, &fault)),
    }
}

/// All that is in a file, if there is one.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Unavailable> {
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    let mut octets = Vec::new();
    let read = file.take(LONGEST + 1).read_to_end(&mut octets);
    read.map_err(|fault| unreadable(path, &fault))?;
    if octets.len() as u64 > LONGEST {
        let fault = format!("`{}` is longer than any part of a log", path.display());
        return Err(Unavailable(fault));
    }
    Ok(Some(octets))
}

/// Says why a file cannot be read.
pub fn unreadable(path: &Path, fault: &io::Error) -> Unavailable {
    Unavailable(format!("`{}` cannot be read: {fault}", path.display()))
}
