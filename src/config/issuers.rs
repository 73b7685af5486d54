//! Every rule about an `[[issuer]]`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use toml::Spanned;
use url::Url;

use super::check::{Problems, span_of_time};
use super::raw::{RawConfig, RawIssuer};
use crate::issuer::{IssuerForm, PROFILES, Profile, TrustedIssuer, is_secure, profile_named};

/// The five CI systems with their public addresses.
pub(super) fn default_issuers(public_url: &str) -> Vec<TrustedIssuer> {
    PROFILES
        .into_iter()
        .filter_map(|profile| {
            let url = profile.default_url?;
            let form = IssuerForm::parse(url, profile.organization_in_issuer, false).ok()?;
            Some(TrustedIssuer::new(profile.name, profile, form, public_url))
        })
        .collect()
}

pub(super) fn issuers(
    raw: &RawConfig,
    public_url: &str,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<TrustedIssuer> {
    let mut names: HashSet<String> = HashSet::new();
    let mut urls: HashMap<String, String> = HashMap::new();
    let mut issuers = Vec::new();
    for raw_issuer in &raw.issuer {
        let raw_issuer = raw_issuer.get_ref();
        let Some(issuer) = issuer(
            raw_issuer,
            public_url,
            folder,
            raw.allow_loopback_http,
            problems,
        ) else {
            continue;
        };
        if !names.insert(issuer.name.to_string()) {
            problems.add(
                raw_issuer.name.span(),
                format!("two issuers are called `{}`", issuer.name),
                "give each a name of its own: policies refer to it",
            );
        }
        for text in texts(&issuer.form) {
            if let Some(other) = urls.insert(text, issuer.name.to_string()) {
                let span = raw_issuer
                    .url
                    .as_ref()
                    .unwrap_or(&raw_issuer.profile)
                    .span();
                problems.add(
                    span,
                    format!(
                        "the issuers `{other}` and `{}` share one address",
                        issuer.name
                    ),
                    "remove one of them, or give it the address of its own instance",
                );
                break;
            }
        }
        if let Some(other) = issuers.iter().find(|other| overlap(other, &issuer)) {
            let span = raw_issuer.url.as_ref().unwrap_or(&raw_issuer.profile);
            problems.add(
                span.span(),
                format!(
                    "the issuers `{}` and `{}` overlap: the template of one covers the address of the other",
                    other.name, issuer.name
                ),
                "remove one of them: whose token it is must not depend on an order",
            );
        }
        issuers.push(issuer);
    }
    issuers
}

/// Whether the address of one is that of an organization of the other.
fn overlap(one: &TrustedIssuer, other: &TrustedIssuer) -> bool {
    let covers = |template: &IssuerForm, form: &IssuerForm| match (template, form) {
        (IssuerForm::PerOrganization { .. }, IssuerForm::Exact(issuer)) => template
            .matches(issuer.as_str())
            .is_some_and(|matched| matched.organization.is_some()),
        _ => false,
    };
    covers(&one.form, &other.form) || covers(&other.form, &one.form)
}

/// The texts that no other issuer may have.
fn texts(form: &IssuerForm) -> Vec<String> {
    match form {
        IssuerForm::Exact(issuer) => vec![issuer.to_string()],
        IssuerForm::PerOrganization { prefix, root } => vec![prefix.clone(), root.to_string()],
    }
}

fn issuer(
    raw: &RawIssuer,
    public_url: &str,
    folder: &Path,
    loopback_http: bool,
    problems: &mut Problems,
) -> Option<TrustedIssuer> {
    let name = raw.name.get_ref();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
        problems.add(
            raw.name.span(),
            format!("an issuer cannot be called `{name}`"),
            "use 1 to 63 letters, digits, `-`, `_` and `.`",
        );
        return None;
    }
    let Some(profile) = profile_named(raw.profile.get_ref()) else {
        let known: Vec<String> = PROFILES
            .iter()
            .map(|profile| format!("`{}`", profile.name))
            .collect();
        problems.add(
            raw.profile.span(),
            format!("there is no profile `{}`", raw.profile.get_ref()),
            &format!("write one of {}", known.join(", ")),
        );
        return None;
    };
    let form = form(raw, profile, loopback_http, problems)?;
    let mut issuer = TrustedIssuer::new(name, profile, form, public_url);
    demands(raw, &mut issuer, problems);
    addresses(raw, &mut issuer, folder, loopback_http, problems);
    Some(issuer)
}

/// How the `iss` of the issuer looks.
fn form(
    raw: &RawIssuer,
    profile: &Profile,
    loopback_http: bool,
    problems: &mut Problems,
) -> Option<IssuerForm> {
    let name = raw.name.get_ref();
    let url = match (&raw.url, profile.default_url) {
        (Some(url), _) => url.get_ref().clone(),
        (None, Some(url)) => url.to_owned(),
        (None, None) => {
            problems.add(
                raw.name.span(),
                format!("the issuer `{name}` has no `url`, and its profile has no default"),
                "write the exact text that its tokens have in `iss`",
            );
            return None;
        }
    };
    match IssuerForm::parse(&url, profile.organization_in_issuer, loopback_http) {
        Ok(form) => Some(form),
        Err(fault) => {
            let span = raw
                .url
                .as_ref()
                .map_or_else(|| raw.name.span(), Spanned::span);
            problems.add(
                span,
                format!("`url` of the issuer `{name}` {fault}"),
                "write the exact text that its tokens have in `iss`, no slash added or dropped",
            );
            None
        }
    }
}

/// Where the issuer's keys are, if not where its profile says.
fn addresses(
    raw: &RawIssuer,
    issuer: &mut TrustedIssuer,
    folder: &Path,
    loopback_http: bool,
    problems: &mut Problems,
) {
    let file =
        |path: &Option<Spanned<String>>| path.as_ref().map(|path| folder.join(path.get_ref()));
    issuer.jwks_file = file(&raw.jwks_file);
    issuer.ca_file = file(&raw.ca_file);
    if let (Some(url), Some(_)) = (&raw.jwks_url, &raw.jwks_file) {
        problems.add(
            url.span(),
            "`jwks-url` and `jwks-file` are both given".to_owned(),
            "keep one",
        );
    }
    if let Some(address) = &raw.jwks_url {
        if !is_secure(address.get_ref(), loopback_http) {
            problems.add(
                address.span(),
                format!(
                    "`jwks-url` is not an `https://` address: `{}`",
                    address.get_ref()
                ),
                "keys that come in the clear are anybody's keys",
            );
        }
        issuer.jwks_url = Some(address.get_ref().clone());
    }
    if let Some(proxy) = &raw.proxy {
        if !Url::parse(proxy.get_ref()).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            problems.add(
                proxy.span(),
                "`proxy` is not an `http://` or `https://` address".to_owned(),
                "write `http://proxy.example.com:3128`",
            );
        }
        issuer.proxy = Some(proxy.get_ref().clone());
    }
}

/// What is demanded of the issuer's tokens.
fn demands(raw: &RawIssuer, issuer: &mut TrustedIssuer, problems: &mut Problems) {
    let profile = issuer.profile;
    if let Some(audience) = &raw.audience {
        issuer.audiences = audience.get_ref().as_list();
        if issuer.audiences.is_empty() || issuer.audiences.iter().any(String::is_empty) {
            problems.add(
                audience.span(),
                format!("`audience` of the issuer `{}` is empty", issuer.name),
                "list the values of `aud` to accept, or leave the key out to accept `public-url`",
            );
        }
    }
    if let Some(own) = &raw.own_audience_only {
        if profile.audience_claim.is_none() {
            problems.add(
                own.span(),
                format!(
                    "`own-audience-only` has no meaning for the profile `{}`",
                    profile.name
                ),
                "remove it: only configured audiences count",
            );
        }
        issuer.own_audience_only = *own.get_ref();
    }
    if let Some(age) = &raw.max_token_age {
        let longest = crate::subject::LONGEST_LIFETIME;
        issuer.max_token_age = Some(span_of_time(age, "max-token-age", longest, problems).0);
    }
    if let Some(uses) = &raw.max_uses {
        match u32::try_from(*uses.get_ref()) {
            Ok(uses @ 1..=1000) => issuer.max_uses = uses,
            _ => problems.add(
                uses.span(),
                format!(
                    "`max-uses` is {}, and can be from 1 to 1000",
                    uses.get_ref()
                ),
                "",
            ),
        }
    }
    if let Some(claims) = &raw.tenant_claims {
        if !profile.tenant_claims_configured {
            problems.add(
                claims.span(),
                format!(
                    "the profile `{}` knows what separates its customers",
                    profile.name
                ),
                "remove `tenant-claims`: it is for the profile `generic`",
            );
        }
        issuer.tenant_claims.clone_from(claims.get_ref());
    }
}
