//! The profile `circleci`.

use super::field;
use crate::issuer::claims;
use crate::issuer::profile::{
    CiFacts, FieldKind, IdentityField, Profile, PullRequests, Required, Requirement, Situation,
    SituationKind, Wording,
};

/// Where a person finds the UUIDs that `CircleCI` puts into its tokens.
const CIRCLECI_ORGANIZATION: &str =
    "CircleCI shows it under Organization Settings, Overview, as Organization ID";
const CIRCLECI_PROJECT: &str = "CircleCI shows it under Project Settings, Overview, as Project ID";
const CIRCLECI_DEFINITION: &str =
    "CircleCI shows it under Project Settings, Pipelines, as Pipeline Definition ID";

/// `CircleCI` (`CircleCI` docs, "Using OpenID Connect tokens in jobs"). One key signs for every organization.
pub(super) static CIRCLECI: Profile = Profile {
    name: "circleci",
    title: "CircleCI",
    default_url: Some("https://oidc.circleci.com/org/{organization}"),
    keys_path: Some("/.well-known/jwks-pub.json"),
    organization_in_issuer: true,
    max_token_age: None,
    max_uses: 10,
    audience_claim: Some("oidc.circleci.com/org-id"),
    claims: claims::CIRCLECI,
    also_personal: &[],
    fields: &[
        IdentityField {
            required: Required::Yes,
            ..field(
                "organization",
                FieldKind::Uuid(CIRCLECI_ORGANIZATION),
                "oidc.circleci.com/org-id",
            )
        },
        IdentityField {
            required: Required::Yes,
            ..field(
                "project",
                FieldKind::Uuid(CIRCLECI_PROJECT),
                "oidc.circleci.com/project-id",
            )
        },
        IdentityField {
            always: false,
            ..field(
                "pipeline-definition",
                FieldKind::Uuid(CIRCLECI_DEFINITION),
                "oidc.circleci.com/pipeline-definition-id",
            )
        },
        IdentityField {
            always: false,
            ..field(
                "vcs-origin",
                FieldKind::Path,
                "oidc.circleci.com/vcs-origin",
            )
        },
    ],
    requirements: &[
        Requirement::OrganizationOfIssuer("oidc.circleci.com/org-id"),
        Requirement::Present("oidc.circleci.com/project-id"),
        Requirement::FalseUnlessNamed("oidc.circleci.com/ssh-rerun"),
    ],
    owner_id: None,
    tenant_claim: Some("oidc.circleci.com/org-id"),
    tenant_claims_configured: false,
    facts: CiFacts {
        repository: Some("oidc.circleci.com/vcs-origin"),
        reference: Some("oidc.circleci.com/vcs-ref"),
        sha: None,
        run_id: Some("oidc.circleci.com/workflow-id"),
        actor: None,
    },
    pull_requests: PullRequests::ByOrigin("oidc.circleci.com/vcs-origin"),
    situations: &[
        Situation {
            kind: SituationKind::Branch,
            claims: &[("oidc.circleci.com/vcs-ref", &["refs/heads/?**"])],
        },
        Situation {
            kind: SituationKind::Tag,
            claims: &[("oidc.circleci.com/vcs-ref", &["refs/tags/?**"])],
        },
    ],
    consequences: &[],
    wording: Wording {
        place: "CircleCI project",
        place_id: Some("project"),
        place_name: None,
        owner: "organization",
        owner_id: Some("organization"),
        owner_name: None,
        started_by: None,
        starts: &[],
    },
    subject_forms: None,
    made_up_claims: &[],
};
