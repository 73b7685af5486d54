//! Buildkite (Buildkite docs, "Agent OIDC command"). The job chooses which of the optional claims its token has.

use super::claim;
use crate::issuer::profile::{
    Claim,
    ClaimType::{Number, Text},
    Form,
    TrustClass::{Administrator, Chosen, ImmutableId, OfRun, ReusableName, System},
};

pub(in crate::issuer) const BUILDKITE: &[Claim] = &[
    claim("agent_id", Text, OfRun, "id of the agent that runs the job"),
    claim(
        "build_branch",
        Text,
        Chosen,
        "branch of the build; a build of a fork names the fork's branch, and one by the API any",
    )
    .form(Form::BareRef),
    claim("build_commit", Text, Chosen, "commit of the build"),
    claim("build_id", Text, OfRun, "id of the build").on_request(),
    claim(
        "build_number",
        Number,
        OfRun,
        "number of the build within its pipeline",
    ),
    claim(
        "build_source",
        Text,
        System,
        "what started the build; pushes and pull requests are both `webhook`",
    )
    .form(Form::KnownWords(&[
        "api",
        "schedule",
        "trigger_job",
        "ui",
        "webhook",
    ]))
    .by_pushing(&["webhook", "ui", "api", "trigger_job"]),
    claim(
        "build_tag",
        Text,
        Chosen,
        "tag of the build; absent or null without one",
    )
    .sometimes(),
    claim("cluster_id", Text, ImmutableId, "id of the cluster")
        .on_request()
        .form(Form::Uuid),
    claim("cluster_name", Text, ReusableName, "name of the cluster")
        .on_request()
        .id("cluster_id"),
    claim("job_id", Text, OfRun, "id of the job"),
    claim("jti", Text, OfRun, "id of the token").sometimes(),
    claim(
        "organization_id",
        Text,
        ImmutableId,
        "id of the organization",
    )
    .on_request()
    .form(Form::Uuid),
    claim(
        "organization_slug",
        Text,
        ReusableName,
        "slug of the organization",
    )
    .form(Form::LowerCase)
    .id("organization_id"),
    claim("pipeline_id", Text, ImmutableId, "id of the pipeline")
        .on_request()
        .form(Form::Uuid),
    claim("pipeline_slug", Text, ReusableName, "slug of the pipeline")
        .form(Form::LowerCase)
        .id("pipeline_id"),
    claim("queue_id", Text, ImmutableId, "id of the queue")
        .on_request()
        .form(Form::Uuid),
    claim("queue_key", Text, Administrator, "key of the queue").on_request(),
    claim(
        "runner_environment",
        Text,
        System,
        "who runs the machine; the pipeline asks for one",
    )
    .form(Form::Words(&["buildkite-hosted", "self-hosted"]))
    .by_pushing(&["buildkite-hosted", "self-hosted"]),
    claim(
        "step_key",
        Text,
        Chosen,
        "key of the step, from the pipeline's file; null without one",
    )
    .sometimes(),
    claim(
        "sub",
        Text,
        Chosen,
        "put together from slugs, ref, commit and step, or the id that the job asked for: ask the claims themselves",
    ),
];
