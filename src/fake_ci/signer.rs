//! Keys, addresses and signatures of all pretended CI systems.

use serde_json::{Map, Value, json};
use uuid::{NoContext, Timestamp, Uuid};

use super::key::Key;
use super::system::{SYSTEMS, System, unknown_profile};
use super::{FakeCiError, Job};
use crate::clock::UnixTime;
use crate::issuer::{Profile, is_uuid, profile_named};

/// Signs tokens of every pretended CI system, and publishes what is needed to check them.
pub struct Signer {
    base: String,
    systems: Vec<Pretended>,
}

/// One CI system with its key.
struct Pretended {
    system: &'static System,
    profile: &'static Profile,
    key: Key,
}

/// A signed token, and what it says.
pub struct Signed {
    /// The JWT.
    pub token: String,
    /// Its claims.
    pub claims: Map<String, Value>,
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signed(..)")
    }
}

impl Signer {
    /// Makes fresh keys. Every issuer stands below `base`, an address such as `http://127.0.0.1:9100`, without a slash at
    /// its end.
    pub fn new(base: &str) -> Result<Self, FakeCiError> {
        let pretend = |system: &'static System| {
            Ok(Pretended {
                system,
                profile: profile_named(system.name).ok_or_else(|| unknown_profile(system.name))?,
                key: Key::generate(system.key_id)?,
            })
        };
        Ok(Self {
            base: base.to_owned(),
            systems: SYSTEMS.iter().map(pretend).collect::<Result<_, _>>()?,
        })
    }

    /// The address below which everything stands.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The value of `url` in the configuration of this issuer; for `CircleCI` a template with `{organization}`.
    pub fn issuer_url(&self, profile: &str) -> Result<String, FakeCiError> {
        let pretended = self.pretended(profile)?;
        Ok(pretended.issuer(&self.base, Some("{organization}")))
    }

    /// The key set (RFC 7517, section 5). `CircleCI` has one for all its organizations; `organization` is only looked at.
    pub fn jwks(&self, profile: &str, organization: Option<&str>) -> Result<Value, FakeCiError> {
        let pretended = self.issuer_of(profile, organization)?;
        Ok(json!({ "keys": [pretended.key.jwk()] }))
    }

    /// The discovery document (OpenID Connect Discovery 1.0, section 3, as far as CI systems publish it). `organization`
    /// is for a CI system whose issuer names it; without one, the document is the root issuer's.
    pub fn discovery(
        &self,
        profile: &str,
        organization: Option<&str>,
    ) -> Result<Value, FakeCiError> {
        let pretended = self.issuer_of(profile, organization)?;
        let issuer = pretended.issuer(&self.base, organization);
        let keys_path = pretended.profile.keys_path.unwrap_or_default();
        let own_claims = pretended.profile.claims.iter().map(|claim| claim.name);
        let claims: Vec<&str> = ["aud", "exp", "iat", "iss"]
            .into_iter()
            .chain(own_claims)
            .collect();
        Ok(json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}{keys_path}"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
            "claims_supported": claims,
        }))
    }

    /// A token of the claim set called `set`, made `now`. `null` in `overrides` takes a claim away.
    pub fn token(
        &self,
        profile: &str,
        set: &str,
        audience: Option<&str>,
        overrides: &Map<String, Value>,
        now: UnixTime,
    ) -> Result<Signed, FakeCiError> {
        let job = Job::new(profile, Some(set), overrides.clone())?;
        self.sign(&job, audience, now)
    }

    /// A token of `job`, made `now`, for `audience`; without one, for whom its CI system makes tokens by default.
    pub fn sign(
        &self,
        job: &Job,
        audience: Option<&str>,
        now: UnixTime,
    ) -> Result<Signed, FakeCiError> {
        let pretended = self.pretended(job.system.name)?;
        let claims = pretended.settle(&self.base, job, audience, now);
        let token = pretended.key.sign(&claims, pretended.system.typ)?;
        Ok(Signed { token, claims })
    }

    /// The `[[issuer]]` tables that make a `countersign.toml` believe this issuer. The file needs
    /// `allow-loopback-http = true` too.
    pub fn issuer_tables(&self) -> String {
        let tables: Vec<String> = self
            .systems
            .iter()
            .map(|pretended| {
                let name = pretended.system.name;
                let url = pretended.issuer(&self.base, Some("{organization}"));
                format!("[[issuer]]\nname = \"{name}\"\nprofile = \"{name}\"\nurl = \"{url}\"\n")
            })
            .collect();
        tables.join("\n")
    }

    /// The CI system, where `organization` is none or could be one of its.
    fn issuer_of(
        &self,
        profile: &str,
        organization: Option<&str>,
    ) -> Result<&Pretended, FakeCiError> {
        match organization.filter(|text| !is_uuid(text)) {
            Some(unknown) => Err(FakeCiError::UnknownOrganization(unknown.to_owned())),
            None => self.pretended(profile),
        }
    }

    fn pretended(&self, profile: &str) -> Result<&Pretended, FakeCiError> {
        let found = self
            .systems
            .iter()
            .find(|pretended| pretended.system.name == profile);
        found.ok_or_else(|| unknown_profile(profile))
    }
}

impl Pretended {
    /// The text of `iss`.
    fn issuer(&self, base: &str, organization: Option<&str>) -> String {
        let name = self.system.name;
        match organization.filter(|_| self.profile.organization_in_issuer) {
            Some(organization) => format!("{base}/{name}/org/{organization}"),
            None => format!("{base}/{name}"),
        }
    }

    /// The claims of a job, with those that belong to one token settled unless they are overridden.
    fn settle(
        &self,
        base: &str,
        job: &Job,
        audience: Option<&str>,
        now: UnixTime,
    ) -> Map<String, Value> {
        let mut claims = job.claims();
        let issuer = self.issuer(base, organization(job, &claims));
        let audience = match audience {
            Some(audience) => audience.to_owned(),
            None => (self.system.default_audience)(&issuer, &claims),
        };
        let made = job.set.claims.get("iat").and_then(Value::as_i64);
        let later = |date: i64| json!(now.seconds() + date - made.unwrap_or_default());
        let date = |claim: &str| job.set.claims.get(claim).and_then(Value::as_i64).map(later);
        let settled = [
            ("iss", Some(Value::String(issuer))),
            ("aud", Some(Value::String(audience))),
            ("iat", date("iat")),
            ("nbf", date("nbf")),
            ("exp", date("exp")),
            (
                "jti",
                job.set.claims.get("jti").map(|like| fresh(like, now)),
            ),
        ];
        for (claim, value) in settled {
            if let (Some(value), false) = (value, job.overrides.contains_key(claim)) {
                claims.insert(claim.to_owned(), value);
            }
        }
        claims
    }
}

/// The organization that `iss` is to name: what the claims say, where the set's own `iss` names one.
fn organization<'a>(job: &'a Job, claims: &'a Map<String, Value>) -> Option<&'a str> {
    let named = job.set.claims.get("iss").and_then(Value::as_str);
    named.filter(|iss| iss.contains("/org/"))?;
    let claim = job.profile().audience_claim?;
    let organization = claims.get(claim).or_else(|| job.set.claims.get(claim));
    organization.and_then(Value::as_str)
}

/// A fresh `jti` of the version that the set's own has.
fn fresh(like: &Value, now: UnixTime) -> Value {
    let version = like.as_str().and_then(|text| Uuid::try_parse(text).ok());
    let id = if version.is_some_and(|id| id.get_version_num() == 7) {
        let seconds = u64::try_from(now.seconds()).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0))
    } else {
        Uuid::new_v4()
    };
    Value::String(id.to_string())
}
