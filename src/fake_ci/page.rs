//! The page at `/`: what there is, in plain text, with commands to copy.

use super::claim_sets;
use super::system::{GITLAB_TOKEN_VARIABLE, RWX_TOKEN_VARIABLE, SYSTEMS, TRIAL_AUDIENCE};

/// The page of a fake CI at `base`.
pub(super) fn text(base: &str) -> String {
    let sets: Vec<String> = SYSTEMS
        .iter()
        .map(|system| {
            let own = claim_sets()
                .iter()
                .filter(|set| set.profile.name == system.name);
            let names: Vec<&str> = own.map(|set| set.name).collect();
            format!("  {}", names.join("\n  "))
        })
        .collect();
    let sets = sets.join("\n\n");
    format!(
        r#"countersign fake-ci: an issuer that stands in for GitHub Actions, CircleCI, Buildkite, RWX and GitLab CI.
It signs whatever it is asked to. Nobody but a test or a trial should believe it.

Make a service believe it

  curl -s {base}/countersign.toml > countersign.toml

Be a job (the audience is the service's `public-url`)

  eval "$(curl -s '{base}/env/github?claims=github-tag')"
  eval "$(curl -s '{base}/env/circleci')"
  eval "$(curl -s '{base}/env/buildkite?build_branch=feature/x')"
  eval "$(curl -s '{base}/env/rwx?audience={TRIAL_AUDIENCE}')"
  eval "$(curl -s '{base}/env/gitlab?audience={TRIAL_AUDIENCE}')"

  The shell then has what such a job has: GitHub's request address and token, Buildkite's agent address and token,
  CIRCLE_OIDC_TOKEN and CIRCLE_OIDC_TOKEN_V2, and, where workflows name the variable themselves,
  {RWX_TOKEN_VARIABLE} and {GITLAB_TOKEN_VARIABLE}. Variables of an earlier job are unset.

Take a token

  curl -s '{base}/token/github?claims=github-push&audience={TRIAL_AUDIENCE}&ref=refs/heads/dev'
  curl -s '{base}/token/circleci' -d '{{"oidc.circleci.com/ssh-rerun": true}}'

  claims=    the claim set; without it, the first of its CI system below
  audience=  whom the token is for; without it, what the CI system puts there (RWX, which has no default:
             {TRIAL_AUDIENCE})
  any other  a claim to put over the set's; null takes it away. Claims that repeat it (sub, workflow_ref ..) follow,
             unless they are given too. iat, nbf, exp and jti are fresh unless given.

Claim sets

{sets}

Addresses

  {base}/github, /buildkite, /rwx, /gitlab, /circleci and /circleci/org/<uuid>
                         issuers, each with /.well-known/openid-configuration and its key set
  {base}/claims
                         the claim sets as JSON
  {base}/github/token-request
  {base}/buildkite/v3/jobs/<job id>/oidc/tokens
"#
    )
}
