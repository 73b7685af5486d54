//! Request tokens: what a pretended job shows to get its identity token. They carry the job themselves, so nothing is kept.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{FakeCiError, Job};

/// Seals request tokens with a key that ends with the process.
pub(super) struct Seal(Key);

/// What a request token says.
#[derive(Serialize, Deserialize)]
struct Content {
    profile: String,
    claims: String,
    overrides: Map<String, Value>,
    audience: Option<String>,
}

impl Seal {
    pub(super) fn new() -> Result<Self, FakeCiError> {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new());
        key.map(Self)
            .map_err(|_| FakeCiError::Library("made a key"))
    }

    /// The request token of `job`, whose identity tokens are for `audience` unless it asks otherwise.
    pub(super) fn close(&self, job: &Job, audience: Option<&str>) -> Result<String, FakeCiError> {
        let content = Content {
            profile: job.system.name.to_owned(),
            claims: job.set.name.to_owned(),
            overrides: job.overrides.clone(),
            audience: audience.map(str::to_owned),
        };
        let content =
            serde_json::to_vec(&content).map_err(|_| FakeCiError::Library("sealed a job"))?;
        let tag = sign(&self.0, &content);
        Ok(format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&content),
            URL_SAFE_NO_PAD.encode(tag)
        ))
    }

    /// The job of a request token that this seal closed for this CI system, and its audience.
    pub(super) fn open(
        &self,
        profile: &'static str,
        token: &str,
    ) -> Result<(Job, Option<String>), FakeCiError> {
        let refused = || FakeCiError::RequestTokenRefused(profile);
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| refused());
        let (content, tag) = token.split_once('.').ok_or_else(refused)?;
        let (content, tag) = (decode(content)?, decode(tag)?);
        verify(&self.0, &content, &tag).map_err(|_| refused())?;
        let content: Content = serde_json::from_slice(&content).map_err(|_| refused())?;
        if content.profile != profile {
            return Err(refused());
        }
        let job = Job::new(profile, Some(&content.claims), content.overrides)?;
        Ok((job, content.audience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_token_opens_only_unchanged_and_at_its_own_ci_system() {
        let seal = Seal::new().unwrap();
        let job = Job::new("github", Some("github-tag"), Map::new()).unwrap();
        let token = seal.close(&job, Some("https://sts.example.com")).unwrap();
        let (same, audience) = seal.open("github", &token).unwrap();
        assert_eq!(same.set.name, "github-tag");
        assert_eq!(audience.as_deref(), Some("https://sts.example.com"));

        let changed = format!("e{token}");
        let cut = token.split('.').next().unwrap();
        let strange = Seal::new().unwrap().close(&job, None).unwrap();
        for (profile, token) in [
            ("buildkite", token.as_str()),
            ("github", &changed),
            ("github", cut),
            ("github", ""),
            ("github", "."),
            ("github", &strange),
        ] {
            let refused = seal.open(profile, token).err();
            assert_eq!(refused, Some(FakeCiError::RequestTokenRefused(profile)));
        }
    }
}
