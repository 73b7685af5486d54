//! TLS in the service itself: a certificate that is read again when its files change, and connections that are watched
//! from before their handshake.

mod expiry;
mod serving;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::metrics::HttpMetrics;

pub(super) use serving::serve;

/// A certificate that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// A file cannot be read.
    #[error("the file `{file}` cannot be read: {why}", file = .0.display(), why = .1)]
    Unreadable(PathBuf, String),
    /// A file holds something else.
    #[error("the file `{file}` holds no {what} (PEM)", file = .0.display(), what = .1)]
    Lacks(PathBuf, &'static str),
    /// The two do not belong together.
    #[error("the key in `{key}` is not that of the certificate in `{certificate}`", key = .key.display(), certificate = .certificate.display())]
    NotAPair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The library cannot work with it.
    #[error("the certificate in `{file}` cannot be used: {why}", file = .0.display(), why = .1)]
    Unusable(PathBuf, String),
    /// Its time is over.
    #[error("the certificate in `{file}` expired at {at}", file = .0.display(), at = .1)]
    Expired(PathBuf, UnixTime),
}

/// The certificate that clients are shown, and where it is from.
///
/// Who replaces its files replaces it: see [`Certificate::look`]. A pair that cannot be used changes nothing.
#[expect(
    clippy::struct_field_names,
    reason = "one file holds the certificate, whoever holds both"
)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    shown: ArcSwap<Shown>,
    seen: Mutex<Seen>,
}

/// A certificate in use.
struct Shown {
    key: Arc<CertifiedKey>,
    /// Its last moment, if that could be read.
    until: Option<UnixTime>,
}

/// What was seen of the files.
struct Seen {
    /// When they were read last.
    read: Option<Stamps>,
    /// When they were looked at last.
    looked: Option<Stamps>,
    /// Why what was read is not used.
    fault: Option<CertificateFault>,
}

/// What changes when one of the files is replaced: device, inode, size and times of both.
type Stamps = [(u64, u64, u64, i64, i64); 2];

impl Certificate {
    /// Reads the certificate and those that lead to it from one file, and its key from the other. One that has expired is
    /// taken, since there is no better; the log says so.
    pub fn read(
        certificate: &Path,
        key: &Path,
        now: UnixTime,
    ) -> Result<Arc<Self>, CertificateFault> {
        let stamps = stamps(certificate, key).ok();
        let shown = read(certificate, key)?;
        if shown.is_over(now) {
            tracing::error!(file = %certificate.display(), "the certificate has expired");
        }
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            shown: ArcSwap::from_pointee(shown),
            seen: Mutex::new(Seen {
                read: stamps,
                looked: stamps,
                fault: None,
            }),
        }))
    }

    /// Looks whether the files changed, and reads them if so. To be called now and then. Handshakes from then on show
    /// what was read; connections that are open keep what they have. Files that changed since the last look are left
    /// alone until the next: they may be replaced one after the other.
    pub fn look(&self, now: UnixTime, metrics: &HttpMetrics) {
        let stamps = stamps(&self.certificate, &self.key);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamps.as_ref().ok().copied();
        let rests = seen.looked == found;
        seen.looked = found;
        if !rests || seen.read == found {
            return;
        }
        seen.read = found;
        let read = match stamps {
            Ok(_) => read(&self.certificate, &self.key),
            Err((file, fault)) => Err(CertificateFault::Unreadable(file, fault.to_string())),
        };
        let usable = read.and_then(|shown| match shown.until {
            Some(at) if shown.is_over(now) => {
                Err(CertificateFault::Expired(self.certificate.clone(), at))
            }
            _ => Ok(shown),
        });
        metrics.certificate_read(usable.is_ok());
        match usable {
            Ok(shown) => {
                let until = shown.until.map(tracing::field::display);
                tracing::info!(until, "the certificate was replaced");
                self.shown.store(Arc::new(shown));
                seen.fault = None;
            }
            Err(fault) => {
                tracing::error!(
                    "the certificate changed and cannot be used, so the one before is still shown: {fault}"
                );
                seen.fault = Some(fault);
            }
        }
    }

    /// Why what is in the files is not what is shown.
    pub fn fault(&self) -> Option<CertificateFault> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.fault.clone()
    }

    /// How long what is shown is still good, in milliseconds; less than zero once it is not.
    pub fn left(&self, now: UnixTime) -> Option<i64> {
        let until = self.shown.load().until?;
        Some(until.millis() - now.millis())
    }

    /// How TLS is spoken with it: 1.2 and 1.3, with what the library takes for safe.
    fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        Ok(config)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.load().key.clone())
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.certificate.display())
    }
}

impl Shown {
    fn is_over(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| until < now)
    }
}

fn stamps(certificate: &Path, key: &Path) -> Result<Stamps, (PathBuf, io::Error)> {
    let stamp = |file: &Path| {
        let metadata = fs::metadata(file).map_err(|fault| (file.to_owned(), fault))?;
        Ok((
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        ))
    };
    Ok([stamp(certificate)?, stamp(key)?])
}

fn read(certificate: &Path, key: &Path) -> Result<Shown, CertificateFault> {
    let content = |file: &Path| {
        // Whoever opens a pipe waits for somebody who writes into it.
        let content = match fs::metadata(file) {
            Ok(found) if !found.is_file() => Err(io::Error::other("it is no file")),
            _ => fs::read(file).map(Zeroizing::new),
        };
        content.map_err(|fault| CertificateFault::Unreadable(file.to_owned(), fault.to_string()))
    };
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&content(certificate)?).collect();
    let chain = chain.unwrap_or_default();
    let Some(first) = chain.first() else {
        return Err(CertificateFault::Lacks(
            certificate.to_owned(),
            "certificate",
        ));
    };
    let until = expiry::last_moment(first);
    let private = PrivateKeyDer::from_pem_slice(&content(key)?)
        .map_err(|_| CertificateFault::Lacks(key.to_owned(), "private key"))?;
    let pair = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider());
    let pair = pair.map_err(|fault| match fault {
        rustls::Error::InconsistentKeys(_) => CertificateFault::NotAPair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        },
        fault => CertificateFault::Unusable(certificate.to_owned(), fault.to_string()),
    })?;
    Ok(Shown {
        key: Arc::new(pair),
        until,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tempfile::TempDir;

    use super::*;

    struct Files {
        folder: TempDir,
        metrics: HttpMetrics,
    }

    impl Files {
        fn with(year: i32) -> Self {
            let files = Self {
                folder: tempfile::tempdir().unwrap(),
                metrics: HttpMetrics::default(),
            };
            files.replace(year);
            files
        }

        fn paths(&self) -> (PathBuf, PathBuf) {
            let folder = self.folder.path();
            (folder.join("tls.crt"), folder.join("tls.key"))
        }

        /// Another certificate, good until the begin of `year`.
        fn replace(&self, year: i32) {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().unwrap();
            let (certificate, private) = self.paths();
            fs::write(certificate, params.self_signed(&key).unwrap().pem()).unwrap();
            fs::write(private, key.serialize_pem()).unwrap();
        }

        fn read(&self) -> Arc<Certificate> {
            let (certificate, key) = self.paths();
            Certificate::read(&certificate, &key, noon()).unwrap()
        }

        /// Two looks: files that change are left alone at the first.
        fn looked_at(&self, certificate: &Certificate) -> Option<CertificateFault> {
            certificate.look(noon(), &self.metrics);
            certificate.look(noon(), &self.metrics);
            certificate.fault()
        }
    }

    fn noon() -> UnixTime {
        UnixTime::from_seconds(1_795_176_000)
    }

    fn shown(certificate: &Certificate) -> Vec<u8> {
        certificate.shown.load().key.cert[0].to_vec()
    }

    #[test]
    fn who_replaces_the_files_replaces_the_certificate() {
        let files = Files::with(2027);
        let certificate = files.read();
        let (before, left) = (shown(&certificate), certificate.left(noon()));
        files.replace(2028);
        certificate.look(noon(), &files.metrics);
        assert_eq!(shown(&certificate), before, "they may still be written");
        assert_eq!(files.looked_at(&certificate), None);
        assert_ne!(shown(&certificate), before);
        let year = 365 * 24 * 60 * 60 * 1000;
        assert_eq!(certificate.left(noon()), left.map(|left| left + year));
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let files = Files::with(2027);
        let certificate = files.read();
        let (path, key) = files.paths();
        for place in [&path, &key] {
            for program in ["mkfifo", "mkdir"] {
                fs::remove_file(place).unwrap();
                let made = std::process::Command::new(program).arg(place).status();
                assert!(made.unwrap().success());
                let fault = files.looked_at(&certificate).unwrap();
                assert!(
                    matches!(&fault, CertificateFault::Unreadable(file, _) if file == place),
                    "{fault}"
                );
                fs::remove_dir(place)
                    .or_else(|_| fs::remove_file(place))
                    .unwrap();
                files.replace(2027);
            }
        }
    }

    #[test]
    fn files_that_cannot_be_used_leave_the_certificate_as_it_was_and_are_told_until_they_can() {
        let files = Files::with(2027);
        let certificate = files.read();
        let before = shown(&certificate);
        let (path, key) = files.paths();
        let other = Files::with(2027).read();

        let good_key = fs::read(&key).unwrap();
        fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let fault = files.looked_at(&certificate).unwrap();
        assert!(
            matches!(fault, CertificateFault::NotAPair { .. }),
            "{fault}"
        );

        fs::write(&key, "no key\n").unwrap();
        let fault = files.looked_at(&certificate).unwrap();
        assert_eq!(fault, CertificateFault::Lacks(key.clone(), "private key"));

        fs::remove_file(&path).unwrap();
        let fault = files.looked_at(&certificate).unwrap();
        assert!(matches!(fault, CertificateFault::Unreadable(file, _) if file == path));

        files.replace(2020);
        let fault = files.looked_at(&certificate).unwrap();
        assert!(matches!(fault, CertificateFault::Expired(..)), "{fault}");

        fs::write(&key, good_key).unwrap();
        assert!(files.looked_at(&certificate).is_some());
        assert_eq!(shown(&certificate), before);
        assert_ne!(shown(&other), before);
        files.replace(2029);
        assert_eq!(files.looked_at(&certificate), None);
        assert_ne!(shown(&certificate), before);
    }

    #[test]
    fn an_expired_certificate_is_better_than_none() {
        let certificate = Files::with(2020).read();
        assert!(certificate.left(noon()).unwrap() < 0);
    }
}
