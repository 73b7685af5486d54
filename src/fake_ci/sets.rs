//! The claim sets: one token's claims a file, as each CI system documents them.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::issuer::{Profile, profile_named};

/// The claims of one token of a CI system, before anything is changed.
///
/// Its `iss`, `aud`, `jti` and times are those of a finished token; signing replaces them and keeps the spans between
/// `iat`, `nbf` and `exp`, so that each CI system's lifetimes stand in its files.
#[derive(Debug)]
pub struct ClaimSet {
    /// Its name: the profile's, and what happened.
    pub name: &'static str,
    /// The CI system.
    pub profile: &'static Profile,
    /// The claims.
    pub claims: Map<String, Value>,
}

macro_rules! files {
    ($($name:literal,)*) => {
        [$(($name, include_str!(concat!("claims/", $name, ".json")))),*]
    };
}

/// Every file. The first of each profile is what a job is when nobody says.
const FILES: [(&str, &str); 28] = files![
    "github-push",
    "github-tag",
    "github-tag-environment",
    "github-environment",
    "github-pull_request",
    "github-pull_request_target",
    "github-self-hosted-runner",
    "circleci-v2-push",
    "circleci-v2-tag",
    "circleci-v2-feature-branch",
    "circleci-v2-fork-pull-request",
    "circleci-v2-ssh-rerun",
    "circleci-v2-root-issuer",
    "buildkite-push",
    "buildkite-tag",
    "buildkite-pull-request",
    "buildkite-schedule",
    "buildkite-optional-claims",
    "rwx-vault-subject-org-slug",
    "rwx-vault-subject-org-uuid",
    "rwx-locked-vault",
    "gitlab-push",
    "gitlab-tag",
    "gitlab-tag-protected",
    "gitlab-environment",
    "gitlab-schedule",
    "gitlab-merge-request-same-project",
    "gitlab-merge-request-from-fork",
];

static SETS: LazyLock<Vec<ClaimSet>> = LazyLock::new(|| {
    let read = |(name, text): (&'static str, &str)| {
        Some(ClaimSet {
            name,
            profile: profile_named(name.split('-').next()?)?,
            claims: serde_json::from_str(text).ok()?,
        })
    };
    FILES.into_iter().filter_map(read).collect()
});

/// Every claim set, those of one profile together.
pub fn claim_sets() -> &'static [ClaimSet] {
    &SETS
}

/// The claim set called `name`.
pub fn claim_set(name: &str) -> Option<&'static ClaimSet> {
    claim_sets().iter().find(|set| set.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_claim_set_of_a_profile() {
        assert_eq!(claim_sets().len(), FILES.len());
    }

    #[test]
    fn a_claim_set_has_every_claim_that_its_profile_always_sends() {
        for set in claim_sets() {
            for claim in set.profile.claims.iter().filter(|claim| claim.always) {
                assert!(
                    set.claims.contains_key(claim.name),
                    "{} lacks {}",
                    set.name,
                    claim.name
                );
            }
        }
    }

    #[test]
    fn a_claim_set_has_no_claim_that_its_profile_does_not_know() {
        let of_every_token = ["iss", "aud", "exp", "iat", "nbf", "jti"];
        for set in claim_sets() {
            for claim in set.claims.keys() {
                assert!(
                    of_every_token.contains(&claim.as_str())
                        || claim.starts_with("agent_tag:")
                        || set.profile.claim(claim).is_some(),
                    "{} has {claim}",
                    set.name
                );
            }
        }
    }
}
