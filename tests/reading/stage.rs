//! A service with a small story behind it, and the program that asks about it.

use std::path::{Path, PathBuf};
use std::process::Command;

use countersign::audit::{DecisionId, Happening, PolicyLoaded};
use countersign::clock::{Clock as _, Seconds, UnixTime};
use countersign::config::Config;
use countersign::directory::{OnRecord, PolicyChange};
use countersign::http::admin::AdminServer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::service::{Answer, Settings, TestService};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

/// Before everything that these tests do. The program has a clock of its own, so a test names every time.
pub const TODAY: &str = "2026-11-20T00:00:00Z";

/// What the program answered.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))
    }
}

/// An audit token.
pub const AUDIT_TOKEN: &str = "an-audit-token-of-the-tests-and-no-secret";
const AUDIT_TOKEN_SHA256: &str = "152f50af022c69d05c6762ea12745a69781b20f0e572e72e1968cef438e0472d";

/// Names of the story that a reviewer may know.
#[derive(Clone, Default)]
pub struct Story {
    /// `sub` of the jobs of the branch `main`.
    pub subject: String,
    /// A decision.
    pub decision: String,
    /// `jti` of the token that it issued.
    pub token: String,
}

/// A service, running with its socket.
pub struct Stage {
    service: TestService,
    admin: AdminServer,
    pub story: Story,
}

/// The folder of a service that is stopped.
pub struct Stopped(TempDir);

/// Runs `countersign audit` in `folder`.
pub async fn audit_in(folder: &Path, verb: &str, arguments: &[&str]) -> Ran {
    let mut command = command(folder, verb);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `countersign audit VERB` with the configuration of `folder`.
pub fn command(folder: &Path, verb: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .current_dir(folder)
        .env("COUNTERSIGN_CONFIG", "countersign.toml")
        .args(["audit", verb]);
    command
}

impl Stage {
    /// A service that nobody has asked for anything.
    pub async fn quiet() -> Self {
        Self::of(TestService::start().await)
    }

    /// The service of the story, and a reviewer needs a token to read of it from elsewhere.
    pub async fn with_a_story_and_a_token() -> Self {
        let tables = format!("[audit]\ntoken-sha256 = \"{AUDIT_TOKEN_SHA256}\"\n");
        let settings = Settings {
            tables,
            ..Settings::default()
        };
        Self::of(TestService::with(settings).await)
            .tell_the_story()
            .await
    }

    /// A service in a folder that an earlier one has left.
    pub async fn again(folder: TempDir) -> Self {
        Self::of(TestService::in_folder(folder, Settings::default()).await)
    }

    fn of(service: TestService) -> Self {
        let config = service.folder.path().join("countersign.toml");
        let config = Config::load(Some(&config), &std::collections::BTreeMap::new()).unwrap();
        let socket = config.store.admin_socket().unwrap();
        let admin = AdminServer::start(&socket, service.parts.service.clone()).unwrap();
        Self {
            service,
            admin,
            story: Story::default(),
        }
    }

    /// A job of each CI system is let in, two more of GitHub are, one of a branch is denied, and one shows its token again:
    /// a second apart.
    pub async fn with_a_story() -> Self {
        Self::quiet().await.tell_the_story().await
    }

    async fn tell_the_story(self) -> Self {
        let mut stage = self;
        let first = stage.exchange("github-push", "acme/api", &[]).await;
        let token = stage.service.token("github-push", &[]);
        stage.shown(&token, "acme/api").await;
        let changes = [
            ("ref", json!("refs/heads/feature")),
            (
                "sub",
                json!("repo:octo-org/octo-repo:ref:refs/heads/feature"),
            ),
        ];
        let denied = stage.exchange("github-push", "acme/api", &changes).await;
        assert_eq!(denied.status, 400);
        for (set, project) in [
            ("gitlab-push", "acme/mobile"),
            ("circleci-v2-push", "acme/web"),
            ("buildkite-optional-claims", "acme/images"),
            ("rwx-locked-vault", "acme/site"),
        ] {
            let answer = stage.exchange(set, project, &[]).await;
            assert_eq!(answer.status, 200, "{set}: {}", answer.text);
        }
        let again = stage.shown(&token, "acme/api").await;
        assert_eq!(again.reason(), "token-spent");
        let record = stage.service.record(&first).await;
        stage.story = Story {
            subject: record.subject.unwrap(),
            decision: record.decision_id.to_string(),
            token: record.token_id.unwrap(),
        };
        stage
    }

    pub fn service(&self) -> &TestService {
        &self.service
    }

    pub fn folder(&self) -> PathBuf {
        self.service.folder.path().to_owned()
    }

    pub fn now(&self) -> UnixTime {
        self.service.clock.now()
    }

    /// A second later, a fresh job asks for a token.
    pub async fn exchange(&self, set: &str, project: &str, changes: &[(&str, Value)]) -> Answer {
        let token = self.service.token(set, changes);
        self.shown(&token, project).await
    }

    /// A second later, a token is shown.
    pub async fn shown(&self, token: &str, project: &str) -> Answer {
        self.service.advance(Seconds(1));
        self.service.exchange(token, project).await
    }

    /// Runs `countersign audit` beside the service.
    pub async fn audit(&self, verb: &str, arguments: &[&str]) -> Ran {
        audit_in(self.service.folder.path(), verb, arguments).await
    }

    /// Ends the service.
    pub async fn stopped(self) -> Stopped {
        self.admin.stop().await;
        Stopped(self.service.stop().await)
    }

    /// Puts a version of a policy file on record as in force, in place of the one before.
    pub async fn on_record(&self, file: &str, text: &str, loaded: PolicyLoaded) {
        let digest = format!("sha256:{}", DecisionId::new(self.now()));
        let (organization, rest) = file.split_once('/').unwrap();
        let project = rest.strip_suffix(".toml").unwrap();
        let event = Happening::PolicyLoaded(PolicyLoaded {
            file: file.to_owned(),
            organization: organization.to_owned(),
            project: Some(format!("{organization}/{project}")),
            digest: digest.clone(),
            ..loaded
        });
        let change = PolicyChange {
            file: file.to_owned(),
            event,
            on_record: Some(OnRecord {
                in_force: Some(digest.clone()),
                ..OnRecord::default()
            }),
            text: Some((digest, text.as_bytes().to_vec())),
        };
        let store = &self.service.parts.store;
        store
            .record_policies(vec![change], self.now())
            .await
            .unwrap();
    }
}

impl Stopped {
    /// Runs `countersign audit` in place of the service.
    pub async fn audit(&self, verb: &str, arguments: &[&str]) -> Ran {
        audit_in(self.0.path(), verb, arguments).await
    }

    /// The folder, for another service.
    pub fn folder(self) -> TempDir {
        self.0
    }
}
