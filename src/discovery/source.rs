//! Where an issuer's key set is.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::document::{Document, address_of};
use super::fault::FetchFault;
use super::fetch::{Fetcher, LONGEST_ANSWER};
use crate::issuer::{Issuer, KeySet, TrustedIssuer, UnusableKey};

/// Where the key set of one concrete issuer is, the first that the configuration or the profile gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeySource {
    /// In a file, because the issuer cannot be reached: nothing is ever asked.
    File(PathBuf),
    /// At an address that the configuration gives, wherever that is.
    Configured(String),
    /// At the profile's path below the issuer; the discovery document is compared.
    OfProfile(String),
    /// Where the discovery document says, on the issuer's own scheme, host and port.
    Discovered,
}

/// A key set as it was fetched.
pub(super) struct Fetched {
    pub keys: KeySet,
    pub unusable: Vec<UnusableKey>,
    pub body: Vec<u8>,
}

impl KeySource {
    /// Where the keys of `issuer`, one that `trusted` covers, are.
    pub fn of(trusted: &TrustedIssuer, issuer: &Issuer) -> Self {
        if let Some(path) = &trusted.jwks_file {
            Self::File(path.clone())
        } else if let Some(address) = &trusted.jwks_url {
            Self::Configured(address.clone())
        } else if let Some(path) = trusted.profile.keys_path {
            Self::OfProfile(issuer.at(path))
        } else {
            Self::Discovered
        }
    }

    /// Gets the keys of `issuer` once.
    pub async fn fetch(&self, issuer: &Issuer, fetcher: &Fetcher) -> Result<Fetched, FetchFault> {
        match self {
            Self::File(path) => {
                let reader = path.clone();
                let read = tokio::task::spawn_blocking(move || from_file(&reader)).await;
                read.unwrap_or_else(|_| {
                    Err(FetchFault::File {
                        path: path.clone(),
                        why: "the reading was cut off".to_owned(),
                    })
                })
            }
            Self::Configured(address) | Self::OfProfile(address) => at(address, fetcher).await,
            Self::Discovered => {
                let document = document_of(issuer, fetcher).await?;
                at(document.key_address(issuer)?, fetcher).await
            }
        }
    }

    /// In what the discovery document of `issuer` disagrees with where the keys were found, or why it cannot be read.
    /// Nothing is asked where the document does not matter: it was followed, or the configuration stands in its place.
    pub async fn compare(&self, issuer: &Issuer, fetcher: &Fetcher) -> Vec<String> {
        if !matches!(self, Self::OfProfile(_)) {
            return Vec::new();
        }
        match document_of(issuer, fetcher).await {
            Ok(document) => document.disagreements(issuer),
            Err(fault) => vec![format!("the discovery document cannot be read: {fault}")],
        }
    }

    /// Whether the key set is on this machine already, so that an archive would only be a second copy.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

async fn document_of(issuer: &Issuer, fetcher: &Fetcher) -> Result<Document, FetchFault> {
    let address = address_of(issuer);
    let answer = fetcher.get(&address).await?;
    Document::parse(&answer, &address)
}

async fn at(address: &str, fetcher: &Fetcher) -> Result<Fetched, FetchFault> {
    let answer = fetcher.get(address).await?;
    match KeySet::parse(&answer.body) {
        Ok((keys, unusable)) => Ok(Fetched {
            keys,
            unusable,
            body: answer.body,
        }),
        Err(fault) => Err(FetchFault::NotKeys {
            address: address.to_owned(),
            content_type: answer.content_type,
            fault,
        }),
    }
}

fn from_file(path: &Path) -> Result<Fetched, FetchFault> {
    let unreadable = |why: String| FetchFault::File {
        path: path.to_owned(),
        why,
    };
    let file = std::fs::File::open(path).map_err(|fault| unreadable(fault.to_string()))?;
    let mut body = Vec::new();
    // One byte more than is allowed shows that there is more.
    file.take(LONGEST_ANSWER as u64 + 1)
        .read_to_end(&mut body)
        .map_err(|fault| unreadable(fault.to_string()))?;
    if body.len() > LONGEST_ANSWER {
        return Err(unreadable(format!(
            "it is longer than {} KiB",
            LONGEST_ANSWER / 1024
        )));
    }
    match KeySet::parse(&body) {
        Ok((keys, unusable)) => Ok(Fetched {
            keys,
            unusable,
            body,
        }),
        Err(fault) => Err(FetchFault::FileNotKeys {
            path: path.to_owned(),
            fault,
        }),
    }
}
