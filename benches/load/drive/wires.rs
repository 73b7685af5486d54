//! A machine of its own for one instance, as far as the network is concerned: a namespace with two wires into this one, of
//! which the one to the database can be cut.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::support::postgres::run;

/// A namespace with its wires. They are gone when this is dropped.
pub struct Apart {
    name: String,
    number: u8,
}

impl Apart {
    /// Makes one. Only root may.
    pub fn make() -> Self {
        static NUMBER: AtomicU8 = AtomicU8::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cs{}n{number}", std::process::id() % 100_000);
        let apart = Self { name, number };
        ip(&["netns", "add", &apart.name]);
        for (wire, here, there) in [
            ("d", apart.database_side(), apart.address(0, 2)),
            ("c", apart.address(1, 1), apart.client_side()),
        ] {
            let [outer, inner] = apart.ends(wire);
            ip(&[
                "link",
                "add",
                &outer,
                "type",
                "veth",
                "peer",
                "name",
                &inner,
                "netns",
                &apart.name,
            ]);
            ip(&["addr", "add", &format!("{here}/30"), "dev", &outer]);
            ip(&["link", "set", &outer, "up"]);
            let there = format!("{there}/30");
            ip(&["-n", &apart.name, "addr", "add", &there, "dev", &inner]);
            ip(&["-n", &apart.name, "link", "set", &inner, "up"]);
        }
        ip(&["-n", &apart.name, "link", "set", "lo", "up"]);
        apart
    }

    /// The address at which this machine is found from there, for the database.
    pub fn database_side(&self) -> String {
        self.address(0, 1)
    }

    /// The address there at which clients of this machine find it.
    pub fn client_side(&self) -> String {
        self.address(1, 2)
    }

    /// A command that runs there.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Cuts the wire to the database: what is sent is lost, and nobody is told so.
    pub fn cut(&self) {
        let [outer, _] = self.ends("d");
        ip(&["link", "set", &outer, "down"]);
    }

    /// Mends it.
    pub fn mend(&self) {
        let [outer, _] = self.ends("d");
        ip(&["link", "set", &outer, "up"]);
    }

    fn ends(&self, wire: &str) -> [String; 2] {
        ["o", "i"].map(|end| format!("{}{wire}{end}", self.name))
    }

    /// An address of a wire that no other network is likely to have (RFC 2544, section C.2.2).
    fn address(&self, wire: u8, end: u8) -> String {
        let process = u8::try_from(std::process::id() % 64).unwrap();
        format!(
            "198.19.{}.{}",
            process * 4 + self.number % 4,
            wire * 4 + end
        )
    }
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

impl Drop for Apart {
    fn drop(&mut self) {
        // The wires go with it.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}
