//! The profile `generic`.

use crate::issuer::claims;
use crate::issuer::profile::{CiFacts, Profile, PullRequests, Wording};

/// Any other OpenID Connect issuer.
pub(super) static GENERIC: Profile = Profile {
    name: "generic",
    title: "another OpenID Connect issuer",
    default_url: None,
    keys_path: None,
    organization_in_issuer: false,
    max_token_age: None,
    max_uses: 10,
    audience_claim: None,
    claims: claims::GENERIC,
    also_personal: claims::STANDARD_PERSONAL,
    fields: &[],
    requirements: &[],
    owner_id: None,
    tenant_claim: None,
    tenant_claims_configured: true,
    facts: CiFacts {
        repository: None,
        reference: None,
        sha: None,
        run_id: None,
        actor: None,
    },
    pull_requests: PullRequests::Unknown,
    situations: &[],
    consequences: &[],
    wording: Wording {
        place: "",
        place_id: None,
        place_name: None,
        owner: "",
        owner_id: None,
        owner_name: None,
        started_by: None,
        starts: &[],
    },
    subject_forms: None,
    made_up_claims: &[],
};
