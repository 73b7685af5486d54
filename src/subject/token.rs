//! The token as it came off the wire: read, and believed by nobody.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::InvalidToken;
use super::json::parse_strictly;
use crate::issuer::SigningAlgorithm;

/// The longest subject token that is read, in bytes.
pub const LONGEST_TOKEN: usize = 16 * 1024;

/// A JWT in compact form (RFC 7515, section 7.1) whose three parts could be read. What it says is nobody's word yet.
pub struct SubjectToken {
    pub(super) text: Zeroizing<String>,
    pub(super) signed_len: usize,
    pub(super) signature: Vec<u8>,
    pub(super) claims: Map<String, Value>,
    algorithm: String,
    key_id: Option<String>,
}

impl SubjectToken {
    /// Reads the form of a token: three parts in strict base64url (no padding, no stray bits), two of them JSON objects
    /// without repeated members, and a header that asks for nothing we do not do.
    pub fn read(text: String) -> Result<Self, InvalidToken> {
        let text = Zeroizing::new(text);
        if text.len() > LONGEST_TOKEN {
            return Err(malformed("it is longer than 16 KiB"));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed(
                "a JWT has three parts with a dot between them; is a variable empty, or the token truncated or encrypted?",
            ));
        };
        let signed_len = text.len() - signature.len() - 1;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| malformed("its signature is not base64url"))?;
        let header = object(header, "header")?;
        let claims = object(payload, "payload")?;
        let (algorithm, key_id) = read_header(header)?;
        Ok(Self {
            text,
            signed_len,
            signature,
            claims,
            algorithm,
            key_id,
        })
    }

    /// The issuer that the token claims to be from. Good for finding a registered one, and nothing else.
    pub fn unverified_issuer(&self) -> Result<&str, InvalidToken> {
        match self.claims.get("iss") {
            Some(Value::String(iss)) => Ok(iss),
            None => Err(InvalidToken::wrong_claim("iss", "is missing")),
            Some(_) => Err(InvalidToken::wrong_claim("iss", "is not a text")),
        }
    }

    /// The claims, which are nobody's word: for explaining them, and nothing else.
    pub fn into_unverified_claims(self) -> Map<String, Value> {
        self.claims
    }

    /// The algorithm in the header, if it is one that we accept from anybody.
    pub fn algorithm(&self) -> Result<SigningAlgorithm, InvalidToken> {
        SigningAlgorithm::named(&self.algorithm).ok_or_else(|| InvalidToken::AlgorithmRefused {
            algorithm: printable(&self.algorithm),
            why: "only asymmetric signatures are accepted (RS, PS, ES, EdDSA)",
        })
    }

    /// The name of the key in the header. A name and nothing else: it is never a path, an address or a query.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The part that the signature covers.
    pub(super) fn signed_part(&self) -> &str {
        self.text.get(..self.signed_len).unwrap_or_default()
    }
}

impl std::fmt::Debug for SubjectToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectToken(..)")
    }
}

/// What a message repeats of a token, which its caller chose: at most 200 characters.
pub(super) fn printable(text: &str) -> String {
    crate::text::printable(text, 200)
}

/// What a header says that matters: the algorithm and the name of the key.
fn read_header(mut header: Map<String, Value>) -> Result<(String, Option<String>), InvalidToken> {
    let Some(Value::String(algorithm)) = header.remove("alg") else {
        return Err(malformed("its header has no text `alg`"));
    };
    let key_id = match header.remove("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid),
        Some(_) => return Err(malformed("its header has a `kid` that is not a text")),
    };
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) if typ.eq_ignore_ascii_case("JWT") => {}
        Some(_) => {
            return Err(malformed(
                "its header has a `typ` other than `JWT`, so it is not an identity token",
            ));
        }
    }
    // RFC 7515, section 4.1.11: what a critical header asks for must be understood, and we understand none. RFC 7797
    // would change what the signature covers.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(malformed(
            "its header has `crit` or `b64`, which no CI system sends",
        ));
    }
    Ok((algorithm, key_id))
}

fn malformed(why: &str) -> InvalidToken {
    InvalidToken::Malformed(why.to_owned())
}

fn object(part: &str, which: &str) -> Result<Map<String, Value>, InvalidToken> {
    let malformed = |why: String| InvalidToken::Malformed(format!("its {which} {why}"));
    let octets = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| malformed("is not base64url without padding".to_owned()))?;
    match parse_strictly(&octets) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(malformed("is not a JSON object".to_owned())),
        Err(fault) => Err(malformed(format!(
            "is not JSON that we accept: {}",
            printable(&fault.to_string())
        ))),
    }
}
