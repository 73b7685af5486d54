//! The profile `buildkite`.

use super::{TEN_MINUTES, field};
use crate::issuer::claims;
use crate::issuer::profile::{
    CiFacts, FieldKind, IdentityField, Many, Profile, PullRequests, Required, Situation,
    SituationKind, Wording,
};

/// Buildkite (Buildkite docs, "Agent OIDC command"). The job chooses which of the optional claims its token has.
pub(super) static BUILDKITE: Profile = Profile {
    name: "buildkite",
    title: "Buildkite",
    default_url: Some("https://agent.buildkite.com"),
    keys_path: Some("/.well-known/jwks"),
    organization_in_issuer: false,
    max_token_age: TEN_MINUTES,
    max_uses: 1,
    audience_claim: None,
    claims: claims::BUILDKITE,
    also_personal: &[],
    fields: &[
        IdentityField {
            required: Required::UnlessIds(&["organization-id", "pipeline-id"]),
            ..field("organization", FieldKind::Name, "organization_slug")
        },
        IdentityField {
            required: Required::UnlessIds(&["organization-id", "pipeline-id"]),
            many: Many::ListOrGlob,
            ..field("pipeline", FieldKind::Name, "pipeline_slug")
        },
        IdentityField {
            id_of: Some("organization"),
            always: false,
            found_at: "Buildkite shows it under Organization Settings, Pipelines, as Organization UUID",
            ask_for: Some("--claim"),
            ..field("organization-id", FieldKind::Id, "organization_id")
        },
        IdentityField {
            id_of: Some("pipeline"),
            always: false,
            found_at: "`GET /v2/organizations/<organization>/pipelines/<pipeline>` of Buildkite's API answers it as `id`",
            ask_for: Some("--claim"),
            ..field("pipeline-id", FieldKind::Id, "pipeline_id")
        },
        field("branch", FieldKind::Opaque, "build_branch"),
    ],
    requirements: &[],
    owner_id: Some("organization-id"),
    tenant_claim: Some("organization_slug"),
    tenant_claims_configured: false,
    facts: CiFacts {
        repository: Some("pipeline_slug"),
        reference: Some("build_branch"),
        sha: Some("build_commit"),
        run_id: Some("build_number"),
        actor: None,
    },
    pull_requests: PullRequests::Unmarked,
    situations: &[
        Situation {
            kind: SituationKind::Branch,
            claims: &[("build_branch", &["?**"])],
        },
        Situation {
            kind: SituationKind::Tag,
            claims: &[("build_tag", &["?**"])],
        },
    ],
    consequences: &[],
    wording: Wording {
        place: "Buildkite pipeline",
        place_id: Some("pipeline-id"),
        place_name: Some("pipeline"),
        owner: "organization",
        owner_id: Some("organization-id"),
        owner_name: Some("organization"),
        started_by: Some("build_source"),
        starts: &[
            ("webhook", "push or pull request"),
            ("schedule", "scheduled build"),
            ("ui", "build started by hand"),
            ("api", "build started by Buildkite's API"),
            ("trigger_job", "build started by another one"),
        ],
    },
    subject_forms: None,
    made_up_claims: &["agent_tag:", "https://aws.amazon.com/tags"],
};
