//! Where the server is, and how it is asked.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Where the server is, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    config: tokio_postgres::Config,
    /// A file whose first line is the password; it is read for every connection, so that it can be changed.
    pub password_file: Option<PathBuf>,
    /// A file of certificates (PEM) of those who may sign the server's; without it, those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// How many connections there may be at most, those for commits included. At least 4.
    pub connections: usize,
    /// How long one statement may take in the server before it is given up.
    pub statement_timeout: Duration,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// The address is none.
    #[error("it is no address of a PostgreSQL server: {0}")]
    Address(String),
    /// The address names no database or host.
    #[error("it names no {0}")]
    Lacks(&'static str),
    /// There is an `@` where a host should be, so the password is not where it seems to be.
    #[error(
        "there is more than one `@` in it; write an `@` of a password as `%40`, or the password into a file that \
         `password-file` names"
    )]
    TwoAts,
    /// TLS is asked for in words that we do not take.
    #[error(
        "its `sslmode` is neither `disable` nor `require`, which always looks at the certificate, as `verify-full` of libpq does"
    )]
    SslMode,
    /// A file cannot be read.
    #[error("the file `{file}` cannot be read: {fault}", file = .0.display(), fault = .1)]
    Unreadable(PathBuf, io::Error),
    /// A file that should hold a password begins with an empty line.
    #[error("the file `{file}` holds no password in its first line", file = .0.display())]
    NoPassword(PathBuf),
    /// A file that should hold certificates holds none that can be read.
    #[error("the file `{file}` holds no certificate (PEM)", file = .0.display())]
    NoCertificate(PathBuf),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl PostgresSettings {
    /// How many connections there may be if nothing else is said.
    pub const CONNECTIONS: usize = 10;

    /// How long one statement may take if nothing else is said.
    pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

    /// Reads an address: `postgres://user@host:5432/database`, with several hosts separated by commas, and parameters as
    /// those of libpq (PostgreSQL documentation, "Connection URIs"). Nothing of what was written is repeated in an error: it
    /// may hold a password.
    ///
    /// `sslmode` is `disable` or `require`. The latter looks at the server's certificate and its name; it is what holds for
    /// a server on another machine if nothing is said.
    pub fn parse(url: &str) -> Result<Self, InvalidSettings> {
        let schemes = ["postgres://", "postgresql://"];
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or(InvalidSettings::Lacks("scheme, which is `postgres://`"))?;
        // The driver ends a password at the first one, and takes what follows for the name of a host, which is shown.
        if rest.matches('@').count() > 1 {
            return Err(InvalidSettings::TwoAts);
        }
        if parameter(rest, "sslmode").is_some_and(|mode| !["disable", "require"].contains(&mode)) {
            return Err(InvalidSettings::SslMode);
        }
        let mut config: tokio_postgres::Config = url
            .parse()
            .map_err(|fault: tokio_postgres::Error| InvalidSettings::Address(fault.to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(InvalidSettings::Lacks("host"));
        }
        if config.get_dbname().is_none() {
            return Err(InvalidSettings::Lacks("database"));
        }
        if config.get_hosts().iter().any(holds_an_at) {
            return Err(InvalidSettings::TwoAts);
        }
        // Whoever says nothing gets what is safe: without TLS nobody is talked to who is not on this machine. What the driver
        // has without a word is that it goes without TLS wherever the server does not speak it.
        if !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Require) {
            let addresses = config.get_hostaddrs();
            let is_here = config.get_hosts().iter().all(is_this_machine)
                && addresses.iter().all(IpAddr::is_loopback);
            config.ssl_mode(if is_here {
                SslMode::Disable
            } else {
                SslMode::Require
            });
        }
        if parameter(rest, "target_session_attrs").is_none() {
            let writable = tokio_postgres::config::TargetSessionAttrs::ReadWrite;
            config.target_session_attrs(writable);
        }
        if config.get_application_name().is_none() {
            config.application_name("countersign");
        }
        Ok(Self {
            config,
            password_file: None,
            ca_file: None,
            connections: Self::CONNECTIONS,
            statement_timeout: Self::STATEMENT_TIMEOUT,
        })
    }

    /// Whether the address holds a password itself.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Whether TLS is spoken, as libpq's parameter has it: `disable` or `require`.
    pub fn ssl_mode(&self) -> &'static str {
        match self.config.get_ssl_mode() {
            SslMode::Disable => "disable",
            _ => "require",
        }
    }

    /// What connections are made of, with the password as the file has it now.
    pub(super) fn config(&self) -> Result<tokio_postgres::Config, InvalidSettings> {
        let mut config = self.config.clone();
        if let Some(file) = &self.password_file {
            let unreadable = |fault| InvalidSettings::Unreadable(file.clone(), fault);
            let text = std::fs::read_to_string(file).map_err(unreadable)?;
            let text = zeroize::Zeroizing::new(text);
            let password = text.lines().next().filter(|line| !line.is_empty());
            config.password(password.ok_or_else(|| InvalidSettings::NoPassword(file.clone()))?);
        }
        Ok(config)
    }

    /// How TLS is spoken, where it is: the server must have a certificate for the name by which it is asked.
    pub(super) fn tls(&self) -> Result<MakeRustlsConnect, InvalidSettings> {
        let roots = if let Some(file) = &self.ca_file {
            certificates_in(file)?
        } else {
            let mut roots = RootCertStore::empty();
            if self.config.get_ssl_mode() != SslMode::Disable {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            roots
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|fault| InvalidSettings::Tls(fault.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }

    /// The address without the password: `postgres://user@host:port/database`.
    pub fn shown(&self) -> String {
        let hosts = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(number, host)| {
                let ports = self.config.get_ports();
                let port = ports.get(number).or(ports.first()).copied().unwrap_or(5432);
                match host {
                    Host::Tcp(name) => format!("{name}:{port}"),
                    Host::Unix(folder) => format!("{}:{port}", folder.display()),
                }
            });
        let hosts: Vec<String> = hosts.collect();
        let user = self.config.get_user();
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let database = self.config.get_dbname().unwrap_or_default();
        format!("postgres://{user}{}/{database}", hosts.join(","))
    }
}

/// The value of a parameter, as it is written. `rest` is an address without its scheme.
fn parameter<'a>(rest: &'a str, name: &str) -> Option<&'a str> {
    // A password may hold a `?`.
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    let (_, parameters) = place.split_once('?')?;
    let pairs = parameters
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    // The last one counts.
    let pairs: Vec<_> = pairs.filter(|(key, _)| *key == name).collect();
    pairs.last().map(|(_, value)| *value)
}

fn holds_an_at(host: &Host) -> bool {
    match host {
        Host::Unix(folder) => folder.to_string_lossy().contains('@'),
        Host::Tcp(name) => name.contains('@'),
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    }
}

fn certificates_in(file: &Path) -> Result<RootCertStore, InvalidSettings> {
    let unreadable = |fault| InvalidSettings::Unreadable(file.to_owned(), fault);
    let pem = std::fs::read(file).map_err(unreadable)?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(InvalidSettings::NoCertificate(file.to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Result<&'static str, String> {
        let settings = PostgresSettings::parse(url);
        settings
            .map(|settings| settings.ssl_mode())
            .map_err(|fault| fault.to_string())
    }

    #[test]
    fn tls_is_spoken_with_other_machines_unless_the_address_says_plainly_that_it_is_not() {
        for (url, expected) in [
            ("postgres://cs@db.example.com/cs", "require"),
            ("postgres://cs@localhost/cs", "disable"),
            ("postgres://cs@[::1]/cs", "disable"),
            ("postgres://cs@localhost,db.example.com/cs", "require"),
            ("postgres://cs@localhost/cs?hostaddr=192.0.2.7", "require"),
            ("postgres://cs@db.example.com/cs?sslmode=disable", "disable"),
            ("postgres://cs@localhost/cs?sslmode=require", "require"),
            ("postgres://sslmode=disable:x@db.example.com/cs", "require"),
            (
                "postgres://cs:a?sslmode=disable@db.example.com/cs",
                "require",
            ),
            (
                "postgres://cs@db.example.com/cs?ssl%6dode=prefer",
                "require",
            ),
        ] {
            assert_eq!(mode(url), Ok(expected), "{url}");
        }
        for word in ["prefer", "allow", "verify-full", ""] {
            let url = format!("postgres://cs@db.example.com/cs?sslmode={word}");
            let said = mode(&url).unwrap_err();
            assert!(said.contains("neither `disable` nor `require`"), "{said}");
        }
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file_which_is_not_empty() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = PostgresSettings::parse("postgres://cs@db/cs").unwrap();
        let file = folder.path().join("password");
        settings.password_file = Some(file.clone());
        let missing = settings.config().unwrap_err();
        assert!(matches!(missing, InvalidSettings::Unreadable(..)));
        for text in ["", "\nhunter2"] {
            std::fs::write(&file, text).unwrap();
            let empty = settings.config().unwrap_err();
            assert!(matches!(empty, InvalidSettings::NoPassword(_)));
        }
        std::fs::write(&file, "hunter2\n").unwrap();
        let config = settings.config().unwrap();
        assert_eq!(config.get_password(), Some("hunter2".as_bytes()));
    }

    #[test]
    fn a_password_with_an_at_in_it_is_refused_and_not_repeated() {
        for url in [
            "postgres://cs:pa@hunter2@db/cs",
            "postgres://cs:pa@hunter2?wo=rd@db/cs",
            "postgres://cs:pa@hunter2%40db/cs",
            "postgres://cs:pa@db/cs?host=hunter2%40db",
            "postgre://cs:hunter2@db/cs",
            "cs:hunter2",
        ] {
            let said = PostgresSettings::parse(url).unwrap_err().to_string();
            assert!(!said.contains("hunter2"), "{said}");
        }
        let written = PostgresSettings::parse("postgres://cs:pa%40ss@db/cs").unwrap();
        assert_eq!(written.shown(), "postgres://cs@db:5432/cs");
        assert!(written.has_password());
    }
}
