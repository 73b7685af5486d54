//! `countersign policy check`, as an operator and a CI job run it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use countersign::trust::LINTS;

use crate::support::service::{Settings, TestService};

/// A relationship that is as narrow as one would wish.
const NARROW: &str = r#"[[trust]]
name = "build"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
scopes = ["write_registry"]
claims = { event_name = "push", ref = "refs/heads/main" }
"#;

fn check(folder: &Path, arguments: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .current_dir(folder)
        .env_remove("COUNTERSIGN_CONFIG")
        .args(["policy", "check", "policies"])
        .args(arguments)
        .output();
    command.unwrap()
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join("policies").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(folder: &TempDir, arguments: &[&str]) -> Value {
    let all: Vec<&str> = arguments
        .iter()
        .chain(&["--format", "json"])
        .copied()
        .collect();
    serde_json::from_slice(&check(folder.path(), &all).stdout).unwrap()
}

/// The findings as `severity code file:line`.
fn rows(folder: &TempDir) -> Vec<String> {
    let answer = json(folder, &[]);
    let findings = answer["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|found| {
            let text = |key: &str| found[key].as_str().unwrap();
            format!(
                "{} {} {}:{}",
                text("severity"),
                text("code"),
                text("file"),
                found["line"]
            )
        })
        .collect()
}

#[test]
fn nothing_to_report_is_exit_code_0() {
    let folder = folder(&[("acme/api.toml", NARROW)]);
    let output = check(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(out(&output), "1 policy loads: nothing to report\n");
    assert_eq!(rows(&folder), [""; 0]);
}

#[test]
fn warnings_do_not_fail_and_errors_do() {
    let long = NARROW.replace("claims", "lifetime = \"2h\"\nclaims");
    let warned = folder(&[("acme/api.toml", &long)]);
    assert_eq!(check(warned.path(), &[]).status.code(), Some(0));
    assert_eq!(
        rows(&warned),
        ["warning lifetime-long policies/acme/api.toml:9"]
    );

    let target = NARROW.replace("\"push\"", "[\"push\", \"pull_request_target\"]");
    let wrong = folder(&[("acme/api.toml", &target)]);
    assert_eq!(check(wrong.path(), &[]).status.code(), Some(1));
    assert_eq!(
        rows(&wrong),
        ["error pull-request-target policies/acme/api.toml:9"]
    );
}

#[test]
fn what_would_not_load_is_an_error_in_its_place_and_the_other_files_are_checked_all_the_same() {
    let long = NARROW.replace("claims", "lifetime = \"2h\"\nclaims");
    let folder = folder(&[
        ("acme/api.toml", &NARROW.replace("owner-id", "ownr-id")),
        ("acme/Web.toml", NARROW),
        ("acme/web.toml", &long),
    ]);
    fs::write(folder.path().join("policies/acme/bytes.toml"), b"\xff\xfe").unwrap();
    let output = check(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let rows = rows(&folder);
    for expected in [
        "error unknown-key policies/acme/api.toml:5",
        "error file-unreadable policies/acme/bytes.toml:1",
        "warning lifetime-long policies/acme/web.toml:9",
    ] {
        assert!(
            rows.iter().any(|row| row == expected),
            "{expected} in {rows:#?}"
        );
    }
    assert!(
        rows.iter().any(|row| row.contains("acme/Web.toml")),
        "{rows:#?}"
    );
    assert!(
        out(&output).contains("did you mean `owner-id`?"),
        "{}",
        out(&output)
    );
}

#[test]
fn each_json_finding_has_five_members_and_no_more() {
    let folder = folder(&[("acme/api.toml", &NARROW.replace("refs/heads/", ""))]);
    let answer = json(&folder, &[]);
    assert_eq!(answer.as_object().unwrap().len(), 1);
    for found in answer["findings"].as_array().unwrap() {
        let keys: Vec<&str> = found
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut keys = keys;
        keys.sort_unstable();
        assert_eq!(keys, ["code", "file", "line", "message", "severity"]);
    }
}

#[test]
fn a_breach_of_a_guard_rail_is_an_error_that_shows_both_files() {
    let rails = "[[require]]\nissuer = \"github\"\npin = [\"environment\"]\n";
    let folder = folder(&[
        ("acme/api.toml", NARROW),
        ("acme/_organization.toml", rails),
    ]);
    let output = check(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(rows(&folder), ["error guard-rail policies/acme/api.toml:1"]);
    let text = out(&output);
    assert!(text.contains("policies/acme/api.toml:1"), "{text}");
    assert!(
        text.contains("policies/acme/_organization.toml:3"),
        "{text}"
    );
}

#[test]
fn a_case_that_names_claims_that_are_not_there_is_an_error() {
    let case =
        |start: &str| format!("{NARROW}\n[[case]]\nname = \"c\"\n{start}\nexpect = \"denied\"\n");
    for start in [
        "claims-file = \"cases/none.json\"",
        "from = \"github-pish\"",
    ] {
        let folder = folder(&[("acme/api.toml", &case(start))]);
        assert_eq!(
            rows(&folder),
            ["error case-not-found policies/acme/api.toml:13"],
            "{start}"
        );
    }
    let folder = folder(&[
        ("acme/api.toml", &case("claims-file = \"cases/one.json\"")),
        (
            "acme/cases/one.json",
            "{\"iss\": \"https://token.actions.githubusercontent.com\"}",
        ),
    ]);
    assert_eq!(rows(&folder), [""; 0]);
}

#[test]
fn a_case_opens_no_device_and_no_pipe() {
    for file in ["/dev/zero", "/dev/stdin", "."] {
        let case = format!(
            "{NARROW}\n[[case]]\nname = \"c\"\nclaims-file = \"{file}\"\nexpect = \"denied\"\n"
        );
        let folder = folder(&[("acme/api.toml", &case)]);
        assert_eq!(
            rows(&folder),
            ["error case-not-found policies/acme/api.toml:13"],
            "{file}"
        );
    }
}

#[test]
fn nothing_in_a_policy_steers_the_terminal() {
    let policy = NARROW.replace(
        "refs/heads/main",
        "refs/heads/\\u001b]0;own\\u0007\\u009b\\u202emain",
    );
    let case =
        "\n[[case]]\nname = \"c\"\nfrom = \"github-pu\\u009bsh\\u001b[31m\"\nexpect = \"denied\"\n";
    let folder = folder(&[("acme/api.toml", &format!("{policy}{case}"))]);
    for verb in [
        ["check", "--who=acme/api"],
        ["check", "--format=json"],
        ["check", "--format=sarif"],
        ["test", "policies"],
    ] {
        let command = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .current_dir(folder.path())
            .env_remove("COUNTERSIGN_CONFIG")
            .args(["policy", verb[0], "policies"])
            .args(verb.iter().skip(1).filter(|word| word.starts_with('-')))
            .output();
        let text = out(&command.unwrap());
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(steers), "{verb:?}: {text:?}");
    }
}

#[test]
fn who_tells_what_the_guard_rails_leave() {
    let rails = "[[require]]\nlifetime-at-most = \"10m\"\nscopes-at-most = [\"write_registry\"]\n";
    let wider = NARROW.replace("\"build\"", "\"wider\"").replace(
        "[\"write_registry\"]",
        "[\"write_registry\", \"read_registry\"]",
    );
    let folder = folder(&[
        ("acme/api.toml", &format!("{NARROW}\n{wider}")),
        ("acme/_organization.toml", rails),
    ]);
    let text = out(&check(folder.path(), &["--who=acme/api"]));
    assert!(
        text.contains("may write the registry for 10 minutes\n"),
        "{text}"
    );
    assert!(
        text.contains("(off: it breaks a guard rail, and gives nothing)\n"),
        "{text}"
    );
}

#[test]
fn who_is_asked_about_a_broken_file_and_its_faults_are_shown() {
    for (api, rails) in [("a = ", ""), (NARROW, "[[deny]]\nname = \"x\"\n")] {
        let folder = folder(&[("acme/api.toml", api), ("acme/_organization.toml", rails)]);
        let output = check(folder.path(), &["--who=acme/api"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(out(&output).starts_with("error["), "{}", out(&output));
    }
}

#[test]
fn excerpts_are_plain_where_nobody_sees_colours() {
    let folder = folder(&[("acme/api.toml", &NARROW.replace("refs/heads/", ""))]);
    let text = out(&check(folder.path(), &[]));
    assert!(!text.contains('\u{1b}'), "{text}");
    insta::assert_snapshot!("a_finding_with_its_excerpt", text);
}

#[test]
fn sarif_names_the_rule_the_file_and_the_place() {
    let rails = "[[require]]\nissuer = \"github\"\npin = [\"environment\"]\n";
    let folder = folder(&[
        ("acme/api.toml", &NARROW.replace("refs/heads/", "")),
        ("acme/_organization.toml", rails),
        ("acme/broken one.toml", "[[trust]\n"),
        ("acme/broken.toml", "[[trust]\n"),
    ]);
    let output = check(folder.path(), &["--format", "sarif"]);
    assert_eq!(output.status.code(), Some(1));
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().contains("sarif-2.1.0"));
    let run = &log["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "countersign");
    let rules = driver["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(results.len() >= 4, "{results:#?}");
    for result in results {
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(
            uri.starts_with("policies/acme/") && !uri.contains(' '),
            "{uri}"
        );
        let region = &place["region"];
        assert!(region["startLine"].as_u64().unwrap() >= 1);
        assert!(
            region["endLine"].as_u64() >= region["startLine"].as_u64()
                || region["endLine"].is_null()
        );
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let breach = results
        .iter()
        .find(|result| result["ruleId"] == "guard-rail")
        .unwrap();
    let other = &breach["relatedLocations"][0]["physicalLocation"];
    assert_eq!(
        other["artifactLocation"]["uri"],
        "policies/acme/_organization.toml"
    );
    for rule in rules {
        assert!(
            !rule["shortDescription"]["text"]
                .as_str()
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn who_could_get_in_is_said_in_a_sentence_a_relationship() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = |project: &str| {
        let command = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .current_dir(root)
            .env_remove("COUNTERSIGN_CONFIG")
            .args(["policy", "check", "trust-policies", "--who", project])
            .output()
            .unwrap();
        let text = out(&command);
        // What follows is about the findings.
        text.split_inclusive('\n')
            .take_while(|line| !line.starts_with("note[") && !line.contains(" policies load"))
            .collect::<String>()
    };
    for project in [
        "acme/api",
        "acme/images",
        "acme/mobile",
        "acme/site",
        "acme/web",
    ] {
        insta::assert_snapshot!(
            format!("who_could_act_for_{}", project.replace('/', "_")),
            run(project)
        );
    }
}

#[test]
fn who_is_about_a_project_that_there_is() {
    let folder = folder(&[("acme/api.toml", NARROW)]);
    assert_eq!(
        check(folder.path(), &["--who", "acme/web"]).status.code(),
        Some(2)
    );
    assert_eq!(
        check(folder.path(), &["--who", "acme"]).status.code(),
        Some(2)
    );
    let answer = json(&folder, &["--who", "acme/api"]);
    let who = &answer["who"][0];
    assert_eq!(who["pull_requests"]["inside"], false);
    assert_eq!(
        who["sentence"],
        "any push of branch main in GitHub repository 74 of owner 65 (octo-org/octo-repo) may write the registry for 1 hour"
    );
}

#[test]
fn a_folder_that_is_not_there_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(check(folder.path(), &[]).status.code(), Some(2));
}

#[test]
fn a_configuration_brings_its_own_issuers_and_is_looked_at_too() {
    let policy = "[[trust]]\nname = \"b\"\nissuer = \"kite\"\nsub = \"job:1\"\nscopes = [\"read_registry\"]\n";
    let folder = folder(&[("acme/api.toml", policy)]);
    let config = "public-url = \"https://sts.example.com\"\n\n[[issuer]]\nname = \"kite\"\nprofile = \"generic\"\nurl = \"https://ci.example.com/\"\naudience = [\"https://sts.example.com\"]\n";
    fs::write(folder.path().join("countersign.toml"), config).unwrap();
    let output = check(
        folder.path(),
        &["--config", "countersign.toml", "--format", "json"],
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{answer}");
    assert_eq!(answer["findings"][0]["code"], "issuer-trailing-slash");
    assert_eq!(answer["findings"][0]["line"], 6);
}

#[tokio::test]
async fn names_that_the_last_job_no_longer_had_are_told_from_the_ledger() {
    let service = TestService::start().await;
    let job = |name: &str, jti: &str| {
        let changes = [
            ("repository", json!(format!("octo-org/{name}"))),
            ("jti", json!(jti)),
        ];
        service.token("github-push", &changes)
    };
    let renamed = job("octo-renamed", "one");
    assert_eq!(service.exchange(&renamed, "acme/api").await.status, 200);
    let plain = job("octo-repo", "two");
    let folder = service.stop().await;
    let checked = |folder: &TempDir| {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .current_dir(folder.path())
            .env_remove("COUNTERSIGN_CONFIG")
            .args(["policy", "check", "trust-policies", "--format", "json"])
            // The clock of the service stands still, and that of the command does not.
            .args(["--since", "3000d", "--config", "countersign.toml"])
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = answer["findings"].as_array().unwrap().clone();
        let of_names = findings
            .into_iter()
            .filter(|found| found["code"] == "label-differs");
        of_names
            .map(|found| found["message"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let found = checked(&folder);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`octo-org/octo-renamed`"), "{found:?}");

    let service = TestService::in_folder(folder, Settings::default()).await;
    // Decisions of one millisecond have no order.
    service.advance(countersign::clock::Seconds(1));
    assert_eq!(service.exchange(&plain, "acme/api").await.status, 200);
    let folder = service.stop().await;
    assert_eq!(checked(&folder), [""; 0]);
}

#[test]
fn the_shipped_policies_have_neither_errors_nor_warnings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .current_dir(root)
        .env_remove("COUNTERSIGN_CONFIG")
        .args(["policy", "check", "trust-policies", "--format", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    for found in answer["findings"].as_array().unwrap() {
        assert_eq!(found["severity"], "note", "{found}");
    }
}

#[test]
fn every_lint_is_on_the_page_about_policies() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies.md");
    let page = fs::read_to_string(page).unwrap();
    for (code, about) in LINTS {
        let row = format!("| `{code}` | {about} |");
        assert!(page.contains(&row), "no row begins with\n{row}");
    }
}

/// The blocks of `docs/policies.md` of one kind, in order.
fn blocks(kind: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies.md");
    let page = fs::read_to_string(page).unwrap();
    let begins = format!("```{kind}\n");
    let blocks = page.split(&begins).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// Writes the answer into the page, as the block of that number, if `UPDATE_DOCS` asks for it.
fn update(at: usize, answer: &str) {
    if std::env::var_os("UPDATE_DOCS").is_none() {
        return;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies.md");
    let page = fs::read_to_string(&file).unwrap();
    let mut parts: Vec<String> = page.split("```text\n").map(str::to_owned).collect();
    let rest = parts[at + 1].split_once("```").unwrap().1.to_owned();
    parts[at + 1] = format!("{answer}```{rest}");
    fs::write(file, parts.join("```text\n")).unwrap();
}

#[test]
fn the_page_about_policies_shows_what_the_program_says() {
    let policies = blocks("toml");
    let checked = folder(&[("acme/api.toml", &policies[0])]);
    let answer = out(&check(checked.path(), &[]));
    update(0, &answer);
    assert_eq!(blocks("text")[0], answer);

    let silenced = folder(&[("acme/api.toml", &policies[1])]);
    assert_eq!(
        out(&check(silenced.path(), &[])),
        "1 policy loads: nothing to report\n"
    );

    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("trust-policies/acme/api.toml");
    let shipped = folder(&[("acme/api.toml", &fs::read_to_string(shipped).unwrap())]);
    let answer = out(&check(shipped.path(), &["--who", "acme/api"]));
    update(1, &answer);
    assert_eq!(blocks("text")[1], answer);
}
