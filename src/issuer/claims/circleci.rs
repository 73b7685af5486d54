//! `CircleCI` (`CircleCI` docs, "Using OpenID Connect tokens in jobs"). One key signs for every organization.

use super::claim;
use crate::issuer::profile::{
    Claim,
    ClaimType::{Boolean, Text, TextList},
    Form,
    TrustClass::{Administrator, Chosen, ImmutableId, OfRun, System},
};

pub(in crate::issuer) const CIRCLECI: &[Claim] = &[
    claim(
        "oidc.circleci.com/context-ids",
        TextList,
        Administrator,
        "ids of the contexts that the job has: it passed their restrictions",
    )
    .form(Form::Uuid),
    claim("oidc.circleci.com/job-id", Text, OfRun, "id of the job"),
    claim(
        "oidc.circleci.com/org-id",
        Text,
        ImmutableId,
        "id of the organization",
    )
    .form(Form::Uuid),
    claim(
        "oidc.circleci.com/pipeline-definition-id",
        Text,
        ImmutableId,
        "id of the pipeline definition: which configuration, started by what",
    )
    .sometimes()
    .form(Form::Uuid),
    claim(
        "oidc.circleci.com/pipeline-id",
        Text,
        OfRun,
        "id of the pipeline's run",
    ),
    claim(
        "oidc.circleci.com/project-id",
        Text,
        ImmutableId,
        "id of the project",
    )
    .form(Form::Uuid),
    claim(
        "oidc.circleci.com/ssh-rerun",
        Boolean,
        System,
        "whether somebody started the job again with SSH, and may sit in it",
    ),
    claim(
        "oidc.circleci.com/vcs-origin",
        Text,
        System,
        "repository that the change came from, without scheme; for a fork the fork",
    )
    .sometimes()
    .form(Form::OwnedPath(1)),
    claim(
        "oidc.circleci.com/vcs-ref",
        Text,
        Chosen,
        "branch or tag that started the job",
    )
    .sometimes()
    .form(Form::FullRef),
    claim(
        "oidc.circleci.com/workflow-id",
        Text,
        OfRun,
        "id of the workflow's run",
    ),
    claim(
        "sub",
        Text,
        Chosen,
        "put together from organization, project, user, origin and ref: ask the claims themselves",
    )
    .personal(),
];
