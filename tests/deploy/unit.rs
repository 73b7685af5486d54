//! The unit of systemd.

use std::collections::BTreeSet;
use std::process::Command;

use super::program::{PROGRAM, Program, exchanged, folder, run};
use crate::docs::read;

const UNIT: &str = "deploy/countersign.service";

/// The unit in a folder, with the program where it is here.
fn unit() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = read(UNIT).replace("/usr/local/bin/countersign", PROGRAM);
    std::fs::write(folder.path().join("countersign.service"), text).unwrap();
    folder
}

/// The system calls of a set that systemd has, sets in it included.
fn calls(set: &str) -> BTreeSet<String> {
    let said = run(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", set]));
    let mut found = BTreeSet::new();
    for line in said.lines().filter(|line| line.starts_with("    ")) {
        match line.trim() {
            comment if comment.starts_with('#') => {}
            inner if inner.starts_with('@') => found.extend(calls(inner)),
            call => {
                found.insert(call.to_owned());
            }
        }
    }
    assert!(!found.is_empty(), "{set}");
    found
}

/// The system calls that the unit allows.
fn allowed() -> BTreeSet<String> {
    let unit = read(UNIT);
    let filters = unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let mut allowed = calls("@default");
    for filter in filters {
        let sets = |filter: &str| -> Vec<String> {
            filter.split(' ').flat_map(calls).collect::<Vec<String>>()
        };
        match filter.strip_prefix('~') {
            None => allowed.extend(sets(filter)),
            Some(denied) => {
                for call in sets(denied) {
                    allowed.remove(&call);
                }
            }
        }
    }
    // What systemd lets through in any case stays.
    allowed.extend(calls("@default"));
    allowed
}

#[test]
fn systemd_finds_nothing_wrong_in_the_unit() {
    let folder = unit();
    let file = folder.path().join("countersign.service");
    let said = run(Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(file));
    assert_eq!(said, "");
}

#[test]
fn the_unit_is_hardened_as_far_as_a_service_with_a_network_can_be() {
    let folder = unit();
    let file = folder.path().join("countersign.service");
    // The worst exposure that is let pass, times ten.
    let said = run(Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=12"])
        .arg(file));
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_makes_no_system_call_that_the_unit_forbids() {
    let folder = folder("");
    let calls = folder.path().join("calls");
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-qq", "-o"])
        .arg(&calls)
        .args([PROGRAM, "serve", "--config"])
        .arg(folder.path().join("countersign.toml"));
    let service = Program::start(traced);
    let answer = exchanged(&service.base).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    service.stop();

    let allowed = allowed();
    let calls = std::fs::read_to_string(calls).unwrap();
    let made: BTreeSet<&str> = calls
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .collect();
    assert!(
        made.contains("accept4") && made.contains("fdatasync"),
        "{made:?}"
    );
    let forbidden: Vec<&&str> = made
        .iter()
        .filter(|name| !allowed.contains(**name))
        .collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

#[test]
fn the_guide_and_the_unit_speak_of_the_same_paths() {
    let (guide, unit) = (read("deploy/README.md"), read(UNIT));
    assert!(guide.contains("](countersign.service)"));
    for path in ["/usr/local/bin/", "/etc/countersign/countersign.toml"] {
        assert!(guide.contains(path) && unit.contains(path), "{path}");
    }
    let user = unit.lines().find_map(|line| line.strip_prefix("User="));
    assert!(guide.contains(&format!("/usr/sbin/nologin {}\n", user.unwrap())));
    let state = unit
        .lines()
        .find_map(|line| line.strip_prefix("StateDirectory="));
    assert!(guide.contains(&format!("sled:/var/lib/{}/data", state.unwrap())));
}
