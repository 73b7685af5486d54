//! What is wrong with a file is said with its place, a code and a mend.

use serde_json::{Value, json};

use super::*;
use crate::trust::tests::registry;
use crate::trust::{CaseStart, Expectation};

fn read(text: &str) -> Result<ProjectPolicy, PolicyFault> {
    let path = ProjectPath::parse("acme/api").unwrap();
    let read = read_policy(path, "trust-policies/acme/api.toml", text, &registry());
    if read.is_ok() {
        let faults = crate::trust::schema::tests::faults(text);
        assert!(
            faults.is_empty(),
            "the schema refuses what loads: {faults:#?}\n{text}"
        );
    }
    read
}

mod guard_rails;

/// Loads; `name`, `issuer`, `owner`, `owner-id`, `repository`, `scopes` stand on the lines 2 to 7.
const GOOD: &str = r#"[[trust]]
name = "release"
issuer = "github"
owner = "acme"
owner-id = "65"
repository = "api"
scopes = ["read_registry"]
"#;

const WRONG: &str = r#"[[trust]]
name = "release"
issuer = "github"
onwer = "acme"
owner-id = "65"
repository = "acme/api"
scopes = "write_registry"
lifetime = "half an hour"

[trust.claims]
ref_protected = true
owner_id = "65"
ref = { glob = "refs/tags/v*", nto = "refs/tags/v1" }

[[trust]]
name = "release"
issuer = "circleci"
organization = "acme"
scopes = ["s"]
"#;

#[test]
fn several_problems_are_shown_as_a_compiler_shows_them() {
    let fault = read(WRONG).unwrap_err();
    insta::assert_snapshot!(fault.render(false), @r#"
    error[identity-missing]: `owner` is missing: it says whose jobs of GitHub Actions are meant
     --> trust-policies/acme/api.toml:1:1
      |
    1 | [[trust]]
      | ^^^^^^^^^ no `owner` here
      |
      = help: add `owner = "…"`, or all of `owner-id`, `repository-id`

    error[unknown-key]: `onwer` is no key of a trust relationship
     --> trust-policies/acme/api.toml:4:1
      |
    4 | onwer = "acme"
      | ^^^^^ unknown key
      |
      = help: did you mean `owner`?

    error[identity-value]: `acme/api` cannot be `repository`
     --> trust-policies/acme/api.toml:6:14
      |
    6 | repository = "acme/api"
      |              ^^^^^^^^^^ a name has no `/`
      |
      = help: write `repository = "api"`: the part before it has a key of its own

    error[wrong-type]: `scopes` takes a list of texts
     --> trust-policies/acme/api.toml:7:10
      |
    7 | scopes = "write_registry"
      |          ^^^^^^^^^^^^^^^^ this is a text
      |
      = help: write `scopes = ["write_registry"]` instead

    error[lifetime-invalid]: `half an hour` is no lifetime
     --> trust-policies/acme/api.toml:8:12
      |
    8 | lifetime = "half an hour"
      |            ^^^^^^^^^^^^^^ a lifetime is 1s to 24h
      |
      = help: write a number and a unit, such as `"30m"` or `"1h 30m"`

    error[claim-type]: in tokens of GitHub Actions `ref_protected` is a text, `"true"` or `"false"`
      --> trust-policies/acme/api.toml:11:17
       |
    11 | ref_protected = true
       |                 ^^^^ this is a boolean
       |
       = help: write `"true"` instead

    error[identity-under-claims]: `owner-id` is an identity field, not a claim
      --> trust-policies/acme/api.toml:12:1
       |
    12 | owner_id = "65"
       | ^^^^^^^^ not under `claims`
       |
       = help: move it up, above `claims`: `owner-id = …`; the claim itself is called `repository_owner_id`

    error[unknown-key]: `nto` is no kind of condition
      --> trust-policies/acme/api.toml:13:32
       |
    13 | ref = { glob = "refs/tags/v*", nto = "refs/tags/v1" }
       |                                ^^^ unknown here
       |
       = help: a condition is a value, a list of values, or a table with `glob`, `not` or `absent`; a claim inside an object is named by a JSON Pointer, such as `"/kubernetes.io/namespace"`

    error[identity-missing]: `project` is missing: it says whose jobs of CircleCI are meant
      --> trust-policies/acme/api.toml:15:1
       |
    15 | [[trust]]
       | ^^^^^^^^^ no `project` here
       |
       = help: add `project = "…"`; CircleCI shows it under Project Settings, Overview, as Project ID

    error[name-taken]: two entries are called `release`
      --> trust-policies/acme/api.toml:16:8
       |
     2 | name = "release"
       |        --------- the first one
    ...
    16 | name = "release"
       |        ^^^^^^^^^ the name must be unique in the file

    error[identity-value]: `acme` cannot be `organization`
      --> trust-policies/acme/api.toml:18:16
       |
    18 | organization = "acme"
       |                ^^^^^^ not a UUID
       |
       = help: CircleCI shows it under Organization Settings, Overview, as Organization ID
    "#);
}

#[test]
fn colours_are_for_who_asks_for_them() {
    let fault = read("x = 1").unwrap_err();
    assert!(!fault.render(false).contains('\u{1b}'));
    assert!(fault.render(true).contains('\u{1b}'));
}

#[test]
fn a_good_file_loads() {
    let policy = read(GOOD).unwrap_or_else(|fault| panic!("{}", fault.render(false)));
    assert_eq!((policy.len(), policy.is_empty()), (1, false));
    assert_eq!(policy.path().as_str(), "acme/api");
    assert!(read("").unwrap().is_empty());
    assert_eq!(
        read("").unwrap().digest(),
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

/// The codes and lines of what is wrong.
fn faults(text: &str) -> Vec<(&'static str, usize)> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(fault) => {
            let problems = fault.problems().iter();
            problems
                .map(|problem| (problem.code(), problem.line()))
                .collect()
        }
    }
}

/// The codes of what is wrong, in the order of the file.
fn codes(text: &str) -> String {
    let codes: Vec<&str> = faults(text).into_iter().map(|(code, _)| code).collect();
    codes.join(" ")
}

/// The rows of a table: what is written (`¶` ends a line), and what is said of it.
fn rows(table: &str) -> impl Iterator<Item = (String, &str)> {
    table.trim().lines().map(|row| {
        let (written, said) = row.split_once(" =>").unwrap();
        (written.replace(" ¶ ", "\n"), said.trim())
    })
}

/// A key of the good file, what stands in its line instead, and the code and line of what is said.
const SLIPS: &str = r#"
[[trust]] | [[trust] => syntax:1
[[trust]] | [trust] => wrong-type:1
[[trust]] | [[turst]] => unknown-key:1
[[trust]] | [[case]] => case-claims:1 missing-key:1 unknown-key:3 unknown-key:4 unknown-key:5 unknown-key:6 unknown-key:7
name |  => missing-key:1
name | name = 7 => wrong-type:2
name | name = '' => name-invalid:2
name | name = ' x' => name-invalid:2
name | name = 'a"b' => name-invalid:2
name | name = 'a\b' => name-invalid:2
name | name = "a\u202eb" => name-invalid:2
issuer |  => missing-key:1
issuer | issuer = "githb" => issuer-unknown:3
owner |  => identity-missing:1
owner | owner = '' => identity-value:4
owner | owner = 'acme/api' => identity-value:4
owner | owner = ' acme' => identity-value:4
owner | owner = 65 => wrong-type:4
owner | owner = ['acme', 'x'] => one-value:4
owner | owner = { glob = 'a*' } => one-value:4
owner-id |  =>
owner-id | owner-id = '' => identity-value:5
owner-id | owner-id = -65 => identity-value:5
owner-id | owner-id = 0x41 => identity-value:5
owner-id | owner-id = 65.0 => wrong-type:5
owner-id | owner-id = 65 =>
owner-id | owner-id = '65' ¶ repository-id = '74' =>
owner-id | repository-id = '74' =>
owner-id | owner_id = '65' => unknown-key:5
owner-id | owner-id = '65' ¶ actor = 'x' => unknown-key:6
owner-id | owner-id = '65' ¶ sub = 'x' => unknown-key:6
owner-id | owner-id = '65' ¶ organization = 'x' => unknown-key:6
owner-id | owner-id = '65' ¶ silence = [] =>
owner-id | owner-id = '65' ¶ silence = [{ code = 'glob-wide', because = 'tags are protected' }] =>
owner-id | owner-id = '65' ¶ silence = 'glob-wide' => wrong-type:6
owner-id | owner-id = '65' ¶ silence = ['glob-wide'] => wrong-type:6
owner-id | owner-id = '65' ¶ silence = [{ code = 'glob-wide' }] => missing-key:6
owner-id | owner-id = '65' ¶ silence = [{ code = 'glob-wide', because = ' ' }] => silence-empty:6
owner-id | owner-id = '65' ¶ silence = [{ code = 'glob-wide', because = 'x', until = 'y' }] => unknown-key:6
owner-id | owner-id = '65' ¶ fork-merge-requests = true => unknown-key:6
owner-id | owner-id = '65' ¶ mode = 'enforce' =>
owner-id | owner-id = '65' ¶ mode = 'shadow' =>
owner-id | owner-id = '65' ¶ mode = 'off' => mode-unknown:6
owner-id | owner-id = '65' ¶ workflow = 'Release' => identity-value:6
owner-id | owner-id = '65' ¶ workflow = '.github/workflows/x.yml' => identity-value:6
owner-id | owner-id = '65' ¶ reusable-workflow = 'o/r/x.yml@main' => identity-value:6
owner-id | owner-id = '65' ¶ environment = ['a', 'b'] => one-value:6
repository | repository = [] => list-empty:6
repository | repository = ['a', 1] => wrong-type:6
repository | repository = { glob = 'a*' } =>
repository | repository = { glob = '' } => glob-invalid:6
repository | repository = { glob = [] } => list-empty:6
repository | repository = { glbo = 'a*' } => unknown-key:6
repository | repository = {} => condition-empty:6
repository | repository = { glob = 'a*', not = 'ab' } => unknown-key:6
scopes |  => missing-key:1
scopes | scopes = [] => scopes-empty:7
scopes | scopes = 'read' => wrong-type:7
scopes | scopes = ['a', 'a'] => scope-twice:7
scopes | scopes = ['a b'] => scope-invalid:7
scopes | scopes = [1] => wrong-type:7
scopes | scopes = ['a'] ¶ scopes = ['b'] => syntax:8
scopes | scopes = ['a'] ¶ lifetime = '1s' =>
scopes | scopes = ['a'] ¶ lifetime = '24h' =>
scopes | scopes = ['a'] ¶ lifetime = '0s' => lifetime-invalid:8
scopes | scopes = ['a'] ¶ lifetime = '25h' => lifetime-invalid:8
scopes | scopes = ['a'] ¶ lifetime = '1s 5ms' => lifetime-invalid:8
scopes | scopes = ['a'] ¶ lifetime = 30 => wrong-type:8
scopes | scopes = ['a'] ¶ resources = ['api'] => resource-invalid:8
scopes | scopes = ['a'] ¶ resources = ['https://x/#y'] => resource-invalid:8
scopes | scopes = ['a'] ¶ resources = ['https://x', 'https://x'] => resource-twice:8
scopes | scopes = ['a'] ¶ claims = 'x' => wrong-type:8
"#;

#[test]
fn each_slip_in_a_relationship_has_its_code_and_line() {
    for (written, expected) in rows(SLIPS) {
        let (key, instead) = written.split_once(" | ").unwrap();
        let line = GOOD
            .lines()
            .find(|line| line.split(' ').next() == Some(key))
            .unwrap();
        let text = GOOD.replace(line, instead);
        let found: Vec<String> = faults(&text)
            .into_iter()
            .map(|(code, line)| format!("{code}:{line}"))
            .collect();
        assert_eq!(found.join(" "), expected, "{instead}");
    }
}

/// A line under `[trust.claims]`, and the codes of what is said.
const CONDITIONS: &str = r"
ref = 'refs/heads/main' =>
ref = ['a', 'b'] =>
ref = { glob = 'a*' } =>
ref = { glob = ['a*', 'b*'], not = 'ab' } =>
ref = { not = ['a', { glob = 'b*' }] } =>
ref = { not = { glob = ['b*'] } } =>
environment = { absent = true } =>
'/environment' = { absent = true } =>
repo_property_tier = 2 =>
repo_property_pci = [true, 'yes', 1.5] =>
'/x/y~1z' = 'v' =>
run_id = 5 =>
run_id = ['5', 6] =>
base_ref = '' =>
workflow = 'Release' =>
event_nam = 'push' =>
ref = [] => list-empty
ref = {} => condition-empty
ref = 5 => claim-type
ref = true => claim-type
ref = ['a', 5] => claim-type
ref = { not = 5 } => claim-type
run_id = -5 => claim-type
run_id = 5.0 => claim-type
ref_protected = true => claim-type
ref_protected = 'true' =>
ref = 2026-01-01 => condition-nested
ref = [['a']] => condition-nested
ref = ['a', { glob = 'b*' }] => condition-nested
ref = { not = { not = 'a' } } => condition-nested
ref = { not = [] } => list-empty
ref = { glob = 5 } => wrong-type
ref = { glob = [5] } => wrong-type
ref = { glob = '' } => glob-invalid
ref = { glob = [] } => list-empty
ref = { regex = '.*' } => unknown-key
ref = { absent = true } => never-absent
'/ref' = { absent = true } => never-absent
environment = { absent = false } => condition-absent
environment = { absent = 'yes' } => wrong-type
environment = { absent = true, not = 'x' } => condition-absent
repository = 'acme/api' => claim-twice
'/repository' = 'acme/api' => claim-twice
repository_owner_id = '65' => claim-twice
ref = 'a' ¶ '/ref' = 'a' => claim-twice
'/ref/x' = 'a' => claim-type
'' = 'a' => claim-name
'/' = 'a' => claim-name
'/a~2' = 'a' => claim-name
owner = 'acme' => identity-under-claims
owner-id = '65' => identity-under-claims
owner_id = '65' => identity-under-claims
repository-ids = '65' => identity-under-claims
reusable_workflow = 'x' => identity-under-claims
x = nan => number-invalid
x = inf => number-invalid
x = 99999999999999999999 => number-invalid
";

#[test]
fn each_slip_in_a_condition_has_its_code() {
    for (condition, expected) in rows(CONDITIONS) {
        let text = format!("{GOOD}\n[trust.claims]\n{condition}\n");
        assert_eq!(codes(&text), expected, "{condition}");
    }
}

#[test]
fn an_entry_has_as_many_conditions_as_a_record_can_hold() {
    let text = |count: usize| {
        let conditions: Vec<String> = (0..count).map(|at| format!("c{at} = 'x'")).collect();
        format!("{GOOD}\n[trust.claims]\n{}\n", conditions.join("\n"))
    };
    assert_eq!(codes(&text(256)), "");
    assert_eq!(codes(&text(10_000)), "conditions-too-many");
}

/// An issuer, the identity that a relationship for it gives, and the codes of what is said. `UUID` stands for one.
const IDENTITIES: &str = r"
github |  => identity-missing identity-missing
github | owner = 'a' ¶ repository = 'b' =>
github | owner-id = 1 ¶ repository-id = 2 =>
github | owner = 'a' ¶ repository-id = 2 ¶ repository = { glob = '*' } => glob-needs-id
github | environment = 'x' => identity-missing identity-missing
circleci |  => identity-missing identity-missing
circleci | organization = UUID => identity-missing
circleci | organization = 'acme' ¶ project = UUID => identity-value
circleci | organization = UUID ¶ project = '405d83753514403b8c4383ae74cfe0e9' => identity-value
circleci | organization = UUID ¶ project = '405D8375-3514-403B-8C43-83AE74CFE0E9' =>
circleci | organization = UUID ¶ project = UUID ¶ vcs-origin = 'x' => identity-value
circleci | organization = UUID ¶ project = UUID ¶ claims = { 'oidc.circleci.com/ssh-rerun' = 'true' } => claim-type
buildkite | organization = 'a' => identity-missing
buildkite | organization = 'a' ¶ pipeline = ['b', 'c'] =>
buildkite | organization = 'a' ¶ pipeline = { glob = '*' } =>
buildkite | organization-id = 'a' ¶ pipeline-id = 'b' =>
buildkite | organization = 'a' ¶ pipeline = 'b' ¶ claims = { branch = 'main' } => identity-under-claims
buildkite | organization = 'a' ¶ pipeline = 'b' ¶ claims = { build_number = '1' } => claim-type
buildkite | organization = 'a' ¶ pipeline = 'b' ¶ claims = { build_number = { glob = '1*' } } => claim-type
rwx |  => identity-missing
rwx | vault-subject = '' => identity-value
rwx | vault-subject = 'x' ¶ claims = { sub = 'x' } => claim-twice
gitlab | project = 'a/b' =>
gitlab | project = 'b' ¶ project-id = 1 => identity-value
gitlab | project = 'a//b' ¶ project-id = 1 => identity-value
gitlab | project = { glob = 'a/*' } ¶ project-id = 1 => glob-needs-id
gitlab | project = { glob = 'a/**' } ¶ namespace-id = [1, '2'] =>
gitlab | project = 'a/b' ¶ project-id = 1 ¶ ref = 'main' => identity-value
gitlab | project = 'a/b' ¶ project-id = 1 ¶ ref = 'refs/heads/main' ¶ claims = { ref = 'main' } =>
gitlab | project = 'a/b' ¶ project-id = 1 ¶ ref = 'refs/heads/main' ¶ claims = { ref_path = 'x' } => claim-twice
gitlab | project = 'a/b' ¶ project-id = 1 ¶ fork-merge-requests = true =>
gitlab | project = 'a/b' ¶ project-id = 1 ¶ fork-merge-requests = 'yes' => wrong-type
gitlab | project = 'a/b' ¶ project-id = 1 ¶ claims = { job_config = 'x' } => claim-type
gitlab | project = 'a/b' ¶ project-id = 1 ¶ claims = { '/job_config/url' = 'x' } =>
gitlab | project = 'a/b' ¶ project-id = 1 ¶ claims = { job_config = { absent = true } } =>
semaphore |  => identity-missing
semaphore | sub = 'x' =>
semaphore | sub = ['x', 'y'] =>
semaphore | sub = { glob = 'x*' } => identity-missing one-value
semaphore | sub = 'x' ¶ claims = { sub = 'x' } => claim-twice
semaphore | claims = { sub = 'x' } =>
semaphore | claims = { sub = { glob = 'x*' } } => identity-missing
semaphore | claims = { sub = { not = 'x' } } => identity-missing
semaphore | claims = { org = 'x' } =>
semaphore | claims = { org = '' } => identity-missing
semaphore | claims = { repo = 'x' } => identity-missing
";

#[test]
fn a_relationship_that_any_customer_could_satisfy_does_not_load() {
    let uuid = "'405d8375-3514-403b-8c43-83ae74cfe0e9'";
    for (written, expected) in rows(IDENTITIES) {
        let (issuer, identity) = written.split_once(" | ").unwrap();
        let identity = identity.replace("UUID", uuid);
        let text =
            format!("[[trust]]\nname = 'r'\nissuer = '{issuer}'\nscopes = ['s']\n{identity}\n");
        assert_eq!(codes(&text), expected, "{written}");
    }
}

/// What a deny asks, and the codes of what is said.
const DENIES: &str = r"
issuer = 'github' =>
claims = { actor = 'x' } =>
issuer = 'github' ¶ owner = 'x' =>
issuer = 'github' ¶ repository = { glob = 'x*' } =>
issuer = 'semaphore' ¶ sub = 'x' =>
 => deny-everybody
claims = {} => deny-everybody
owner = 'x' => unknown-key
issuer = 'github' ¶ scopes = ['s'] => unknown-key
issuer = 'github' ¶ onwer = 's' => unknown-key
claims = { ref_protected = true } => claim-type
claims = { ref = { absent = true } } =>
issuer = 'github' ¶ claims = { ref = { absent = true } } => never-absent
issuer = 'gitlab' ¶ fork-merge-requests = true => unknown-key
";

#[test]
fn a_deny_says_whom_it_is_for() {
    for (asks, expected) in rows(DENIES) {
        let text = format!("[[deny]]\nname = 'd'\n{asks}\n");
        assert_eq!(codes(&text), expected, "{asks}");
    }
}

/// A case, and the codes of what is said.
const CASES: &str = r"
from = 'github-push' ¶ expect = 'release' =>
from = 'github-push' ¶ expect = ['release', 'other'] =>
from = 'github-push' ¶ expect = 'denied' =>
from = 'github-push' ¶ expect = 'denied' ¶ because = ['ref', 'owner-id'] =>
from = 'github-push' ¶ claims = { ref = 'x' } ¶ expect = 'denied' =>
claims-file = 'cases/tag.json' ¶ expect = 'release' =>
claims-file = 'cases/tag.json' ¶ claims = { ref = 'x' } ¶ expect = 'denied' =>
claims = { iss = 'x', n = [1, 2.5, { a = true }] } ¶ expect = 'denied' ¶ silence = [] =>
expect = 'release' => case-claims
claims-file = 'x' ¶ from = 'y' ¶ expect = 'release' => case-claims
from = 'github-push' => missing-key
from = 'github-push' ¶ expect = 7 => wrong-type
from = 'github-push' ¶ expect = [] => list-empty
from = 'github-push' ¶ expect = ['x', 7] => wrong-type
from = 'github-push' ¶ expect = 'release' ¶ because = ['ref'] => case-because
from = 'github-push' ¶ expect = 'denied' ¶ because = 'ref' => wrong-type
from = 7 ¶ expect = 'release' => wrong-type
claims-file = 7 ¶ expect = 'release' => wrong-type
claims = 'x' ¶ expect = 'release' => wrong-type
claims = { x = 2026-01-01 } ¶ expect = 'denied' => case-value
claims = { x = [nan] } ¶ expect = 'denied' => case-value
form = 'github-push' ¶ expect = 'denied' => case-claims unknown-key
";

#[test]
fn a_case_has_claims_and_an_expectation() {
    for (asks, expected) in rows(CASES) {
        let text = format!("{GOOD}[[case]]\nname = 'c'\n{asks}\n");
        assert_eq!(codes(&text), expected, "{asks}");
    }
}

#[test]
fn a_case_is_kept_as_data_and_nothing_of_it_is_read_from_disk() {
    let text = format!(
        "{GOOD}[[case]]\nname = 'c'\nfrom = 'github-push'\nexpect = ['b', 'a', 'b']\nclaims = {{ ref = 'x', n = [1, {{ a = true }}] }}\n"
    );
    let policy = read(&text).unwrap();
    let [case] = policy.cases() else {
        panic!("one case");
    };
    assert_eq!(case.start, CaseStart::Set("github-push".to_owned()));
    assert_eq!(
        Value::from(case.claims.clone()),
        json!({"ref": "x", "n": [1, {"a": true}]})
    );
    let both = ["a".to_owned(), "b".to_owned()];
    assert_eq!(case.expect, Expectation::Trust(both.to_vec()));
    assert_eq!(&text[case.start_place()], "'github-push'");
    assert_eq!(policy.file().position(case.place().start), (8, 1));
}

#[test]
fn findings_about_a_whole_file_are_silenced_above_its_entries() {
    let silence = "silence = [{ code = 'names', because = 'it is a demo' }]\n";
    assert!(faults(&format!("{silence}{GOOD}")).is_empty());
    assert_eq!(faults(&format!("silence = 7\n{GOOD}")), [("wrong-type", 1)]);
}

#[test]
fn a_trust_and_a_deny_may_share_a_name_but_two_of_a_kind_may_not() {
    let deny = "[[deny]]\nname = 'release'\nissuer = 'github'\n";
    assert!(faults(&format!("{GOOD}{deny}")).is_empty());
    assert_eq!(faults(&format!("{GOOD}{deny}{deny}")), [("name-taken", 12)]);
    assert_eq!(faults(&format!("{GOOD}{GOOD}")), [("name-taken", 9)]);
}

#[test]
fn mends_say_what_to_write() {
    let cases = [
        (
            "owner-id = \"65\"",
            "owner-di = \"65\"",
            "did you mean `owner-id`?",
        ),
        (
            "issuer = \"github\"",
            "issuer = \"githb\"",
            "did you mean `github`?",
        ),
        (
            "repository = \"api\"",
            "repository = \"acme/api\"",
            "write `repository = \"api\"`",
        ),
        (
            "scopes = [\"read_registry\"]",
            "scopes = \"a\"",
            "write `scopes = [\"a\"]` instead",
        ),
        (
            "owner = \"acme\"",
            "owner = \"acme\"\nevent_name = \"push\"",
            "write it under `[trust.claims]`",
        ),
    ];
    for (line, instead, mend) in cases {
        let fault = read(&GOOD.replace(line, instead)).unwrap_err();
        let said: Vec<&str> = fault.problems().iter().filter_map(Problem::help).collect();
        assert!(
            said.iter().any(|said| said.contains(mend)),
            "{instead}: {said:?}"
        );
    }
}

#[test]
fn no_slip_of_the_keyboard_makes_the_reader_fall_over() {
    let text = format!(
        "{GOOD}\n[trust.claims]\nref = {{ glob = ['ré*', 'b'], not = {{ glob = 'x' }} }}\nx = [1, 2.5, true]\n\n[[deny]]\nname = 'd'\nclaims = {{ actor = {{ not = 'x' }} }}\n"
    );
    let characters: Vec<char> = text.chars().collect();
    let spices = [
        '"', '\'', '[', ']', '{', '}', '=', '.', ',', '\n', '0', 'é', '\u{0}', '/', '~', '-',
    ];
    let mut state: usize = 7;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut loaded = 0;
    for _ in 0..4000 {
        let mut mutated = characters.clone();
        for _ in 0..=random(3) {
            let at = random(mutated.len());
            match random(4) {
                0 => drop(mutated.remove(at)),
                1 => mutated.insert(at, spices[random(spices.len())]),
                2 => mutated[at] = spices[random(spices.len())],
                _ => {
                    let end = (at + random(40)).min(mutated.len());
                    drop(mutated.drain(at..end));
                }
            }
        }
        let mutated: String = mutated.into_iter().collect();
        match read(&mutated) {
            Ok(_) => loaded += 1,
            Err(fault) => {
                assert!(!fault.problems().is_empty());
                assert!(fault.render(false).contains("trust-policies/acme/api.toml"));
            }
        }
    }
    assert!(loaded > 0);
}

#[test]
fn every_example_in_the_page_on_the_language_loads() {
    let page = include_str!("../../../trust-policies/README.md");
    let examples: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(examples.len(), 6);
    for example in examples {
        let fault = if example.contains("[[require]]") {
            read_guard_rails("acme", "acme/_organization.toml", example, &registry()).err()
        } else {
            read(example).err()
        };
        if let Some(fault) = fault {
            panic!("{}", fault.render(false));
        }
    }
}

#[test]
fn every_field_of_every_profile_is_on_the_page_on_the_language() {
    let page = include_str!("../../../trust-policies/README.md");
    for field in crate::issuer::PROFILES
        .into_iter()
        .flat_map(|profile| profile.fields)
    {
        assert!(
            page.contains(&format!("`{}`", field.name)),
            "{}",
            field.name
        );
    }
}
