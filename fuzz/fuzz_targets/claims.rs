//! Any claims, judged by the shipped policies: a decision is made, and what the caller is told keeps to RFC 6749.
#![no_main]

use std::sync::LazyLock;

use countersign::clock::{Seconds, UnixTime};
use countersign::issuer::{IssuerForm, PROFILES, Registry, TrustedIssuer};
use countersign::subject::{VerifiedClaims, parse_strictly};
use countersign::trust::{
    Circumstances, Limits, ProjectPath, ProjectPolicy, Wish, decide, read_policy,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    Registry::new(PROFILES.into_iter().filter_map(|profile| {
        let form = IssuerForm::parse(profile.default_url?, profile.organization_in_issuer, false);
        Some(TrustedIssuer::new(profile.name, profile, form.ok()?, "https://sts.example.com"))
    }))
});

static POLICIES: LazyLock<Vec<ProjectPolicy>> = LazyLock::new(|| {
    [
        include_str!("../../trust-policies/acme/api.toml"),
        include_str!("../../trust-policies/acme/images.toml"),
        include_str!("../../trust-policies/acme/mobile.toml"),
        include_str!("../../trust-policies/acme/site.toml"),
        include_str!("../../trust-policies/acme/web.toml"),
    ]
    .into_iter()
    .map(|text| {
        let project = ProjectPath::parse("acme/api").unwrap();
        read_policy(project, "acme/api.toml", text, &REGISTRY).unwrap()
    })
    .collect()
});

fuzz_target!(|text: &[u8]| {
    let Ok(Value::Object(claims)) = parse_strictly(text) else { return };
    let Some(found) = claims.get("iss").and_then(Value::as_str).and_then(|iss| REGISTRY.find(iss))
    else {
        return;
    };
    let Ok(claims) = VerifiedClaims::supposed(found.0, found.1, claims) else { return };
    let limits = Limits { default_lifetime: Seconds(60), maximum_lifetime: Seconds(60) };
    let now = Circumstances::unremembered(UnixTime::EPOCH);
    for policy in POLICIES.iter() {
        let decision = decide(policy, &claims, &Wish::default(), &limits, &now);
        let told = decision.description();
        let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        assert!(told.bytes().all(allowed), "{told:?}");
    }
});
