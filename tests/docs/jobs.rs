//! The job of each CI system, taken out of its file and run as that CI system would run it.

use std::process::Command;

use serde_json::{Value, json};

use super::markdown::{blocks, read};
use super::stage::{Stage, payload};

type Changes = Vec<(&'static str, Value)>;

/// What the documents say of one CI system's job.
struct Said {
    system: &'static str,
    project: &'static str,
    /// The job that gets a project token.
    passes: &'static str,
    /// Jobs that get none, and the claim that they are told of; empty where they may not know.
    refused: Vec<(&'static str, Changes, &'static str)>,
}

fn said() -> Vec<Said> {
    vec![
        Said {
            system: "github",
            project: "acme/api",
            passes: "github-push",
            refused: vec![
                ("github-push", vec![("ref", json!("refs/heads/x"))], "`ref`"),
                ("github-pull_request", vec![], "`event_name`"),
            ],
        },
        Said {
            system: "circleci",
            project: "acme/web",
            passes: "circleci-v2-push",
            refused: vec![
                (
                    "circleci-v2-feature-branch",
                    vec![],
                    "`oidc.circleci.com/vcs-ref`",
                ),
                ("circleci-v2-fork-pull-request", vec![], ""),
                (
                    "circleci-v2-ssh-rerun",
                    vec![],
                    "`oidc.circleci.com/ssh-rerun`",
                ),
            ],
        },
        Said {
            system: "buildkite",
            project: "acme/images",
            passes: "buildkite-push",
            refused: vec![
                (
                    "buildkite-push",
                    vec![("build_branch", json!("x"))],
                    "`build_branch`",
                ),
                (
                    "buildkite-push",
                    vec![("build_source", json!("api"))],
                    "`build_source`",
                ),
            ],
        },
        Said {
            system: "rwx",
            project: "acme/site",
            passes: "rwx-locked-vault",
            refused: vec![("rwx-vault-subject-org-slug", vec![], "")],
        },
        Said {
            system: "gitlab",
            project: "acme/mobile",
            passes: "gitlab-push",
            refused: vec![
                ("gitlab-push", vec![("ref", json!("x"))], "`ref_path`"),
                ("gitlab-merge-request-from-fork", vec![], ""),
            ],
        },
    ]
}

fn policy(system: &str) -> String {
    read(&format!("deploy/ci/{system}/policy.toml"))
}

fn job(system: &str) -> String {
    read(&format!("deploy/ci/{system}/job.yml"))
}

async fn stage() -> Stage {
    let policies: Vec<(&str, String)> = said()
        .iter()
        .map(|said| (said.project, policy(said.system)))
        .collect();
    let policies: Vec<(&str, &str)> = policies
        .iter()
        .map(|(project, text)| (*project, text.as_str()))
        .collect();
    Stage::open(&policies).await
}

/// The script in a job's file: the one block of lines below a key or list entry that ends in `|`.
fn script(system: &str) -> String {
    let yaml = job(system);
    let lines: Vec<&str> = yaml.lines().collect();
    let begins = lines.iter().position(|line| line.ends_with('|')).unwrap();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let inner = indent(lines[begins + 1]);
    let block = lines[begins + 1..]
        .iter()
        .take_while(|line| line.is_empty() || indent(line) >= inner)
        .map(|line| line.get(inner..).unwrap_or_default());
    let script: Vec<&str> = block.collect();
    let script = script.join("\n");
    // The agent takes one of the two away when it uploads the file.
    if system == "buildkite" {
        script.replace("$$", "$")
    } else {
        script
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_each_ci_system_gets_a_project_token() {
    let stage = stage().await;
    for said in said() {
        let job = stage.environment(said.passes, &[]);
        let script = format!(
            "{job}{}\nprintf '%s' \"$token\" >token",
            script(said.system)
        );
        let ran = stage.run(&script, &[]).await;
        assert!(ran.done, "{}: {}{}", said.system, ran.out, ran.complaint);
        let token = std::fs::read_to_string(stage.file("token")).unwrap();
        let says = payload(&token);
        assert_eq!(says["project"], said.project);
        let policy = policy(said.system);
        let named = policy
            .lines()
            .find_map(|line| line.strip_prefix("name = "))
            .unwrap();
        assert_eq!(json!([named.trim_matches('"')]), says["trust"]);
        // What the file says later steps have, they have; and nothing else shows the token.
        let handed = |name: &str| std::fs::read_to_string(stage.file(name)).unwrap_or_default();
        match said.system {
            "github" => {
                assert_eq!(handed("github-env"), format!("PROJECT_TOKEN={token}\n"));
                assert_eq!(ran.out, format!("::add-mask::{token}\n"));
            }
            "circleci" => {
                let line = format!("export PROJECT_TOKEN='{token}'\n");
                assert_eq!((handed("bash-env"), ran.out.as_str()), (line, ""));
            }
            _ => assert_eq!(ran.out, ""),
        }
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_trusted_fails_and_prints_what_to_mend() {
    let stage = stage().await;
    for said in said() {
        for (set, changes, claim) in said.refused {
            let job = stage.environment(set, &changes);
            let script = format!("{job}{}\necho went on", script(said.system));
            let ran = stage.run(&script, &[]).await;
            assert!(!ran.done && ran.out.is_empty(), "{set}: {}", ran.out);
            let printed = ran.complaint.lines().last().unwrap_or_default();
            let answer: Value = serde_json::from_str(printed)
                .unwrap_or_else(|_| panic!("{set}: {}", ran.complaint));
            assert_eq!(answer["reason"], "not-trusted", "{set}");
            assert!(answer["decision_id"].is_string(), "{set}");
            let description = answer["error_description"].as_str().unwrap();
            assert!(description.contains(claim), "{set}: {description}");
            let told = description.contains("comes nearest");
            assert_eq!(told, !claim.is_empty(), "{set}: {description}");
        }
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_in_a_document_that_asks_the_service_does_what_it_says() {
    let stage = stage().await;
    let mut exchanges = 0;
    for block in blocks("sh") {
        if block.text.starts_with("countersign ") {
            continue; // See `every_command_of_ours_in_a_document_is_one_that_the_program_knows`.
        }
        if block.place.starts_with("docs/audit-log.md") {
            continue; // They ask no service: see `tests/verifier/documents.rs`.
        }
        assert!(block.text.contains("$COUNTERSIGN_URL"), "{}", block.place);
        let identity = stage.token("github-push", &[]);
        let script = format!("set -e\n{}printf '%s' \"${{token-}}\"", block.text);
        let ran = stage.run(&script, &[("identity", &identity)]).await;
        assert!(ran.done, "{}: {}{}", block.place, ran.out, ran.complaint);
        if block.text.contains("/oauth/token") {
            exchanges += 1;
            assert!(ran.out.contains("eyJ"), "{}: {}", block.place, ran.out);
        }
    }
    assert_eq!(exchanges, 3);
    stage.close().await;
}

#[test]
fn every_command_of_ours_in_a_document_is_one_that_the_program_knows() {
    let mut commands = 0;
    for block in blocks("sh") {
        let lines = block.text.lines();
        for command in lines.filter_map(|line| line.strip_prefix("countersign ")) {
            commands += 1;
            // Help is shown only if everything before it was understood.
            let asked = format!("\"$0\" {command} --help");
            let program = env!("CARGO_BIN_EXE_countersign");
            let ran = Command::new("sh")
                .args(["-c", &asked, program])
                .output()
                .unwrap();
            let complaint = String::from_utf8_lossy(&ran.stderr);
            assert!(
                ran.status.success(),
                "{}: {command}\n{complaint}",
                block.place
            );
        }
    }
    assert!(commands > 2, "only {commands} commands were found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_ready_says_so_in_the_words_of_the_guide() {
    let stage = Stage::open(&[("acme/api", &policy("github"))]).await;
    let ran = stage.run("curl -sS \"$COUNTERSIGN_URL/readyz\"", &[]).await;
    let guide = read("deploy/README.md");
    assert!(guide.contains(&format!("`{}`", ran.out)), "{}", ran.out);
    stage.close().await;
}

#[test]
fn the_readme_shows_the_very_files_that_are_shipped() {
    let readme = read("README.md");
    for said in said() {
        for (language, text) in [("toml", policy(said.system)), ("yaml", job(said.system))] {
            let block = format!("```{language}\n{text}```\n");
            assert!(readme.contains(&block), "{} {language}", said.system);
        }
    }
}

#[test]
fn every_job_is_well_formed() {
    for said in said() {
        for (number, line) in job(said.system).lines().enumerate() {
            let place = format!("{}:{}: {line}", said.system, number + 1);
            assert!(!line.contains('\t') && line.trim_end() == line, "{place}");
            let bare = line.trim_start();
            assert_eq!((line.len() - bare.len()) % 2, 0, "{place}");
        }
        let script = script(said.system);
        assert!(script.starts_with("set -eu\n"), "{}", said.system);
        let keys = job(said.system).replace(&script, "");
        let audience = format!("-d audience={}", said.project);
        assert!(script.contains(&audience), "{}", said.system);
        assert!(keys.contains("COUNTERSIGN_URL: https://sts.example.com"));
    }
}
