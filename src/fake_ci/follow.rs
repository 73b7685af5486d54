//! Claims that repeat what other claims say, so that changing a ref changes all that a real token would say about it.
//!
//! A claim follows only where the set itself follows: a set whose `sub` has another form keeps it, and a set whose job
//! runs in another project than its commit comes from stays that way. What an operator gives always stands as given.

use serde_json::{Map, Value};

type Claims = Map<String, Value>;

/// A claim, and what it says when it follows the others; `None` if they do not tell.
pub(super) type Follow = (&'static str, fn(&Claims) -> Option<String>);

/// Makes the followers among `claims` agree with what `overrides` changed in the `set`.
pub(super) fn let_follow(
    follows: &[Follow],
    set: &Claims,
    overrides: &Claims,
    claims: &mut Claims,
) {
    for (claim, says) in follows {
        let follows_in_set = text(set, claim).map(str::to_owned) == says(set);
        if overrides.contains_key(*claim) || !follows_in_set {
            continue;
        }
        if let Some(value) = says(claims) {
            claims.insert((*claim).to_owned(), Value::String(value));
        }
    }
}

/// GitHub Docs, "OpenID Connect reference", on subjects.
pub(super) const GITHUB: &[Follow] = &[
    ("repository_owner", |claims| {
        let (owner, _) = text(claims, "repository")?.split_once('/')?;
        Some(owner.to_owned())
    }),
    ("ref_type", |claims| {
        let tag = text(claims, "ref")?.starts_with("refs/tags/");
        Some(if tag { "tag" } else { "branch" }.to_owned())
    }),
    ("workflow_ref", |claims| {
        let (_, path) = text(claims, "workflow_ref")?.split_once("/.github/workflows/")?;
        let (file, _) = path.split_once('@')?;
        let (repository, reference) = (text(claims, "repository")?, text(claims, "ref")?);
        Some(format!("{repository}/.github/workflows/{file}@{reference}"))
    }),
    ("job_workflow_ref", |claims| same(claims, "workflow_ref")),
    ("workflow_sha", |claims| same(claims, "sha")),
    ("job_workflow_sha", |claims| same(claims, "sha")),
    ("sub", |claims| {
        let escaped = |value: &str| value.replace(':', "%3A");
        let context = match (text(claims, "environment"), text(claims, "event_name")?) {
            (Some(environment), _) => format!("environment:{}", escaped(environment)),
            (None, "pull_request") => "pull_request".to_owned(),
            (None, _) => format!("ref:{}", text(claims, "ref")?),
        };
        Some(format!("repo:{}:{context}", text(claims, "repository")?))
    }),
];

/// `CircleCI` docs, "OpenID Connect tokens in jobs", on the second version of the token.
pub(super) const CIRCLECI: &[Follow] = &[("sub", |claims| {
    let mut subject = format!(
        "org/{}/project/{}/user/{}",
        text(claims, "oidc.circleci.com/org-id")?,
        text(claims, "oidc.circleci.com/project-id")?,
        CIRCLECI_USER,
    );
    let origin = text(claims, "oidc.circleci.com/vcs-origin");
    let reference = text(claims, "oidc.circleci.com/vcs-ref");
    if let (Some(origin), Some(reference)) = (origin, reference) {
        subject = format!("{subject}/vcs-origin/{origin}/vcs-ref/{reference}");
    }
    Some(subject)
})];

/// Who started every pretended `CircleCI` job. `sub` is the only claim that tells.
const CIRCLECI_USER: &str = "0f9ce4e3-6a0e-4e0c-8f3a-7c6b4b3f2a11";

/// Buildkite docs, "Agent OIDC command", on `sub`.
pub(super) const BUILDKITE: &[Follow] = &[("sub", |claims| {
    let reference = match text(claims, "build_tag") {
        Some(tag) => format!("refs/tags/{tag}"),
        None => format!("refs/heads/{}", text(claims, "build_branch")?),
    };
    Some(format!(
        "organization:{}:pipeline:{}:ref:{reference}:commit:{}:step:{}",
        text(claims, "organization_slug")?,
        text(claims, "pipeline_slug")?,
        text(claims, "build_commit")?,
        text(claims, "step_key").unwrap_or_default(),
    ))
})];

/// GitLab docs, "OpenID Connect authentication using ID tokens".
pub(super) const GITLAB: &[Follow] = &[
    ("namespace_path", |claims| {
        let (namespace, _) = text(claims, "project_path")?.rsplit_once('/')?;
        Some(namespace.to_owned())
    }),
    ("job_project_id", |claims| same(claims, "project_id")),
    ("job_project_path", |claims| same(claims, "project_path")),
    ("job_namespace_id", |claims| same(claims, "namespace_id")),
    ("job_namespace_path", |claims| {
        same(claims, "namespace_path")
    }),
    ("ref_path", |claims| {
        let kind = match text(claims, "ref_type")? {
            "tag" => "tags",
            _ => "heads",
        };
        Some(format!("refs/{kind}/{}", text(claims, "ref")?))
    }),
    ("ci_config_ref_uri", |claims| {
        let (host, _) = text(claims, "ci_config_ref_uri")?.split_once('/')?;
        let (project, reference) = (text(claims, "project_path")?, text(claims, "ref_path")?);
        Some(format!("{host}/{project}//.gitlab-ci.yml@{reference}"))
    }),
    ("sub", |claims| {
        Some(format!(
            "project_path:{}:ref_type:{}:ref:{}",
            text(claims, "project_path")?,
            text(claims, "ref_type")?,
            text(claims, "ref")?
        ))
    }),
];

pub(super) fn text<'a>(claims: &'a Claims, claim: &str) -> Option<&'a str> {
    claims.get(claim).and_then(Value::as_str)
}

fn same(claims: &Claims, claim: &str) -> Option<String> {
    text(claims, claim).map(str::to_owned)
}
