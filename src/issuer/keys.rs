//! An issuer's public keys as data: which of a published set are usable, and for which algorithm.
//!
//! Each key of a set is read by itself, so that one odd key never costs the others.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use openidconnect::core::{CoreJsonCurveType, CoreJsonWebKeyType, CoreJsonWebKeyUse};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::digest::sha256;
use crate::text::on_one_line;

/// A signature algorithm that a subject token may use: asymmetric, and nothing else (RFC 7518, section 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of RFC 7518 and RFC 8037")]
pub enum SigningAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl SigningAlgorithm {
    /// The algorithm called `name` in an `alg` member; `None` for `none`, a symmetric or an unknown one.
    pub fn named(name: &str) -> Option<Self> {
        // The library knows the names, the symmetric ones among them; what it may learn later is not accepted by itself.
        Some(match name.parse().ok()? {
            Algorithm::RS256 => Self::RS256,
            Algorithm::RS384 => Self::RS384,
            Algorithm::RS512 => Self::RS512,
            Algorithm::PS256 => Self::PS256,
            Algorithm::PS384 => Self::PS384,
            Algorithm::PS512 => Self::PS512,
            Algorithm::ES256 => Self::ES256,
            Algorithm::ES384 => Self::ES384,
            Algorithm::EdDSA => Self::EdDSA,
            _ => return None,
        })
    }

    /// The name in an `alg` member.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// How a signature by an RSA key is checked; `None` if the algorithm is not one of RSA.
    fn of_rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::RS256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::RS384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::RS512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::PS256 => &RSA_PSS_2048_8192_SHA256,
            Self::PS384 => &RSA_PSS_2048_8192_SHA384,
            Self::PS512 => &RSA_PSS_2048_8192_SHA512,
            Self::ES256 | Self::ES384 | Self::EdDSA => return None,
        })
    }
}

/// A public key that was checked: strong enough, meant for signatures, on its curve, and of one algorithm.
///
/// It is parsed once, when it is fetched: building it anew from its numbers for every token, as jsonwebtoken's
/// `DecodingKey` does, is an eighth of what checking a signature takes.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: SigningAlgorithm,
    parsed: ParsedPublicKey,
    thumbprint: [u8; 32],
}

impl PublicKey {
    /// The one algorithm that this key verifies.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The SHA-256 thumbprint of RFC 7638: the same for the same key, however it is written.
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// Whether `signature`, in the form of RFC 7518, section 3, is one of `message` by this key and its algorithm.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.algorithm.as_str())
    }
}

/// The usable keys of one issuer at one moment, by `kid`.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    by_id: HashMap<String, Arc<[PublicKey]>>,
}

/// Why a published set was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetFault {
    /// Not a JSON object with a list `keys` (RFC 7517, section 5).
    #[error("the answer is not a JWK set: {0}")]
    NotASet(String),
    /// Not one key could be used.
    #[error("the key set has no usable key: {}", list(.0))]
    NoUsableKey(Vec<UnusableKey>),
}

/// A key that is left out of its set, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableKey {
    /// Its `kid`, shortened, or `-`.
    pub kid: String,
    /// Why it is not used.
    pub why: &'static str,
}

fn list(keys: &[UnusableKey]) -> String {
    if keys.is_empty() {
        return "it is empty".to_owned();
    }
    let shown: Vec<String> = keys
        .iter()
        .take(4)
        .map(|key| format!("`{}` {}", key.kid, key.why))
        .collect();
    shown.join(", ")
}

/// The members of a JWK that matter here (RFC 7517, section 4). Everything else, `x5c` included, is passed over.
#[derive(Deserialize)]
struct RawKey {
    kty: CoreJsonWebKeyType,
    #[serde(default)]
    kid: Value,
    #[serde(default, rename = "use")]
    purpose: Option<CoreJsonWebKeyUse>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<CoreJsonCurveType>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    /// The private part of every asymmetric type.
    #[serde(default)]
    d: Option<Value>,
}

/// How many keys of one set are looked at; real sets have fewer than ten.
const MOST_KEYS: usize = 100;

impl KeySet {
    /// Reads a JWK set. The second value lists the keys that were left out.
    pub fn parse(body: &[u8]) -> Result<(Self, Vec<UnusableKey>), SetFault> {
        let body: Value =
            serde_json::from_slice(body).map_err(|fault| SetFault::NotASet(fault.to_string()))?;
        let keys = body.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| SetFault::NotASet("there is no list `keys`".to_owned()))?;

        let mut by_id: HashMap<String, Vec<PublicKey>> = HashMap::new();
        let mut unusable = Vec::new();
        for key in keys.iter().take(MOST_KEYS) {
            match usable(key) {
                Ok((kid, key)) => by_id.entry(kid).or_default().push(key),
                Err(why) => unusable.push(UnusableKey {
                    kid: shown_kid(key),
                    why,
                }),
            }
        }
        if by_id.is_empty() {
            return Err(SetFault::NoUsableKey(unusable));
        }
        let by_id = by_id.into_iter().map(|(kid, keys)| (kid, keys.into()));
        Ok((
            Self {
                by_id: by_id.collect(),
            },
            unusable,
        ))
    }

    /// The keys published under `kid`; several if an issuer gave one name to keys of different kinds.
    pub fn with_id(&self, kid: &str) -> Option<&Arc<[PublicKey]>> {
        self.by_id.get(kid)
    }

    /// Every key with its name, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PublicKey)> {
        let named = self.by_id.iter();
        named.flat_map(|(kid, keys)| keys.iter().map(|key| (kid.as_str(), key)))
    }

    /// The names of all keys, sorted.
    pub fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.by_id.keys().map(String::as_str).collect();
        ids.sort_unstable();
        ids
    }
}

/// A `kid` for a message.
fn shown_kid(key: &Value) -> String {
    match key.get("kid") {
        Some(Value::String(kid)) => on_one_line(kid, 64),
        Some(Value::Number(kid)) => kid.to_string(),
        _ => "-".to_owned(),
    }
}

/// The key and its name, or why it is not used.
fn usable(key: &Value) -> Result<(String, PublicKey), &'static str> {
    let key = RawKey::deserialize(key)
        .map_err(|_| "is of an unknown type or curve, or has a member of a wrong type")?;
    // RFC 7517, section 4.5, has `kid` a text; a number can only be meant as its digits.
    let kid = match &key.kid {
        Value::String(kid) if !kid.is_empty() => kid.clone(),
        Value::Number(kid) => kid.to_string(),
        _ => return Err("has no `kid`"),
    };
    if !matches!(key.purpose, None | Some(CoreJsonWebKeyUse::Signature)) {
        return Err("is not meant for signatures (`use`)");
    }
    if key
        .key_ops
        .as_ref()
        .is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
    {
        return Err("is not meant for verifying (`key_ops`)");
    }
    if key.d.is_some() {
        return Err("is published with its private part, so that anybody can sign with it");
    }
    let asked = match key.alg.as_deref() {
        None => None,
        Some(name) => Some(
            SigningAlgorithm::named(name)
                .ok_or("is for an algorithm that is not accepted (`alg`)")?,
        ),
    };
    let public = match key.kty {
        CoreJsonWebKeyType::RSA => rsa(&key, asked)?,
        CoreJsonWebKeyType::EllipticCurve => elliptic(&key)?,
        CoreJsonWebKeyType::OctetKeyPair => edwards(&key)?,
        _ => return Err("is not an asymmetric key"),
    };
    if asked.is_some_and(|asked| asked != public.algorithm) {
        return Err("names an algorithm that does not belong to its type (`alg`)");
    }
    Ok((kid, public))
}

/// RFC 7638, section 3: the digest of the required members in alphabetic order, which is how `serde_json` writes them.
fn thumbprint(members: &Value) -> [u8; 32] {
    sha256(members.to_string().as_bytes())
}

fn encoded(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

fn octets(member: Option<&String>) -> Result<Vec<u8>, &'static str> {
    let text = member.ok_or("lacks a member of its type")?;
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|_| "has a member that is not base64url")
}

fn rsa(key: &RawKey, asked: Option<SigningAlgorithm>) -> Result<PublicKey, &'static str> {
    let algorithm = asked.unwrap_or(SigningAlgorithm::RS256);
    let parameters = algorithm
        .of_rsa()
        .ok_or("names an algorithm that does not belong to its type (`alg`)")?;
    // A leading zero octet is what Java writes for a positive number; the value is the same.
    let without_sign = |octets: Vec<u8>| {
        octets
            .into_iter()
            .skip_while(|octet| *octet == 0)
            .collect::<Vec<u8>>()
    };
    let modulus = without_sign(octets(key.n.as_ref())?);
    let exponent = without_sign(octets(key.e.as_ref())?);

    let bits = modulus.len() * 8
        - modulus
            .first()
            .map_or(0, |first| first.leading_zeros() as usize);
    if bits < 2048 {
        return Err("is an RSA key under 2048 bits");
    }
    if bits > 8192 {
        return Err("is an RSA key over 8192 bits");
    }
    if modulus.last().is_none_or(|last| last % 2 == 0) {
        return Err("has an even modulus");
    }
    // FIPS 186-5, section A.1.1: odd, over 2^16. Verifiers stop at 33 bits.
    let value = exponent.iter().try_fold(0_u64, |value, octet| {
        value.checked_mul(256).map(|v| v + u64::from(*octet))
    });
    match value {
        Some(value) if value % 2 == 1 && (65_537..=(1 << 33)).contains(&value) => {}
        _ => return Err("has an exponent that no honest key has"),
    }
    let components = RsaPublicKeyComponents {
        n: &modulus,
        e: &exponent,
    };
    let parsed = components.to_parsed_public_key(parameters);
    let members = json!({"e": encoded(&exponent), "kty": "RSA", "n": encoded(&modulus)});
    Ok(PublicKey {
        algorithm,
        parsed: parsed.map_err(|_| "cannot be read")?,
        thumbprint: thumbprint(&members),
    })
}

fn elliptic(key: &RawKey) -> Result<PublicKey, &'static str> {
    let (algorithm, crv, size, curve) = match key.crv {
        Some(CoreJsonCurveType::P256) => (
            SigningAlgorithm::ES256,
            "P-256",
            32,
            &ECDSA_P256_SHA256_FIXED,
        ),
        Some(CoreJsonCurveType::P384) => (
            SigningAlgorithm::ES384,
            "P-384",
            48,
            &ECDSA_P384_SHA384_FIXED,
        ),
        _ => return Err("is on a curve that is not accepted (`crv`)"),
    };
    let (x, y) = (octets(key.x.as_ref())?, octets(key.y.as_ref())?);
    if x.len() != size || y.len() != size {
        return Err("has coordinates of a wrong length");
    }
    // SEC 1, section 2.3.3: an uncompressed point.
    let point: Vec<u8> = [&[4_u8][..], &x, &y].concat();
    let parsed = ParsedPublicKey::new(curve, &point).map_err(|_| "is off its curve")?;
    let members = json!({"crv": crv, "kty": "EC", "x": encoded(&x), "y": encoded(&y)});
    Ok(PublicKey {
        algorithm,
        parsed,
        thumbprint: thumbprint(&members),
    })
}

fn edwards(key: &RawKey) -> Result<PublicKey, &'static str> {
    if key.crv != Some(CoreJsonCurveType::Ed25519) {
        return Err("is on a curve that is not accepted (`crv`)");
    }
    let x = octets(key.x.as_ref())?;
    if x.len() != 32 {
        return Err("has coordinates of a wrong length");
    }
    if has_small_order(&x) {
        return Err("is a point of small order, so that anybody can sign with it");
    }
    // The library looks for the point only when it checks a signature; off the curve, none verifies.
    let parsed = ParsedPublicKey::new(&ED25519, &x).map_err(|_| "cannot be read")?;
    let members = json!({"crv": "Ed25519", "kty": "OKP", "x": encoded(&x)});
    Ok(PublicKey {
        algorithm: SigningAlgorithm::EdDSA,
        parsed,
        thumbprint: thumbprint(&members),
    })
}

/// Whether the octets are one of the points of small order (the cofactor is 8, RFC 8032, section 5.1), zeros among them: the
/// library would let signatures by it pass that need no private key.
fn has_small_order(x: &[u8]) -> bool {
    // The y coordinates of order 4, 1, 2, 8 and 8, and the two that have a second form.
    const COORDINATES: [&str; 7] = [
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "7P_______________________________________38",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
        "7f_______________________________________38",
        "7v_______________________________________38",
    ];
    let mut y = x.to_vec();
    // The highest bit is the sign of the other coordinate (RFC 8032, section 5.1.2).
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    COORDINATES.contains(&encoded(&y).as_str())
}

#[cfg(test)]
mod tests;
