//! One RSA key of a pretended CI system: made at start, gone with the process.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::FakeCiError;
use crate::digest::{hex, sha256};

/// How a CI system names its keys.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyIdStyle {
    /// A UUID.
    Uuid,
    /// A SHA-256 in hexadecimal.
    Hex,
    /// The key's thumbprint (RFC 7638).
    Thumbprint,
}

/// A signing key (RS256, 2048 bits) and its name.
pub(super) struct Key {
    pair: KeyPair,
    id: String,
    modulus: String,
}

/// The exponent 65537, in base64url.
const EXPONENT: &str = "AQAB";

/// The header of a token, in the order in which CI systems write it.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'static str>,
}

impl Key {
    pub(super) fn generate(style: KeyIdStyle) -> Result<Self, FakeCiError> {
        let failed = |_| FakeCiError::Library("made a key");
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let public = pair.public_key();
        let modulus = RsaPublicKeyComponents::<Vec<u8>>::from(public).n;
        let modulus = URL_SAFE_NO_PAD.encode(modulus);
        let id = match style {
            KeyIdStyle::Uuid => uuid::Uuid::new_v4().to_string(),
            KeyIdStyle::Hex => hex(&sha256(public.as_ref())),
            KeyIdStyle::Thumbprint => thumbprint(&modulus),
        };
        Ok(Self { pair, id, modulus })
    }

    /// The public half (RFC 7517, section 4).
    pub(super) fn jwk(&self) -> Value {
        json!({
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "kid": self.id,
            "n": self.modulus,
            "e": EXPONENT,
        })
    }

    /// The claims as a JWT in compact form (RFC 7515, section 7.1).
    pub(super) fn sign(
        &self,
        claims: &Map<String, Value>,
        typ: Option<&'static str>,
    ) -> Result<String, FakeCiError> {
        let failed = |_| FakeCiError::Library("signed");
        let header = Header {
            alg: "RS256",
            kid: &self.id,
            typ,
        };
        let header = serde_json::to_vec(&header).map_err(failed)?;
        let payload = serde_json::to_vec(claims).map_err(failed)?;
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| FakeCiError::Library("signed"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// RFC 7638, section 3: the required members in alphabetic order, without space.
fn thumbprint(modulus: &str) -> String {
    let members = format!(r#"{{"e":"{EXPONENT}","kty":"RSA","n":"{modulus}"}}"#);
    URL_SAFE_NO_PAD.encode(sha256(members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_the_name_that_gitlab_gives_its_keys() {
        let published: Value =
            serde_json::from_str(include_str!("../../tests/data/jwks/gitlab.json")).unwrap();
        for key in published["keys"].as_array().unwrap() {
            assert_eq!(thumbprint(key["n"].as_str().unwrap()), key["kid"]);
        }
    }

    #[test]
    fn each_style_names_a_key_as_its_ci_system_does() {
        let id = |style| Key::generate(style).unwrap().id;
        assert!(uuid::Uuid::try_parse(&id(KeyIdStyle::Uuid)).is_ok());
        let hex = id(KeyIdStyle::Hex);
        assert!(hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(id(KeyIdStyle::Thumbprint).len(), 43);
    }
}
