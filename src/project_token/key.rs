//! One key that signs project tokens, parsed once and held.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::digest::sha256;

/// The algorithms that a project token can be signed with (RFC 7518, section 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// ECDSA on P-256: small, quick to sign, and known to every verifier.
    #[default]
    ES256,
    /// Ed25519.
    EdDSA,
    /// RSA-2048, for verifiers that know nothing else.
    RS256,
}

impl TokenAlgorithm {
    /// The name in an `alg` member.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
        }
    }
}

/// A signing key that cannot be made, read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a signing key cannot be {0}")]
pub struct KeyFault(pub(super) &'static str);

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// A private key, parsed, with its public half ready to publish. It does not print itself.
pub(super) struct SigningKey {
    pair: Pair,
    algorithm: TokenAlgorithm,
    id: String,
    public: Value,
    /// The header of every token it signs, encoded.
    header: String,
}

impl SigningKey {
    /// Makes a new key. The second value is its private half (PKCS #8, DER), to be sealed and kept.
    pub(super) fn generate(
        algorithm: TokenAlgorithm,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), KeyFault> {
        let random = SystemRandom::new();
        let failed = KeyFault("made");
        let private = match algorithm {
            TokenAlgorithm::ES256 => {
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                    .map_err(|_| failed)?
                    .as_ref()
                    .to_vec()
            }
            TokenAlgorithm::EdDSA => Ed25519KeyPair::generate_pkcs8(&random)
                .map_err(|_| failed)?
                .as_ref()
                .to_vec(),
            TokenAlgorithm::RS256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| failed.clone())?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| failed)?;
                der.as_ref().to_vec()
            }
        };
        let private = Zeroizing::new(private);
        Ok((Self::read(algorithm, &private)?, private))
    }

    /// Reads a private key (PKCS #8, DER).
    pub(super) fn read(algorithm: TokenAlgorithm, private: &[u8]) -> Result<Self, KeyFault> {
        let failed = |_| KeyFault("read");
        let (pair, public) = match algorithm {
            TokenAlgorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private)
                    .map_err(failed)?;
                // SEC 1, section 2.3.3: 0x04, then both coordinates.
                let point = pair.public_key().as_ref();
                let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
                    return Err(KeyFault("read"));
                };
                let public = json!({"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)});
                (Pair::Ecdsa(pair), public)
            }
            TokenAlgorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(private).map_err(failed)?;
                let x = encode(pair.public_key().as_ref());
                (
                    Pair::Ed25519(pair),
                    json!({"crv": "Ed25519", "kty": "OKP", "x": x}),
                )
            }
            TokenAlgorithm::RS256 => {
                let pair = RsaKeyPair::from_pkcs8(private).map_err(failed)?;
                let RsaPublicKeyComponents { n, e } =
                    RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let public = json!({"e": encode(&e), "kty": "RSA", "n": encode(&n)});
                (Pair::Rsa(Box::new(pair)), public)
            }
        };
        // RFC 7638: the digest of the required members in alphabetic order, which is how `serde_json` writes them.
        let id = encode(&sha256(public.to_string().as_bytes()));
        let header = json!({"alg": algorithm.as_str(), "kid": id, "typ": "at+jwt"});
        let header = encode(header.to_string().as_bytes());
        Ok(Self {
            pair,
            algorithm,
            id,
            public,
            header,
        })
    }

    /// Its `kid`: the thumbprint of RFC 7638.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn algorithm(&self) -> TokenAlgorithm {
        self.algorithm
    }

    /// The public half as a JWK (RFC 7517, section 4).
    pub(super) fn public_jwk(&self) -> Value {
        let mut jwk = self.public.clone();
        if let Value::Object(members) = &mut jwk {
            members.insert("kid".to_owned(), json!(self.id));
            members.insert("use".to_owned(), json!("sig"));
            members.insert("alg".to_owned(), json!(self.algorithm.as_str()));
        }
        jwk
    }

    /// The JWS of `payload` in compact form (RFC 7515, section 7.1).
    pub(super) fn sign(&self, payload: &[u8]) -> Result<String, KeyFault> {
        let mut token = String::with_capacity(self.header.len() + payload.len() * 4 / 3 + 384);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let failed = |_| KeyFault("used");
        match &self.pair {
            Pair::Ecdsa(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|s| s.as_ref().to_vec())
                .map_err(failed),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}
