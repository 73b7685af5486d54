//! The file as it is written. Unknown keys are errors, so that a misspelt key cannot silently leave a default in force.

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::ConfigProblem;
use super::operations::{RawMetrics, RawTelemetry, RawTls};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawConfig {
    pub listen: Option<Spanned<String>>,
    pub public_url: Option<Spanned<String>>,
    pub trust_policies: Option<Spanned<String>>,
    #[serde(default)]
    pub allow_loopback_http: bool,
    #[serde(default)]
    pub trusted_proxies: Vec<Spanned<String>>,
    pub pin_window: Option<Spanned<String>>,
    pub max_connections: Option<Spanned<i64>>,
    #[serde(default)]
    pub store: RawStore,
    #[serde(default)]
    pub token: RawToken,
    #[serde(default)]
    pub audit: RawAudit,
    #[serde(default)]
    pub rate_limit: RawRateLimit,
    #[serde(default)]
    pub metrics: RawMetrics,
    #[serde(default)]
    pub telemetry: RawTelemetry,
    #[serde(default)]
    pub tls: RawTls,
    #[serde(default)]
    pub issuer: Vec<Spanned<RawIssuer>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawStore {
    pub url: Option<Spanned<String>>,
    pub password_file: Option<Spanned<String>>,
    pub ca_file: Option<Spanned<String>>,
    pub connections: Option<Spanned<i64>>,
    pub statement_timeout: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawToken {
    pub signing_algorithm: Option<Spanned<String>>,
    pub default_lifetime: Option<Spanned<String>>,
    pub maximum_lifetime: Option<Spanned<String>>,
    pub key_encryption_file: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawAudit {
    pub tiles: Option<Spanned<String>>,
    pub token_file: Option<Spanned<String>>,
    pub token_sha256: Option<Spanned<String>>,
    pub checkpoint_copy: Option<Spanned<String>>,
    pub personal_values: Option<Spanned<String>>,
    pub recorded_denials_per_hour: Option<u32>,
    #[serde(default)]
    pub witness: Vec<Spanned<RawWitness>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawWitness {
    pub key: Spanned<String>,
    pub url: Spanned<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRateLimit {
    pub failures_per_minute: Option<Spanned<i64>>,
    pub burst: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawIssuer {
    pub name: Spanned<String>,
    pub profile: Spanned<String>,
    pub url: Option<Spanned<String>>,
    pub audience: Option<Spanned<OneOrMany>>,
    pub own_audience_only: Option<Spanned<bool>>,
    pub max_token_age: Option<Spanned<String>>,
    pub max_uses: Option<Spanned<i64>>,
    pub jwks_url: Option<Spanned<String>>,
    pub jwks_file: Option<Spanned<String>>,
    pub ca_file: Option<Spanned<String>>,
    pub proxy: Option<Spanned<String>>,
    pub tenant_claims: Option<Spanned<Vec<String>>>,
}

/// A text, or a list of texts.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn as_list(&self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text.clone()],
            Self::Many(list) => list.clone(),
        }
    }
}

/// Reads the merged table.
pub(super) fn read(table: Spanned<DeTable<'_>>) -> Result<RawConfig, Vec<ConfigProblem>> {
    RawConfig::deserialize(toml::de::Deserializer::from(table))
        .map_err(|fault| vec![problem(&fault)])
}

/// The library's fault in our form.
pub(super) fn problem(fault: &toml::de::Error) -> ConfigProblem {
    ConfigProblem {
        message: fault.message().to_owned(),
        mend: None,
        span: fault.span(),
    }
}
