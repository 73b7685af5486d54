//! `countersign policy`, as an operator and a CI job run it; and the pages that explain refusals.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::service::{TestService, answer, ci, copy_policies};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn claims(set: &str) -> PathBuf {
    repository().join(format!("tests/data/claims/{set}.json"))
}

/// Runs `countersign policy` in `folder`.
fn policy(folder: &Path, arguments: &[&str]) -> Output {
    let command = Command::new(PROGRAM)
        .current_dir(folder)
        .env_remove("COUNTERSIGN_CONFIG")
        .arg("policy")
        .args(arguments)
        .output();
    command.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    let said = format!("{}{}", out(output), err(output));
    assert_eq!(output.status.code(), Some(code), "{said}");
}

/// A folder with the shipped policies under `trust-policies`.
fn shipped() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_policies(&folder.path().join("trust-policies"));
    folder
}

fn edit(folder: &Path, project: &str, from: &str, to: &str) {
    let file = folder.join(format!("trust-policies/{project}.toml"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn explain(folder: &Path, what: &[&str]) -> Output {
    policy(
        folder,
        &[&["explain", "--project", "acme/api"], what].concat(),
    )
}

#[test]
fn the_cases_of_the_shipped_policies_hold() {
    let output = policy(&repository(), &["test"]);
    assert_code(&output, 0);
    let said = out(&output);
    assert!(said.contains("ok    a tag that was let through releases: allowed by `release`"));
    assert!(said.contains(
        "`release` fails only on `environment`: wanted `production`, the token has none"
    ));
    for profile in ["api", "images", "mobile", "site", "web"] {
        assert!(
            !said.contains(&format!("acme/{profile}: no cases")),
            "{said}"
        );
    }
}

#[test]
fn the_cases_of_the_shipped_policies_hold_for_the_issuers_of_a_configuration_too() {
    let folder = shipped();
    let config = format!(
        "public-url = \"https://sts.example.com\"\nallow-loopback-http = true\n{}",
        ci().signer().issuer_tables()
    );
    fs::write(folder.path().join("countersign.toml"), config).unwrap();
    assert_code(
        &policy(folder.path(), &["test", "--config", "countersign.toml"]),
        0,
    );
}

#[test]
fn a_variable_that_is_no_text_stops_no_command() {
    let folder = shipped();
    for (arguments, code) in [
        (&["policy", "test"][..], 0),
        (&["audit", "list"], 2),
        (&["audit", "key"], 2),
    ] {
        let command = Command::new(PROGRAM)
            .current_dir(folder.path())
            .env_remove("COUNTERSIGN_CONFIG")
            .env("OF_SOMEBODY_ELSE", OsStr::from_bytes(b"\xff"))
            .args(arguments)
            .output();
        let output = command.unwrap();
        assert_code(&output, code);
        assert!(!err(&output).contains("panicked"), "{}", err(&output));
    }
}

#[test]
fn a_case_that_fails_is_shown_with_the_whole_decision() {
    let folder = shipped();
    edit(
        folder.path(),
        "acme/api",
        "environment = \"production\"",
        "",
    );
    let output = policy(
        folder.path(),
        &["test", "trust-policies", "--junit", "report.xml"],
    );
    assert_code(&output, 1);
    let said = out(&output);
    assert!(
        said.contains("FAIL  a tag that nobody let through does not (acme/api.toml:"),
        "{said}"
    );
    assert!(
        said.contains("expected it to be denied, and `release` would let it in"),
        "{said}"
    );
    assert!(said.contains("trust `release` holds"), "{said}");
    let report = fs::read_to_string(folder.path().join("report.xml")).unwrap();
    assert!(
        report.contains("tests=\"38\" failures=\"1\" errors=\"0\""),
        "{report}"
    );
    assert!(
        report.contains("<failure message=\"expected it to be denied"),
        "{report}"
    );
}

#[test]
fn a_case_is_denied_for_the_reason_that_it_gives_or_fails() {
    let folder = shipped();
    edit(
        folder.path(),
        "acme/api",
        "because = [\"environment\"]",
        "because = [\"actor\"]",
    );
    let output = policy(folder.path(), &["test"]);
    assert_code(&output, 1);
    assert!(
        out(&output).contains("it is denied, but nowhere because of `actor`"),
        "{}",
        out(&output)
    );
}

#[test]
fn claims_come_from_a_file_beside_the_policy_or_stand_in_the_case() {
    let folder = tempfile::tempdir().unwrap();
    let organization = folder.path().join("trust-policies/acme");
    fs::create_dir_all(organization.join("cases")).unwrap();
    fs::copy(claims("github-push"), organization.join("cases/push.json")).unwrap();
    let text = r#"
[[trust]]
name = "build"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
scopes = ["read_registry"]
claims = { ref = "refs/heads/main" }

[[case]]
name = "from a file"
claims-file = "cases/push.json"
expect = "build"

[[case]]
name = "inline, by the only issuer of the policy"
expect = "build"
[case.claims]
repository_owner = "octo-org"
repository_owner_id = "65"
repository = "octo-org/octo-repo"
repository_id = "74"
event_name = "push"
ref = "refs/heads/main"
"#;
    let file = organization.join("api.toml");
    fs::write(&file, text).unwrap();
    assert_code(&policy(folder.path(), &["test"]), 0);

    let missing = text.replace("cases/push.json", "cases/none.json");
    fs::write(&file, missing).unwrap();
    let output = policy(folder.path(), &["test"]);
    assert_code(&output, 1);
    assert!(
        out(&output).contains("cases/none.json` cannot be read"),
        "{}",
        out(&output)
    );

    let unknown = text.replace(
        "claims-file = \"cases/push.json\"",
        "from = \"github-psuh\"",
    );
    fs::write(&file, unknown).unwrap();
    let output = policy(folder.path(), &["test"]);
    assert_code(&output, 1);
    assert!(
        out(&output).contains("there are no claims called `github-psuh`"),
        "{}",
        out(&output)
    );
}

#[test]
fn a_project_without_cases_is_said_so_and_a_broken_file_fails_the_run() {
    let folder = shipped();
    edit(
        folder.path(),
        "acme/api",
        "issuer = \"github\"",
        "issuer = \"githup\"",
    );
    fs::write(folder.path().join("trust-policies/acme/empty.toml"), "").unwrap();
    let output = policy(folder.path(), &["test"]);
    assert_code(&output, 1);
    assert!(out(&output).contains("acme/empty: no cases"));
    assert!(err(&output).contains("acme/api.toml"), "{}", err(&output));
}

#[test]
fn explain_names_the_one_edit_that_would_let_a_job_in() {
    let output = explain(
        &repository(),
        &["--claims", claims("github-tag").to_str().unwrap()],
    );
    assert_code(&output, 1);
    insta::assert_snapshot!(out(&output));
}

#[test]
fn explain_answers_programs_in_json_with_the_exit_code() {
    let file = claims("github-push-feature-branch");
    let output = explain(
        &repository(),
        &["--claims", file.to_str().unwrap(), "--format", "json"],
    );
    assert_code(&output, 1);
    let told: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(told["outcome"], "denied");
    assert_eq!(told["reason"], "not-trusted");
    assert_eq!(told["trust"], json!([]));
    assert_eq!(told["relationships"][0]["name"], "build");
    assert_eq!(
        told["edit"],
        "in `build`, write `ref = [\"refs/heads/main\", \"refs/heads/feature/login\"]`"
    );
    let note = told["notes"][0].as_str().unwrap();
    assert!(
        note.contains("times, whether it was spent, and pinned ids were not"),
        "{note}"
    );

    let file = claims("github-push");
    let output = explain(
        &repository(),
        &["--claims", file.to_str().unwrap(), "--format", "json"],
    );
    assert_code(&output, 0);
    let told: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(
        (&told["outcome"], &told["reason"]),
        (&json!("allowed"), &Value::Null)
    );
    assert_eq!(told["trust"], json!(["build"]));
}

#[test]
fn the_edit_that_explain_names_lets_the_job_in() {
    let folder = shipped();
    let file = claims("github-push-feature-branch");
    let file = file.to_str().unwrap();
    assert_code(&explain(folder.path(), &["--claims", file]), 1);
    edit(
        folder.path(),
        "acme/api",
        "ref = \"refs/heads/main\"",
        "ref = [\"refs/heads/main\", \"refs/heads/feature/login\"]",
    );
    assert_code(&explain(folder.path(), &["--claims", file]), 0);
}

#[test]
fn explain_over_all_projects_finds_the_one_that_the_job_is_about() {
    let file = claims("gitlab-push");
    let output = policy(
        &repository(),
        &["explain", "--all", "--claims", file.to_str().unwrap()],
    );
    assert_code(&output, 0);
    let said = out(&output);
    assert!(said.starts_with("acme/mobile: allowed by `test`"), "{said}");
    assert!(
        said.contains("no relationship for this job in 4 other projects"),
        "{said}"
    );
}

#[test]
fn an_expired_token_is_explained_and_its_age_is_said() {
    let folder = shipped();
    let config = format!(
        "public-url = \"https://sts.example.com\"\nallow-loopback-http = true\n{}",
        ci().signer().issuer_tables()
    );
    fs::write(folder.path().join("countersign.toml"), config).unwrap();
    let job = countersign::fake_ci::Job::new("github", Some("github-push"), Map::new()).unwrap();
    let signed = |audience| {
        let long_ago = countersign::clock::UnixTime::from_seconds(1_600_000_000);
        let signed = ci().signer().sign(&job, Some(audience), long_ago);
        fs::write(folder.path().join("token"), signed.unwrap().token).unwrap();
        explain(
            folder.path(),
            &["--token-file", "token", "--config", "countersign.toml"],
        )
    };
    let output = signed("https://sts.example.com");
    assert_code(&output, 0);
    let said = out(&output);
    assert!(
        said.contains("before the policy is asked, as `token-expired`"),
        "{said}"
    );
    assert!(said.contains("signature"), "{said}");
    let said = out(&signed("https://other.example"));
    assert!(
        said.contains("as `audience-mismatch`") && said.contains("as `token-expired`"),
        "{said}"
    );
}

#[test]
fn what_no_policy_is_asked_about_is_denied_with_its_reason() {
    let folder = shipped();
    fs::write(folder.path().join("token"), "x.y").unwrap();
    let output = explain(folder.path(), &["--token-file", "token"]);
    assert_code(&output, 1);
    assert!(
        out(&output).contains("denied (token-malformed)"),
        "{}",
        out(&output)
    );
    fs::write(
        folder.path().join("claims"),
        r#"{"iss": "https://token.actions.githubusercontent.com/", "sub": "x"}"#,
    )
    .unwrap();
    let output = explain(folder.path(), &["--claims", "claims"]);
    assert_code(&output, 1);
    assert!(
        out(&output).contains("denied (issuer-unknown)"),
        "{}",
        out(&output)
    );
}

#[test]
fn what_cannot_be_explained_is_a_mistake_in_the_command_and_not_a_denial() {
    let folder = shipped();
    fs::write(folder.path().join("list"), "[]").unwrap();
    fs::write(folder.path().join("twice"), r#"{"iss": "a", "iss": "b"}"#).unwrap();
    for what in [
        vec!["--project", "acme/api"],
        vec!["--claims", "none"],
        vec!["--project", "acme/api", "--claims", "none"],
        vec!["--project", "acme/api", "--claims", "list"],
        vec!["--project", "acme/api", "--claims", "twice"],
        vec!["--project", "acme", "--claims", "list"],
        vec!["--project", "acme/api", "--decision", "x"],
        vec![
            "--project",
            "acme/api",
            "--claims",
            "list",
            "--token-file",
            "list",
        ],
        vec!["--all", "--project", "acme/api", "--claims", "list"],
    ] {
        assert_code(
            &policy(folder.path(), &[&["explain"], &what[..]].concat()),
            2,
        );
    }
    let file = claims("github-push");
    let file = file.to_str().unwrap();
    for what in [
        vec!["--project", "acme/none", "--claims", file],
        vec!["--project", "acme/api", "--claims", file, "--dir", "none"],
        vec![
            "--project",
            "acme/api",
            "--claims",
            file,
            "--config",
            "none",
        ],
    ] {
        assert_code(
            &policy(folder.path(), &[&["explain"], &what[..]].concat()),
            2,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_explained_from_the_ledger() {
    let service = TestService::start().await;
    let branch = [("ref", json!("refs/heads/dev"))];
    let denied = service
        .exchange(&service.token("github-push", &branch), "acme/api")
        .await;
    let allowed = service
        .exchange(&service.token("github-push", &[]), "acme/api")
        .await;
    let id = |answer: &crate::support::service::Answer| {
        answer.json()["decision_id"].as_str().unwrap().to_owned()
    };
    let (denied, allowed) = (id(&denied), id(&allowed));
    let folder = service.stop().await;

    let config = ["--config", "countersign.toml"];
    let explain = |what: &[&str]| policy(folder.path(), &[&["explain"], what, &config].concat());
    let output = explain(&["--decision", &denied]);
    assert_code(&output, 1);
    let said = out(&output);
    assert!(
        said.starts_with(&format!("decision {denied} at 2026-11-20T12:00:00.000Z")),
        "{said}"
    );
    assert!(
        said.contains(
            "`build` fails only on `ref`: wanted `refs/heads/main`, the token has `refs/heads/dev`"
        ),
        "{said}"
    );

    let output = explain(&["--decision", &allowed]);
    assert_code(&output, 0);
    assert!(
        out(&output).contains("the policy that decided is still in force"),
        "{}",
        out(&output)
    );
    assert!(out(&output).contains("trust `build` holds"));

    let output = explain(&[
        "--decision",
        &allowed,
        "--project",
        "acme/web",
        "--format",
        "json",
    ]);
    assert_code(&output, 1);
    let told: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(
        (&told["project"], &told["reason"]),
        (&json!("acme/web"), &json!("not-trusted"))
    );

    let unknown = "019aa2f3-1c5e-7b1f-8c8e-0123456789ab";
    let output = explain(&["--decision", unknown]);
    assert_code(&output, 2);
    assert!(err(&output).contains(unknown));
}

/// The folder of a stopped service, whose ledger remembers six exchanges.
async fn remembered() -> TempDir {
    let service = TestService::start().await;
    let dev = json!("refs/heads/dev");
    for (set, project, changes, status) in [
        ("github-push", "acme/api", vec![], 200),
        ("github-push", "acme/api", vec![("ref", dev.clone())], 400),
        ("github-push", "acme/api", vec![], 200),
        ("github-push", "acme/api", vec![("ref", dev)], 400),
        ("gitlab-push", "acme/mobile", vec![], 200),
        ("rwx-locked-vault", "acme/site", vec![], 200),
    ] {
        let token = service.token(set, &changes);
        let answer = service.exchange(&token, project).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    service.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_policy_is_tried_on_the_jobs_that_the_ledger_remembers() {
    let folder = remembered().await;
    let old = folder.path().join("trust-policies");
    copy_policies(&folder.path().join("new"));
    let write = |project: &str, from: &str, to: &str| {
        let text = fs::read_to_string(old.join(project)).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(
            folder.path().join("new").join(project),
            text.replacen(from, to, 1),
        )
        .unwrap();
    };
    // The clock of the service stands in November 2026, and that of the command where this machine's does.
    let diff = |more: &[&str]| {
        let arguments = [
            "diff",
            "new",
            "--since",
            "16000d",
            "--config",
            "countersign.toml",
        ];
        policy(folder.path(), &[&arguments, more].concat())
    };
    let output = diff(&[]);
    assert_code(&output, 0);
    assert!(
        out(&output).starts_with("nothing changes"),
        "{}",
        out(&output)
    );

    write(
        "acme/api.toml",
        "\nref = \"refs/heads/main\"",
        "\nref = \"refs/heads/dev\"",
    );
    write(
        "acme/mobile.toml",
        "scopes = [\"read_registry\", \"read_package_registry\"]",
        "scopes = [\"read_registry\"]",
    );
    fs::remove_file(folder.path().join("new/acme/site.toml")).unwrap();
    let output = diff(&[]);
    assert_code(&output, 0);
    let said = out(&output);
    let blanked: String = said.lines().map(without_ids).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(blanked);

    let output = diff(&["--format", "json"]);
    let told: Value = serde_json::from_str(&out(&output)).unwrap();
    let kinds: Vec<&str> = told["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["change"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "newly-allowed",
            "newly-denied",
            "newly-denied",
            "other-scopes"
        ]
    );

    write(
        "acme/api.toml",
        "issuer = \"github\"",
        "issuer = \"githup\"",
    );
    let output = diff(&[]);
    assert_code(&output, 1);
    assert!(err(&output).contains("acme/api.toml"), "{}", err(&output));
}

/// The line without decision ids, which differ from run to run, and without the day from which on it looked.
fn without_ids(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if bare.len() == 36 && bare.matches('-').count() == 4 {
            word.replace(bare, "<id>")
        } else if bare.len() == 24 && bare.ends_with('Z') && !bare.starts_with("2026-11-20") {
            word.replace(bare, "<moment>")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn without_a_ledger_there_is_nothing_to_compare() {
    let folder = shipped();
    let output = policy(folder.path(), &["diff", "trust-policies"]);
    assert_code(&output, 2);
    assert!(err(&output).contains("no ledger"), "{}", err(&output));
}

fn schema(arguments: &[&str]) -> jsonschema::Validator {
    let output = policy(&repository(), &[&["schema"], arguments].concat());
    assert_code(&output, 0);
    let schema: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn every_shipped_policy_fits_the_schema() {
    let schema = schema(&[]);
    for entry in fs::read_dir(repository().join("trust-policies/acme")).unwrap() {
        let file = entry.unwrap().path();
        if file
            .file_name()
            .is_some_and(|name| name == "_organization.toml")
        {
            continue;
        }
        if file.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let instance: Value = toml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let faults: Vec<String> = schema
            .iter_errors(&instance)
            .map(|fault| fault.to_string())
            .collect();
        assert!(faults.is_empty(), "{}: {faults:#?}", file.display());
    }
}

#[test]
fn guard_rails_have_a_schema_of_their_own() {
    let schema = schema(&["--guard-rails"]);
    let fits = |text: &str| schema.is_valid(&toml::from_str::<Value>(text).unwrap());
    let good = r#"
[[require]]
issuer = "github"
pin = ["owner-id"]
scopes-at-most = ["read_registry"]
lifetime-at-most = "30m"

[[deny]]
name = "no self-hosted runners"
claims = { runner_environment = { not = "github-hosted" } }
"#;
    assert!(fits(good));
    for (from, to) in [
        ("issuer = \"github\"\n", ""),
        ("owner-id", "project-id"),
        ("pin", "pins"),
        ("[[require]]", "[[trust]]"),
        ("\"30m\"", "30"),
    ] {
        assert!(!fits(&good.replacen(from, to, 1)), "{from} → {to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_leads_to_a_page_that_says_how_to_mend_it() {
    let service = TestService::start().await;
    let branch = [("ref", json!("refs/heads/dev"))];
    let denied = service
        .exchange(&service.token("github-push", &branch), "acme/api")
        .await;
    let page = denied.json()["error_uri"].as_str().unwrap().to_owned();
    let path = page.strip_prefix("https://sts.example.com").unwrap();
    let answered = service.get(path).await;
    assert_eq!(answered.status, 200);
    assert_eq!(answered.headers["content-type"], "text/html; charset=utf-8");
    let policy = answered.headers["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(
        answered.text.contains("<h1>not-trusted</h1>"),
        "{}",
        answered.text
    );
    assert!(!answered.text.contains("<script"));

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.get(format!("{}{path}", service.base));
    let plain = answer(request.header("accept", "text/plain")).await;
    assert_eq!(plain.headers["content-type"], "text/plain; charset=utf-8");
    assert!(plain.text.starts_with("# not-trusted\n"), "{}", plain.text);

    assert_eq!(service.get("/errors").await.status, 200);
    assert_eq!(service.get("/errors/nothing").await.status, 404);
    assert_eq!(answer(service.post(path)).await.status, 405);
}

/// The commands of the page on policies, each with what the page shows of its answer.
fn commands_of_the_page() -> Vec<(String, Vec<String>)> {
    let page = fs::read_to_string(repository().join("docs/policies.md")).unwrap();
    let mut commands = Vec::new();
    for block in page.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => commands.push((command.to_owned(), Vec::new())),
                None => commands.last_mut().unwrap().1.push(line.to_owned()),
            }
        }
    }
    commands
}

/// Whether `line` is what the page shows, where `…` stands for anything.
fn shows(line: &str, shown: &str) -> bool {
    let mut rest = line;
    for part in shown.split('…') {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty() || shown.ends_with('…')
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_on_policies_answer_as_it_shows() {
    let service = TestService::start().await;
    let dev = [("ref", json!("refs/heads/dev"))];
    let (main, dev) = (
        service.token("github-push", &[]),
        service.token("github-push", &dev),
    );
    assert_eq!(service.exchange(&main, "acme/api").await.status, 200);
    let denied = service.exchange(&dev, "acme/api").await.json();
    let decision = denied["decision_id"].as_str().unwrap();
    let folder = service.stop().await;
    let folder = folder.path();
    fs::copy(
        claims("github-push-feature-branch"),
        folder.join("claims.json"),
    )
    .unwrap();
    copy_policies(&folder.join("new-policies"));
    let new = folder.join("new-policies/acme/api.toml");
    let text = fs::read_to_string(&new).unwrap();
    let text = text.replacen(
        "ref = \"refs/heads/main\"",
        "ref = \"refs/heads/stable\"",
        1,
    );
    fs::write(new, text).unwrap();

    let sample = "019aa2f3-1c5e-7b1f-8c8e-0123456789ab";
    let ours = ["schema", "test", "explain", "diff"];
    let mut seen = 0;
    for (command, shown) in commands_of_the_page() {
        let command = command
            .split(" > ")
            .next()
            .unwrap()
            .replace(sample, decision)
            // The clock of the service stands still, and that of the command does not.
            .replace("--since 30d", "--since 16000d");
        let words: Vec<&str> = command.split(' ').skip(2).collect();
        if !ours.contains(&words[0]) {
            continue;
        }
        let output = policy(folder, &words);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{command}: {}",
            err(&output)
        );
        for wanted in shown {
            let wanted = wanted.replace(sample, decision);
            let said = out(&output);
            assert!(
                said.lines().any(|line| shows(line, &wanted)),
                "{command}: {wanted}\n{said}"
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 7, "the page has commands of every verb");
}

#[test]
fn the_example_of_the_page_on_policies_passes_its_own_cases() {
    let page = fs::read_to_string(repository().join("docs/policies.md")).unwrap();
    let section = page.split("\n## Test it\n").nth(1).unwrap();
    let example = section.split("```toml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let organization = folder.path().join("trust-policies/acme");
    fs::create_dir_all(&organization).unwrap();
    fs::write(organization.join("api.toml"), example).unwrap();
    let output = policy(folder.path(), &["test"]);
    assert_code(&output, 0);
    assert!(out(&output).ends_with("2 cases: 2 as expected, 0 not\n"));
}

#[test]
fn no_edit_of_a_relationship_is_offered_while_a_deny_holds_too() {
    let folder = shipped();
    let set = fs::read_to_string(claims("github-self-hosted-runner")).unwrap();
    let mut set: Value = serde_json::from_str(&set).unwrap();
    set["ref"] = json!("refs/heads/dev");
    fs::write(folder.path().join("claims.json"), set.to_string()).unwrap();
    let output = explain(folder.path(), &["--claims", "claims.json"]);
    assert_code(&output, 1);
    let said = out(&output);
    assert!(
        said.contains("and the deny `no self-hosted runners` holds too"),
        "{said}"
    );
    assert!(!said.contains("one edit would let it in"), "{said}");
}
