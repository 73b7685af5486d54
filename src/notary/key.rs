//! The key that signs checkpoints: Ed25519, and for nothing else.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use super::note::{
    Checkpoint, InvalidVerifierKey, Note, SignatureLine, SignatureType, VerifierKey,
};

/// The private key, under the name of the log.
pub(super) struct CheckpointKey {
    pair: Ed25519KeyPair,
    public: VerifierKey,
}

/// A key that cannot be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointKeyFault {
    /// There is no randomness.
    #[error("the key that signs checkpoints cannot be made")]
    NotMade,
    /// What the store has is no key.
    #[error("the key that signs checkpoints cannot be read; restore the store from a backup")]
    NotRead,
    /// The log cannot have this name.
    #[error("the log cannot be named after `public-url`: {0}")]
    Name(#[from] InvalidVerifierKey),
}

impl CheckpointKey {
    /// A new private key (PKCS #8, DER), to be sealed and kept.
    pub(super) fn generate() -> Result<Zeroizing<Vec<u8>>, CheckpointKeyFault> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|_| CheckpointKeyFault::NotMade)?;
        Ok(Zeroizing::new(made.as_ref().to_vec()))
    }

    /// Reads a private key for the log named `origin`.
    pub(super) fn read(origin: &str, private: &[u8]) -> Result<Self, CheckpointKeyFault> {
        let unread = CheckpointKeyFault::NotRead;
        let pair = Ed25519KeyPair::from_pkcs8(private).map_err(|_| unread)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| unread)?;
        let public = VerifierKey::new(origin, SignatureType::Ed25519, public)?;
        Ok(Self { pair, public })
    }

    /// The public half.
    pub(super) fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// The same key under the name that a note of earlier days gives the log.
    pub(super) fn as_named(&self, origin: &str) -> Result<VerifierKey, InvalidVerifierKey> {
        self.public.renamed(origin)
    }

    /// Signs `checkpoint`.
    pub(super) fn sign(&self, checkpoint: &Checkpoint) -> Note {
        let text = checkpoint.to_string();
        let signature = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        let line = SignatureLine {
            name: self.public.name().to_owned(),
            id: self.public.id(),
            signature,
        };
        Note {
            text,
            signatures: vec![line],
        }
    }
}
