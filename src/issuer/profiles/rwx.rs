//! The profile `rwx`.

use super::field;
use crate::issuer::claims;
use crate::issuer::profile::{
    CiFacts, FieldKind, IdentityField, Profile, PullRequests, Required, Wording,
};

/// RWX (RWX docs, "OIDC"). The vault's subject is all that tells one token from another.
pub(super) static RWX: Profile = Profile {
    name: "rwx",
    title: "RWX",
    default_url: Some("https://cloud.rwx.com/mint"),
    keys_path: Some("/.well-known/jwks.json"),
    organization_in_issuer: false,
    max_token_age: None,
    max_uses: 10,
    audience_claim: None,
    claims: claims::RWX,
    also_personal: &[],
    fields: &[IdentityField {
        required: Required::Yes,
        ..field("vault-subject", FieldKind::Opaque, "sub")
    }],
    requirements: &[],
    owner_id: None,
    // Who has one vault can name as many as there are names.
    tenant_claim: None,
    tenant_claims_configured: false,
    facts: CiFacts {
        repository: None,
        reference: None,
        sha: None,
        run_id: Some("run_id"),
        actor: None,
    },
    pull_requests: PullRequests::SettledElsewhere,
    situations: &[],
    consequences: &[],
    wording: Wording {
        place: "RWX vault",
        place_id: None,
        place_name: Some("vault-subject"),
        owner: "",
        owner_id: None,
        owner_name: None,
        started_by: None,
        starts: &[],
    },
    subject_forms: None,
    made_up_claims: &[],
};
