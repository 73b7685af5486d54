//! Tokens of jobs, in the form that GitHub Actions gives them (about 1.8 kB, RS256 by a key of 2048 bits).

use countersign::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::support::keys::{SigningKey, encoded};

/// The name under which the issuer's key is published.
const KID: &str = "kid-0001";

/// Whom the tokens are made for: `public-url` of every service here.
pub const AUDIENCE: &str = "https://sts.example.com";

/// The project that most exchanges ask for.
pub const PROJECT: &str = "acme/widgets";

/// How long a token lives, in seconds, and how old the services let one be: signing enough of them takes minutes.
pub const LIFETIME: i64 = 2 * 60 * 60;

/// What signs the tokens of one issuer.
pub struct Signer {
    key: SigningKey,
    issuer: String,
}

impl Signer {
    /// A new key for the issuer at this address.
    pub fn new(issuer: &str) -> Self {
        Self {
            key: SigningKey::rs256(KID),
            issuer: issuer.to_owned(),
        }
    }

    /// The key set that the issuer publishes.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.key.jwk()] })
    }

    /// A fresh token of the job that the policies here trust.
    pub fn token(&self) -> String {
        self.key.token(&self.claims())
    }

    /// A fresh, valid token of a job that no policy here trusts.
    pub fn untrusted(&self) -> String {
        let mut claims = self.claims();
        claims["repository"] = json!("octo-org/another-repo");
        claims["repository_id"] = json!("75123456");
        self.key.token(&claims)
    }

    /// `token` under the name of a key that was never published. That its signature no longer fits is never found out:
    /// nobody has a key to check it with.
    pub fn of_unknown_key(&self, token: &str) -> String {
        let mut header = self.key.header();
        header["kid"] = json!(uuid::Uuid::new_v4().to_string());
        let rest = token.split_once('.').map_or("", |(_, rest)| rest);
        format!("{}.{rest}", encoded(header.to_string().as_bytes()))
    }

    /// The claims of a fresh job under the signature of `token`: made without the key.
    pub fn forged(&self, token: &str) -> String {
        let header = encoded(self.key.header().to_string().as_bytes());
        let claims = encoded(self.claims().to_string().as_bytes());
        let signature = token.rsplit_once('.').map_or("", |(_, last)| last);
        format!("{header}.{claims}.{signature}")
    }

    /// The claims of the trusted job, with a `jti` that was never used.
    pub fn claims(&self) -> Value {
        let now = SystemClock.now().seconds();
        let sha = "0f1e2d3c4b5a69788796a5b4c3d2e1f001122334";
        json!({
            "jti": uuid::Uuid::new_v4().to_string(),
            "sub": "repo:octo-org/octo-repo:environment:production",
            "aud": AUDIENCE,
            "ref": "refs/heads/main",
            "sha": sha,
            "repository": "octo-org/octo-repo",
            "repository_owner": "octo-org",
            "repository_owner_id": "65123456",
            "repository_id": "74123456",
            "run_id": "9876543210",
            "run_number": "1042",
            "run_attempt": "2",
            "repository_visibility": "private",
            "actor_id": "12345678",
            "actor": "octocat",
            "workflow": "release",
            "head_ref": "",
            "base_ref": "",
            "event_name": "workflow_dispatch",
            "ref_protected": "true",
            "ref_type": "branch",
            "environment": "production",
            "workflow_ref": "octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main",
            "workflow_sha": sha,
            "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
            "job_workflow_sha": sha,
            "runner_environment": "github-hosted",
            "iss": self.issuer,
            "nbf": now - 300,
            "exp": now + LIFETIME,
            "iat": now,
        })
    }
}

/// The form that asks to exchange `token` for a token of `project` (RFC 8693, section 2.1).
pub fn form(token: &str, project: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair(
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        )
        .append_pair("subject_token", token)
        .append_pair(
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:id_token",
        )
        .append_pair("audience", project)
        .finish()
}
