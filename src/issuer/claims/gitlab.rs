//! GitLab CI (GitLab docs, "OpenID Connect authentication using ID tokens"). User logins share the issuer and its keys.

use super::claim;
use crate::issuer::profile::{
    Claim,
    ClaimType::{BooleanText, Id, Number, Object, Text, TextList},
    Form,
    TrustClass::{Administrator, Chosen, ImmutableId, OfRun, ReusableName, System},
};

/// What starts a pipeline.
const SOURCES: &[&str] = &[
    "api",
    "chat",
    "external",
    "external_pull_request_event",
    "merge_request_event",
    "ondemand_dast_scan",
    "ondemand_dast_validation",
    "parent_pipeline",
    "pipeline",
    "push",
    "schedule",
    "security_orchestration_policy",
    "trigger",
    "web",
    "webide",
];

pub(in crate::issuer) const GITLAB: &[Claim] = &[
    claim("ci_config_ref_uri", Text, Chosen, "file and ref of the pipeline's configuration")
        .sometimes()
        .form(Form::OwnedPath(1)),
    claim("ci_config_sha", Text, Chosen, "commit of that file; null if it is not in the project")
        .sometimes()
        .form(Form::Digest),
    claim("deployment_tier", Text, Chosen, "tier of the environment, from the job's file")
        .sometimes(),
    claim(
        "environment",
        Text,
        Administrator,
        "environment of the job: who may deploy there decides, if it is protected; else any job may name it",
    )
    .sometimes(),
    claim("environment_action", Text, Chosen, "what the job does with the environment").sometimes(),
    claim("environment_protected", BooleanText, Administrator, "whether the environment is protected")
        .sometimes()
        .form(Form::Words(&["true", "false"]))
        .by_pushing(&["false"]),
    claim("groups_direct", TextList, ReusableName, "groups of which the user is a direct member")
        .sometimes()
        .personal(),
    claim("job_config", Object, Chosen, "`url` and `sha` of the policy that added the job")
        .sometimes(),
    claim("job_id", Id, OfRun, "id of the job").form(Form::Digits),
    claim("job_namespace_id", Id, ImmutableId, "id of the group where the job runs")
        .sometimes()
        .form(Form::Digits),
    claim("job_namespace_path", Text, ReusableName, "path of the group where the job runs")
        .sometimes()
        .folded()
        .id("job_namespace_id"),
    claim("job_project_id", Id, ImmutableId, "id of the project where the job runs")
        .sometimes()
        .form(Form::Digits),
    claim("job_project_path", Text, ReusableName, "path of the project where the job runs")
        .sometimes()
        .folded()
        .form(Form::OwnedPath(0))
        .id("job_project_id"),
    claim("job_source", Text, System, "what added the job: the pipeline's file or a security policy")
        .sometimes(),
    claim("jti", Text, OfRun, "id of the token"),
    claim("namespace_id", Id, ImmutableId, "id of the project's group or user").form(Form::Digits),
    claim("namespace_path", Text, ReusableName, "path of the project's group or user")
        .folded()
        .id("namespace_id"),
    claim("pipeline_id", Id, OfRun, "id of the pipeline").form(Form::Digits),
    claim("pipeline_source", Text, System, "what started the pipeline")
        .form(Form::KnownWords(SOURCES))
        .by_pushing(&["push", "merge_request_event", "web", "api", "trigger", "webide"]),
    claim("project_id", Id, ImmutableId, "id of the project; for a fork's merge request of the fork")
        .form(Form::Digits),
    claim("project_path", Text, ReusableName, "path of the project")
        .folded()
        .form(Form::OwnedPath(0))
        .id("project_id"),
    claim("project_visibility", Text, System, "who may see the project")
        .sometimes()
        .form(Form::Words(&["public", "private", "internal"])),
    claim("ref", Text, Chosen, "bare name of the branch or tag; `ref_type` says which")
        .form(Form::BareRef),
    claim("ref_path", Text, Chosen, "full name of the branch or tag")
        .sometimes()
        .form(Form::FullRef),
    claim("ref_protected", BooleanText, Administrator, "whether the branch or tag is protected")
        .form(Form::Words(&["true", "false"]))
        .by_pushing(&["false"]),
    claim("ref_type", Text, System, "`branch` or `tag`")
        .form(Form::Words(&["branch", "tag"]))
        .by_pushing(&["branch", "tag"]),
    claim("runner_environment", Text, System, "who runs the machine; the pipeline asks for one")
        .sometimes()
        .form(Form::Words(&["gitlab-hosted", "self-hosted"]))
        .by_pushing(&["gitlab-hosted", "self-hosted"]),
    claim("runner_id", Number, ImmutableId, "id of the runner").sometimes(),
    claim("sha", Text, Chosen, "commit of the pipeline")
        .sometimes()
        .form(Form::Digest),
    claim(
        "sub",
        Text,
        ReusableName,
        "put together as the project's settings say: ask the claims themselves",
    ),
    claim("user_access_level", Text, Administrator, "role of the user in the project")
        .sometimes()
        .personal(),
    claim("user_email", Text, ReusableName, "address of the user, by their own choice")
        .sometimes()
        .personal()
        .id("user_id"),
    claim("user_id", Id, ImmutableId, "id of the user who started the job")
        .sometimes()
        .personal()
        .form(Form::Digits),
    claim("user_identities", Object, ReusableName, "accounts of the user elsewhere, by their own choice")
        .sometimes()
        .personal(),
    claim("user_login", Text, ReusableName, "login of the user who started the job")
        .sometimes()
        .personal()
        .id("user_id"),
];
