//! What sets the pretended CI systems apart beyond their profiles, as one table each: keys, headers, default audiences,
//! and what a job finds in its environment.

use serde_json::{Map, Value};

use super::FakeCiError;
use super::follow::{self, Follow, text};
use super::key::KeyIdStyle;

/// One pretended CI system.
pub(super) struct System {
    /// The name of its profile, and the first segment of its addresses.
    pub(super) name: &'static str,
    pub(super) key_id: KeyIdStyle,
    /// The header's `typ`.
    pub(super) typ: Option<&'static str>,
    /// The claims that repeat others.
    pub(super) follows: &'static [Follow],
    /// The audience of a token that nobody asked another one for, given its issuer and claims.
    pub(super) default_audience: fn(&str, &Map<String, Value>) -> String,
    /// How a job comes by its token.
    pub(super) handover: Handover,
    /// What else a job finds in its environment.
    pub(super) variables: &'static [(&'static str, Says)],
}

/// How a job comes by its token.
pub(super) enum Handover {
    /// It asks an address with a request token. The names of the two variables.
    Request {
        address: &'static str,
        token: &'static str,
    },
    /// It asks the agent's address with the agent's access token. The names of the two variables.
    Agent {
        endpoint: &'static str,
        token: &'static str,
    },
    /// It finds tokens in these variables.
    Variables(&'static [(&'static str, Form)]),
}

/// Which of its forms a token in a variable has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is signed when asked for directly.
    Usual,
    /// With the subject of `CircleCI`'s first version, which ends before the repository.
    SubjectWithoutRepository,
}

/// What a variable says.
pub(super) enum Says {
    /// Always the same.
    Just(&'static str),
    /// What a claim says; the variable is missing where the claim is.
    Claim(&'static str),
    /// The rest of a claim after a beginning; the variable is missing where the claim begins otherwise.
    After(&'static str, &'static str),
}
use Says::{After, Claim, Just};

/// Where `countersign serve` listens unless told otherwise: the `public-url` of a trial, and the audience of a token whose
/// CI system has no default, because its users always give one.
pub const TRIAL_AUDIENCE: &str = "http://127.0.0.1:8080";

/// The variable that holds the token of a pretended RWX task. In RWX, its name is the workflow author's choice.
pub const RWX_TOKEN_VARIABLE: &str = "RWX_OIDC_TOKEN";

/// The variable that holds the token of a pretended GitLab job. In GitLab, its name is the key under `id_tokens`.
pub const GITLAB_TOKEN_VARIABLE: &str = "COUNTERSIGN_ID_TOKEN";

pub(super) static SYSTEMS: [System; 5] = [
    System {
        name: "github",
        key_id: KeyIdStyle::Uuid,
        // The real header has `x5t` too for keys with a certificate; ours, like some of GitHub's, has none.
        typ: Some("JWT"),
        follows: follow::GITHUB,
        default_audience: |_, claims| {
            let owner = text(claims, "repository_owner").unwrap_or_default();
            format!("https://github.com/{owner}")
        },
        handover: Handover::Request {
            address: "ACTIONS_ID_TOKEN_REQUEST_URL",
            token: "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        },
        variables: &[
            ("CI", Just("true")),
            ("GITHUB_ACTIONS", Just("true")),
            ("GITHUB_ACTOR", Claim("actor")),
            ("GITHUB_ACTOR_ID", Claim("actor_id")),
            ("GITHUB_BASE_REF", Claim("base_ref")),
            ("GITHUB_EVENT_NAME", Claim("event_name")),
            ("GITHUB_HEAD_REF", Claim("head_ref")),
            ("GITHUB_REF", Claim("ref")),
            ("GITHUB_REF_NAME", After("ref", "refs/heads/")),
            ("GITHUB_REF_NAME", After("ref", "refs/tags/")),
            ("GITHUB_REF_NAME", After("ref", "refs/pull/")),
            ("GITHUB_REF_PROTECTED", Claim("ref_protected")),
            ("GITHUB_REF_TYPE", Claim("ref_type")),
            ("GITHUB_REPOSITORY", Claim("repository")),
            ("GITHUB_REPOSITORY_ID", Claim("repository_id")),
            ("GITHUB_REPOSITORY_OWNER", Claim("repository_owner")),
            ("GITHUB_REPOSITORY_OWNER_ID", Claim("repository_owner_id")),
            ("GITHUB_RUN_ATTEMPT", Claim("run_attempt")),
            ("GITHUB_RUN_ID", Claim("run_id")),
            ("GITHUB_RUN_NUMBER", Claim("run_number")),
            ("GITHUB_SERVER_URL", Just("https://github.com")),
            ("GITHUB_SHA", Claim("sha")),
            ("GITHUB_WORKFLOW", Claim("workflow")),
            ("GITHUB_WORKFLOW_REF", Claim("workflow_ref")),
            ("GITHUB_WORKFLOW_SHA", Claim("workflow_sha")),
            ("RUNNER_ENVIRONMENT", Claim("runner_environment")),
        ],
    },
    System {
        name: "circleci",
        key_id: KeyIdStyle::Uuid,
        typ: Some("JWT"),
        follows: follow::CIRCLECI,
        default_audience: |_, claims| {
            let organization = text(claims, "oidc.circleci.com/org-id");
            organization.unwrap_or_default().to_owned()
        },
        handover: Handover::Variables(&[
            ("CIRCLE_OIDC_TOKEN", Form::SubjectWithoutRepository),
            ("CIRCLE_OIDC_TOKEN_V2", Form::Usual),
        ]),
        variables: &[
            ("CI", Just("true")),
            ("CIRCLECI", Just("true")),
            (
                "CIRCLE_BRANCH",
                After("oidc.circleci.com/vcs-ref", "refs/heads/"),
            ),
            ("CIRCLE_ORGANIZATION_ID", Claim("oidc.circleci.com/org-id")),
            ("CIRCLE_PIPELINE_ID", Claim("oidc.circleci.com/pipeline-id")),
            ("CIRCLE_PROJECT_ID", Claim("oidc.circleci.com/project-id")),
            (
                "CIRCLE_TAG",
                After("oidc.circleci.com/vcs-ref", "refs/tags/"),
            ),
            ("CIRCLE_WORKFLOW_ID", Claim("oidc.circleci.com/workflow-id")),
            ("CIRCLE_WORKFLOW_JOB_ID", Claim("oidc.circleci.com/job-id")),
        ],
    },
    System {
        name: "buildkite",
        key_id: KeyIdStyle::Hex,
        typ: None,
        follows: follow::BUILDKITE,
        default_audience: |_, claims| {
            let organization = text(claims, "organization_slug").unwrap_or_default();
            format!("https://buildkite.com/{organization}")
        },
        handover: Handover::Agent {
            endpoint: "BUILDKITE_AGENT_ENDPOINT",
            token: "BUILDKITE_AGENT_ACCESS_TOKEN",
        },
        variables: &[
            ("BUILDKITE", Just("true")),
            ("BUILDKITE_AGENT_ID", Claim("agent_id")),
            ("BUILDKITE_BRANCH", Claim("build_branch")),
            ("BUILDKITE_BUILD_NUMBER", Claim("build_number")),
            ("BUILDKITE_COMMIT", Claim("build_commit")),
            ("BUILDKITE_JOB_ID", Claim("job_id")),
            ("BUILDKITE_ORGANIZATION_SLUG", Claim("organization_slug")),
            ("BUILDKITE_PIPELINE_SLUG", Claim("pipeline_slug")),
            ("BUILDKITE_SOURCE", Claim("build_source")),
            ("BUILDKITE_STEP_KEY", Claim("step_key")),
            ("BUILDKITE_TAG", Claim("build_tag")),
            ("CI", Just("true")),
        ],
    },
    System {
        name: "rwx",
        key_id: KeyIdStyle::Thumbprint,
        typ: Some("JWT"),
        follows: &[],
        default_audience: |_, _| TRIAL_AUDIENCE.to_owned(),
        handover: Handover::Variables(&[(RWX_TOKEN_VARIABLE, Form::Usual)]),
        variables: &[
            ("CI", Just("true")),
            ("RWX", Just("true")),
            ("RWX_RUN_ID", Claim("run_id")),
            ("RWX_RUN_URL", Claim("run_url")),
            ("RWX_TASK_ID", Claim("task_id")),
            ("RWX_TASK_URL", Claim("task_url")),
        ],
    },
    System {
        name: "gitlab",
        key_id: KeyIdStyle::Thumbprint,
        typ: Some("JWT"),
        follows: follow::GITLAB,
        default_audience: |issuer, _| issuer.to_owned(),
        handover: Handover::Variables(&[(GITLAB_TOKEN_VARIABLE, Form::Usual)]),
        variables: &[
            ("CI", Just("true")),
            ("CI_COMMIT_BRANCH", After("ref_path", "refs/heads/")),
            ("CI_COMMIT_REF_NAME", Claim("ref")),
            ("CI_COMMIT_REF_PROTECTED", Claim("ref_protected")),
            ("CI_COMMIT_SHA", Claim("sha")),
            ("CI_COMMIT_TAG", After("ref_path", "refs/tags/")),
            ("CI_ENVIRONMENT_NAME", Claim("environment")),
            ("CI_JOB_ID", Claim("job_id")),
            ("CI_PIPELINE_ID", Claim("pipeline_id")),
            ("CI_PIPELINE_SOURCE", Claim("pipeline_source")),
            ("CI_PROJECT_ID", Claim("job_project_id")),
            ("CI_PROJECT_NAMESPACE", Claim("job_namespace_path")),
            ("CI_PROJECT_PATH", Claim("job_project_path")),
            ("CI_SERVER_URL", Claim("iss")),
            ("GITLAB_CI", Just("true")),
            ("GITLAB_USER_ID", Claim("user_id")),
            ("GITLAB_USER_LOGIN", Claim("user_login")),
        ],
    },
];

/// The CI system called `name`.
pub(super) fn system_named(name: &str) -> Result<&'static System, FakeCiError> {
    let found = SYSTEMS.iter().find(|system| system.name == name);
    found.ok_or_else(|| unknown_profile(name))
}

/// The error that names the CI systems there are.
pub(super) fn unknown_profile(asked: &str) -> FakeCiError {
    FakeCiError::UnknownProfile {
        asked: asked.to_owned(),
        known: SYSTEMS.iter().map(|system| system.name).collect(),
    }
}

impl Says {
    /// The value for a job of these claims, if the variable exists there.
    pub(super) fn value(&self, claims: &Map<String, Value>) -> Option<String> {
        match self {
            Just(text) => Some((*text).to_owned()),
            Claim(claim) => match claims.get(*claim)? {
                Value::String(text) => Some(text.clone()),
                value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            },
            After(claim, beginning) => {
                let rest = text(claims, claim)?.strip_prefix(beginning)?;
                Some(rest.to_owned())
            }
        }
    }
}

/// Every variable that some pretended job has, once each: one that is left over from another CI system would mislead
/// what looks for a token.
pub(super) fn every_variable() -> impl Iterator<Item = &'static str> {
    let handed = SYSTEMS.iter().flat_map(|system| match &system.handover {
        Handover::Request { address, token } => vec![*address, *token],
        Handover::Agent { endpoint, token } => vec![*endpoint, *token],
        Handover::Variables(variables) => variables.iter().map(|(name, _)| *name).collect(),
    });
    let others = SYSTEMS
        .iter()
        .flat_map(|system| system.variables.iter().map(|(name, _)| *name));
    let names: std::collections::BTreeSet<_> = handed.chain(others).collect();
    names.into_iter()
}
