//! Issuers whose name or address misleads.

use std::ops::Range;

use super::super::PolicyFile;
use super::super::fault::{Problem, Severity};
use crate::issuer::{PROFILES, Registry, TrustedIssuer, profile_named};

pub(super) fn check(registry: &Registry, file: &PolicyFile) -> Vec<Problem> {
    let mut issuers: Vec<_> = registry.all().collect();
    issuers.sort_by(|one, other| one.name.cmp(&other.name));
    let slashes = issuers.iter().filter_map(|issuer| slash(issuer, file));
    let names = issuers.iter().filter_map(|issuer| name(issuer, file));
    slashes.chain(names).collect()
}

fn slash(issuer: &TrustedIssuer, file: &PolicyFile) -> Option<Problem> {
    let url = issuer.form.as_configured();
    url.ends_with('/').then(|| {
        Problem::new(
            "issuer-trailing-slash",
            place(file, &url),
            format!("the address of the issuer `{}` ends with a `/`", issuer.name),
            "compared letter by letter",
        )
        .of(Severity::Warning)
        .because("`iss` is compared letter by letter, and most issuers write it without a slash at the end")
        .mend("look at `iss` in one of its tokens; if it has no slash, write none")
    })
}

/// An issuer that is called like a CI system whose public service it is not, or like another host.
fn name(issuer: &TrustedIssuer, file: &PolicyFile) -> Option<Problem> {
    let name: &str = &issuer.name;
    let url = issuer.form.as_configured();
    let host = url.split("://").nth(1).unwrap_or_default();
    let host = host.split(['/', ':']).next().unwrap_or_default();
    let of_another_kind =
        profile_named(name).is_some_and(|profile| profile.name != issuer.profile.name);
    let public = PROFILES.iter().filter_map(|profile| profile.default_url);
    let is_public = public.clone().any(|public| public == url);
    let title = PROFILES.iter().find(|profile| {
        profile
            .default_url
            .is_some_and(|public| public.contains(name))
    });
    let like_a_host = name.contains('.') && name != host && !host.ends_with(&format!(".{name}"));
    let like_a_public_host = name.contains('.') && title.is_some() && !is_public;
    if !of_another_kind && !like_a_host && !like_a_public_host {
        return None;
    }
    Some(
        Problem::new(
            "issuer-name-misleads",
            place(file, &format!("\"{name}\"")),
            format!("the issuer `{name}` is named like another one: it is `{url}`"),
            "another issuer's name",
        )
        .of(Severity::Warning)
        .because(
            "whoever reads `issuer = \"…\"` in a policy has only the name to tell whom it trusts",
        )
        .mend(format!(
            "name it after its own host, such as `{}`",
            host.replace('.', "-")
        )),
    )
}

/// Where the text first stands in the file.
fn place(file: &PolicyFile, text: &str) -> Range<usize> {
    let start = file.text().find(text).unwrap_or_default();
    start..start + text.len()
}
