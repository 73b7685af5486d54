//! A primary and a standby that has every commit before it is acknowledged, and the change from one to the other.

use crate::support::postgres::{Cluster, Server, binaries, run, unprivileged};

use super::fleet::until;

/// What the standby is called.
const STANDBY: &str = "standby";

/// Two servers, of which one follows the other.
pub struct Pair {
    pub primary: Cluster,
    pub standby: Cluster,
    /// The servers, while they run: that of the primary and that of the standby.
    pub running: (Option<Server>, Option<Server>),
}

impl Pair {
    /// A primary that acknowledges a commit when the standby has it, and the standby. `settings` are for both.
    pub fn synchronous(settings: &str) -> Self {
        let pair = Self::asynchronous(settings);
        pair.wait_for_each_other();
        pair
    }

    /// A primary and a standby that follows it as fast as it can.
    pub fn asynchronous(settings: &str) -> Self {
        let primary = Cluster::new(&format!(
            "{settings}\nwal_level = replica\nmax_wal_senders = 8\nhot_standby = on\nwal_keep_size = 256MB"
        ));
        let server = primary.start();
        let (standby, following) = standby_of(&primary);
        Self {
            primary,
            standby,
            running: (Some(server), Some(following)),
        }
    }

    /// Lets the primary acknowledge nothing from here on that the standby has not.
    fn wait_for_each_other(&self) {
        let primary = &self.primary;
        primary.sql(
            "postgres",
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'"),
        );
        primary.sql("postgres", "SELECT pg_reload_conf()");
        until("the standby is synchronous", || {
            primary.sql("postgres", "SELECT sync_state FROM pg_stat_replication") == "sync"
        });
    }

    /// Ends the primary at once, so that it acknowledges nothing any more, and lets the standby take over: it is the
    /// primary then, and the other is down.
    pub fn fail_over(&mut self) {
        self.running.0.take().unwrap().kill();
        self.promote();
        std::mem::swap(&mut self.primary, &mut self.standby);
        self.running = (self.running.1.take(), None);
    }

    /// Lets the standby take over.
    pub fn promote(&self) {
        let promoted = self.standby.sql("postgres", "SELECT pg_promote(true, 30)");
        assert_eq!(promoted, "t");
    }

    /// Makes a new standby in place of one that is down, and waits for it from here on.
    pub fn rebuild(&mut self) {
        let (standby, following) = standby_of(&self.primary);
        self.standby = standby;
        self.running.1 = Some(following);
        self.wait_for_each_other();
    }
}

fn standby_of(primary: &Cluster) -> (Cluster, Server) {
    let standby = Cluster::empty();
    let from = format!(
        "host=127.0.0.1 port={} user=countersign application_name={STANDBY}",
        primary.port()
    );
    let mut copy = unprivileged(binaries().join("pg_basebackup"));
    copy.args(["--no-sync", "--checkpoint=fast", "--wal-method=stream"])
        .args(["--write-recovery-conf", "--dbname", &from, "--pgdata"])
        .arg(standby.data());
    run(&mut copy);
    let following = standby.start();
    (standby, following)
}

/// The address of a database for those who want whichever of two servers writes.
pub fn either(database: &str, ports: (u16, u16)) -> String {
    format!(
        "postgres://countersign@127.0.0.1:{},127.0.0.1:{}/{database}",
        ports.0, ports.1
    )
}
