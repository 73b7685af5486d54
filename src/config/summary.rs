//! What of a configuration goes on record: whatever matters for who is let in, and no secret.

use serde_json::{Map, Value, json};
use url::Url;

use super::audit::{AuditSettings, Tiles, TokenSource, Witness};
use super::operations::{TelemetrySettings, TlsFiles};
use super::{Config, RateLimit, TokenSettings};
use crate::digest::{hex, sha256};
use crate::issuer::TrustedIssuer;

impl Config {
    /// The settings by the names of their keys, defaults filled in. Files are named by their paths; what is in them is not
    /// there, nor is a password or query in an address: a file that is replaced under its name is not told.
    pub fn on_record(&self) -> Value {
        // Without `..`: whether a new key goes on record is to be decided here.
        let Self {
            listen,
            public_url,
            trust_policies,
            allow_loopback_http,
            trusted_proxies,
            store,
            token,
            audit,
            rate_limit:
                RateLimit {
                    failures_per_minute,
                    burst,
                },
            metrics,
            telemetry,
            tls,
            max_connections,
            pin_window,
            issuers,
        } = self;
        let TokenSettings {
            algorithm,
            default_lifetime,
            maximum_lifetime,
            key_encryption_file,
        } = token;
        let proxies = trusted_proxies.iter().map(ToString::to_string);
        let mut issuers: Vec<&TrustedIssuer> = issuers.iter().collect();
        issuers.sort_by(|one, other| one.name.cmp(&other.name));
        json!({
            "listen": listen.to_string(),
            "public-url": public_url,
            "trust-policies": trust_policies.to_string_lossy(),
            "allow-loopback-http": allow_loopback_http,
            "trusted-proxies": proxies.collect::<Vec<_>>(),
            "max-connections": max_connections,
            "pin-window": pin_window.to_string(),
            "store": store.on_record(),
            "token": {
                "signing-algorithm": algorithm.as_str(),
                "default-lifetime": default_lifetime.to_string(),
                "maximum-lifetime": maximum_lifetime.to_string(),
                "key-encryption-file": key_encryption_file.as_ref().map(|file| file.to_string_lossy()),
            },
            "audit": of_the_log(audit),
            "rate-limit": {"failures-per-minute": failures_per_minute, "burst": burst},
            "metrics": metrics.on_record(),
            "telemetry": telemetry.as_ref().map(TelemetrySettings::on_record),
            "tls": tls.as_ref().map(TlsFiles::on_record),
            "issuer": issuers.into_iter().map(issuer).collect::<Vec<_>>(),
        })
    }

    /// A digest of those settings that all instances on one store must have alike, as what is let in depends on them: the
    /// issuers, `public-url`, `[token]` and `pin-window`. Where files lie may differ.
    pub fn agreed_digest(&self) -> String {
        let record = self.on_record();
        let agreed = ["public-url", "pin-window", "token", "issuer"].map(|key| {
            let mut value = record.get(key).cloned().unwrap_or_default();
            without_files(&mut value);
            (key.to_owned(), value)
        });
        let agreed = Value::Object(agreed.into_iter().collect());
        format!("sha256:{}", hex(&sha256(agreed.to_string().as_bytes())))
    }
}

fn without_files(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|key, _| !key.ends_with("-file"));
            members.values_mut().for_each(without_files);
        }
        Value::Array(all) => all.iter_mut().for_each(without_files),
        _ => {}
    }
}

/// How the log is kept and who reads it, without the tokens.
fn of_the_log(audit: &AuditSettings) -> Value {
    let AuditSettings {
        tiles,
        tokens,
        checkpoint_copy,
        personal_values,
        witnesses,
        recorded_denials_per_hour,
    } = audit;
    let files = tokens.iter().filter_map(|token| match token {
        TokenSource::File(file) => Some(file.to_string_lossy()),
        TokenSource::Sha256(_) => None,
    });
    let witnesses = witnesses
        .iter()
        .map(|Witness { key, url }| json!({"key": key.to_string(), "url": without_secrets(url.as_str())}));
    json!({
        "tiles": match tiles {
            Tiles::Public => "public",
            Tiles::Auditors => "auditors",
        },
        "tokens": tokens.len(),
        "token-files": files.collect::<Vec<_>>(),
        "checkpoint-copy": checkpoint_copy.as_ref().map(|file| file.to_string_lossy()),
        "personal-values": personal_values.map(|kept| kept.to_string()),
        "witness": witnesses.collect::<Vec<_>>(),
        "recorded-denials-per-hour": recorded_denials_per_hour,
    })
}

/// An issuer with its profile's defaults filled in, so that a later version with other defaults says something else.
fn issuer(issuer: &TrustedIssuer) -> Value {
    let TrustedIssuer {
        name,
        profile,
        form,
        audiences,
        own_audience_only,
        max_token_age,
        max_uses,
        jwks_url,
        jwks_file,
        ca_file,
        proxy,
        tenant_claims,
    } = issuer;
    let mut members = Map::new();
    let mut say = |name: &str, value: Value| {
        let is_given = !value.is_null() && value != json!([]) && value != json!(false);
        if is_given {
            members.insert(name.to_owned(), value);
        }
    };
    say("name", json!(name));
    say("profile", json!(profile.name));
    say("url", json!(form.as_configured()));
    say("audience", json!(audiences));
    say("own-audience-only", json!(own_audience_only));
    let age = max_token_age.map(|seconds| crate::clock::Seconds(seconds).to_string());
    say("max-token-age", json!(age));
    say("max-uses", json!(max_uses));
    say("jwks-url", json!(jwks_url.as_deref().map(without_secrets)));
    say("jwks-file", json!(jwks_file));
    say("ca-file", json!(ca_file));
    say("proxy", json!(proxy.as_deref().map(without_secrets)));
    say("tenant-claims", json!(tenant_claims));
    Value::Object(members)
}

/// An address without the user, the password and the query, any of which may be a secret.
fn without_secrets(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else {
        return "(not an address)".to_owned();
    };
    // Neither fails where there is a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn load(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("countersign.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file), &BTreeMap::new()).unwrap()
    }

    #[test]
    fn what_decides_who_is_let_in_is_on_record_with_its_defaults() {
        let config = load(
            "public-url = \"https://sts.example.com\"\n[[issuer]]\nname = \"ci\"\nprofile = \"github\"\n",
        );
        let said = config.on_record();
        assert_eq!(said["public-url"], "https://sts.example.com");
        assert_eq!(said["pin-window"], "30days");
        assert_eq!(
            said["token"]["key-encryption-file"],
            json!(config.token.key_encryption_file)
        );
        let expected = json!([{
            "name": "ci",
            "profile": "github",
            "url": "https://token.actions.githubusercontent.com",
            "audience": ["https://sts.example.com"],
            "max-token-age": "10m",
            "max-uses": 1,
        }]);
        assert_eq!(said["issuer"], expected);
    }

    #[test]
    fn no_secret_is_on_record() {
        let config = load(
            "[token]\nkey-encryption-file = \"kek\"\n[[issuer]]\nname = \"ci\"\nprofile = \"gitlab\"\nproxy = \"http://user:secret@proxy.example:3128\"\njwks-url = \"https://user:secret@keys.example/jwks?token=secret\"\n",
        );
        let said = config.on_record();
        assert!(!said.to_string().contains("secret"), "{said}");
        assert_eq!(said["issuer"][0]["proxy"], "http://proxy.example:3128/");
        assert_eq!(said["issuer"][0]["jwks-url"], "https://keys.example/jwks");
    }

    #[test]
    fn the_order_of_issuers_says_nothing() {
        let (one, other) = (
            "[[issuer]]\nname = \"a\"\nprofile = \"github\"\n",
            "[[issuer]]\nname = \"b\"\nprofile = \"gitlab\"\n",
        );
        let issuers = |text: &str| load(text).on_record()["issuer"].clone();
        assert_eq!(
            issuers(&format!("{one}{other}")),
            issuers(&format!("{other}{one}"))
        );
    }

    #[test]
    fn the_settings_of_a_service_with_the_five_ci_systems_fit_into_a_leaf() {
        let said = Config::load(None, &BTreeMap::new()).unwrap().on_record();
        assert!(said.to_string().len() < 4096, "{}", said.to_string().len());
    }
}
