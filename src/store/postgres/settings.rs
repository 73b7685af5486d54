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

/// What connections are called in the server, or what that begins with.
const PROGRAM: &str = "countersign";

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
    /// There is more than one `@`.
    #[error("it has more than one `@`: write `%40` where it is part of a name or password")]
    Unescaped,
    /// Whether TLS is spoken would be for others to say.
    #[error(
        "with `sslmode=prefer` whoever is on the way to the server can turn TLS off: write `require`, or `disable`"
    )]
    Prefers,
    /// A file cannot be read.
    #[error("the file `{file}` cannot be read: {fault}", file = .0.display(), fault = .1)]
    Unreadable(PathBuf, io::Error),
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
    /// those of libpq (PostgreSQL documentation, "Connection URIs").
    pub fn parse(url: &str) -> Result<Self, InvalidSettings> {
        // What stands behind the first would be taken for a host, and be shown.
        if url.matches('@').count() > 1 {
            return Err(InvalidSettings::Unescaped);
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
        let after_user = url.split_once('@').map_or(url, |(_, rest)| rest);
        let parameters = after_user.split_once('?').map_or("", |(_, rest)| rest);
        let says = |parameter: &str| {
            let mut names = parameters
                .split('&')
                .filter_map(|pair| pair.split_once('='));
            names.any(|(name, _)| name == parameter)
        };
        let is_here = config.get_hosts().iter().all(is_this_machine)
            && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        // Whoever says nothing gets what is safe: without TLS nobody is talked to who is not on this machine.
        if !says("sslmode") {
            config.ssl_mode(if is_here {
                SslMode::Disable
            } else {
                SslMode::Require
            });
        }
        if !is_here && config.get_ssl_mode() == SslMode::Prefer {
            return Err(InvalidSettings::Prefers);
        }
        if !says("target_session_attrs") {
            let writable = tokio_postgres::config::TargetSessionAttrs::ReadWrite;
            config.target_session_attrs(writable);
        }
        // Whoever copies a store looks for this name, to see who uses it.
        let name = match config.get_application_name() {
            Some(name) if !name.starts_with(PROGRAM) => format!("{PROGRAM} {name}"),
            Some(name) => name.to_owned(),
            None => PROGRAM.to_owned(),
        };
        config.application_name(name);
        Ok(Self {
            config,
            password_file: None,
            ca_file: None,
            connections: Self::CONNECTIONS,
            statement_timeout: Self::STATEMENT_TIMEOUT,
        })
    }

    /// What connections are made of, with the password as the file has it now.
    pub(super) fn config(&self) -> Result<tokio_postgres::Config, InvalidSettings> {
        let mut config = self.config.clone();
        if let Some(file) = &self.password_file {
            let unreadable = |fault| InvalidSettings::Unreadable(file.clone(), fault);
            let text = std::fs::read_to_string(file).map_err(unreadable)?;
            let text = zeroize::Zeroizing::new(text);
            config.password(text.lines().next().unwrap_or_default());
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

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
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

    fn mode(url: &str) -> SslMode {
        PostgresSettings::parse(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn nobody_on_another_machine_is_talked_to_without_tls_unless_it_is_said() {
        for (url, expected) in [
            ("postgres://cs@localhost/cs", SslMode::Disable),
            ("postgres://cs@db.example.com/cs", SslMode::Require),
            (
                "postgres://cs@localhost/cs?hostaddr=192.0.2.7",
                SslMode::Require,
            ),
            (
                "postgres://cs@localhost/cs?hostaddr=127.0.0.1",
                SslMode::Disable,
            ),
            (
                "postgres://cs@localhost,db.example.com/cs",
                SslMode::Require,
            ),
            ("postgres://cs@/cs?host=192.0.2.7", SslMode::Require),
            ("postgres://cs:sslmode=@db.example.com/cs", SslMode::Require),
            (
                "postgres://cs@db.example.com/cs?application_name=sslmode=",
                SslMode::Require,
            ),
            (
                "postgres://cs@db.example.com/cs?sslmode=disable",
                SslMode::Disable,
            ),
        ] {
            assert_eq!(mode(url), expected, "{url}");
        }
        let fault = PostgresSettings::parse("postgres://cs@db.example.com/cs?sslmode=prefer");
        assert!(matches!(fault, Err(InvalidSettings::Prefers)), "{fault:?}");
    }

    #[test]
    fn a_password_that_is_not_escaped_is_repeated_nowhere() {
        for url in [
            "postgres://cs:hunter@2-secret@db.example.com/cs",
            "postgres://cs:hunter@2/secret@db.example.com/cs",
            "postgres://cs:hunter@2?secret=1@db.example.com/cs",
            "postgres://cs:hunter@[2-secret@db.example.com/cs",
        ] {
            let fault = PostgresSettings::parse(url).unwrap_err().to_string();
            assert!(
                !fault.contains("secret") && !fault.contains("hunter"),
                "{fault}"
            );
        }
        for url in [
            "postgres://cs:hunter?secret@db.example.com/cs",
            "postgres://cs:hunter/secret@db.example.com/cs?password=secret",
        ] {
            let settings = PostgresSettings::parse(url).unwrap();
            let told = format!("{} {settings:?}", settings.shown());
            assert!(!told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn whatever_its_connections_are_called_a_service_is_known_by_it() {
        for (parameters, expected) in [
            ("", "countersign"),
            ("?application_name=backend", "countersign backend"),
            ("?application_name=countersign-eu", "countersign-eu"),
        ] {
            let url = format!("postgres://cs@localhost/cs{parameters}");
            let settings = PostgresSettings::parse(&url).unwrap();
            assert_eq!(settings.config.get_application_name(), Some(expected));
        }
    }
}
