//! Whether instances have the same policies in force.

use std::process::Command;

use super::*;
use crate::clock::{Clock as _, Seconds};
use crate::ledger::{Instances, Presence, SEEN_WITHIN};

/// Where instances meet, by a time of its own.
struct Meeting {
    clock: FrozenClock,
    seen: Mutex<BTreeMap<usize, (Presence, UnixTime)>>,
}

/// One of them.
struct Guest {
    number: usize,
    meeting: Arc<Meeting>,
}

impl Instances for Guest {
    fn meet(&self, myself: Presence) -> BoxFuture<'_, Result<Vec<Presence>, StoreUnavailable>> {
        let now = self.meeting.clock.now();
        let mut seen = self.meeting.seen.lock().unwrap();
        seen.insert(self.number, (myself, now));
        let others = seen
            .iter()
            .filter(|(number, (_, at))| **number != self.number && now < at.plus(SEEN_WITHIN));
        let others = others.map(|(_, (presence, _))| presence.clone()).collect();
        async { Ok(others) }.boxed()
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        self.meeting.seen.lock().unwrap().remove(&self.number);
        async { Ok(()) }.boxed()
    }
}

/// Two instances, each with a folder of its own.
struct Two {
    worlds: [World; 2],
    directories: [Arc<Directory>; 2],
    peers: [Peers; 2],
    meeting: Arc<Meeting>,
}

impl Two {
    async fn with(text: &str) -> Self {
        Self::set(text, ["alike"; 2]).await
    }

    async fn set(text: &str, settings: [&str; 2]) -> Self {
        let worlds = [World::new(), World::new()];
        let meeting = Arc::new(Meeting {
            clock: FrozenClock::at(UnixTime::from_seconds(7)),
            seen: Mutex::default(),
        });
        let mut opened = Vec::new();
        for (number, world) in worlds.iter().enumerate() {
            world.write("acme/api.toml", text);
            let directory = Arc::new(world.open().await.unwrap());
            let guest = Guest {
                number,
                meeting: meeting.clone(),
            };
            let name = ["one:80", "other:80"][number].to_owned();
            let peers = Peers::new(
                name,
                settings[number].to_owned(),
                directory.clone(),
                Arc::new(guest),
            );
            opened.push((directory, peers));
        }
        let (other, one) = (opened.pop().unwrap(), opened.pop().unwrap());
        Self {
            worlds,
            directories: [one.0, other.0],
            peers: [one.1, other.1],
            meeting,
        }
    }

    /// Everybody says what is in force, and then hears what the others said.
    async fn meet(&self) {
        for peers in self.peers.iter().chain(&self.peers) {
            peers.meet().await;
        }
    }

    async fn write(&self, number: usize, text: &str) {
        self.worlds[number].write("acme/api.toml", text);
        self.directories[number].reload().await.unwrap();
    }

    /// Whom each names.
    fn named(&self) -> [Vec<String>; 2] {
        [0, 1].map(|number| {
            let found = self.peers[number].disagreeing();
            found.into_iter().map(|other| other.name).collect()
        })
    }
}

fn nobody() -> [Vec<String>; 2] {
    [Vec::new(), Vec::new()]
}

fn each_other() -> [Vec<String>; 2] {
    [vec!["other:80".to_owned()], vec!["one:80".to_owned()]]
}

#[tokio::test]
async fn instances_that_disagree_name_each_other_until_they_agree() {
    let two = Two::with(&trust("release", "a")).await;
    two.meet().await;
    assert_eq!(two.named(), nobody());
    two.write(0, &trust("release", "b")).await;
    two.meet().await;
    assert_eq!(two.named(), each_other());
    two.write(1, &trust("release", "b")).await;
    two.meet().await;
    assert_eq!(two.named(), nobody());
}

#[tokio::test]
async fn instances_that_are_set_otherwise_name_each_other() {
    let two = Two::set(&trust("release", "a"), ["alike", "otherwise"]).await;
    two.meet().await;
    assert_eq!(two.named(), each_other());
    assert_eq!(two.peers[0].differing(), (0, 1));
    two.write(0, &trust("release", "b")).await;
    two.meet().await;
    assert_eq!(two.peers[1].differing(), (1, 1));
}

#[tokio::test]
async fn an_instance_that_is_gone_is_not_named_for_longer_than_it_counts_as_running() {
    let two = Two::with(&trust("release", "a")).await;
    two.write(1, &trust("release", "b")).await;
    two.meet().await;
    assert_eq!(two.named(), each_other());
    two.meeting.clock.advance(Seconds(SEEN_WITHIN.0 - 1));
    two.peers[0].meet().await;
    assert_eq!(two.named()[0], ["other:80"]);
    two.meeting.clock.advance(Seconds(1));
    two.peers[0].meet().await;
    assert_eq!(two.named()[0], [""; 0]);
}

#[tokio::test]
async fn an_instance_that_leaves_is_not_named_any_more() {
    let two = Two::with(&trust("release", "a")).await;
    two.write(1, &trust("release", "b")).await;
    two.meet().await;
    two.peers[1].leave().await;
    two.peers[0].meet().await;
    assert_eq!(two.named()[0], [""; 0]);
}

#[tokio::test]
async fn the_digest_is_what_a_shell_says_of_the_folder() {
    let world = World::new();
    let directory = world.open().await.unwrap();
    let said = || {
        // Without a file the shell would ask for one that is called `*/*.toml`.
        let files = "for f in */*.toml; do [ -e \"$f\" ] && sha256sum \"$f\"; done";
        let command = format!("LC_ALL=C; export LC_ALL; {{ {files}; }} | sha256sum");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &command])
            .current_dir(world.folder.path());
        let output = shell.output().unwrap();
        format!("sha256:{}", String::from_utf8_lossy(&output.stdout[..64]))
    };
    assert_eq!(directory.digest(), said());
    let mut seen = vec![said()];
    let changes = [
        ("acme/api.toml", trust("release", "a")),
        ("acme-2/api.toml", trust("release", "a")),
        ("acme/web.toml", String::new()),
        (
            "acme/_organization.toml",
            "[[deny]]\nname = \"no\"\nissuer = \"github\"\n".to_owned(),
        ),
        ("acme/api.toml", trust("release", "b")),
        ("other/_organization.toml", String::new()),
    ];
    for (file, text) in changes {
        world.write(file, &text);
        directory.reload().await.unwrap();
        assert_eq!(directory.problems(), []);
        assert_eq!(directory.digest(), said(), "{file}");
        assert!(!seen.contains(&directory.digest()), "{file}");
        seen.push(directory.digest());
    }
    fs::remove_file(world.path("acme/api.toml")).unwrap();
    directory.reload().await.unwrap();
    assert_eq!(directory.digest(), said());
    directory.reload().await.unwrap();
    assert_eq!(directory.digest(), said(), "nothing has changed");
}

#[tokio::test]
async fn the_digest_is_of_what_is_in_force_and_not_of_what_is_broken() {
    let world = World::new();
    world.write("acme/api.toml", &trust("release", "a"));
    let directory = world.open().await.unwrap();
    let good = directory.digest();
    world.write("acme/api.toml", BROKEN);
    directory.reload().await.unwrap();
    assert_eq!(
        directory.digest(),
        good,
        "the last good version is in force"
    );
    let restarted = world.open().await.unwrap();
    assert_ne!(restarted.digest(), good, "nothing is");
}
