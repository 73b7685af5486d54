//! Every policy in a document loads, and decides as the text around it says.

use countersign::issuer::Registry;
use countersign::trust::{ProjectPath, read_policy};
use serde_json::{Value, json};

use super::markdown::{Block, blocks, read};
use super::stage::{Stage, payload};

type Changes = Vec<(&'static str, Value)>;

/// Which job a trust relationship of a document holds for, and which change makes it none. A deny is the other way round:
/// it does not hold for the job, and does with the change.
fn said() -> Vec<(&'static str, &'static str, &'static str, Changes)> {
    vec![
        (
            "deploy/ci/github/README.md",
            "release",
            "github-tag-environment",
            vec![("environment", json!("staging"))],
        ),
        (
            "deploy/ci/github/README.md",
            "pull requests",
            "github-pull_request",
            vec![("event_name", json!("push"))],
        ),
        (
            "deploy/ci/github/README.md",
            "no self-hosted runners",
            "github-pull_request",
            vec![("runner_environment", json!("self-hosted"))],
        ),
        (
            "deploy/ci/circleci/README.md",
            "publish",
            "circleci-v2-push",
            vec![("oidc.circleci.com/context-ids", json!([]))],
        ),
        (
            "deploy/ci/buildkite/README.md",
            "tests of any branch",
            "buildkite-optional-claims",
            vec![("step_key", json!("deploy"))],
        ),
        (
            "deploy/ci/buildkite/README.md",
            "only Buildkite's own agents",
            "buildkite-optional-claims",
            vec![("runner_environment", json!("self-hosted"))],
        ),
        (
            "deploy/ci/rwx/README.md",
            "any run",
            "rwx-vault-subject-org-slug",
            vec![("sub", json!("org:my-org:vault:my-vault2"))],
        ),
        (
            "deploy/ci/gitlab/README.md",
            "release",
            "gitlab-tag-protected",
            vec![("ref_protected", json!("false"))],
        ),
        (
            "deploy/ci/gitlab/README.md",
            "deploy",
            "gitlab-environment",
            vec![("environment_protected", json!("false"))],
        ),
    ]
}

fn is_policy(block: &Block) -> bool {
    ["[[trust]]", "[[deny]]"]
        .iter()
        .any(|entry| block.text.contains(entry))
}

/// The names of the entries of one kind.
fn names(text: &str, kind: &str) -> Vec<String> {
    let table: toml::Table = text.parse().unwrap();
    let entries = table.get(kind).and_then(toml::Value::as_array);
    entries
        .into_iter()
        .flatten()
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_policy_in_a_document_loads() {
    let config = countersign::config::Config::load(None, &std::collections::BTreeMap::new());
    let registry = Registry::new(config.unwrap().issuers);
    let mut texts: Vec<(String, String)> = blocks("toml")
        .into_iter()
        .filter(is_policy)
        .map(|block| (block.place, block.text))
        .collect();
    for system in ["github", "circleci", "buildkite", "rwx", "gitlab"] {
        let file = format!("deploy/ci/{system}/policy.toml");
        texts.push((file.clone(), read(&file)));
    }
    assert_eq!(texts.len(), 19);
    for (place, text) in texts {
        let path = ProjectPath::parse("acme/api").unwrap();
        if let Err(fault) = read_policy(path, &place, &text, &registry) {
            panic!("{}", fault.render(false));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_in_a_document_decides_as_the_text_says() {
    let mut told: Vec<(String, String)> = Vec::new();
    for block in blocks("toml").iter().filter(|block| is_policy(block)) {
        let document = block.place.split(':').next().unwrap();
        if ["README.md", "docs/policies.md"].contains(&document) {
            // The shipped files, whose jobs are run; and a page whose commands are run (`tests/lint.rs`, `pins.rs`, `verbs.rs`).
            continue;
        }
        let stage = Stage::open(&[("acme/example", &block.text)]).await;
        let denies = names(&block.text, "deny");
        for name in names(&block.text, "trust").iter().chain(&denies) {
            let found = said()
                .into_iter()
                .find(|(file, entry, ..)| *file == document && entry == name);
            let (_, _, set, changes) =
                found.unwrap_or_else(|| panic!("{}: what about `{name}`?", block.place));
            let holds_for = trusted(&stage, set, &[]).await.unwrap_or_default();
            let spoilt = trusted(&stage, set, &changes).await;
            if denies.contains(name) {
                assert!(!holds_for.is_empty(), "{name}");
                assert_eq!(spoilt, Err("denied-by-rule".to_owned()), "{name}");
            } else {
                assert!(holds_for.contains(name), "{name}: {holds_for:?}");
                assert!(
                    !spoilt.unwrap_or_default().contains(name),
                    "{name} still holds"
                );
            }
            told.push((document.to_owned(), name.clone()));
        }
        stage.close().await;
    }
    assert_eq!(told.len(), said().len(), "{told:#?}");
}

/// The relationships that a job's project token names, or the reason why there is none.
async fn trusted(
    stage: &Stage,
    set: &str,
    changes: &[(&str, Value)],
) -> Result<Vec<String>, String> {
    let script = "curl -sS \"$COUNTERSIGN_URL/oauth/token\" -d subject_token=\"$identity\" -d audience=acme/example \
        -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
        -d subject_token_type=urn:ietf:params:oauth:token-type:id_token";
    let identity = stage.token(set, changes);
    let ran = stage.run(script, &[("identity", &identity)]).await;
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    match answer["access_token"].as_str() {
        Some(token) => Ok(serde_json::from_value(payload(token)["trust"].clone()).unwrap()),
        None => Err(answer["reason"].as_str().unwrap().to_owned()),
    }
}
