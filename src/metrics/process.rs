//! What the system says of this process, under the names that every exporter uses.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::histogram::as_float;

/// How many ticks of `/proc` a second has (`USER_HZ`): 100 on every architecture that Linux is used on today.
const TICKS: f64 = 100.0;

/// How many octets a kibibyte of `/proc/self/status` has.
const KIB: u64 = 1024;

/// Registers what can be read. A system without `/proc` has none of it.
pub(super) fn register(registry: &mut Registry) {
    let told = |registry: &mut Registry, name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let gauge = Gauge::<f64, AtomicU64>::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        }
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let kib = |name| after(&status, name).map(|number| as_float(number * KIB));
    told(
        registry,
        "process_resident_memory_bytes",
        "Memory in use, in octets",
        kib("VmRSS:"),
    );
    told(
        registry,
        "process_virtual_memory_bytes",
        "Memory that is mapped, in octets",
        kib("VmSize:"),
    );
    told(
        registry,
        "process_threads",
        "Threads",
        after(&status, "Threads:").map(as_float),
    );
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    told(
        registry,
        "process_max_fds",
        "How many files may be open",
        after(&limits, "Max open files").map(as_float),
    );
    // One of them is the folder that is read here.
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    let open = open.ok().and_then(|open| u64::try_from(open).ok());
    told(
        registry,
        "process_open_fds",
        "Files and connections that are open",
        open.map(|open| as_float(open.saturating_sub(1))),
    );
    if let Some(ticks) = ticks_used(&stat) {
        registry.register(
            "process_cpu_seconds",
            "Time of processors that was used, in seconds",
            ConstCounter::new(as_float(ticks) / TICKS),
        );
    }
    told(
        registry,
        "process_start_time_seconds",
        "When the process was started, in seconds since 1970",
        started(&stat),
    );
}

/// The number after `name` in a file of lines.
fn after(file: &str, name: &str) -> Option<u64> {
    let line = file.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The fields of `/proc/self/stat` after the name of the program, which may hold anything (proc(5)).
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    fields.split_whitespace()
}

/// Fields 14 and 15: what was used by the process and by the system for it.
fn ticks_used(stat: &str) -> Option<u64> {
    let mut times = fields(stat).skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Field 22, which counts from the start of the system.
fn started(stat: &str) -> Option<f64> {
    let ticks: u64 = fields(stat).nth(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = after(&system, "btime")?;
    Some(as_float(booted) + as_float(ticks) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 1234 0";
        assert_eq!(ticks_used(stat), Some(300));
        assert_eq!(fields(stat).nth(19), Some("1234"));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(ticks_used(""), None);
        assert_eq!(after("VmRSS:\tmuch kB\n", "VmRSS:"), None);
        assert_eq!(after("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
    }
}
