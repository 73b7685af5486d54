//! The profiles: one table per CI system. A new CI system is a table here and a file of claims in `tests/`.

use super::profile::{
    CiFacts, Claim, ClaimType, FieldKind, IdentityField, Many, Profile, Required, Requirement,
    Source,
};
use ClaimType::{Boolean, BooleanText, Id, Number, Object, Text, TextList};

/// Every profile, in the order in which they are shown.
pub static PROFILES: [&Profile; 6] = [&GITHUB, &CIRCLECI, &BUILDKITE, &RWX, &GITLAB, &GENERIC];

/// The profile called `name`.
pub fn profile_named(name: &str) -> Option<&'static Profile> {
    PROFILES.into_iter().find(|profile| profile.name == name)
}

/// Ten minutes: for CI systems where a job asks for a token at the moment it needs one.
const TEN_MINUTES: Option<u32> = Some(600);

/// A claim that every token of a CI job has.
const fn always(name: &'static str, kind: ClaimType) -> Claim {
    Claim {
        name,
        kind,
        always: true,
        fold: false,
    }
}

/// A claim that some tokens lack.
const fn sometimes(name: &'static str, kind: ClaimType) -> Claim {
    Claim {
        name,
        kind,
        always: false,
        fold: false,
    }
}

/// The same claim, compared without ASCII case.
const fn fold(claim: Claim) -> Claim {
    Claim {
        fold: true,
        ..claim
    }
}

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
    claims: &[
        always("actor", Text),
        always("actor_id", Id),
        always("base_ref", Text),
        sometimes("check_run_id", Id),
        sometimes("enterprise", Text),
        sometimes("enterprise_id", Id),
        fold(sometimes("environment", Text)),
        sometimes("environment_node_id", Text),
        always("event_name", Text),
        always("head_ref", Text),
        sometimes("issuer_scope", Text),
        always("job_workflow_ref", Text),
        always("job_workflow_sha", Text),
        always("jti", Text),
        always("ref", Text),
        always("ref_protected", BooleanText),
        always("ref_type", Text),
        fold(always("repository", Text)),
        always("repository_id", Id),
        fold(always("repository_owner", Text)),
        always("repository_owner_id", Id),
        always("repository_visibility", Text),
        always("run_attempt", Id),
        always("run_id", Id),
        always("run_number", Id),
        always("runner_environment", Text),
        always("sha", Text),
        always("sub", Text),
        always("workflow", Text),
        always("workflow_ref", Text),
        always("workflow_sha", Text),
    ],
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
    claims: &[
        always("oidc.circleci.com/context-ids", TextList),
        always("oidc.circleci.com/job-id", Text),
        always("oidc.circleci.com/org-id", Text),
        sometimes("oidc.circleci.com/pipeline-definition-id", Text),
        always("oidc.circleci.com/pipeline-id", Text),
        always("oidc.circleci.com/project-id", Text),
        always("oidc.circleci.com/ssh-rerun", Boolean),
        sometimes("oidc.circleci.com/vcs-origin", Text),
        sometimes("oidc.circleci.com/vcs-ref", Text),
        always("oidc.circleci.com/workflow-id", Text),
        always("sub", Text),
    ],
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
    claims: &[
        always("agent_id", Text),
        always("build_branch", Text),
        always("build_commit", Text),
        sometimes("build_id", Text),
        always("build_number", Number),
        always("build_source", Text),
        sometimes("build_tag", Text),
        sometimes("cluster_id", Text),
        sometimes("cluster_name", Text),
        always("job_id", Text),
        sometimes("jti", Text),
        sometimes("organization_id", Text),
        always("organization_slug", Text),
        sometimes("pipeline_id", Text),
        always("pipeline_slug", Text),
        sometimes("queue_id", Text),
        sometimes("queue_key", Text),
        always("runner_environment", Text),
        sometimes("step_key", Text),
        always("sub", Text),
    ],
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
    claims: &[
        always("run_id", Text),
        always("run_url", Text),
        always("sub", Text),
        always("task_id", Text),
        always("task_url", Text),
    ],
    fields: &[IdentityField {
        required: Required::Yes,
        ..field("vault-subject", FieldKind::Opaque, "sub")
    }],
    requirements: &[],
    owner_id: None,
    tenant_claim: Some("sub"),
    tenant_claims_configured: false,
    facts: CiFacts {
        repository: None,
        reference: None,
        sha: None,
        run_id: Some("run_id"),
        actor: None,
    },
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
    claims: &[
        sometimes("ci_config_ref_uri", Text),
        sometimes("ci_config_sha", Text),
        sometimes("deployment_tier", Text),
        sometimes("environment", Text),
        sometimes("environment_action", Text),
        sometimes("environment_protected", BooleanText),
        sometimes("groups_direct", TextList),
        sometimes("job_config", Object),
        always("job_id", Id),
        sometimes("job_namespace_id", Id),
        fold(sometimes("job_namespace_path", Text)),
        sometimes("job_project_id", Id),
        fold(sometimes("job_project_path", Text)),
        sometimes("job_source", Text),
        always("jti", Text),
        always("namespace_id", Id),
        fold(always("namespace_path", Text)),
        always("pipeline_id", Id),
        always("pipeline_source", Text),
        always("project_id", Id),
        fold(always("project_path", Text)),
        sometimes("project_visibility", Text),
        always("ref", Text),
        sometimes("ref_path", Text),
        always("ref_protected", BooleanText),
        always("ref_type", Text),
        sometimes("runner_environment", Text),
        sometimes("runner_id", Number),
        sometimes("sha", Text),
        always("sub", Text),
        sometimes("user_access_level", Text),
        sometimes("user_email", Text),
        sometimes("user_id", Id),
        sometimes("user_identities", Object),
        sometimes("user_login", Text),
    ],
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
    claims: &[always("sub", Text)],
    fields: &[],
    requirements: &[],
    owner_id: None,
    tenant_claim: Some("sub"),
    tenant_claims_configured: true,
    facts: CiFacts {
        repository: None,
        reference: None,
        sha: None,
        run_id: None,
        actor: None,
    },
};

#[cfg(test)]
mod tests {
    use super::*;

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
