//! The profile `gitlab`.

use super::field;
use crate::issuer::claims;
use crate::issuer::profile::{
    CiFacts, Consequence, FieldKind, IdentityField, Many, Profile, PullRequests, Required,
    Requirement, Situation, SituationKind, Source, Wording,
};

/// GitLab CI (GitLab docs, "OpenID Connect authentication using ID tokens"). User logins share the issuer and its keys.
pub(super) static GITLAB: Profile = Profile {
    name: "gitlab",
    title: "GitLab CI",
    default_url: Some("https://gitlab.com"),
    keys_path: Some("/oauth/discovery/keys"),
    organization_in_issuer: false,
    max_token_age: None,
    max_uses: 10,
    audience_claim: None,
    claims: claims::GITLAB,
    also_personal: &[],
    fields: &[
        IdentityField {
            required: Required::UnlessIds(&["project-id", "namespace-id"]),
            many: Many::GlobWith("namespace-id"),
            fold: true,
            ..field("project", FieldKind::Path, "project_path")
        },
        IdentityField {
            id_of: Some("project"),
            found_at: "GitLab shows it in the menu of the project's page, as Copy project ID",
            ..field("project-id", FieldKind::Id, "project_id")
        },
        IdentityField {
            many: Many::List,
            found_at: "GitLab shows it in the menu of the group's page, as Copy group ID",
            ..field("namespace-id", FieldKind::Id, "namespace_id")
        },
        IdentityField {
            source: Source::FullRef {
                claim: "ref_path",
                name: "ref",
                kind: "ref_type",
            },
            ..field("ref", FieldKind::FullRef, "ref_path")
        },
        IdentityField {
            always: false,
            ..field("environment", FieldKind::Opaque, "environment")
        },
    ],
    requirements: &[
        Requirement::Present("job_id"),
        Requirement::Present("project_id"),
        Requirement::SameProject {
            claim: "job_project_id",
            equals: "project_id",
            source: "pipeline_source",
            value: "merge_request_event",
            lifted_by: "fork-merge-requests",
        },
    ],
    owner_id: Some("namespace-id"),
    tenant_claim: Some("namespace_id"),
    tenant_claims_configured: false,
    facts: CiFacts {
        repository: Some("project_path"),
        reference: Some("ref_path"),
        sha: Some("sha"),
        run_id: Some("pipeline_id"),
        actor: Some("user_login"),
    },
    pull_requests: PullRequests::Marked("those of forks name the fork's project"),
    situations: &[
        Situation {
            kind: SituationKind::PullRequest,
            claims: &[("pipeline_source", &["merge_request_event"])],
        },
        Situation {
            kind: SituationKind::Branch,
            claims: &[("ref_type", &["branch"]), ("ref_path", &["refs/heads/?**"])],
        },
        Situation {
            kind: SituationKind::Tag,
            claims: &[("ref_type", &["tag"]), ("ref_path", &["refs/tags/?**"])],
        },
    ],
    consequences: &[
        Consequence {
            when: ("ref_type", &["tag"]),
            then: ("ref_path", &["refs/tags/**"]),
        },
        Consequence {
            when: ("ref_type", &["branch"]),
            then: ("ref_path", &["refs/heads/**", "refs/merge-requests/**"]),
        },
    ],
    wording: Wording {
        place: "GitLab project",
        place_id: Some("project-id"),
        place_name: Some("project"),
        owner: "group",
        owner_id: Some("namespace-id"),
        owner_name: None,
        started_by: Some("pipeline_source"),
        starts: &[
            ("push", "push"),
            ("merge_request_event", "merge request"),
            ("schedule", "scheduled pipeline"),
            ("web", "pipeline started by hand"),
            ("api", "pipeline started by GitLab's API"),
            ("trigger", "pipeline started by a trigger token"),
        ],
    },
    subject_forms: None,
    made_up_claims: &[],
};
