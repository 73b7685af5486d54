//! The profile `github`.

use super::{TEN_MINUTES, field};
use crate::issuer::claims;
use crate::issuer::profile::{
    CiFacts, Consequence, FieldKind, IdentityField, Many, Profile, PullRequests, Required,
    Requirement, Situation, SituationKind, Source, Wording,
};

/// GitHub Actions (GitHub Docs, "OpenID Connect reference"). All ids, counters and booleans are texts.
pub(super) static GITHUB: Profile = Profile {
    name: "github",
    title: "GitHub Actions",
    default_url: Some("https://token.actions.githubusercontent.com"),
    keys_path: Some("/.well-known/jwks"),
    organization_in_issuer: false,
    max_token_age: TEN_MINUTES,
    max_uses: 1,
    audience_claim: None,
    claims: claims::GITHUB,
    also_personal: &[],
    fields: &[
        IdentityField {
            required: Required::UnlessIds(&["owner-id", "repository-id"]),
            fold: true,
            ..field("owner", FieldKind::Name, "repository_owner")
        },
        IdentityField {
            required: Required::UnlessIds(&["owner-id", "repository-id"]),
            many: Many::GlobWith("owner-id"),
            source: Source::Within {
                claim: "repository",
                parent: "repository_owner",
            },
            fold: true,
            ..field("repository", FieldKind::Name, "repository")
        },
        IdentityField {
            id_of: Some("owner"),
            found_at: "`gh api users/<owner> --jq .id` prints it",
            ..field("owner-id", FieldKind::Id, "repository_owner_id")
        },
        IdentityField {
            id_of: Some("repository"),
            found_at: "`gh api repos/<owner>/<repository> --jq .id` prints it",
            ..field("repository-id", FieldKind::Id, "repository_id")
        },
        IdentityField {
            source: Source::WorkflowFile {
                claim: "workflow_ref",
                repository: "repository",
            },
            ..field("workflow", FieldKind::WorkflowFile, "workflow_ref")
        },
        IdentityField {
            source: Source::WorkflowPath("job_workflow_ref"),
            ..field(
                "reusable-workflow",
                FieldKind::ReusableWorkflow,
                "job_workflow_ref",
            )
        },
        IdentityField {
            fold: true,
            always: false,
            ..field("environment", FieldKind::Opaque, "environment")
        },
    ],
    requirements: &[Requirement::OneOfUnlessNamed {
        claim: "event_name",
        values: &[
            "push",
            "pull_request",
            "merge_group",
            "release",
            "schedule",
            "workflow_dispatch",
            "repository_dispatch",
            "deployment",
        ],
    }],
    owner_id: Some("owner-id"),
    tenant_claim: Some("repository_owner_id"),
    tenant_claims_configured: false,
    facts: CiFacts {
        repository: Some("repository"),
        reference: Some("ref"),
        sha: Some("sha"),
        run_id: Some("run_id"),
        actor: Some("actor"),
    },
    pull_requests: PullRequests::Marked("GitHub gives no token to those of forks"),
    situations: &[
        Situation {
            kind: SituationKind::PullRequest,
            claims: &[
                ("event_name", &["pull_request"]),
                ("ref", &["refs/pull/?*/merge"]),
                ("ref_type", &["branch"]),
                ("ref_protected", &["false"]),
                ("base_ref", &["?**"]),
                ("head_ref", &["?**"]),
                ("workflow_ref", &["**@refs/pull/?*/merge"]),
            ],
        },
        Situation {
            kind: SituationKind::Branch,
            claims: &[("ref", &["refs/heads/?**"]), ("ref_type", &["branch"])],
        },
        Situation {
            kind: SituationKind::Tag,
            claims: &[("ref", &["refs/tags/?**"]), ("ref_type", &["tag"])],
        },
    ],
    consequences: &[
        Consequence {
            when: ("ref_type", &["tag"]),
            then: ("ref", &["refs/tags/**"]),
        },
        // A merged pull request runs on the branch that it was merged into.
        Consequence {
            when: ("ref_type", &["branch"]),
            then: ("ref", &["refs/heads/**", "refs/pull/**"]),
        },
        Consequence {
            when: ("event_name", &["pull_request", "pull_request_target"]),
            then: ("ref", &["refs/heads/**", "refs/pull/**"]),
        },
        Consequence {
            when: ("event_name", &["pull_request", "pull_request_target"]),
            then: ("base_ref", &["?**"]),
        },
        Consequence {
            when: ("event_name", &["push"]),
            then: ("ref", &["refs/heads/**", "refs/tags/**"]),
        },
        Consequence {
            when: ("event_name", &["schedule"]),
            then: ("ref", &["refs/heads/**"]),
        },
        Consequence {
            when: ("event_name", &["push", "schedule", "workflow_dispatch"]),
            then: ("base_ref", &[""]),
        },
        Consequence {
            when: ("event_name", &["push", "schedule", "workflow_dispatch"]),
            then: ("head_ref", &[""]),
        },
    ],
    wording: Wording {
        place: "GitHub repository",
        place_id: Some("repository-id"),
        place_name: Some("repository"),
        owner: "owner",
        owner_id: Some("owner-id"),
        owner_name: Some("owner"),
        started_by: Some("event_name"),
        starts: &[
            ("push", "push"),
            ("pull_request", "pull request"),
            ("pull_request_target", "pull request, from forks too,"),
            ("merge_group", "entry of the merge queue"),
            ("release", "release"),
            ("schedule", "scheduled run"),
            ("workflow_dispatch", "run started by hand"),
            ("repository_dispatch", "run started by GitHub's API"),
            ("deployment", "deployment"),
        ],
    },
    subject_forms: Some(("repo:*/*:**", "repo:*@*/*@*:**")),
    made_up_claims: &["repo_property_"],
};
