//! Loading many policies: 100,000 relationships in 10,000 files, half of them with globs, or more.
//!
//! Prints how long loading and checking take and how much memory the process then holds (the aim is 5 s and 300 MB), and
//! how long an exchange waits for its project while the folder is read again. `cargo bench --bench policies -- 1000` says how
//! many organizations there are, each of 100 projects with 10 relationships; without it there are 100.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement says what it found, and stops at the unexpected"
)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use countersign::clock::{Seconds, SystemClock, UnixTime};
use countersign::directory::{
    Audience, Directory, FirstLoads, OnRecord, PolicyChange, PolicyHistory, ProjectIds,
    read_policies,
};
use countersign::issuer::{IssuerForm, PROFILES, Registry, TrustedIssuer};
use countersign::ledger::StoreUnavailable;
use countersign::trust::{Limits, Linter, Names, ProjectPath};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

const PROJECTS: usize = 100;
const RELATIONSHIPS: usize = 10;

const LIMITS: Limits = Limits {
    default_lifetime: Seconds(3600),
    maximum_lifetime: Seconds(6 * 3600),
};

fn main() {
    let organizations = std::env::args().find_map(|given| given.parse().ok());
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), organizations.unwrap_or(100));
    let registry = Arc::new(registry());
    load_and_check(folder.path(), &registry);
    look_up_during_reloads(folder.path(), registry);
}

fn load_and_check(folder: &Path, registry: &Arc<Registry>) {
    let before = resident();
    let start = Instant::now();
    let read = read_policies(folder, registry).unwrap();
    let loaded = start.elapsed();
    let held = resident() - before;
    let relationships: usize = read.policies.iter().map(|policy| policy.len()).sum();
    assert!(read.problems.is_empty(), "{:?}", read.problems.first());

    let mut linter = Linter::new(
        read.policies.iter().map(|policy| &**policy),
        registry,
        LIMITS,
    );
    let found: usize = read
        .policies
        .iter()
        .map(|policy| linter.check(policy, &|_| None).problems().len())
        .sum();
    println!(
        "{relationships} relationships in {} files: loaded in {:.2} s, {} MB; loaded and checked in {:.2} s, {} MB; {found} findings",
        read.policies.len(),
        loaded.as_secs_f64(),
        held / 1024,
        start.elapsed().as_secs_f64(),
        (resident() - before) / 1024,
    );
}

/// Looks projects up as an exchange does, first while nothing else goes on and then while the whole folder is read again
/// and again.
fn look_up_during_reloads(folder: &Path, registry: Arc<Registry>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let names = Arc::new(Nowhere);
    let clock = Arc::new(SystemClock);
    let (before, start) = (resident(), Instant::now());
    let opening = Directory::open(
        folder.to_path_buf(),
        registry,
        names.clone(),
        names.clone(),
        names,
        clock,
    );
    let directory = Arc::new(runtime.block_on(opening).unwrap());
    println!(
        "as the service holds them: loaded in {:.2} s, {} MB",
        start.elapsed().as_secs_f64(),
        resident().saturating_sub(before) / 1024
    );

    let idle = look_ups(&directory, || false);
    let reloading = directory.clone();
    let folder = folder.to_path_buf();
    let reloads = runtime.spawn(async move {
        for round in 0..3 {
            touch(&folder, round);
            reloading.reload().await.unwrap();
        }
    });
    let busy = look_ups(&directory, || !reloads.is_finished());
    println!(
        "looking up a project: longest of {} while idle {} us; longest of {} during three reloads {} us",
        idle.0, idle.1, busy.0, busy.1
    );
}

/// How many look-ups there were, and how long the longest took in microseconds: at least a hundred thousand, and as long
/// as `on` says. On a machine with few processors the longest is mostly the time that another thread had this one's.
fn look_ups(directory: &Directory, on: impl Fn() -> bool) -> (usize, u128) {
    let project = Audience::parse("organization-1/project-1", "https://sts.example.com").unwrap();
    let (mut count, mut longest) = (0, 0);
    while count < 100_000 || on() {
        let start = Instant::now();
        assert!(directory.find(&project).is_some());
        longest = longest.max(start.elapsed().as_micros());
        count += 1;
    }
    (count, longest)
}

/// Changes every file of one organization.
fn touch(folder: &Path, round: usize) {
    for project in 0..PROJECTS {
        let file = folder.join(format!("organization-0/project-{project}.toml"));
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}# {round}\n")).unwrap();
    }
}

/// Keeps nothing: the path of a project is its id.
struct Nowhere;

impl ProjectIds for Nowhere {
    fn ids_of(
        &self,
        paths: Vec<ProjectPath>,
    ) -> BoxFuture<'_, Result<Vec<String>, StoreUnavailable>> {
        async move { Ok(paths.iter().map(ToString::to_string).collect()) }.boxed()
    }
}

impl FirstLoads for Nowhere {
    fn note_names(
        &self,
        _: Vec<Names>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        async { Ok(()) }.boxed()
    }
}

impl PolicyHistory for Nowhere {
    fn policies_on_record(
        &self,
    ) -> BoxFuture<'_, Result<HashMap<String, OnRecord>, StoreUnavailable>> {
        async { Ok(HashMap::new()) }.boxed()
    }

    fn record_policies(
        &self,
        _: Vec<PolicyChange>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        async { Ok(()) }.boxed()
    }

    fn policy_text(&self, _: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        async { Ok(None) }.boxed()
    }
}

fn registry() -> Registry {
    let public = PROFILES.into_iter().filter_map(|profile| {
        let form = IssuerForm::parse(profile.default_url?, profile.organization_in_issuer, false);
        Some(TrustedIssuer::new(profile.name, profile, form.unwrap(), ""))
    });
    Registry::new(public)
}

fn write(folder: &Path, organizations: usize) {
    for organization in 0..organizations {
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
