//! The profiles: one table per CI system. A new CI system is a table here and a file of claims in `tests/`.

mod buildkite;
mod circleci;
mod generic;
mod github;
mod gitlab;
mod rwx;

use super::profile::{FieldKind, IdentityField, Many, Profile, Required, Source};

use self::buildkite::BUILDKITE;
use self::circleci::CIRCLECI;
use self::generic::GENERIC;
use self::github::GITHUB;
use self::gitlab::GITLAB;
use self::rwx::RWX;

/// Every profile, in the order in which they are shown.
pub static PROFILES: [&Profile; 6] = [&GITHUB, &CIRCLECI, &BUILDKITE, &RWX, &GITLAB, &GENERIC];

/// The profile called `name`.
pub fn profile_named(name: &str) -> Option<&'static Profile> {
    PROFILES.into_iter().find(|profile| profile.name == name)
}

/// Ten minutes: for CI systems where a job asks for a token at the moment it needs one.
const TEN_MINUTES: Option<u32> = Some(600);

/// A field that holds a name or other exact value, equal to a claim.
const fn field(name: &'static str, kind: FieldKind, claim: &'static str) -> IdentityField {
    IdentityField {
        name,
        required: Required::No,
        kind,
        many: Many::One,
        source: Source::Claim(claim),
        fold: false,
        id_of: None,
        always: true,
        found_at: "",
        ask_for: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::profile::TrustClass;

    #[test]
    fn every_field_reads_a_claim_that_the_profile_knows() {
        for profile in PROFILES {
            for field in profile.fields {
                assert!(
                    profile.claim(field.source.claim()).is_some(),
                    "{}: {}",
                    profile.name,
                    field.name
                );
            }
        }
    }

    #[test]
    fn a_field_folds_case_exactly_where_its_claim_does() {
        for profile in PROFILES {
            for field in profile.fields {
                let claim = profile.claim(field.source.claim()).unwrap();
                assert_eq!(field.fold, claim.fold, "{}: {}", profile.name, field.name);
            }
        }
    }

    #[test]
    fn every_table_speaks_of_claims_that_the_profile_knows() {
        for profile in PROFILES {
            let of_situations = profile.situations.iter().flat_map(|at| at.claims);
            let of_situations = of_situations.map(|(claim, _)| *claim);
            let together = profile.consequences.iter();
            let together =
                together.flat_map(|consequence| [consequence.when.0, consequence.then.0]);
            let ids = profile.claims.iter().filter_map(|claim| claim.id);
            for claim in of_situations.chain(together).chain(ids) {
                assert!(profile.claim(claim).is_some(), "{}: {claim}", profile.name);
            }
        }
    }

    #[test]
    fn an_id_beside_a_name_is_immutable() {
        for profile in PROFILES {
            for claim in profile.claims.iter().filter(|claim| claim.id.is_some()) {
                let id = profile.claim(claim.id.unwrap()).unwrap();
                assert_eq!(claim.trust, TrustClass::ReusableName, "{}", claim.name);
                assert_eq!(id.trust, TrustClass::ImmutableId, "{}", id.name);
            }
        }
    }

    #[test]
    fn every_id_names_a_field_of_its_own_profile() {
        for profile in PROFILES {
            for id_of in profile.fields.iter().filter_map(|field| field.id_of) {
                assert!(profile.field(id_of).is_some(), "{}: {id_of}", profile.name);
            }
        }
    }

    #[test]
    fn every_owner_has_an_id_of_its_own_profile() {
        for profile in PROFILES {
            if let Some(owner) = profile.owner_id {
                let field = profile.field(owner).unwrap();
                assert_eq!(field.kind, FieldKind::Id, "{}: {owner}", profile.name);
            }
        }
    }

    #[test]
    fn every_requirement_and_fact_reads_a_known_claim() {
        for profile in PROFILES {
            let facts = profile.facts;
            let named = [
                facts.repository,
                facts.reference,
                facts.sha,
                facts.run_id,
                facts.actor,
            ];
            let required = profile
                .requirements
                .iter()
                .map(|requirement| requirement.claim());
            for claim in named.into_iter().flatten().chain(required) {
                assert!(profile.claim(claim).is_some(), "{}: {claim}", profile.name);
            }
        }
    }
}
