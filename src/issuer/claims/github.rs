//! GitHub Actions (GitHub Docs, "OpenID Connect reference"). All ids, counters and booleans are texts.

use super::claim;
use crate::issuer::profile::{
    Claim,
    ClaimType::{BooleanText, Id, Text},
    Form,
    TrustClass::{Administrator, Chosen, ImmutableId, OfRun, ReusableName, System},
};

/// The events that start a job. GitHub adds one now and then.
const EVENTS: &[&str] = &[
    "branch_protection_rule",
    "check_run",
    "check_suite",
    "create",
    "delete",
    "deployment",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "fork",
    "gollum",
    "image_version",
    "issue_comment",
    "issues",
    "label",
    "merge_group",
    "milestone",
    "page_build",
    "public",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_target",
    "push",
    "registry_package",
    "release",
    "repository_dispatch",
    "schedule",
    "status",
    "watch",
    "workflow_call",
    "workflow_dispatch",
    "workflow_run",
];

/// The events that anyone with an account can bring about in a public repository, and whose jobs run with the
/// repository's own rights.
const BY_STRANGERS: &[&str] = &[
    "discussion",
    "discussion_comment",
    "fork",
    "issue_comment",
    "issues",
    "pull_request_target",
    "watch",
    "workflow_run",
];

pub(in crate::issuer) const GITHUB: &[Claim] = &[
    claim("actor", Text, ReusableName, "login of the account that started the run")
        .personal()
        .id("actor_id"),
    claim("actor_id", Id, ImmutableId, "id of the account that started the run")
        .personal()
        .form(Form::Digits),
    claim("base_ref", Text, Chosen, "target branch of a pull request; else empty"),
    claim("check_run_id", Id, OfRun, "id of the job").sometimes(),
    claim("enterprise", Text, ReusableName, "slug of the enterprise")
        .sometimes()
        .id("enterprise_id"),
    claim("enterprise_id", Id, ImmutableId, "id of the enterprise")
        .sometimes()
        .form(Form::Digits),
    claim(
        "environment",
        Text,
        Administrator,
        "environment of the job: its protection rules decide who gets it; without rules any workflow may name it",
    )
    .sometimes()
    .folded(),
    claim("environment_node_id", Text, ImmutableId, "id of the environment").sometimes(),
    claim("event_name", Text, System, "what started the run")
        .form(Form::KnownWords(EVENTS))
        .by_pushing(&["push", "pull_request", "workflow_dispatch", "create"])
        .by_strangers(BY_STRANGERS),
    claim("head_ref", Text, Chosen, "source branch of a pull request, in a fork too; else empty"),
    claim("issuer_scope", Text, System, "listed by GitHub without a meaning").sometimes(),
    claim(
        "job_workflow_ref",
        Text,
        Chosen,
        "the reusable workflow that the job runs, with its ref; else the same as `workflow_ref`",
    )
    .form(Form::OwnedPath(0)),
    claim("job_workflow_sha", Text, Chosen, "commit of that workflow").form(Form::Digest),
    claim("jti", Text, OfRun, "id of the token"),
    claim(
        "ref",
        Text,
        Chosen,
        "the branch, tag or `refs/pull/<n>/merge` of the run; empty for some deployments",
    )
    .form(Form::FullRef),
    claim("ref_protected", BooleanText, Administrator, "whether a rule protects the ref")
        .form(Form::Words(&["true", "false"]))
        .by_pushing(&["false"]),
    claim("ref_type", Text, System, "`branch` (of pull requests too) or `tag`; empty without a ref")
        .form(Form::Words(&["branch", "tag", ""]))
        .by_pushing(&["branch", "tag"]),
    claim("repository", Text, ReusableName, "`owner/name` of the repository")
        .folded()
        .form(Form::OwnedPath(0))
        .id("repository_id"),
    claim("repository_id", Id, ImmutableId, "id of the repository").form(Form::Digits),
    claim("repository_owner", Text, ReusableName, "login of the repository's owner")
        .folded()
        .id("repository_owner_id"),
    claim("repository_owner_id", Id, ImmutableId, "id of the repository's owner")
        .form(Form::Digits),
    claim("repository_visibility", Text, System, "who may see the repository").form(Form::Words(&[
        "public", "private", "internal",
    ])),
    claim("run_attempt", Id, OfRun, "how often the run was started"),
    claim("run_id", Id, OfRun, "id of the run"),
    claim("run_number", Id, OfRun, "number of the run within its workflow"),
    claim("runner_environment", Text, System, "who runs the machine; the workflow asks for one")
        .form(Form::Words(&["github-hosted", "self-hosted"]))
        .by_pushing(&["github-hosted", "self-hosted"]),
    claim("sha", Text, Chosen, "commit of the run").form(Form::Digest),
    claim(
        "sub",
        Text,
        ReusableName,
        "put together from the others, in two forms and by templates: ask the claims themselves",
    ),
    claim("workflow", Text, Chosen, "displayed name of the workflow, from its file"),
    claim("workflow_ref", Text, Chosen, "file and ref of the workflow"),
    claim("workflow_sha", Text, Chosen, "commit of the workflow's file").form(Form::Digest),
];
