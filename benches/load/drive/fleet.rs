//! Several instances as processes on one database.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::issuer::Issuer;
use super::running::{Running, TRUSTED};
use super::tokens::{AUDIENCE, PROJECT};
use super::wire::{Answer, Connection};
use super::wires::Apart;

/// What has not come about after so long never does.
const LONGEST: Duration = Duration::from_secs(30);

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONGEST, "it never came about: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The instances, each with a folder of its own.
pub struct Fleet {
    pub issuer: Issuer,
    folder: TempDir,
    instances: Vec<Option<Running>>,
    bases: Bases,
}

/// Where the instances listen.
pub type Bases = Arc<RwLock<Vec<String>>>;

/// How one instance is run.
pub struct Berth<'a> {
    /// Its store.
    pub url: String,
    /// More lines for its table of the store.
    pub store: &'a str,
    /// The machine on which it runs, if it is not this one.
    pub apart: Option<&'a Apart>,
}

impl Berth<'_> {
    /// An instance on this machine with this store.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            store: "",
            apart: None,
        }
    }
}

impl Fleet {
    /// Starts one instance for each of `berths`, all at once.
    pub fn start(berths: &[Berth<'_>]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), berths)
    }

    /// The same in this folder.
    pub fn start_in(folder: TempDir, berths: &[Berth<'_>]) -> Self {
        let issuer = Issuer::start();
        for (number, berth) in berths.iter().enumerate() {
            lay_out(&room(folder.path(), number), &issuer, berth);
        }
        let starting = berths.iter().enumerate();
        let starting = starting.map(|(number, berth)| (room(folder.path(), number), berth.apart));
        let starting: Vec<_> = starting.collect();
        let instances: Vec<Running> = std::thread::scope(|scope| {
            let starting = starting.iter();
            let starting = starting.map(|(room, apart)| scope.spawn(|| running(room, *apart)));
            let started: Vec<_> = starting.collect();
            let started = started.into_iter().map(|started| started.join().unwrap());
            started.collect()
        });
        let bases = instances.iter().map(|running| running.base.clone());
        Self {
            issuer,
            bases: Arc::new(RwLock::new(bases.collect())),
            instances: instances.into_iter().map(Some).collect(),
            folder,
        }
    }

    /// How many instances there are.
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Where they listen, now and when they were started again.
    pub fn bases(&self) -> Bases {
        self.bases.clone()
    }

    pub fn base(&self, number: usize) -> String {
        self.bases.read().unwrap()[number].clone()
    }

    /// A place for files.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What an instance logged in its last life.
    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(room(self.folder.path(), number).join("log")).unwrap()
    }

    /// Kills an instance, as `kill -9` does.
    pub fn kill(&mut self, number: usize) {
        self.instances[number].take().unwrap().kill();
    }

    /// Starts an instance of this machine again.
    pub fn start_again(&mut self, number: usize) {
        // It may have been stopped by itself, and never is.
        drop(self.instances[number].take());
        let running = running(&room(self.folder.path(), number), None);
        self.bases.write().unwrap()[number].clone_from(&running.base);
        self.instances[number] = Some(running);
    }

    /// Asks all to stop, and waits for their end. Answers whether all ended well.
    pub fn stop(mut self) -> bool {
        let running: Vec<Running> = self.instances.drain(..).flatten().collect();
        running.into_iter().all(|running| running.stop().success())
    }

    /// Exchanges a token at an instance, as a caller who is like no other.
    pub fn exchange(&self, number: usize, token: &str) -> std::io::Result<Answer> {
        Connection::open(&self.base(number))?.exchange(token, PROJECT, &somebody())
    }

    /// What an instance answers to a fresh token, once it answers.
    pub fn tries(&self, number: usize) -> Answer {
        let mut last = None;
        until("the instance answers", || {
            last = self.exchange(number, &self.issuer.signer.token()).ok();
            last.is_some()
        });
        last.unwrap()
    }

    /// Waits until every instance exchanges, all by themselves.
    pub fn until_all_exchange(&self) {
        for number in 0..self.len() {
            until("every instance exchanges again", || {
                self.tries(number).status == 200
            });
        }
    }
}

/// A caller's address that nobody else has.
pub fn somebody() -> String {
    let (number, _) = uuid::Uuid::new_v4().as_u64_pair();
    format!("2001:db8:{:x}:{:x}::1", number >> 48, number >> 32 & 0xffff)
}

fn room(folder: &Path, number: usize) -> PathBuf {
    folder.join(number.to_string())
}

fn running(room: &Path, apart: Option<&Apart>) -> Running {
    let program = env!("CARGO_BIN_EXE_countersign");
    let mut command = match apart {
        Some(apart) => apart.command(program),
        None => Command::new(program),
    };
    command.arg("serve").arg("--config");
    command.arg(room.join("countersign.toml"));
    Running::start(command, &room.join("log"))
}

/// Writes the configuration of one instance, and the policy that all have.
fn lay_out(room: &Path, issuer: &Issuer, berth: &Berth<'_>) {
    let policy = room.join(format!("trust-policies/{PROJECT}.toml"));
    std::fs::create_dir_all(policy.parent().unwrap()).unwrap();
    std::fs::write(policy, TRUSTED).unwrap();
    std::fs::write(room.join("jwks.json"), issuer.signer.jwks().to_string()).unwrap();
    std::fs::write(room.join("kek"), "the same octets in all instances, 32+").unwrap();
    let (url, store, ci) = (&berth.url, berth.store, &issuer.url);
    let here = berth.apart.map(Apart::client_side);
    let here = here.unwrap_or_else(|| "127.0.0.1".into());
    let config = format!(
        "listen = \"{here}:0\"\npublic-url = \"{AUDIENCE}\"\nallow-loopback-http = true\n\
        trusted-proxies = [\"127.0.0.1\", \"198.18.0.0/15\"]\n\n\
        [store]\nurl = \"{url}\"\n{store}\n\n[token]\nkey-encryption-file = \"kek\"\n\n\
        [[issuer]]\nname = \"github\"\nprofile = \"github\"\nurl = \"{ci}\"\njwks-file = \"jwks.json\"\n\
        max-token-age = \"2h\"\n\n[audit]\ntiles = \"public\"\n"
    );
    std::fs::write(room.join("countersign.toml"), config).unwrap();
}
