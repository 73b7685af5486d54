//! Issuer addresses, compared letter by letter.

use std::fmt;
use std::sync::Arc;

use ::url::{Host, Url};

/// The exact text of an issuer: what stands in `iss`, and the address under which its metadata is found.
///
/// Two issuers are the same only if their texts are the same, letter by letter: no slash is added or dropped, no case
/// folded (OpenID Connect Discovery 1.0, section 4.3; RFC 9207, section 2.4).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Issuer(Arc<str>);

/// The longest issuer text that is accepted, in bytes.
const LONGEST: usize = 255;

impl Issuer {
    /// Checks the text of an issuer: an `https` URL with a host and without user, query or fragment. `http` is accepted
    /// only for a loopback address, and only if `loopback_http` says so.
    pub fn parse(text: &str, loopback_http: bool) -> Result<Self, InvalidIssuer> {
        if text.len() > LONGEST {
            return Err(InvalidIssuer::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidIssuer::NotPlain);
        }
        let url = Url::parse(text).map_err(|_| InvalidIssuer::NotAUrl)?;
        match url.scheme() {
            "http" if !is_loopback(&url) => return Err(InvalidIssuer::NotHttps),
            "http" if !loopback_http => return Err(InvalidIssuer::LoopbackHttpIsOff),
            "https" | "http" => {}
            _ => return Err(InvalidIssuer::NotHttps),
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(InvalidIssuer::NoHost);
        }
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !bare || text.contains(['?', '#', '@', '\\']) {
            return Err(InvalidIssuer::NotBare);
        }
        // What the URL library would rewrite (case of the host, dot segments, a default port) would make two texts out
        // of one issuer.
        let rewritten = url.as_str();
        if rewritten != text && rewritten.strip_suffix('/') != Some(text) {
            return Err(InvalidIssuer::NotNormal(rewritten.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The text, as it stands in `iss`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of `path` (which begins with `/`) below this issuer.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }

    /// Whether `address` has this issuer's scheme, host and port (RFC 6454, section 4).
    pub fn shares_origin_with(&self, address: &str) -> bool {
        match (Url::parse(&self.0), Url::parse(address)) {
            (Ok(own), Ok(other)) => own.origin() == other.origin(),
            _ => false,
        }
    }
}

/// Whether nobody on the way can change what comes from `address`: an `https` URL, or an `http` one on a loopback address if
/// `loopback_http` says so.
pub(crate) fn is_secure(address: &str, loopback_http: bool) -> bool {
    Url::parse(address).is_ok_and(|url| match url.scheme() {
        "https" => url.has_host(),
        "http" => loopback_http && is_loopback(&url),
        _ => false,
    })
}

/// Whether the host of `url` is a loopback address or `localhost`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// Why a text is not an issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuer {
    /// Not `https`.
    #[error("is not an `https://` address")]
    NotHttps,
    /// `http` on loopback, while the setting for it is off.
    #[error(
        "is `http://` on a loopback address: set `allow-loopback-http = true` for a test or the demo"
    )]
    LoopbackHttpIsOff,
    /// No URL at all.
    #[error("is not a URL")]
    NotAUrl,
    /// No host.
    #[error("names no host")]
    NoHost,
    /// Carries a user, query or fragment.
    #[error("carries a user, a query or a fragment: give scheme, host and path alone")]
    NotBare,
    /// Written in a way that URL libraries rewrite.
    #[error("is not in normal form: write `{0}`")]
    NotNormal(String),
    /// Space, control or non-ASCII characters.
    #[error("holds a space, a control character or a letter outside ASCII")]
    NotPlain,
    /// Over 255 bytes.
    #[error("is longer than 255 bytes")]
    TooLong,
    /// A template of something else than an organization.
    #[error(
        "may hold `{{organization}}` once, as its last path segment, and only where the profile `circleci` is used"
    )]
    BadTemplate,
}

/// How the `iss` of one configured issuer may look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerForm {
    /// One text for all customers.
    Exact(Issuer),
    /// One text per customer, whose UUID is the last segment, and a root form that all of them share (`CircleCI`).
    PerOrganization {
        /// Everything before the organization, ending in `/`.
        prefix: String,
        /// The root form, the second `iss` that is accepted.
        root: Issuer,
    },
}

/// What matched an `iss`: the issuer it names, and the customer where the text tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The concrete issuer.
    pub issuer: Issuer,
    /// The organization in the text, a UUID in lower case.
    pub organization: Option<String>,
}

/// What stands for the organization in a template.
const PLACEHOLDER: &str = "{organization}";

impl IssuerForm {
    /// Reads an address, or a template ending in `/{organization}` if `template_allowed`.
    pub fn parse(
        text: &str,
        template_allowed: bool,
        loopback_http: bool,
    ) -> Result<Self, InvalidIssuer> {
        let Some(prefix) = text.strip_suffix(PLACEHOLDER) else {
            return if text.contains(['{', '}']) {
                Err(InvalidIssuer::BadTemplate)
            } else {
                Issuer::parse(text, loopback_http).map(Self::Exact)
            };
        };
        if !template_allowed || !prefix.ends_with('/') || prefix.contains(['{', '}']) {
            return Err(InvalidIssuer::BadTemplate);
        }
        let base = prefix.trim_end_matches('/');
        let root = Issuer::parse(base.strip_suffix("/org").unwrap_or(base), loopback_http)?;
        Issuer::parse(base, loopback_http)?;
        Ok(Self::PerOrganization {
            prefix: prefix.to_owned(),
            root,
        })
    }

    /// Whether `iss` is a text of this issuer.
    pub fn matches(&self, iss: &str) -> Option<Match> {
        match self {
            Self::Exact(issuer) => (issuer.as_str() == iss).then(|| Match {
                issuer: issuer.clone(),
                organization: None,
            }),
            Self::PerOrganization { prefix, root } => {
                if iss == root.as_str() {
                    return Some(Match {
                        issuer: root.clone(),
                        organization: None,
                    });
                }
                let organization = iss.strip_prefix(prefix.as_str()).filter(|id| is_uuid(id))?;
                Some(Match {
                    issuer: Issuer(iss.into()),
                    organization: Some(organization.to_owned()),
                })
            }
        }
    }

    /// The concrete issuer of one organization; the issuer itself where there are no organizations in the text.
    pub fn of_organization(&self, organization: &str) -> Issuer {
        match self {
            Self::Exact(issuer) => issuer.clone(),
            Self::PerOrganization { prefix, .. } => {
                Issuer(format!("{prefix}{organization}").into())
            }
        }
    }

    /// The issuer that stands for all its customers: itself, or the root form.
    pub fn root(&self) -> &Issuer {
        match self {
            Self::Exact(issuer) | Self::PerOrganization { root: issuer, .. } => issuer,
        }
    }

    /// The text as it was configured.
    pub fn as_configured(&self) -> String {
        match self {
            Self::Exact(issuer) => issuer.as_str().to_owned(),
            Self::PerOrganization { prefix, .. } => format!("{prefix}{PLACEHOLDER}"),
        }
    }
}

/// Whether `text` is a UUID the way CI systems write it: lower case, with hyphens (RFC 9562, section 4).
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_its_exact_text() {
        let issuer = Issuer::parse("https://gitlab.com", false).unwrap();
        assert_eq!(issuer.as_str(), "https://gitlab.com");
        assert_ne!(issuer, Issuer::parse("https://gitlab.com/", false).unwrap());
    }

    #[test]
    fn what_is_not_a_bare_https_address_is_refused() {
        for (text, why) in [
            ("http://gitlab.com", InvalidIssuer::NotHttps),
            ("http://127.0.0.1:1", InvalidIssuer::LoopbackHttpIsOff),
            ("ftp://gitlab.com", InvalidIssuer::NotHttps),
            ("https://user@gitlab.com", InvalidIssuer::NotBare),
            ("https://gitlab.com?x=1", InvalidIssuer::NotBare),
            ("https://gitlab.com#x", InvalidIssuer::NotBare),
            ("https://gitlab.com/ x", InvalidIssuer::NotPlain),
            ("https://gitläb.com", InvalidIssuer::NotPlain),
            (
                "https://GitLab.com",
                InvalidIssuer::NotNormal("https://gitlab.com/".into()),
            ),
            (
                "https://gitlab.com:443",
                InvalidIssuer::NotNormal("https://gitlab.com/".into()),
            ),
            (
                "https://gitlab.com/a/../b",
                InvalidIssuer::NotNormal("https://gitlab.com/b".into()),
            ),
            ("https://", InvalidIssuer::NotAUrl),
            ("gitlab.com", InvalidIssuer::NotAUrl),
        ] {
            assert_eq!(Issuer::parse(text, false), Err(why), "{text}");
        }
    }

    #[test]
    fn http_is_accepted_on_loopback_where_the_setting_says_so() {
        for text in [
            "http://127.0.0.1:9100/github",
            "http://localhost:80/x",
            "http://[::1]:9100",
        ] {
            let outcome = Issuer::parse(text, true);
            assert!(
                outcome.is_ok() || text.contains(":80/"),
                "{text}: {outcome:?}"
            );
        }
        assert_eq!(
            Issuer::parse("http://127.0.0.1.evil.example", true),
            Err(InvalidIssuer::NotHttps)
        );
    }

    #[test]
    fn a_template_matches_one_uuid_and_the_root_form_only() {
        let form =
            IssuerForm::parse("https://oidc.circleci.com/org/{organization}", true, false).unwrap();
        let uuid = "a40f5d1f-d889-42e9-94ea-b9b33585fc6b";
        let matched = form
            .matches(&format!("https://oidc.circleci.com/org/{uuid}"))
            .unwrap();
        assert_eq!(matched.organization.as_deref(), Some(uuid));
        assert_eq!(
            form.matches("https://oidc.circleci.com")
                .unwrap()
                .organization,
            None
        );
        for other in [
            "https://oidc.circleci.com/",
            "https://oidc.circleci.com/org/",
            "https://oidc.circleci.com/org/acme",
            "https://oidc.circleci.com/org/A40F5D1F-D889-42E9-94EA-B9B33585FC6B",
            "https://oidc.circleci.com/org/a40f5d1f-d889-42e9-94ea-b9b33585fc6b/",
            "https://oidc.circleci.com/org/../a40f5d1f-d889-42e9-94ea-b9b33585fc6",
        ] {
            assert_eq!(form.matches(other), None, "{other}");
        }
    }

    #[test]
    fn a_template_is_only_for_the_profile_that_has_one() {
        for text in [
            "https://ci.example/{organization}",
            "https://ci.example/{organization}/x",
            "https://ci.example/{x}",
        ] {
            assert_eq!(
                IssuerForm::parse(text, false, false),
                Err(InvalidIssuer::BadTemplate),
                "{text}"
            );
        }
    }

    #[test]
    fn a_key_address_on_another_port_has_another_origin() {
        let issuer = Issuer::parse("https://ci.example", false).unwrap();
        assert!(issuer.shares_origin_with("https://ci.example/keys"));
        assert!(!issuer.shares_origin_with("https://ci.example:8443/keys"));
        assert!(!issuer.shares_origin_with("http://ci.example/keys"));
        assert!(!issuer.shares_origin_with("https://ci.example.evil.example/keys"));
    }
}
