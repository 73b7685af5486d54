//! A service whose public URL is its real address, as in the examples, and a shell to run them in.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use countersign::cli::assemble::{Parts, assemble_with};
use countersign::clock::{FrozenClock, UnixTime};
use countersign::config::Config;
use countersign::fake_ci::Job;
use countersign::http;
use countersign::store::Options;
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::support::service::{NOON, ci};

/// The service, its folder, and what the shell finds.
pub struct Stage {
    pub url: String,
    folder: TempDir,
    parts: Parts,
    handle: ServerHandle,
}

/// What came of a script.
pub struct Ran {
    pub done: bool,
    pub out: String,
    pub complaint: String,
}

/// What `buildkite-agent` does in the examples, over HTTP as the real one does it.
const AGENT: &str = r#"#!/bin/sh
set -eu
case "$1 $2" in
"redactor add") cat >/dev/null ;;
"oidc request-token")
  shift 2
  while [ $# -gt 0 ]; do
    case "$1" in
    --audience) audience=$2 ;;
    --claim) claims=$(printf '"%s"' "$2" | sed 's/,/","/g') ;;
    *) echo "buildkite-agent: $1 is not known here" >&2; exit 2 ;;
    esac
    shift 2
  done
  curl -sS --fail -H "Authorization: Token $BUILDKITE_AGENT_ACCESS_TOKEN" -H 'Content-Type: application/json' \
    -d "{\"audience\":\"$audience\",\"lifetime\":0,\"claims\":[${claims-}]}" \
    "$BUILDKITE_AGENT_ENDPOINT/jobs/$BUILDKITE_JOB_ID/oidc/tokens" |
    sed 's/.*"token":"\([^"]*\)".*/\1/'
  ;;
*) echo "buildkite-agent: $* is not known here" >&2; exit 2 ;;
esac
"#;

impl Stage {
    /// A service with these policies, by project.
    pub async fn open(policies: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (bin, trust) = (
            folder.path().join("bin"),
            folder.path().join("trust-policies"),
        );
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&trust).unwrap();
        let agent = bin.join("buildkite-agent");
        std::fs::write(&agent, AGENT).unwrap();
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
        for (project, text) in policies {
            let file = trust.join(format!("{project}.toml"));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = format!(
            "listen = \"{}\"\npublic-url = \"{url}\"\nallow-loopback-http = true\n{}",
            url.trim_start_matches("http://"),
            ci().signer().issuer_tables()
        );
        let file = folder.path().join("countersign.toml");
        std::fs::write(&file, config).unwrap();
        let config = Config::load(Some(&file), &std::collections::BTreeMap::new()).unwrap();
        let clock = Arc::new(FrozenClock::at(UnixTime::from_seconds(NOON)));
        let parts = assemble_with(&config, clock, Options::default())
            .await
            .unwrap();
        let problems = parts.service.exchange.directory.problems();
        assert!(problems.is_empty(), "{problems:#?}");
        let server = http::serve(listener, parts.service.clone()).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            url,
            folder,
            parts,
            handle,
        }
    }

    pub async fn close(self) {
        self.handle.stop(true).await;
        let store = self.parts.store.clone();
        drop(self.parts);
        tokio::task::spawn_blocking(move || store.close())
            .await
            .unwrap();
    }

    /// A file of the folder in which scripts may write.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A job of a pretended CI system.
    pub fn job(set: &str, changes: &[(&str, Value)]) -> Job {
        let profile = set.split('-').next().unwrap();
        let changes = changes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        Job::new(profile, Some(set), changes.collect::<Map<_, _>>()).unwrap()
    }

    /// Whom the tokens of a job are for: us, but for CircleCI, whose jobs ask for nothing.
    fn audience(&self, set: &str) -> Option<&str> {
        (!set.starts_with("circleci")).then_some(self.url.as_str())
    }

    /// A token of that job, for this service.
    pub fn token(&self, set: &str, changes: &[(&str, Value)]) -> String {
        let signed = ci().token(&Self::job(set, changes), self.audience(set));
        signed.unwrap().token
    }

    /// The lines that put a shell into the place of that job. GitHub's and Buildkite's jobs ask for their audience.
    pub fn environment(&self, set: &str, changes: &[(&str, Value)]) -> String {
        let asks = ["github", "buildkite"]
            .iter()
            .any(|name| set.starts_with(name));
        let audience = self.audience(set).filter(|_| !asks);
        ci().environment(&Self::job(set, changes), audience)
            .unwrap()
    }

    /// Runs a script in `sh`.
    pub async fn run(&self, script: &str, variables: &[(&str, &str)]) -> Ran {
        let path = format!(
            "{}:{}",
            self.file("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .env("COUNTERSIGN_URL", &self.url)
            .env("GITHUB_ENV", self.file("github-env"))
            .env("BASH_ENV", self.file("bash-env"))
            .envs(variables.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        Ran {
            done: output.status.success(),
            out: String::from_utf8(output.stdout).unwrap(),
            complaint: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// What a project token says.
pub fn payload(token: &str) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let payload = token.split('.').nth(1).unwrap_or_default();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
