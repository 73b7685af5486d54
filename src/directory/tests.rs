//! What is on record of policies, with a store in memory that stops when it is told to.

mod peers;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join};
use proptest::prelude::*;

use super::*;
use crate::audit::PolicyLoaded;
use crate::clock::FrozenClock;
use crate::issuer::{IssuerForm, TrustedIssuer, profile_named};
use crate::trust::digest_of;

/// A store that remembers what it is told, until it has written as often as it may.
#[derive(Default)]
struct InMemory {
    on_record: Mutex<HashMap<String, OnRecord>>,
    texts: Mutex<HashMap<String, Vec<u8>>>,
    log: Mutex<Vec<Happening>>,
    commits: Mutex<usize>,
    most_commits: Mutex<Option<usize>>,
    /// Whether the commit that fails is on the disk all the same.
    fails_late: Mutex<bool>,
    /// What happens while the next version is put on record.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl InMemory {
    fn is_down(&self) -> bool {
        let most = *self.most_commits.lock().unwrap();
        most.is_some_and(|most| *self.commits.lock().unwrap() >= most)
    }

    fn check(&self) -> Result<(), StoreUnavailable> {
        if self.is_down() {
            return Err(StoreUnavailable("the disk is full".to_owned()));
        }
        Ok(())
    }

    /// Lets so many commits through from here on.
    fn stop_after(&self, commits: usize) {
        *self.commits.lock().unwrap() = 0;
        *self.most_commits.lock().unwrap() = Some(commits);
    }

    fn go_on(&self) {
        *self.most_commits.lock().unwrap() = None;
    }

    /// What went on record since it was last asked.
    fn said(&self) -> Vec<Happening> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    fn write(&self, changes: Vec<PolicyChange>) {
        *self.commits.lock().unwrap() += 1;
        for change in changes {
            let mut on_record = self.on_record.lock().unwrap();
            match change.on_record {
                Some(known) => on_record.insert(change.file, known),
                None => on_record.remove(&change.file),
            };
            self.texts.lock().unwrap().extend(change.text);
            self.log.lock().unwrap().push(change.event);
        }
    }
}

impl ProjectIds for InMemory {
    fn ids_of(
        &self,
        paths: Vec<ProjectPath>,
    ) -> BoxFuture<'_, Result<Vec<String>, StoreUnavailable>> {
        async move { Ok(paths.iter().map(|path| format!("id of {path}")).collect()) }.boxed()
    }
}

impl FirstLoads for InMemory {
    fn note_names(
        &self,
        _: Vec<Names>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        async { Ok(()) }.boxed()
    }
}

impl PolicyHistory for InMemory {
    fn policies_on_record(
        &self,
    ) -> BoxFuture<'_, Result<HashMap<String, OnRecord>, StoreUnavailable>> {
        async {
            self.check()?;
            Ok(self.on_record.lock().unwrap().clone())
        }
        .boxed()
    }

    fn record_policies(
        &self,
        changes: Vec<PolicyChange>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        async {
            let meanwhile = self.meanwhile.lock().unwrap().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile();
            }
            if let Err(down) = self.check() {
                if *self.fails_late.lock().unwrap() {
                    self.write(changes);
                }
                return Err(down);
            }
            // Somebody else has a turn between the question and the answer.
            tokio::task::yield_now().await;
            self.write(changes);
            Ok(())
        }
        .boxed()
    }

    fn policy_text(
        &self,
        digest: String,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        async move { Ok(self.texts.lock().unwrap().get(&digest).cloned()) }.boxed()
    }
}

/// A folder of policies and a store, which outlive the service.
struct World {
    folder: tempfile::TempDir,
    store: Arc<InMemory>,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: Arc::default(),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As an editor does: another file takes the place, so that no two versions have one stamp.
        let new = self.folder.path().join(".new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    async fn open(&self) -> Result<Directory, DirectoryError> {
        let profile = profile_named("github").unwrap();
        let form = IssuerForm::parse("https://ci.example", false, false).unwrap();
        let registry = Registry::new([TrustedIssuer::new("github", profile, form, "")]);
        let clock = Arc::new(FrozenClock::at(UnixTime::from_seconds(7)));
        Directory::open(
            self.folder.path().to_path_buf(),
            Arc::new(registry),
            self.store.clone(),
            self.store.clone(),
            self.store.clone(),
            clock,
        )
        .await
    }

    /// What went on record since it was last asked, one line each.
    fn said(&self) -> Vec<String> {
        self.store.said().iter().map(in_short).collect()
    }
}

/// `kind file digest before`, with digests cut.
fn in_short(event: &Happening) -> String {
    let cut = |digest: &Option<String>| {
        let digest = digest.as_ref();
        digest.map_or("-".to_owned(), |digest| digest[7..13].to_owned())
    };
    match event {
        Happening::PolicyLoaded(loaded) => format!(
            "loaded {} {} {}",
            loaded.file,
            cut(&Some(loaded.digest.clone())),
            cut(&loaded.before)
        ),
        Happening::PolicyRefused {
            file,
            digest,
            in_force,
            ..
        } => format!("refused {file} {} {}", cut(digest), cut(in_force)),
        Happening::PolicyRemoved { file, before } => format!("removed {file} {}", cut(before)),
        other => panic!("{other:?}"),
    }
}

fn short(text: &str) -> String {
    digest_of(text)[7..13].to_owned()
}

fn loaded(file: &str, text: &str, before: &str) -> String {
    let before = if before == "-" {
        "-".into()
    } else {
        short(before)
    };
    format!("loaded {file} {} {before}", short(text))
}

fn trust(name: &str, scope: &str) -> String {
    format!(
        "[[trust]]\nname = \"{name}\"\nissuer = \"github\"\nowner-id = 65\nrepository-id = 74\nscopes = [\"{scope}\"]\n"
    )
}

/// The digest of what is in force for a project.
fn in_force(directory: &Directory, project: &str) -> Option<String> {
    let project = ProjectPath::parse(project).unwrap();
    let found = directory.find(&Audience::Path(project))?;
    Some(found.policy.digest().to_owned())
}

const BROKEN: &str = "[[trust]]\nname = \"x\"\n";

#[tokio::test]
async fn what_a_policy_adds_removes_and_changes_is_on_record_with_its_text() {
    let world = World::new();
    let first = format!("{}{}", trust("release", "a"), trust("deploy", "a"));
    world.write("acme/api.toml", &first);
    let directory = world.open().await.unwrap();
    let expected = PolicyLoaded {
        file: "acme/api.toml".to_owned(),
        organization: "acme".to_owned(),
        project: Some("acme/api".to_owned()),
        project_id: Some("id of acme/api".to_owned()),
        digest: digest_of(&first),
        added: vec!["trust deploy".to_owned(), "trust release".to_owned()],
        ..PolicyLoaded::default()
    };
    assert_eq!(
        world.store.said(),
        [Happening::PolicyLoaded(expected.clone())]
    );

    let second = format!("{}{}", trust("release", "b"), trust("build", "a"));
    world.write("acme/api.toml", &second);
    directory.reload().await.unwrap();
    let expected = PolicyLoaded {
        digest: digest_of(&second),
        before: Some(digest_of(&first)),
        added: vec!["trust build".to_owned()],
        removed: vec!["trust deploy".to_owned()],
        changed: vec!["trust release".to_owned()],
        ..expected
    };
    assert_eq!(world.store.said(), [Happening::PolicyLoaded(expected)]);
    for text in [first, second] {
        let kept = world.store.policy_text(digest_of(&text)).await.unwrap();
        assert_eq!(kept, Some(text.into_bytes()));
    }
}

#[tokio::test]
async fn guard_rails_are_on_record_as_their_organizations() {
    let world = World::new();
    let rails = "[[require]]\nissuer = \"github\"\npin = [\"owner-id\"]\n\n[[deny]]\nname = \"no\"\nissuer = \"github\"\n";
    world.write("acme/_organization.toml", rails);
    let directory = world.open().await.unwrap();
    let expected = PolicyLoaded {
        file: "acme/_organization.toml".to_owned(),
        organization: "acme".to_owned(),
        digest: digest_of(rails),
        added: vec!["deny no".to_owned(), "require 1".to_owned()],
        ..PolicyLoaded::default()
    };
    assert_eq!(world.store.said(), [Happening::PolicyLoaded(expected)]);
    fs::remove_file(world.path("acme/_organization.toml")).unwrap();
    directory.reload().await.unwrap();
    let removed = Happening::PolicyRemoved {
        file: "acme/_organization.toml".to_owned(),
        before: Some(digest_of(rails)),
    };
    assert_eq!(world.store.said(), [removed]);
}

#[tokio::test]
async fn a_version_is_refused_once_and_what_stays_in_force_is_said() {
    let world = World::new();
    let good = trust("release", "a");
    world.write("acme/api.toml", &good);
    let directory = world.open().await.unwrap();
    world.said();
    world.write("acme/api.toml", BROKEN);
    directory.reload().await.unwrap();
    let message = directory.problems()[0].message.clone();
    let refused = Happening::PolicyRefused {
        file: "acme/api.toml".to_owned(),
        digest: Some(digest_of(BROKEN)),
        message: message.clone(),
        in_force: Some(digest_of(&good)),
    };
    assert_eq!(world.store.said(), [refused]);
    let kept = world.store.policy_text(digest_of(BROKEN)).await.unwrap();
    assert_eq!(kept.as_deref(), Some(BROKEN.as_bytes()));

    world.write("acme/api.toml", BROKEN);
    directory.reload().await.unwrap();
    assert_eq!(world.said(), [""; 0]);

    // After a restart there is no last good version.
    let directory = world.open().await.unwrap();
    let refused = Happening::PolicyRefused {
        file: "acme/api.toml".to_owned(),
        digest: Some(digest_of(BROKEN)),
        message: format!("{message}; in force is nothing: the project is disabled"),
        in_force: None,
    };
    assert_eq!(world.store.said(), [refused]);
    world.open().await.unwrap();
    assert_eq!(world.said(), [""; 0]);

    world.write("acme/api.toml", &good);
    directory.reload().await.unwrap();
    assert_eq!(world.said(), [loaded("acme/api.toml", &good, "-")]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_refused_without_a_digest() {
    let world = World::new();
    world.write("acme/api.toml", "");
    fs::remove_file(world.path("acme/api.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.path("acme/api.toml")).unwrap();
    world.open().await.unwrap();
    let refused = Happening::PolicyRefused {
        file: "acme/api.toml".to_owned(),
        digest: None,
        message: "this link leads nowhere; in force is nothing: the project is disabled".to_owned(),
        in_force: None,
    };
    assert_eq!(world.store.said(), [refused]);
}

#[tokio::test]
async fn a_mended_file_is_on_record_although_the_same_is_in_force() {
    let world = World::new();
    let good = trust("release", "a");
    world.write("acme/api.toml", &good);
    let directory = world.open().await.unwrap();
    world.write("acme/api.toml", BROKEN);
    directory.reload().await.unwrap();
    world.said();
    world.write("acme/api.toml", &good);
    directory.reload().await.unwrap();
    assert_eq!(world.said(), [loaded("acme/api.toml", &good, &good)]);
}

#[tokio::test]
async fn a_restart_puts_nothing_on_record_that_is_there() {
    let world = World::new();
    world.write("acme/api.toml", &trust("release", "a"));
    world.write("acme/web.toml", BROKEN);
    world.write("acme/_organization.toml", "");
    world.open().await.unwrap();
    assert_eq!(world.said().len(), 3);
    let commits = *world.store.commits.lock().unwrap();
    world.open().await.unwrap();
    assert_eq!(world.said(), [""; 0]);
    assert_eq!(*world.store.commits.lock().unwrap(), commits);
}

#[tokio::test]
async fn what_changed_while_the_service_was_away_is_on_record_at_its_start() {
    let world = World::new();
    let (first, second) = (trust("release", "a"), trust("release", "b"));
    world.write("acme/api.toml", &first);
    world.write("acme/web.toml", &first);
    world.write("acme/same.toml", &first);
    world.open().await.unwrap();
    world.said();
    world.write("acme/api.toml", &second);
    world.write("acme/same.toml", &first);
    fs::remove_file(world.path("acme/web.toml")).unwrap();
    world.open().await.unwrap();
    let expected = [
        loaded("acme/api.toml", &second, &first),
        format!("removed acme/web.toml {}", short(&first)),
    ];
    assert_eq!(world.said(), expected);
}

#[tokio::test]
async fn a_file_that_goes_and_comes_back_between_two_looks_changed_nothing() {
    let world = World::new();
    let text = trust("release", "a");
    world.write("acme/api.toml", &text);
    let directory = world.open().await.unwrap();
    world.said();
    fs::remove_file(world.path("acme/api.toml")).unwrap();
    world.write("acme/api.toml", &text);
    directory.reload().await.unwrap();
    assert_eq!(world.said(), [""; 0]);
    fs::rename(world.path("acme/api.toml"), world.path("acme/API.toml")).unwrap();
    directory.reload().await.unwrap();
    let removed = format!("removed acme/api.toml {}", short(&text));
    assert_eq!(world.said(), [removed]);
    fs::rename(world.path("acme/API.toml"), world.path("acme/api.toml")).unwrap();
    directory.reload().await.unwrap();
    assert_eq!(world.said(), [loaded("acme/api.toml", &text, "-")]);
}

#[tokio::test]
async fn two_reloads_at_once_put_a_change_on_record_once() {
    let world = World::new();
    let (first, second) = (trust("release", "a"), trust("release", "b"));
    world.write("acme/api.toml", &first);
    let directory = world.open().await.unwrap();
    world.said();
    world.write("acme/api.toml", &second);
    let (one, other) = join(directory.reload(), directory.reload()).await;
    one.unwrap();
    other.unwrap();
    assert_eq!(world.said(), [loaded("acme/api.toml", &second, &first)]);
}

#[tokio::test]
async fn what_cannot_be_put_on_record_has_no_effect_and_no_exchange_succeeds_by_what_was() {
    let world = World::new();
    let (loose, tight) = (trust("release", "a"), trust("release", "b"));
    world.write("acme/api.toml", &loose);
    world.write("acme/web.toml", &loose);
    let directory = world.open().await.unwrap();
    world.said();
    world.store.stop_after(0);
    directory.reload().await.unwrap();
    directory.settled().unwrap();

    world.write("acme/api.toml", &tight);
    fs::remove_file(world.path("acme/web.toml")).unwrap();
    assert!(matches!(
        directory.reload().await,
        Err(DirectoryError::Store(_))
    ));
    assert!(directory.settled().is_err());
    assert_eq!(in_force(&directory, "acme/api"), Some(digest_of(&loose)));
    assert!(directory.reload().await.is_err());
    assert_eq!(world.said(), [""; 0]);

    world.store.go_on();
    directory.reload().await.unwrap();
    directory.settled().unwrap();
    let expected = [
        loaded("acme/api.toml", &tight, &loose),
        format!("removed acme/web.toml {}", short(&loose)),
    ];
    assert_eq!(world.said(), expected);
    assert_eq!(in_force(&directory, "acme/api"), Some(digest_of(&tight)));
    assert_eq!(in_force(&directory, "acme/web"), None);
}

#[tokio::test]
async fn a_change_that_is_taken_back_before_it_was_on_record_never_was() {
    let world = World::new();
    let (first, second) = (trust("release", "a"), trust("release", "b"));
    world.write("acme/api.toml", &first);
    let directory = world.open().await.unwrap();
    world.said();
    world.store.stop_after(0);
    world.write("acme/api.toml", &second);
    assert!(directory.reload().await.is_err());
    world.write("acme/api.toml", &first);
    world.store.go_on();
    directory.reload().await.unwrap();
    directory.settled().unwrap();
    assert_eq!(world.said(), [""; 0]);
}

#[tokio::test]
async fn a_version_that_was_never_on_record_is_no_last_good_one() {
    let world = World::new();
    let (first, second) = (trust("release", "a"), trust("release", "b"));
    world.write("acme/api.toml", &first);
    let directory = world.open().await.unwrap();
    world.said();
    world.store.stop_after(0);
    world.write("acme/api.toml", &second);
    assert!(directory.reload().await.is_err());
    world.write("acme/api.toml", BROKEN);
    world.store.go_on();
    directory.reload().await.unwrap();
    let refused = format!("refused acme/api.toml {} {}", short(BROKEN), short(&first));
    assert_eq!(world.said(), [refused]);
    assert_eq!(in_force(&directory, "acme/api"), Some(digest_of(&first)));
}

#[tokio::test]
async fn a_commit_that_failed_and_is_on_the_disk_all_the_same_is_not_repeated() {
    let world = World::new();
    let (first, second) = (trust("release", "a"), trust("release", "b"));
    world.write("acme/api.toml", &first);
    let directory = world.open().await.unwrap();
    world.said();
    world.store.stop_after(0);
    *world.store.fails_late.lock().unwrap() = true;
    world.write("acme/api.toml", &second);
    assert!(directory.reload().await.is_err());
    assert_eq!(in_force(&directory, "acme/api"), Some(digest_of(&first)));
    world.store.go_on();
    directory.reload().await.unwrap();
    assert_eq!(world.said(), [loaded("acme/api.toml", &second, &first)]);
    assert_eq!(in_force(&directory, "acme/api"), Some(digest_of(&second)));
}

#[tokio::test]
async fn a_start_with_many_files_goes_in_batches_and_goes_on_where_it_stopped() {
    let world = World::new();
    for number in 0..1100 {
        world.write(&format!("acme/p{number}.toml"), &trust("release", "a"));
    }
    world.store.stop_after(2);
    assert!(world.open().await.is_err());
    assert_eq!(world.said().len(), 1000);
    world.store.stop_after(1);
    world.open().await.unwrap();
    assert_eq!(world.said().len(), 100);
}

#[tokio::test]
async fn a_file_that_changes_while_many_are_put_on_record_is_on_record_as_it_came_into_force() {
    let world = World::new();
    // More text than is held, so that the later files are read again.
    let padding = format!("# {}\n", "x".repeat(1024 * 1024));
    let text = format!("{}{padding}", trust("release", "a"));
    for number in 10..22 {
        world.write(
            &format!("acme/p{number}.toml"),
            &format!("{text}# {number}\n"),
        );
    }
    let last = world.path("acme/p21.toml");
    let changed = trust("release", "b");
    let new = changed.clone();
    let meanwhile = move || fs::write(&last, &new).unwrap();
    *world.store.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
    let directory = world.open().await.unwrap();
    let said = world.said();
    assert_eq!(said.len(), 12);
    assert_eq!(said.last(), Some(&loaded("acme/p21.toml", &changed, "-")));
    assert_eq!(in_force(&directory, "acme/p21"), Some(digest_of(&changed)));
}

#[tokio::test]
async fn guard_rails_that_disable_their_organization_only_after_a_restart_are_refused_twice() {
    let world = World::new();
    world.write("acme/api.toml", &trust("release", "a"));
    let directory = world.open().await.unwrap();
    world.said();
    world.write("acme/_organization.toml", BROKEN);
    directory.reload().await.unwrap();
    assert!(in_force(&directory, "acme/api").is_some());
    let directory = world.open().await.unwrap();
    assert!(in_force(&directory, "acme/api").is_none());
    let message = |event: &Happening| match event {
        Happening::PolicyRefused { message, .. } => message.clone(),
        other => panic!("{other:?}"),
    };
    let said: Vec<String> = world.store.said().iter().map(message).collect();
    assert!(said[0].ends_with("; in force is no guard rails, as before this file was there"));
    assert!(
        said[1].ends_with("; in force is nothing: every project of the organization is disabled")
    );
    assert_eq!(said.len(), 2);
}

/// One thing that an operator, or the disk, does.
#[derive(Debug, Clone)]
enum Step {
    Write(usize, usize),
    Delete(usize),
    Stop(usize),
    GoOn,
    Reload,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize, 0..5_usize).prop_map(|(file, version)| Step::Write(file, version)),
        1 => (0..4_usize).prop_map(Step::Delete),
        1 => (0..2_usize).prop_map(Step::Stop),
        1 => Just(Step::GoOn),
        4 => Just(Step::Reload),
        1 => Just(Step::Restart),
    ]
}

const FILES: [&str; 4] = ["_organization", "api", "web", "site"];

/// What the log says is in force, read from its first entry on.
fn replayed(log: &[Happening]) -> BTreeMap<String, String> {
    let mut in_force = BTreeMap::new();
    for event in log {
        match event {
            Happening::PolicyLoaded(loaded) => {
                let before = in_force.insert(loaded.file.clone(), loaded.digest.clone());
                assert_eq!(before, loaded.before, "{loaded:?}");
            }
            Happening::PolicyRefused {
                file,
                in_force: stays,
                ..
            } => {
                match stays {
                    Some(digest) => in_force.insert(file.clone(), digest.clone()),
                    None => in_force.remove(file),
                };
            }
            Happening::PolicyRemoved { file, before } => {
                assert_eq!(in_force.remove(file), *before);
            }
            other => panic!("{other:?}"),
        }
    }
    in_force
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_what_exchanges_go_by_is_what_the_log_says(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            world.write("acme/api.toml", "");
            let mut directory = world.open().await.unwrap();
            for step in steps {
                let file = |file: usize| format!("acme/{}.toml", FILES[file]);
                match step {
                    Step::Write(at, 4) => world.write(&file(at), BROKEN),
                    Step::Write(0, version) => {
                        world.write(&file(0), &format!("[[deny]]\nname = \"{version}\"\nissuer = \"github\"\n"));
                    }
                    Step::Write(at, version) => {
                        world.write(&file(at), &trust("release", &version.to_string()));
                    }
                    Step::Delete(at) => drop(fs::remove_file(world.path(&file(at)))),
                    Step::Stop(commits) => world.store.stop_after(commits),
                    Step::GoOn => world.store.go_on(),
                    Step::Reload => {
                        let reloaded = directory.reload().await;
                        assert_eq!(reloaded.is_ok(), directory.settled().is_ok());
                    }
                    Step::Restart => {
                        world.store.go_on();
                        directory = world.open().await.unwrap();
                    }
                }
                if directory.settled().is_err() {
                    continue;
                }
                let log = world.store.log.lock().unwrap().clone();
                let said = replayed(&log);
                let snapshot = directory.snapshot.load();
                for (path, project) in &snapshot.by_path {
                    assert_eq!(said.get(&format!("{path}.toml")).map(String::as_str), Some(project.policy.digest()));
                    let rails = project.policy.guard_rails().map(|rails| rails.digest());
                    assert_eq!(said.get("acme/_organization.toml").map(String::as_str), rails);
                }
            }
        });
    }
}
