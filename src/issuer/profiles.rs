//! The profiles: one table per CI system. A new CI system is a table here and a file of claims in `tests/`.

use super::claims;
use super::profile::{
    CiFacts, Consequence, FieldKind, IdentityField, Many, Profile, PullRequests, Required,
    Requirement, Situation, SituationKind, Source, Wording,
};

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

/// GitHub Actions (GitHub Docs, "OpenID Connect reference"). All ids, counters and booleans are texts.
static GITHUB: Profile = Profile {
    name: "github",
    title: "GitHub Actions",
    default_url: Some("https://token.actions.githubusercontent.com"),
    keys_path: Some("/.well-known/jwks"),
    organization_in_issuer: false,
    max_token_age: TEN_MINUTES,
    max_uses: 1,
    audience_claim: None,
    claims: claims::GITHUB,
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

/// Where a person finds the UUIDs that `CircleCI` puts into its tokens.
const CIRCLECI_ORGANIZATION: &str =
    "CircleCI shows it under Organization Settings, Overview, as Organization ID";
const CIRCLECI_PROJECT: &str = "CircleCI shows it under Project Settings, Overview, as Project ID";
const CIRCLECI_DEFINITION: &str =
    "CircleCI shows it under Project Settings, Pipelines, as Pipeline Definition ID";

/// `CircleCI` (`CircleCI` docs, "Using OpenID Connect tokens in jobs"). One key signs for every organization.
static CIRCLECI: Profile = Profile {
    name: "circleci",
    title: "CircleCI",
    default_url: Some("https://oidc.circleci.com/org/{organization}"),
    keys_path: Some("/.well-known/jwks-pub.json"),
    organization_in_issuer: true,
    max_token_age: None,
    max_uses: 10,
    audience_claim: Some("oidc.circleci.com/org-id"),
    claims: claims::CIRCLECI,
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

/// Buildkite (Buildkite docs, "Agent OIDC command"). The job chooses which of the optional claims its token has.
static BUILDKITE: Profile = Profile {
    name: "buildkite",
    title: "Buildkite",
    default_url: Some("https://agent.buildkite.com"),
    keys_path: Some("/.well-known/jwks"),
    organization_in_issuer: false,
    max_token_age: TEN_MINUTES,
    max_uses: 1,
    audience_claim: None,
    claims: claims::BUILDKITE,
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

/// RWX (RWX docs, "OIDC"). The vault's subject is all that tells one token from another.
static RWX: Profile = Profile {
    name: "rwx",
    title: "RWX",
    default_url: Some("https://cloud.rwx.com/mint"),
    keys_path: Some("/.well-known/jwks.json"),
    organization_in_issuer: false,
    max_token_age: None,
    max_uses: 10,
    audience_claim: None,
    claims: claims::RWX,
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

/// GitLab CI (GitLab docs, "OpenID Connect authentication using ID tokens"). User logins share the issuer and its keys.
static GITLAB: Profile = Profile {
    name: "gitlab",
    title: "GitLab CI",
    default_url: Some("https://gitlab.com"),
    keys_path: Some("/oauth/discovery/keys"),
    organization_in_issuer: false,
    max_token_age: None,
    max_uses: 10,
    audience_claim: None,
    claims: claims::GITLAB,
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

/// Any other OpenID Connect issuer.
static GENERIC: Profile = Profile {
    name: "generic",
    title: "another OpenID Connect issuer",
    default_url: None,
    keys_path: None,
    organization_in_issuer: false,
    max_token_age: None,
    max_uses: 10,
    audience_claim: None,
    claims: claims::GENERIC,
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
