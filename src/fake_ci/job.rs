//! A pretended job: a claim set, and what an operator wants changed in it.

use serde_json::{Map, Value};

use super::follow::let_follow;
use super::sets::{ClaimSet, claim_sets};
use super::system::{System, system_named};
use super::{FakeCiError, claim_set};
use crate::issuer::profile::ClaimType;
use crate::issuer::{Profile, profile_named};

/// A job of a pretended CI system.
#[derive(Clone)]
pub struct Job {
    pub(super) system: &'static System,
    pub(super) set: &'static ClaimSet,
    pub(super) overrides: Map<String, Value>,
}

impl Job {
    /// The job that the claim set called `set` describes (without a name: the profile's first), with `overrides` put over
    /// its claims. `null` takes a claim away.
    pub fn new(
        profile: &str,
        set: Option<&str>,
        overrides: Map<String, Value>,
    ) -> Result<Self, FakeCiError> {
        let system = system_named(profile)?;
        let mut own = claim_sets()
            .iter()
            .filter(|set| set.profile.name == system.name);
        let found = match set {
            None => own.next(),
            Some(name) => claim_set(name).filter(|set| set.profile.name == system.name),
        };
        let set = found.ok_or_else(|| FakeCiError::UnknownClaimSet {
            asked: set.unwrap_or_default().to_owned(),
            profile: system.name,
            known: own.map(|set| set.name).collect(),
        })?;
        Ok(Self {
            system,
            set,
            overrides,
        })
    }

    /// What we know of its CI system.
    pub fn profile(&self) -> &'static Profile {
        self.set.profile
    }

    /// Its claims: all but those that are settled when a token is made (`iss`, `aud`, `jti` and the times), which are
    /// still the set's unless they are overridden.
    pub fn claims(&self) -> Map<String, Value> {
        let mut claims = self.set.claims.clone();
        claims.extend(self.overrides.clone());
        let_follow(
            self.system.follows,
            &self.set.claims,
            &self.overrides,
            &mut claims,
        );
        claims.retain(|claim, _| {
            self.overrides
                .get(claim)
                .is_none_or(|value| !value.is_null())
        });
        claims
    }
}

/// Reads overrides from a JSON object; nothing at all changes nothing.
pub fn overrides_from_json(body: &[u8]) -> Result<Map<String, Value>, FakeCiError> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(body).map_err(|fault| FakeCiError::OverridesMalformed(fault.to_string()))
}

/// Reads the value of an override that was written as text, as in a query.
///
/// `null` takes the claim away. Where the profile says that the claim is a text, so is the value, and `123` stays one;
/// quotation marks around it may be given. Any other claim is JSON if it can be read as such, else a text.
pub fn override_from_text(profile: &str, claim: &str, text: &str) -> Value {
    let known = profile_named(profile).and_then(|profile| profile.claim(claim));
    let is_text = known.is_some_and(|claim| {
        matches!(
            claim.kind,
            ClaimType::Text | ClaimType::Id | ClaimType::BooleanText
        )
    });
    match serde_json::from_str(text) {
        Ok(value @ (Value::Null | Value::String(_))) => value,
        Ok(value) if !is_text => value,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(profile: &str, set: &str, overrides: &Value) -> Map<String, Value> {
        let overrides = overrides.as_object().unwrap().clone();
        Job::new(profile, Some(set), overrides).unwrap().claims()
    }

    #[test]
    fn every_set_says_of_itself_what_its_followers_would() {
        for set in claim_sets() {
            let job = Job::new(set.profile.name, Some(set.name), Map::new()).unwrap();
            assert_eq!(job.claims(), set.claims, "{}", set.name);
        }
    }

    #[test]
    fn a_changed_ref_is_repeated_wherever_github_repeats_it() {
        let job = claims("github", "github-push", &json!({"ref": "refs/tags/v2"}));
        assert_eq!(job["ref_type"], "tag");
        assert_eq!(job["sub"], "repo:octo-org/octo-repo:ref:refs/tags/v2");
        assert_eq!(
            job["job_workflow_ref"],
            "octo-org/octo-repo/.github/workflows/build.yml@refs/tags/v2"
        );
    }

    #[test]
    fn an_environment_takes_the_place_of_the_ref_in_the_subject() {
        let environment = json!({"environment": "prod:eu"});
        let job = claims("github", "github-push", &environment);
        assert_eq!(job["sub"], "repo:octo-org/octo-repo:environment:prod%3Aeu");
        let without = json!({"environment": null});
        let job = claims("github", "github-environment", &without);
        assert_eq!(job["sub"], "repo:octo-org/octo-repo:ref:refs/heads/main");
        assert!(!job.contains_key("environment"));
    }

    #[test]
    fn every_ci_system_rebuilds_its_subject() {
        for (profile, set, overrides, subject) in [
            (
                "circleci",
                "circleci-v2-push",
                json!({"oidc.circleci.com/vcs-ref": null}),
                "org/a40f5d1f-d889-42e9-94ea-b9b33585fc6b/project/405d8375-3514-403b-8c43-83ae74cfe0e9/user/0f9ce4e3-6a0e-4e0c-8f3a-7c6b4b3f2a11",
            ),
            (
                "buildkite",
                "buildkite-push",
                json!({"build_tag": "v3", "step_key": null, "build_commit": "c0ffee"}),
                "organization:acme-inc:pipeline:super-duper-app:ref:refs/tags/v3:commit:c0ffee:step:",
            ),
            (
                "gitlab",
                "gitlab-push",
                json!({"ref": "v3", "ref_type": "tag", "project_path": "a/b/c"}),
                "project_path:a/b/c:ref_type:tag:ref:v3",
            ),
        ] {
            assert_eq!(claims(profile, set, &overrides)["sub"], subject, "{set}");
        }
    }

    #[test]
    fn a_moved_gitlab_project_runs_its_jobs_there_but_a_fork_does_not() {
        let moved = json!({"project_id": "21"});
        let own = claims("gitlab", "gitlab-push", &moved);
        assert_eq!(own["job_project_id"], "21");
        let fork = claims("gitlab", "gitlab-merge-request-from-fork", &moved);
        assert_eq!(fork["job_project_id"], "20");
    }

    #[test]
    fn what_is_given_stands_as_given() {
        let lie =
            json!({"ref": "refs/heads/x", "sub": "repo:a/b:ref:refs/heads/main", "ref_type": null});
        let job = claims("github", "github-push", &lie);
        assert_eq!(job["sub"], "repo:a/b:ref:refs/heads/main");
        assert!(!job.contains_key("ref_type"));
    }

    #[test]
    fn a_text_in_a_query_has_the_type_that_the_claim_has() {
        for (profile, claim, text, value) in [
            ("github", "run_id", "123", json!("123")),
            ("github", "ref_protected", "true", json!("true")),
            ("github", "ref", "refs/heads/main", json!("refs/heads/main")),
            ("github", "environment", "null", Value::Null),
            ("github", "environment", "\"null\"", json!("null")),
            ("github", "environment", "", json!("")),
            ("buildkite", "build_number", "7", json!(7)),
            (
                "circleci",
                "oidc.circleci.com/ssh-rerun",
                "true",
                json!(true),
            ),
            ("gitlab", "aud", r#"["a","b"]"#, json!(["a", "b"])),
            ("gitlab", "aud", "https://a", json!("https://a")),
            ("gitlab", "exp", "1794996000", json!(1_794_996_000)),
        ] {
            assert_eq!(
                override_from_text(profile, claim, text),
                value,
                "{claim}={text}"
            );
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_names_there_are() {
        let error = Job::new("gitlab", Some("github-push"), Map::new())
            .err()
            .unwrap();
        assert_eq!(error.code(), "claim-set-unknown");
        assert!(error.to_string().contains("gitlab-merge-request-from-fork"));
        let error = Job::new("generic", None, Map::new()).err().unwrap();
        assert!(
            error
                .to_string()
                .ends_with("github, circleci, buildkite, rwx, gitlab")
        );
    }
}
