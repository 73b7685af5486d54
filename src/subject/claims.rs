//! Claims that were verified.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::digest::sha256_of_parts;
use crate::issuer::{Issuer, TrustedIssuer};

/// What a genuine subject token says: signed by a registered issuer, made for us, and in its time. Only
/// [`super::SignedClaims::accept`] makes one.
#[derive(Debug, Clone)]
pub struct VerifiedClaims {
    pub(super) trusted: Arc<TrustedIssuer>,
    pub(super) issuer: Issuer,
    pub(super) organization: Option<String>,
    pub(super) subject: String,
    pub(super) expires: UnixTime,
    pub(super) spent_key: SpentKey,
    pub(super) claims: Arc<Map<String, Value>>,
}

impl VerifiedClaims {
    /// The configured issuer.
    pub fn trusted(&self) -> &Arc<TrustedIssuer> {
        &self.trusted
    }

    /// The text of `iss`.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The organization that `iss` names, where it names one.
    pub fn organization_of_issuer(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// `sub`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `exp`.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// What this token is remembered by once it is spent.
    pub fn spent_key(&self) -> SpentKey {
        self.spent_key
    }

    /// All claims.
    pub fn all(&self) -> &Arc<Map<String, Value>> {
        &self.claims
    }

    /// The claim of that name, or the member that a JSON Pointer (a name that begins with `/`, RFC 6901) leads to.
    /// `null` is an absent claim.
    pub fn get(&self, name: &str) -> Option<&Value> {
        at_path(&self.claims, name)
    }

    /// The claim, if it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// The customer of the issuer whom this token is from, as far as the profile or the configuration can tell.
    pub fn tenant(&self) -> String {
        tenant(&self.trusted, &self.claims)
    }
}

/// The value at a claim's name, or where a JSON Pointer leads. `null` counts as absent.
pub(super) fn at_path<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let value = match name.strip_prefix('/') {
        None => claims.get(name),
        Some(_) => pointed_to(claims, name),
    };
    value.filter(|value| !value.is_null())
}

fn pointed_to<'a>(claims: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let unescape = |token: &str| token.replace("~1", "/").replace("~0", "~");
    let mut tokens = pointer.split('/').skip(1).map(unescape);
    let first = claims.get(&tokens.next()?)?;
    tokens.try_fold(first, |value, token| match value {
        Value::Object(members) => members.get(&token),
        Value::Array(list) => match token.parse::<usize>() {
            Ok(at) => list.get(at),
            Err(_) => Some(&*OF_ANOTHER_TYPE),
        },
        Value::Null => None,
        _ => Some(&*OF_ANOTHER_TYPE),
    })
}

/// What stands where a pointer leads through a value that has no members: something of a type that no condition asks for.
/// Were it absent, a deny on a member could be escaped by a claim that is no object.
static OF_ANOTHER_TYPE: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

/// The customer whom claims name, for limits per customer; empty if they name none.
pub(super) fn tenant(trusted: &TrustedIssuer, claims: &Map<String, Value>) -> String {
    let configured = trusted.tenant_claims.iter().map(String::as_str);
    let values: Vec<&str> = match (configured.len(), trusted.profile.tenant_claim) {
        (0, Some(claim)) => at_path(claims, claim)
            .and_then(Value::as_str)
            .into_iter()
            .collect(),
        _ => configured
            .filter_map(|claim| at_path(claims, claim).and_then(Value::as_str))
            .collect(),
    };
    values.join("\u{1f}")
}

/// What one subject token is remembered by: a digest over the issuer's text and `jti`, or over the issuer's text and the
/// signed part where there is no `jti`.
///
/// The signature is left out, because some schemes let a stranger make a second valid one from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpentKey([u8; 32]);

impl SpentKey {
    pub(super) fn by_id(issuer: &str, jti: &str) -> Self {
        Self::digest("jti", issuer, jti)
    }

    pub(super) fn by_content(issuer: &str, signed_part: &str) -> Self {
        Self::digest("signed", issuer, signed_part)
    }

    /// The key of a text that could not be read as a token, so that its denial is recorded once.
    pub fn of_unverified(text: &str) -> Self {
        Self::digest("unverified", "", text)
    }

    fn digest(kind: &str, issuer: &str, text: &str) -> Self {
        let parts = [kind.as_bytes(), issuer.as_bytes(), text.as_bytes()];
        Self(sha256_of_parts(&parts))
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
