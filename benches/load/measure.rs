//! What is read of a process and of a folder, and what is made of several figures.

use std::fs;
use std::path::Path;

/// What `sysconf(_SC_CLK_TCK)` answers on every Linux that this runs on: `/proc` counts in these.
const TICKS_A_SECOND: f64 = 100.0;

/// The time that all threads of a process had a processor, user and system, in microseconds.
pub fn cpu_micros(pid: u32) -> f64 {
    ticks_of(pid, [11, 12])
}

fn ticks_of(pid: u32, fields_at: [usize; 2]) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name of the program, in parentheses, may hold spaces.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |at: usize| -> f64 { fields[at].parse().unwrap() };
    fields_at.into_iter().map(ticks).sum::<f64>() / TICKS_A_SECOND * 1e6
}

/// The time that children had a processor which ended and were waited for, in microseconds.
pub fn cpu_of_ended_children(pid: u32) -> f64 {
    ticks_of(pid, [13, 14])
}

/// The time that this thread had a processor, in nanoseconds.
pub fn own_cpu_nanos() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// The memory that a process holds, in MiB.
pub fn resident(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

/// The most that it ever held, in MiB.
pub fn peak(pid: u32) -> f64 {
    status(pid, "VmHWM:")
}

fn status(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

/// What the files below a folder occupy on the disk, in octets.
pub fn occupied(folder: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut octets = 0.0;
    // A file that goes away while it is looked at occupies nothing.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => octets += occupied(&entry.path()),
            Ok(metadata) => octets += metadata.blocks() as f64 * 512.0,
            Err(_) => {}
        }
    }
    octets
}

/// The middle one.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// `median (least-most)`.
pub fn spread(figures: &[f64], digits: usize) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let middle = median(figures);
    format!("{middle:.digits$} ({least:.digits$}–{most:.digits$})")
}

/// One line about a goal.
pub fn goal(what: &str, found: f64, bound: f64, at_least: bool) {
    let (sign, met) = if at_least {
        ("at least", found >= bound)
    } else {
        ("at most", found <= bound)
    };
    let verdict = if met { "met" } else { "NOT MET" };
    println!("- {what}: {found:.2}; goal {sign} {bound}: {verdict}");
}
