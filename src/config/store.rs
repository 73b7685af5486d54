//! Every rule about `[store]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use toml::Spanned;

use super::check::{Problems, number, span_of_time};
use super::raw::RawStore;
use crate::clock::Seconds;
use crate::store::PostgresSettings;

/// Where the embedded store is if nothing is said.
const DEFAULT_FOLDER: &str = "data";

/// One for commits, one that hears of changes, one for what exchanges read, and one for everything else.
const FEWEST_CONNECTIONS: usize = 4;

/// More connections than a server has.
const MOST_CONNECTIONS: usize = 1000;

/// Whoever waits longer for one statement waits for nothing.
const LONGEST_STATEMENT: Seconds = Seconds(600);

/// Where everything durable is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// The embedded store, in a folder.
    Embedded(PathBuf),
    /// A database on a PostgreSQL server.
    Postgres(Box<PostgresSettings>),
}

impl StoreLocation {
    /// The folder of the embedded store.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Embedded(folder) => Some(folder),
            Self::Postgres(_) => None,
        }
    }

    /// Where the running service listens for commands of this machine. With a database there is nothing to listen for:
    /// commands open it beside the service.
    pub fn admin_socket(&self) -> Option<PathBuf> {
        Some(self.folder()?.join("admin.sock"))
    }

    /// The settings by the names of their keys, without a password.
    pub(super) fn on_record(&self) -> Value {
        match self {
            Self::Embedded(folder) => json!({"url": format!("sled:{}", folder.display())}),
            Self::Postgres(settings) => {
                let path = |file: &Option<PathBuf>| {
                    file.as_ref()
                        .map(|file| file.to_string_lossy().into_owned())
                };
                json!({
                    "url": settings.shown(),
                    "password-file": path(&settings.password_file),
                    "ca-file": path(&settings.ca_file),
                    "connections": settings.connections,
                    "statement-timeout": humantime::format_duration(settings.statement_timeout).to_string(),
                })
            }
        }
    }
}

/// Applies every rule of `[store]`.
pub(super) fn store(raw: &RawStore, folder: &Path, problems: &mut Problems) -> StoreLocation {
    let Some(url) = &raw.url else {
        only_for_postgres(raw, problems);
        return StoreLocation::Embedded(folder.join(DEFAULT_FOLDER));
    };
    let text = url.get_ref();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return postgres(raw, url, folder, problems);
    }
    only_for_postgres(raw, problems);
    match text.strip_prefix("sled:") {
        Some(path) if !path.is_empty() => StoreLocation::Embedded(folder.join(path)),
        _ => {
            problems.add(
                url.span(),
                "`store.url` is neither `sled:` and a folder nor the address of a PostgreSQL server".to_owned(),
                "write `sled:data`, or `postgres://countersign@db.example.com/countersign`",
            );
            StoreLocation::Embedded(PathBuf::new())
        }
    }
}

fn postgres(
    raw: &RawStore,
    url: &Spanned<String>,
    folder: &Path,
    problems: &mut Problems,
) -> StoreLocation {
    let mut settings = match PostgresSettings::parse(url.get_ref()) {
        Ok(settings) => settings,
        Err(fault) => {
            // Without the line where it stands: there may be a password in it.
            problems.missing(
                &format!("`store.url` cannot be used: {fault}"),
                "write `postgres://countersign@db.example.com/countersign`, and the password into a file that \
                 `password-file` names",
            );
            return StoreLocation::Embedded(PathBuf::new());
        }
    };
    let path = |raw: &Option<Spanned<String>>| raw.as_ref().map(|raw| folder.join(raw.get_ref()));
    settings.password_file = path(&raw.password_file);
    settings.ca_file = path(&raw.ca_file);
    if let Some(raw) = &raw.connections {
        let bounds = (FEWEST_CONNECTIONS, MOST_CONNECTIONS);
        settings.connections = number(raw, "connections", bounds.0, bounds.1, problems);
    }
    if let Some(raw) = &raw.statement_timeout {
        let span = span_of_time(raw, "statement-timeout", LONGEST_STATEMENT, problems);
        settings.statement_timeout = Duration::from_secs(u64::from(span.0));
    }
    StoreLocation::Postgres(Box::new(settings))
}

/// Says that keys have no effect on the embedded store.
fn only_for_postgres(raw: &RawStore, problems: &mut Problems) {
    let texts = [
        ("password-file", &raw.password_file),
        ("ca-file", &raw.ca_file),
        ("statement-timeout", &raw.statement_timeout),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(key, raw)| Some((key, raw.as_ref()?.span())));
    let connections = raw.connections.as_ref();
    let connections = connections.map(|raw| ("connections", raw.span()));
    for (key, span) in texts.chain(connections) {
        problems.add(
            span,
            format!("`{key}` is for a PostgreSQL server, and the store is a folder"),
            "remove it, or give the address of the server as `url`",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{faults, load};
    use super::*;

    #[test]
    fn a_database_is_given_by_its_address_and_what_is_secret_by_a_file() {
        let config = load(
            "[store]\nurl = \"postgres://cs@db.example.com/cs\"\npassword-file = \"pw\"\nca-file = \"ca.pem\"\nconnections = 20\nstatement-timeout = \"2s\"\n",
            &[],
        );
        let config = config.unwrap();
        assert_eq!(config.store.admin_socket(), None);
        let folder = config.trust_policies.parent().unwrap().to_owned();
        let StoreLocation::Postgres(settings) = config.store else {
            panic!("it is no database");
        };
        assert_eq!(settings.shown(), "postgres://cs@db.example.com:5432/cs");
        assert_eq!(settings.password_file, Some(folder.join("pw")));
        assert_eq!(settings.ca_file, Some(folder.join("ca.pem")));
        assert_eq!(settings.connections, 20);
        assert_eq!(settings.statement_timeout, Duration::from_secs(2));
    }

    #[test]
    fn an_address_is_on_record_and_shown_without_its_password() {
        let url = "postgres://cs:hunter2@db.example.com/cs";
        let config = load(&format!("[store]\nurl = \"{url}\"\n"), &[]).unwrap();
        let said = config.on_record().to_string();
        assert!(said.contains("cs@db.example.com:5432/cs"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        let debug = format!("{config:?}");
        assert!(!debug.contains("hunter2"), "{debug}");
        let shown = faults("[store]\nurl = \"postgres://cs:hunter2@/\"\n");
        assert!(shown.contains("password-file"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn keys_of_a_server_are_refused_beside_a_folder() {
        for key in [
            "password-file = \"pw\"",
            "ca-file = \"ca\"",
            "connections = 5",
            "statement-timeout = \"1s\"",
        ] {
            let shown = faults(&format!("[store]\nurl = \"sled:data\"\n{key}\n"));
            assert!(shown.contains("is for a PostgreSQL server"), "{shown}");
        }
    }

    #[test]
    fn limits_of_a_server_have_bounds() {
        let url = "url = \"postgres://cs@localhost/cs\"";
        for (key, said) in [
            ("connections = 3", "from 4 to 1000"),
            ("statement-timeout = \"0s\"", "from `1s` to `10m`"),
            ("statement-timeout = \"1h\"", "from `1s` to `10m`"),
        ] {
            let shown = faults(&format!("[store]\n{url}\n{key}\n"));
            assert!(shown.contains(said), "{shown}");
        }
    }

    #[test]
    fn another_kind_of_address_is_refused() {
        for url in ["mysql://x/y", "sled:", "data"] {
            let shown = faults(&format!("[store]\nurl = \"{url}\"\n"));
            assert!(shown.contains("`store.url` is neither"), "{shown}");
        }
    }
}
