//! A folder, an issuer, and the servers of one run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Options;
use crate::drive::issuer::Issuer;
use crate::drive::running::{Running, lay_out};
use crate::drive::tokens::PROJECT;
use crate::drive::wire::Connection;
use crate::slices;
use crate::wrk::{Load, What, need_wrk};

/// A caller's address.
const CALLER: &str = "192.0.2.1";

/// How much more than the estimated number of tokens is signed.
const RESERVE: f64 = 1.15;

/// A folder on the disk on which the repository is, and not in memory as `/tmp` may be. It is removed when it is dropped.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// What a run happens in.
pub struct House {
    pub issuer: Issuer,
    folder: TempDir,
}

impl House {
    /// Makes one, if wrk is there.
    pub fn open() -> Self {
        need_wrk();
        Self {
            issuer: Issuer::start(),
            folder: folder(),
        }
    }

    /// A place in its folder.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs the tokens of one round, each for [`PROJECT`], into the file `lines`.
    pub fn sign_round(&self, lines: &Path, round: usize, options: Options, count: usize) {
        let rounds = options.rounds;
        eprintln!("round {round} of {rounds}: signing {count} tokens");
        let tokens = slices::tokens(&self.issuer, count);
        slices::write(lines, &tokens, |_| PROJECT.to_owned());
    }

    /// A folder laid out for a service.
    pub fn room(&self, name: &str) -> PathBuf {
        let room = self.place(name);
        std::fs::create_dir(&room).unwrap();
        lay_out(&room, &self.issuer.url);
        room
    }

    /// A service in a room of its own, which has done its first exchange.
    pub fn service(&self, name: &str) -> Running {
        self.first_exchange(&self.room(name), PROJECT).0
    }

    /// The same on a store of its own.
    pub fn service_on(&self, name: &str, store: &str) -> Running {
        let room = self.room(name);
        let config = room.join("countersign.toml");
        let mut text = std::fs::read_to_string(&config).unwrap();
        let _ = write!(text, "\n[store]\nurl = \"{store}\"\n");
        std::fs::write(&config, text).unwrap();
        self.first_exchange(&room, PROJECT).0
    }

    /// Starts a service; answers how long it took until it had answered its first exchange.
    pub fn first_exchange(&self, room: &Path, project: &str) -> (Running, Duration) {
        let token = self.issuer.signer.token();
        let began = Instant::now();
        let running = Running::service(room);
        exchange(&running, &token, project);
        (running, began.elapsed())
    }

    /// The floor.
    pub fn floor(&self) -> Running {
        let command = own(&["floor", &self.issuer.url]);
        let running = Running::start(command, &self.place("floor.log"));
        exchange(&running, &self.issuer.signer.token(), PROJECT);
        running
    }

    /// The service without store.
    pub fn storeless(&self, name: &str) -> Running {
        let room = self.room(name);
        let command = own(&["storeless", &room.display().to_string()]);
        let running = Running::start(command, &room.join("log"));
        exchange(&running, &self.issuer.signer.token(), PROJECT);
        running
    }

    /// The service without the tree of its log.
    pub fn treeless(&self, name: &str) -> Running {
        let room = self.room(name);
        let command = own(&["treeless", &room.display().to_string()]);
        let running = Running::start(command, &room.join("log"));
        exchange(&running, &self.issuer.signer.token(), PROJECT);
        running
    }

    /// How many exchanges a service can answer in the time of one measurement, as the one without store shows.
    pub fn enough(&self, options: Options) -> usize {
        let storeless = self.storeless("estimate");
        let lines = self.place("estimate.lines");
        slices::write(&lines, &slices::tokens(&self.issuer, 500), |_| {
            PROJECT.to_owned()
        });
        let load = Load {
            base: &storeless.base,
            what: What::Again(&lines),
            connections: options.connections,
            seconds: 2,
        };
        (load.run().rate() * options.seconds as f64 * RESERVE) as usize
    }
}

/// This program, as a child that does something else.
fn own(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments);
    command
}

/// An exchange that must succeed.
pub fn exchange(running: &Running, token: &str, project: &str) {
    let answer = Connection::open(&running.base)
        .and_then(|mut connection| connection.exchange(token, project, CALLER))
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
}
