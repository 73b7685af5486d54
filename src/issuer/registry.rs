//! The issuers that the configuration lists: nobody else is believed, or even asked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{IssuerForm, Match, Profile};

/// One issuer that an operator listed, with what is demanded of its tokens.
#[derive(Debug, Clone)]
pub struct TrustedIssuer {
    /// Its name in the configuration, by which policies refer to it.
    pub name: Arc<str>,
    /// What we know of its kind.
    pub profile: &'static Profile,
    /// How its `iss` looks.
    pub form: IssuerForm,
    /// The values of `aud` of which a token must hold one.
    pub audiences: Vec<String>,
    /// Whether the profile's audience claim does not count.
    pub own_audience_only: bool,
    /// How old a token may be, in seconds from `iat`; `None` leaves its `exp` as the bound.
    pub max_token_age: Option<u32>,
    /// How often one token may be exchanged, at least 1.
    pub max_uses: u32,
    /// Where the key set is, if not where the profile or the discovery document says.
    pub jwks_url: Option<String>,
    /// A key set in a file, for an issuer that cannot be reached.
    pub jwks_file: Option<PathBuf>,
    /// Certificates (PEM) to believe beside the system's.
    pub ca_file: Option<PathBuf>,
    /// A proxy to go through.
    pub proxy: Option<String>,
    /// The claims that separate the issuer's customers, where the profile does not know.
    pub tenant_claims: Vec<String>,
}

impl TrustedIssuer {
    /// An issuer of a profile with the profile's defaults.
    pub fn new(name: &str, profile: &'static Profile, form: IssuerForm, audience: &str) -> Self {
        Self {
            name: name.into(),
            profile,
            form,
            audiences: vec![audience.to_owned()],
            own_audience_only: false,
            max_token_age: profile.max_token_age,
            max_uses: profile.max_uses,
            jwks_url: None,
            jwks_file: None,
            ca_file: None,
            proxy: None,
            tenant_claims: Vec::new(),
        }
    }
}

/// All trusted issuers, found by `iss` or by name.
#[derive(Debug, Default)]
pub struct Registry {
    exact: HashMap<String, Arc<TrustedIssuer>>,
    per_organization: Vec<Arc<TrustedIssuer>>,
    by_name: HashMap<Arc<str>, Arc<TrustedIssuer>>,
}

impl Registry {
    /// Registers `issuers`. Two with one name or one address are the configuration's error to report; here the later wins.
    pub fn new(issuers: impl IntoIterator<Item = TrustedIssuer>) -> Self {
        let mut registry = Self::default();
        for issuer in issuers {
            let issuer = Arc::new(issuer);
            registry.by_name.insert(issuer.name.clone(), issuer.clone());
            match &issuer.form {
                IssuerForm::Exact(url) => {
                    registry.exact.insert(url.as_str().to_owned(), issuer);
                }
                IssuerForm::PerOrganization { .. } => registry.per_organization.push(issuer),
            }
        }
        registry
    }

    /// The issuer whose text is `unverified_iss`, letter by letter.
    pub fn find(&self, unverified_iss: &str) -> Option<(Arc<TrustedIssuer>, Match)> {
        let exact = self.exact.get(unverified_iss);
        exact
            .into_iter()
            .chain(&self.per_organization)
            .find_map(|issuer| {
                let matched = issuer.form.matches(unverified_iss)?;
                Some((issuer.clone(), matched))
            })
    }

    /// The issuer that the configuration calls `name`.
    pub fn named(&self, name: &str) -> Option<&Arc<TrustedIssuer>> {
        self.by_name.get(name)
    }

    /// Every issuer, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<TrustedIssuer>> {
        self.by_name.values()
    }
}
