//! Real PostgreSQL servers, started from the system's binaries for one test or for all of them.
//!
//! A server has a folder of its own and listens on a loopback port and a socket in that folder. It ends with this process,
//! however that ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The user that the server runs as if this process is root, whom it refuses.
const NOBODY: u32 = 65_534;

/// A folder with a database cluster in it.
pub struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
}

/// A server that runs, until it is stopped or dropped.
pub struct Server {
    process: Mutex<Child>,
    port: u16,
}

/// The folder of the server's programs: the newest there is.
pub fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions.max_by_key(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().parse::<u32>().unwrap_or_default()
    });
    let Some(newest) = newest else {
        panic!("PostgreSQL is not installed; run tests/run, which says how");
    };
    newest.path().join("bin")
}

/// A command that runs as a user whom the server admits.
pub fn unprivileged(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
    command
        .args(ids)
        .args(["--clear-groups", "--pdeathsig=KILL", "--"])
        .arg(program.as_ref());
    command
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a process from a thread that never ends: what ends with its parent ends with the very thread that started it.
pub fn start(command: Command) -> Child {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, ordered) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in ordered {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, answered) = channel();
    starter.send((command, answer)).unwrap();
    answered.recv().unwrap().unwrap()
}

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// How the folder of a cluster begins; the id of the process that made it follows.
const FOLDER: &str = "countersign-postgresql-";

/// Removes the folders of clusters whose process is gone. One that all tests share has no end, and who is killed removes
/// nothing.
fn sweep() {
    let folders = std::fs::read_dir(std::env::temp_dir()).unwrap();
    for folder in folders.filter_map(Result::ok) {
        let name = folder.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(FOLDER)?.split('-').next());
        // Another container may have processes that are not seen here.
        let hour = Duration::from_secs(3600);
        let age = folder.metadata().and_then(|found| found.modified());
        let is_old = age.is_ok_and(|age| age.elapsed().is_ok_and(|age| age > hour));
        let gone = |process| !Path::new("/proc").join(process).exists();
        if is_old && process.is_some_and(gone) {
            // Somebody else may be at it.
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

impl Cluster {
    /// A cluster in which everybody on this machine is believed to be who they say. With `settings` at the end of its
    /// configuration.
    pub fn new(settings: &str) -> Self {
        let cluster = Self::empty();
        let mut initdb = unprivileged(binaries().join("initdb"));
        initdb.args([
            "--no-sync",
            "--auth=trust",
            "--username=countersign",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        run(initdb.arg("--pgdata").arg(cluster.data()));
        cluster.set(settings);
        cluster
    }

    /// A folder for a cluster that something else fills, as a standby's.
    pub fn empty() -> Self {
        let name = format!("{FOLDER}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        if rustix::process::getuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self {
            folder,
            port: free_port(),
        }
    }

    /// Adds settings to its configuration.
    pub fn set(&self, settings: &str) {
        let file = self.data().join("postgresql.conf");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{before}\n{settings}\n")).unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts the server and waits until it answers.
    pub fn start(&self) -> Server {
        let mut server = unprivileged(binaries().join("postgres"));
        server.arg("-D").arg(self.data());
        server
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k"])
            .arg(self.path());
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("log"))
            .unwrap();
        server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let server = Server {
            process: Mutex::new(start(server)),
            port: self.port,
        };
        server.until_it_answers();
        server
    }

    /// The address of a database in it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://countersign@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database of its own, and answers its address.
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE template0"),
        );
        self.url(&name)
    }

    /// Runs statements as psql does, and answers what they print.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let mut psql = Command::new(binaries().join("psql"));
        psql.args([
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statements,
        ]);
        run(psql.arg(self.url(database))).trim().to_owned()
    }
}

impl Server {
    fn until_it_answers(&self) {
        let began = Instant::now();
        let ready = binaries().join("pg_isready");
        let port = self.port.to_string();
        loop {
            let asked = Command::new(&ready)
                .args(["-q", "-h", "127.0.0.1", "-p", &port])
                .status();
            if asked.unwrap().success() {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the server does not answer"
            );
            std::thread::yield_now();
        }
    }

    /// The id of the server's first process.
    pub fn id(&self) -> u32 {
        self.process.lock().unwrap().id()
    }

    /// Stops it: clients are thrown out, and what was committed is there when it starts again.
    pub fn stop(self) {
        self.signal("INT");
        let mut process = self.process.lock().unwrap();
        process.wait().unwrap();
    }

    /// Ends it at once, as a crash does.
    pub fn kill(self) {
        self.signal("QUIT");
        let mut process = self.process.lock().unwrap();
        process.wait().unwrap();
    }

    /// Sends a signal to the server's first process.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut process = self
            .process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if matches!(process.try_wait(), Ok(None)) {
            let id = process.id().to_string();
            // Its children end with it only if it is asked.
            let _ = Command::new("kill").args(["-QUIT", &id]).status();
            let _ = process.wait();
        }
    }
}

/// The server that tests share which do nothing to it. It does not sync: what it keeps needs to outlive no crash.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<(Cluster, Server)> = OnceLock::new();
    let (cluster, _) = SHARED.get_or_init(|| {
        sweep();
        let cluster = Cluster::new(
            "fsync = off\nfull_page_writes = off\nmax_connections = 400\nshared_buffers = 64MB",
        );
        let server = cluster.start();
        (cluster, server)
    });
    cluster
}
