//! What this process and its folder take of the machine.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time that all threads of this process have computed so far, in the program and in the system.
pub fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime)
        .try_into()
        .unwrap_or_default()
}

/// How many octets of memory the process holds.
pub fn resident() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kibibytes = number.and_then(|number| number.parse::<u64>().ok());
    Ok(kibibytes.unwrap_or_default() * 1024)
}

/// How many octets of the disk the files in `folder` take. What is reserved and never written does not count.
pub fn on_disk(folder: &Path) -> io::Result<u64> {
    let mut octets = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        octets += metadata.blocks() * 512;
        if metadata.is_dir() {
            octets += on_disk(&path)?;
        }
    }
    Ok(octets)
}
