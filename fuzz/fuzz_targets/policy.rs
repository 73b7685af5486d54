//! Any text as a policy file: it loads, or every problem has a place in it and can be shown.
#![no_main]

use std::sync::LazyLock;

use countersign::issuer::{IssuerForm, PROFILES, Registry, TrustedIssuer};
use countersign::trust::{ProjectPath, read_guard_rails, read_policy};
use libfuzzer_sys::fuzz_target;

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    Registry::new(PROFILES.into_iter().filter_map(|profile| {
        let form = IssuerForm::parse(profile.default_url?, profile.organization_in_issuer, false);
        Some(TrustedIssuer::new(profile.name, profile, form.ok()?, "https://sts.example.com"))
    }))
});

fuzz_target!(|text: &str| {
    let project = ProjectPath::parse("acme/api").unwrap();
    for fault in [
        read_policy(project, "acme/api.toml", text, &REGISTRY).err(),
        read_guard_rails("acme", "acme/_organization.toml", text, &REGISTRY).err(),
    ]
    .into_iter()
    .flatten()
    {
        assert!(!fault.problems().is_empty());
        assert!(fault.problems().iter().all(|problem| problem.line() > 0));
        assert!(!fault.render(false).is_empty());
    }
});
