//! Every rule about a key of the configuration.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use url::Url;

use super::audit::{Around, audit};
use super::issuers::{default_issuers, issuers};
use super::operations;
use super::raw::{RawConfig, RawRateLimit, RawToken};
use super::store::store;
use super::{Config, ConfigProblem, RateLimit, TokenSettings};
use crate::clock::Seconds;
use crate::project_token::TokenAlgorithm;
use crate::trust::PIN_WINDOW;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_LIFETIME: Seconds = Seconds(60 * 60);
const MAXIMUM_LIFETIME: Seconds = Seconds(6 * 60 * 60);

/// No project token should outlive a day, whatever an operator writes.
const LONGEST_MAXIMUM: Seconds = Seconds(24 * 60 * 60);

/// The longest time for names without ids. Ten years: longer is never.
const LONGEST_PIN_WINDOW: Seconds = Seconds(3650 * 24 * 60 * 60);

/// How often one address may fail in a minute.
const FAILURES_PER_MINUTE: u32 = 60;

/// How often one address may fail at once: all jobs of a large build behind one address should learn why.
const FAILURE_BURST: NonZeroU32 = NonZeroU32::new(300).unwrap();

/// Above this a limit of failures limits nothing.
const MOST_FAILURES: u32 = 100_000;

/// More connections than a machine has.
const MOST_CONNECTIONS: usize = 1_000_000;

/// What is collected while the rules are applied, so that all faults are told at once.
#[derive(Default)]
pub(super) struct Problems(Vec<ConfigProblem>);

impl Problems {
    /// Adds what is wrong at a place. `mend` is empty where the message says it already.
    pub(super) fn add(&mut self, span: Range<usize>, message: String, mend: &str) {
        let mend = (!mend.is_empty()).then(|| mend.to_owned());
        self.0.push(ConfigProblem {
            message,
            mend,
            span: Some(span),
        });
    }

    /// Adds what is wrong with a key that is not there, and so has no place, or whose place must not be shown.
    pub(super) fn missing(&mut self, message: &str, mend: &str) {
        self.0.push(ConfigProblem {
            message: message.to_owned(),
            mend: Some(mend.to_owned()),
            span: None,
        });
    }
}

/// Applies every rule. `folder` is where relative paths begin; `no_file` makes the five CI systems the issuers.
pub(super) fn check(
    raw: RawConfig,
    folder: &Path,
    no_file: bool,
) -> Result<Config, Vec<ConfigProblem>> {
    let mut problems = Problems::default();
    let listen = listen(raw.listen.as_ref(), &mut problems);
    let public_url = public_url(raw.public_url.as_ref(), listen, &mut problems);
    let token = token(&raw.token, listen, folder, &mut problems);
    let proxies = raw.trusted_proxies.iter();
    let trusted_proxies = proxies
        .filter_map(|proxy| network(proxy, "trusted-proxies", &mut problems))
        .collect();
    let store = store(&raw.store, folder, &mut problems);
    let around = Around {
        folder,
        data: store.folder(),
        public_url: &public_url,
        loopback_http: raw.allow_loopback_http,
    };
    let audit = audit(&raw.audit, &around, &mut problems);
    let pin_window = raw.pin_window.as_ref().map_or(PIN_WINDOW, |raw| {
        span_of_time(raw, "pin-window", LONGEST_PIN_WINDOW, &mut problems)
    });
    let rate_limit = rate_limit(&raw.rate_limit, &mut problems);
    let max_connections = raw.max_connections.as_ref().and_then(|raw| {
        let most = number(raw, "max-connections", 2, MOST_CONNECTIONS, &mut problems);
        NonZeroUsize::new(most)
    });
    let metrics = operations::metrics(&raw.metrics, listen, &mut problems);
    let telemetry = operations::telemetry(&raw.telemetry, folder, &mut problems);
    let tls = operations::tls(&raw.tls, folder, &mut problems);
    let issuers = if no_file && raw.issuer.is_empty() {
        default_issuers(&public_url)
    } else {
        issuers(&raw, &public_url, folder, &mut problems)
    };
    if !problems.0.is_empty() {
        problems
            .0
            .sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        return Err(problems.0);
    }
    let policies = raw
        .trust_policies
        .map_or_else(|| "trust-policies".to_owned(), Spanned::into_inner);
    Ok(Config {
        listen,
        public_url,
        trust_policies: folder.join(policies),
        allow_loopback_http: raw.allow_loopback_http,
        trusted_proxies,
        store,
        token,
        audit,
        rate_limit,
        metrics,
        telemetry,
        tls,
        max_connections,
        pin_window,
        issuers,
    })
}

fn listen(raw: Option<&Spanned<String>>, problems: &mut Problems) -> SocketAddr {
    let Some(raw) = raw else {
        return DEFAULT_LISTEN;
    };
    raw.get_ref().parse().unwrap_or_else(|_| {
        problems.add(
            raw.span(),
            format!("`listen` is not an address and a port: `{}`", raw.get_ref()),
            "write `127.0.0.1:8080`, or `0.0.0.0:8080` for every address of the machine",
        );
        DEFAULT_LISTEN
    })
}

fn public_url(
    raw: Option<&Spanned<String>>,
    listen: SocketAddr,
    problems: &mut Problems,
) -> String {
    let Some(raw) = raw else {
        if !listen.ip().is_loopback() || listen.port() == 0 {
            problems.missing(
                "`public-url` is missing",
                "write the address under which CI jobs reach this service: `public-url = \"https://sts.example.com\"`",
            );
        }
        return format!("http://{listen}");
    };
    let text = raw.get_ref();
    let fault = match Url::parse(text) {
        Err(_) => "is not a URL",
        Ok(url) if !matches!(url.scheme(), "https" | "http") => "is not an `https://` address",
        Ok(url) if url.scheme() == "http" && !crate::issuer::is_loopback(&url) => {
            "is not `https://`, and tokens would cross the network in the clear"
        }
        Ok(url) if url.path() != "/" || text.ends_with('/') => {
            "has a path: it is our issuer name, and has none, not even a slash at the end"
        }
        Ok(url)
            if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() =>
        {
            "carries a user, a query or a fragment"
        }
        Ok(url) if url.as_str().trim_end_matches('/') != text => "is not in normal form",
        Ok(_) => return text.clone(),
    };
    problems.add(
        raw.span(),
        format!("`public-url` {fault}"),
        "write scheme and host alone: `https://sts.example.com`",
    );
    text.clone()
}

fn token(
    raw: &RawToken,
    listen: SocketAddr,
    folder: &Path,
    problems: &mut Problems,
) -> TokenSettings {
    let algorithm = match raw.signing_algorithm.as_ref() {
        None => TokenAlgorithm::default(),
        Some(raw) => match raw.get_ref().as_str() {
            "ES256" => TokenAlgorithm::ES256,
            "EdDSA" => TokenAlgorithm::EdDSA,
            "RS256" => TokenAlgorithm::RS256,
            other => {
                problems.add(
                    raw.span(),
                    format!("`signing-algorithm` cannot be `{other}`"),
                    "write `ES256`, `EdDSA` or `RS256`",
                );
                TokenAlgorithm::default()
            }
        },
    };
    let maximum_lifetime = raw
        .maximum_lifetime
        .as_ref()
        .map_or(MAXIMUM_LIFETIME, |raw| {
            span_of_time(raw, "maximum-lifetime", LONGEST_MAXIMUM, problems)
        });
    let default_lifetime = match raw.default_lifetime.as_ref() {
        Some(raw) => span_of_time(raw, "default-lifetime", maximum_lifetime, problems),
        None => DEFAULT_LIFETIME.min(maximum_lifetime),
    };
    if raw.key_encryption_file.is_none() && !listen.ip().is_loopback() {
        problems.missing(
            "`token.key-encryption-file` is missing: signing keys would lie on disk in the clear",
            "make a secret with `openssl rand -base64 48 > kek`, keep it away from the data folder's backups, and write `key-encryption-file = \"kek\"` under `[token]`",
        );
    }
    let key_encryption_file = raw
        .key_encryption_file
        .as_ref()
        .map(|file| folder.join(file.get_ref()));
    TokenSettings {
        algorithm,
        default_lifetime,
        maximum_lifetime,
        key_encryption_file,
    }
}

fn rate_limit(raw: &RawRateLimit, problems: &mut Problems) -> RateLimit {
    let per_minute = raw.failures_per_minute.as_ref();
    let burst = raw.burst.as_ref();
    RateLimit {
        failures_per_minute: per_minute.map_or(FAILURES_PER_MINUTE, |raw| {
            number(raw, "failures-per-minute", 0, MOST_FAILURES, problems)
        }),
        burst: burst
            .map(|raw| number(raw, "burst", 1, MOST_FAILURES, problems))
            .and_then(NonZeroU32::new)
            .unwrap_or(FAILURE_BURST),
    }
}

/// A number from `least` to `most`; what is wrong is reported, and `most` taken.
pub(super) fn number<T: Copy + TryFrom<i64> + PartialOrd + Display>(
    raw: &Spanned<i64>,
    key: &str,
    least: T,
    most: T,
    problems: &mut Problems,
) -> T {
    let number = T::try_from(*raw.get_ref()).ok();
    number
        .filter(|number| (least..=most).contains(number))
        .unwrap_or_else(|| {
            let message = format!(
                "`{key}` is `{}`, and can be from {least} to {most}",
                raw.get_ref()
            );
            problems.add(raw.span(), message, "");
            most
        })
}

/// A span from one second to `longest`; what is wrong is reported, and `longest` taken.
pub(super) fn span_of_time(
    raw: &Spanned<String>,
    key: &str,
    longest: Seconds,
    problems: &mut Problems,
) -> Seconds {
    span_between(raw, key, Seconds(1)..=longest, problems)
}

/// A span within `bounds`; what is wrong is reported, and the longest taken.
pub(super) fn span_between(
    raw: &Spanned<String>,
    key: &str,
    bounds: RangeInclusive<Seconds>,
    problems: &mut Problems,
) -> Seconds {
    let span = humantime::parse_duration(raw.get_ref());
    let seconds = span
        .as_ref()
        .ok()
        .map(Duration::as_secs)
        .and_then(|s| u32::try_from(s).ok());
    let (shortest, longest) = bounds.clone().into_inner();
    match seconds.map(Seconds) {
        Some(span) if bounds.contains(&span) => span,
        Some(_) => {
            problems.add(
                raw.span(),
                format!(
                    "`{key}` is `{}`, and can be from `{shortest}` to `{longest}`",
                    raw.get_ref()
                ),
                "",
            );
            longest
        }
        None => {
            problems.add(
                raw.span(),
                format!("`{key}` is not a span of time: `{}`", raw.get_ref()),
                "write a number and a unit: `30s`, `10m`, `1h`",
            );
            longest
        }
    }
}

/// An address or a network of them, in the list `key`.
pub(super) fn network(raw: &Spanned<String>, key: &str, problems: &mut Problems) -> Option<IpNet> {
    let text = raw.get_ref();
    let network = text
        .parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
    if network.is_none() {
        problems.add(
            raw.span(),
            format!("`{key}` holds `{text}`, which is no address or network"),
            "write `10.0.0.7` or `10.0.0.0/24`",
        );
    }
    network
}
