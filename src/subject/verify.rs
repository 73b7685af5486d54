//! Signature, then claims, issuer, audience and times: in this order, against our own clock.

use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::claims::{SpentKey, VerifiedClaims, at_path, tenant};
use super::token::printable;
use super::{InvalidToken, SubjectToken};
use crate::clock::{Seconds, UnixTime};
use crate::issuer::{Match, PublicKey, TrustedIssuer};

/// Clock skew tolerated between an issuer and us, on `exp`, `nbf` and `iat` (RFC 7519, sections 4.1.4 to 4.1.6).
///
/// A spent token is remembered until `exp` plus this span and some: were the memory the shorter of the two, a token
/// could be exchanged twice in its last minute.
pub const LEEWAY: Seconds = Seconds(60);

/// The longest span from `iat` to `exp` that is accepted. A spent token is remembered for as long as it could be used,
/// so this also bounds the memory.
pub const LONGEST_LIFETIME: Seconds = Seconds(24 * 60 * 60);

/// The longest `sub`, in characters.
const LONGEST_SUBJECT: usize = 1024;

/// Numbers beyond this lose their last digits in JSON (RFC 8259, section 6).
const LARGEST_DATE: f64 = 9_007_199_254_740_991.0;

/// Claims whose signature verified with a key of a registered issuer. Whether they are for us, and now, is still open.
#[derive(Debug)]
pub struct SignedClaims {
    trusted: Arc<TrustedIssuer>,
    matched: Match,
    /// What the signature covers.
    content: Zeroizing<String>,
    claims: Arc<Map<String, Value>>,
}

/// Genuine claims that were not taken, and why: what a denial records.
#[derive(Debug)]
pub struct Rejected {
    /// What is wrong with them.
    pub fault: InvalidToken,
    /// What the issuer signed.
    pub signed: SignedClaims,
}

/// What checking the claims yields beside the claims themselves.
struct Checked {
    subject: String,
    expires: UnixTime,
    spent_key: SpentKey,
}

impl SubjectToken {
    /// Checks the signature with the `keys` that the issuer publishes under the token's `kid`. The algorithm is the
    /// key's; a header that names another one is refused.
    pub fn check_signature(
        self,
        trusted: Arc<TrustedIssuer>,
        matched: Match,
        keys: &[PublicKey],
    ) -> Result<SignedClaims, InvalidToken> {
        let algorithm = self.algorithm()?;
        let mut of_algorithm = keys
            .iter()
            .filter(|key| key.algorithm() == algorithm)
            .peekable();
        if of_algorithm.peek().is_none() {
            return Err(InvalidToken::AlgorithmRefused {
                algorithm: algorithm.as_str().to_owned(),
                why: "the key that the header names is for another one",
            });
        }
        let message = self.signed_part().as_bytes();
        let genuine = of_algorithm.any(|key| key.verifies(message, &self.signature));
        if !genuine {
            return Err(InvalidToken::SignatureInvalid);
        }
        let mut content = self.text;
        content.truncate(self.signed_len);
        Ok(SignedClaims {
            trusted,
            matched,
            content,
            claims: Arc::new(self.claims),
        })
    }
}

impl SignedClaims {
    /// Takes the claims if their types are right, their issuer is the one whose key signed, they are for us, and it is
    /// their time. `public_url` is named to a caller whose audience is wrong; other audiences are not.
    pub fn accept(self, public_url: &str, now: UnixTime) -> Result<VerifiedClaims, Box<Rejected>> {
        match self.check(public_url, now) {
            Ok(checked) => Ok(VerifiedClaims {
                subject: checked.subject,
                expires: checked.expires,
                spent_key: checked.spent_key,
                trusted: self.trusted,
                issuer: self.matched.issuer,
                organization: self.matched.organization,
                claims: self.claims,
            }),
            Err(fault) => Err(Box::new(Rejected {
                fault,
                signed: self,
            })),
        }
    }

    fn check(&self, public_url: &str, now: UnixTime) -> Result<Checked, InvalidToken> {
        let (expires, issued, not_before) = (
            self.required_date("exp")?,
            self.required_date("iat")?,
            self.date("nbf")?,
        );
        let checked = Checked {
            subject: self.subject()?,
            expires,
            spent_key: self.spent_key()?,
        };
        let audiences = self.audiences()?;

        self.check_issuer()?;
        self.check_audience(&audiences, public_url)?;
        self.check_times(expires, issued, not_before, now)?;
        Ok(checked)
    }

    /// All claims: genuine, though perhaps not for us or not for now.
    pub fn all(&self) -> &Arc<Map<String, Value>> {
        &self.claims
    }

    /// The configured issuer.
    pub fn trusted(&self) -> &Arc<TrustedIssuer> {
        &self.trusted
    }

    /// The customer of the issuer whom the token is from; empty if it does not say.
    pub fn tenant(&self) -> String {
        tenant(&self.trusted, &self.claims)
    }

    /// What this token is remembered by.
    pub fn spent_key(&self) -> Result<SpentKey, InvalidToken> {
        match self.claims.get("jti") {
            None => Ok(self.content_key()),
            Some(Value::String(jti)) if !jti.is_empty() => {
                Ok(SpentKey::by_id(self.matched.issuer.as_str(), jti))
            }
            Some(_) => Err(InvalidToken::wrong_claim("jti", "is not a non-empty text")),
        }
    }

    /// What this token is remembered by if its `jti` is not to be believed.
    pub fn content_key(&self) -> SpentKey {
        SpentKey::by_content(self.matched.issuer.as_str(), &self.content)
    }

    fn required_date(&self, claim: &'static str) -> Result<UnixTime, InvalidToken> {
        self.date(claim)?
            .ok_or_else(|| InvalidToken::wrong_claim(claim, "is missing"))
    }

    /// A `NumericDate` (RFC 7519, section 2); a fraction of a second is cut.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the value was bounded on the line before"
    )]
    fn date(&self, claim: &'static str) -> Result<Option<UnixTime>, InvalidToken> {
        match self.claims.get(claim) {
            None => Ok(None),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(seconds) if seconds.abs() <= LARGEST_DATE => {
                    Ok(Some(UnixTime::from_seconds(seconds as i64)))
                }
                _ => Err(InvalidToken::wrong_claim(
                    claim,
                    "is not a number of seconds that a date can have",
                )),
            },
            Some(_) => Err(InvalidToken::wrong_claim(claim, "is not a number")),
        }
    }

    fn subject(&self) -> Result<String, InvalidToken> {
        match self.claims.get("sub") {
            None => Err(InvalidToken::wrong_claim("sub", "is missing")),
            Some(Value::String(subject)) if subject.is_empty() => {
                Err(InvalidToken::wrong_claim("sub", "is empty"))
            }
            Some(Value::String(subject)) if subject.chars().count() > LONGEST_SUBJECT => Err(
                InvalidToken::wrong_claim("sub", "is longer than 1024 characters"),
            ),
            Some(Value::String(subject)) if subject.chars().any(char::is_control) => Err(
                InvalidToken::wrong_claim("sub", "holds a control character"),
            ),
            Some(Value::String(subject)) => Ok(subject.clone()),
            Some(_) => Err(InvalidToken::wrong_claim("sub", "is not a text")),
        }
    }

    fn audiences(&self) -> Result<Vec<&str>, InvalidToken> {
        match self.claims.get("aud") {
            Some(Value::String(audience)) => Ok(vec![audience]),
            Some(Value::Array(list)) => {
                let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                texts.ok_or_else(|| {
                    InvalidToken::wrong_claim(
                        "aud",
                        "is a list that holds something else than texts",
                    )
                })
            }
            None => Err(InvalidToken::wrong_claim("aud", "is missing")),
            Some(_) => Err(InvalidToken::wrong_claim(
                "aud",
                "is neither a text nor a list of texts",
            )),
        }
    }

    /// Several issuers share keys, so the signature alone does not tell which one signed.
    fn check_issuer(&self) -> Result<(), InvalidToken> {
        match self.claims.get("iss").and_then(Value::as_str) {
            Some(iss) if iss == self.matched.issuer.as_str() => Ok(()),
            other => Err(InvalidToken::issuer_unknown(other.unwrap_or_default())),
        }
    }

    fn check_audience(&self, audiences: &[&str], public_url: &str) -> Result<(), InvalidToken> {
        let trusted = &self.trusted;
        let of_profile = trusted
            .profile
            .audience_claim
            .filter(|_| !trusted.own_audience_only);
        let of_profile = of_profile
            .and_then(|claim| at_path(&self.claims, claim))
            .and_then(Value::as_str);
        let ours = |audience: &str| {
            trusted.audiences.iter().any(|ours| ours == audience)
                || of_profile.is_some_and(|value| value == audience)
        };
        if audiences.iter().copied().any(ours) {
            return Ok(());
        }
        let found = match audiences {
            [] => "nobody (`aud` is an empty list)".to_owned(),
            list => list
                .iter()
                .take(8)
                .map(|audience| format!("`{}`", printable(audience)))
                .collect::<Vec<_>>()
                .join(", "),
        };
        Err(InvalidToken::AudienceMismatch {
            found,
            ours: public_url.to_owned(),
        })
    }

    fn check_times(
        &self,
        expires: UnixTime,
        issued: UnixTime,
        not_before: Option<UnixTime>,
        now: UnixTime,
    ) -> Result<(), InvalidToken> {
        if now > expires.plus(LEEWAY) {
            return Err(InvalidToken::Expired {
                expired: expires,
                now,
            });
        }
        for (claim, from) in [("nbf", not_before), ("iat", Some(issued))] {
            if let Some(from) = from
                && now.plus(LEEWAY) < from
            {
                return Err(InvalidToken::NotYetValid { claim, from, now });
            }
        }
        if expires > issued.plus(LONGEST_LIFETIME) {
            return Err(InvalidToken::LivesTooLong(LONGEST_LIFETIME));
        }
        match self.trusted.max_token_age.map(Seconds) {
            Some(limit) if now > issued.plus(limit).plus(LEEWAY) => {
                Err(InvalidToken::TooOld { issued, limit, now })
            }
            _ => Ok(()),
        }
    }
}

impl VerifiedClaims {
    /// Claims that nobody signed, taken as if they were genuine, for us and in their time: for explaining a policy, for
    /// the cases that travel with it, and for tests. No exchange may come here; `tests/architecture.rs` holds that.
    pub fn supposed(
        trusted: Arc<TrustedIssuer>,
        matched: Match,
        claims: Map<String, Value>,
    ) -> Result<Self, InvalidToken> {
        let supposed = SignedClaims {
            trusted,
            matched,
            content: Zeroizing::new(Value::Object(claims.clone()).to_string()),
            claims: Arc::new(claims),
        };
        supposed.check_issuer()?;
        Ok(Self {
            subject: supposed.subject()?,
            expires: UnixTime::from_seconds(0),
            spent_key: supposed.spent_key()?,
            trusted: supposed.trusted,
            issuer: supposed.matched.issuer,
            organization: supposed.matched.organization,
            claims: supposed.claims,
        })
    }
}

/// What an exchange at `now` would find wrong with claims like these before it asks a policy: audience, then types and
/// times. Without `public_url` any audience will do. For explaining a token that nobody presents.
pub fn faults_of(
    claims: &VerifiedClaims,
    public_url: Option<&str>,
    now: UnixTime,
) -> Vec<InvalidToken> {
    let like = |trusted| SignedClaims {
        trusted,
        matched: Match {
            issuer: claims.issuer.clone(),
            organization: claims.organization.clone(),
        },
        content: Zeroizing::default(),
        claims: claims.claims.clone(),
    };
    let mut faults = Vec::new();
    if let Some(public_url) = public_url {
        match like(claims.trusted.clone()).check(public_url, now) {
            Ok(_) => return faults,
            Err(fault @ InvalidToken::AudienceMismatch { .. }) => faults.push(fault),
            Err(fault) => return vec![fault],
        }
    }
    let mut of_any_audience = (*claims.trusted).clone();
    if let Ok(audiences) = like(claims.trusted.clone()).audiences() {
        of_any_audience.audiences = audiences.into_iter().map(str::to_owned).collect();
    }
    faults.extend(like(Arc::new(of_any_audience)).check("", now).err());
    faults
}
