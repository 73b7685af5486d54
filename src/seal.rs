//! Signing keys at rest: sealed with a key that is not beside them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The key that signing keys are encrypted with at rest, derived from a file that the operator made.
pub struct KeyEncryptionKey(RandomizedNonceKey);

/// What a key encryption file must hold at least, in bytes.
const SHORTEST_SECRET: usize = 32;

/// A key that cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The file is too short to be a secret.
    #[error(
        "holds {0} bytes, and at least 32 random ones are needed: make it with `openssl rand -base64 48`"
    )]
    TooShort(usize),
    /// Encrypted with another key.
    #[error(
        "the signing keys in the store were encrypted with another key: point `token.key-encryption-file` at the file that was in use when they were made"
    )]
    WrongKey,
    /// Encrypted, and no key is configured.
    #[error("the signing keys in the store are encrypted: set `token.key-encryption-file`")]
    KeyMissing,
    /// Not what we wrote.
    #[error("a signing key in the store is damaged")]
    Damaged,
    /// The random source failed, or the like.
    #[error("a signing key cannot be encrypted")]
    Failed,
}

/// A sealed key as it is stored.
#[derive(Serialize, Deserialize)]
struct Envelope {
    version: u32,
    /// `A256GCM`, or `none` for a service on loopback without a key encryption file.
    encryption: String,
    #[serde(default)]
    nonce: String,
    content: String,
}

struct AesKey;

impl KeyType for AesKey {
    fn len(&self) -> usize {
        32
    }
}

impl KeyEncryptionKey {
    /// Derives the key from the content of a file: at least 32 bytes, white space at its end left out (HKDF, RFC 5869).
    pub fn derive(content: &[u8]) -> Result<Self, SealError> {
        let secret = content.trim_ascii_end();
        if secret.len() < SHORTEST_SECRET {
            return Err(SealError::TooShort(secret.len()));
        }
        let mut key = Zeroizing::new([0_u8; 32]);
        Salt::new(HKDF_SHA256, b"countersign")
            .extract(secret)
            .expand(&[b"signing keys at rest, version 1"], AesKey)
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .map_err(|_| SealError::Failed)?;
        RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())
            .map(Self)
            .map_err(|_| SealError::Failed)
    }
}

/// Seals `content`, which belongs to `name`: opened under another name it is refused. Without a key it is only wrapped.
pub(crate) fn seal(
    key: Option<&KeyEncryptionKey>,
    name: &str,
    content: &[u8],
) -> Result<Vec<u8>, SealError> {
    let envelope = match key {
        None => Envelope {
            version: 1,
            encryption: "none".to_owned(),
            nonce: String::new(),
            content: STANDARD.encode(content),
        },
        Some(KeyEncryptionKey(key)) => {
            let mut content = Zeroizing::new(content.to_vec());
            let nonce = key
                .seal_in_place_append_tag(Aad::from(name), &mut *content)
                .map_err(|_| SealError::Failed)?;
            Envelope {
                version: 1,
                encryption: "A256GCM".to_owned(),
                nonce: STANDARD.encode(nonce.as_ref()),
                content: STANDARD.encode(&*content),
            }
        }
    };
    serde_json::to_vec(&envelope).map_err(|_| SealError::Failed)
}

/// Whether `sealed` was encrypted, rather than only wrapped.
pub(crate) fn is_encrypted(sealed: &[u8]) -> bool {
    serde_json::from_slice::<Envelope>(sealed).is_ok_and(|envelope| envelope.encryption != "none")
}

/// Opens what [`seal`] made for the same name.
pub(crate) fn open(
    key: Option<&KeyEncryptionKey>,
    name: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let damaged = |_| SealError::Damaged;
    let envelope: Envelope = serde_json::from_slice(sealed).map_err(|_| SealError::Damaged)?;
    let content = Zeroizing::new(STANDARD.decode(&envelope.content).map_err(damaged)?);
    match (envelope.encryption.as_str(), key) {
        ("none", _) => Ok(content),
        ("A256GCM", None) => Err(SealError::KeyMissing),
        ("A256GCM", Some(KeyEncryptionKey(key))) => {
            let nonce = STANDARD.decode(&envelope.nonce).map_err(damaged)?;
            let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| SealError::Damaged)?;
            let mut content = content;
            let opened = key
                .open_in_place(nonce, Aad::from(name), &mut content)
                .map_err(|_| SealError::WrongKey)?;
            Ok(Zeroizing::new(opened.to_vec()))
        }
        _ => Err(SealError::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &[u8]) -> KeyEncryptionKey {
        KeyEncryptionKey::derive(secret).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_name_only() {
        let (ours, other) = (key(&[7; 32]), key(&[8; 32]));
        let sealed = seal(Some(&ours), "kid-1", b"private").unwrap();
        assert_eq!(
            open(Some(&ours), "kid-1", &sealed).unwrap().as_slice(),
            b"private"
        );
        assert_eq!(
            open(Some(&other), "kid-1", &sealed).unwrap_err(),
            SealError::WrongKey
        );
        assert_eq!(
            open(Some(&ours), "kid-2", &sealed).unwrap_err(),
            SealError::WrongKey
        );
        assert_eq!(
            open(None, "kid-1", &sealed).unwrap_err(),
            SealError::KeyMissing
        );
    }

    #[test]
    fn a_sealed_key_does_not_hold_its_content_in_the_clear() {
        let sealed = seal(Some(&key(&[7; 32])), "kid-1", b"a private key").unwrap();
        assert!(
            !String::from_utf8(sealed)
                .unwrap()
                .contains(&STANDARD.encode("a private key"))
        );
    }

    #[test]
    fn a_newline_at_the_end_of_the_file_does_not_matter() {
        let sealed = seal(Some(&key(&[b'x'; 40])), "k", b"p").unwrap();
        let with_newline = [&[b'x'; 40][..], b"\n"].concat();
        assert!(open(Some(&key(&with_newline)), "k", &sealed).is_ok());
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert_eq!(
            KeyEncryptionKey::derive(b"hunter2\n").err(),
            Some(SealError::TooShort(7))
        );
    }

    #[test]
    fn damage_is_told_from_a_wrong_key_where_it_can_be() {
        for sealed in [
            &b""[..],
            b"{}",
            b"garbage",
            br#"{"version":1,"encryption":"x","content":""}"#,
        ] {
            assert_eq!(
                open(Some(&key(&[7; 32])), "k", sealed).unwrap_err(),
                SealError::Damaged
            );
        }
    }
}
