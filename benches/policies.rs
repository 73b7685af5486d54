//! Loading many policies: 100,000 relationships in 10,000 files, half of them with globs.
//!
//! Prints how long it took and how much memory the process then holds. The aim is 5 s and 300 MB.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement says what it found, and stops at the unexpected"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use countersign::directory::read_policies;
use countersign::issuer::{IssuerForm, PROFILES, Registry, TrustedIssuer};

const ORGANIZATIONS: usize = 100;
const PROJECTS: usize = 100;
const RELATIONSHIPS: usize = 10;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let registry = Arc::new(registry());
    let before = resident();
    let start = Instant::now();
    let read = read_policies(folder.path(), &registry).unwrap();
    let took = start.elapsed();
    let relationships: usize = read.policies.iter().map(|policy| policy.len()).sum();
    println!(
        "{relationships} relationships in {} files: read in {:.2} s, {} MB",
        read.policies.len(),
        took.as_secs_f64(),
        (resident() - before) / 1024,
    );
    assert!(read.problems.is_empty(), "{:?}", read.problems.first());
}

fn registry() -> Registry {
    let public = PROFILES.into_iter().filter_map(|profile| {
        let form = IssuerForm::parse(profile.default_url?, profile.organization_in_issuer, false);
        Some(TrustedIssuer::new(profile.name, profile, form.unwrap(), ""))
    });
    Registry::new(public)
}

fn write(folder: &Path) {
    for organization in 0..ORGANIZATIONS {
        let place = folder.join(format!("organization-{organization}"));
        fs::create_dir(&place).unwrap();
        let rails =
            "[[require]]\nissuer = \"github\"\npin = [\"owner-id\"]\nlifetime-at-most = \"2h\"\n";
        fs::write(place.join("_organization.toml"), rails).unwrap();
        for project in 0..PROJECTS {
            let mut text = String::new();
            for number in 0..RELATIONSHIPS {
                let id = (organization * PROJECTS + project) * RELATIONSHIPS + number;
                let reference = if number % 2 == 0 {
                    format!("{{ glob = \"refs/tags/{project}-v*\" }}")
                } else {
                    "\"refs/heads/main\"".to_owned()
                };
                writeln!(
                    text,
                    "[[trust]]\nname = \"release {number}\"\nissuer = \"github\"\n\
                    owner = \"organization-{organization}\"\nowner-id = {organization}\n\
                    repository = \"project-{project}\"\nrepository-id = {id}\n\
                    scopes = [\"read_registry\", \"write_registry\"]\nlifetime = \"30m\"\n\n\
                    [trust.claims]\nevent_name = [\"push\", \"release\"]\nref = {reference}\n\
                    environment = \"production\"\nrunner_environment = \"github-hosted\"\n"
                )
                .unwrap();
            }
            fs::write(place.join(format!("project-{project}.toml")), text).unwrap();
        }
    }
}

/// The memory that the process holds, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}
