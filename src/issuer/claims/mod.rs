//! The claims of each profile: type, meaning, and who decides the value. `docs/claims.md` shows these tables.

mod buildkite;
mod circleci;
mod github;
mod gitlab;
mod rwx;

pub(super) use buildkite::BUILDKITE;
pub(super) use circleci::CIRCLECI;
pub(super) use github::GITHUB;
pub(super) use gitlab::GITLAB;
pub(super) use rwx::RWX;

use super::profile::{Claim, ClaimType, Form, TrustClass};

/// Of an issuer that we know nothing about, only what every token has.
pub(super) const GENERIC: &[Claim] = &[claim(
    "sub",
    ClaimType::Text,
    TrustClass::ReusableName,
    "whom the issuer speaks of; how it is made up differs from issuer to issuer",
)];

/// The standard claims that are about a person (OpenID Connect Core 1.0, section 5.1).
pub(super) const STANDARD_PERSONAL: &[&str] = &[
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "email",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "phone_number",
    "address",
];

/// A claim that every token of a CI job has.
const fn claim(
    name: &'static str,
    kind: ClaimType,
    trust: TrustClass,
    meaning: &'static str,
) -> Claim {
    Claim {
        name,
        kind,
        meaning,
        trust,
        always: true,
        on_request: false,
        fold: false,
        personal: false,
        form: Form::Any,
        id: None,
        by_pushing: &[],
        by_strangers: &[],
    }
}

impl Claim {
    /// Some tokens lack it.
    const fn sometimes(mut self) -> Self {
        self.always = false;
        self
    }

    /// Only tokens have it whose job asked for it.
    const fn on_request(mut self) -> Self {
        self.always = false;
        self.on_request = true;
        self
    }

    /// It compares without ASCII case.
    const fn folded(mut self) -> Self {
        self.fold = true;
        self
    }

    /// It is about a person.
    const fn personal(mut self) -> Self {
        self.personal = true;
        self
    }

    /// Its values have this form.
    const fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// It names what has its id in that claim.
    const fn id(mut self, id: &'static str) -> Self {
        self.id = Some(id);
        self
    }

    /// Whoever may push a branch can bring about these values.
    const fn by_pushing(mut self, values: &'static [&'static str]) -> Self {
        self.by_pushing = values;
        self
    }

    /// Strangers can bring about these values.
    const fn by_strangers(mut self, values: &'static [&'static str]) -> Self {
        self.by_strangers = values;
        self
    }
}
