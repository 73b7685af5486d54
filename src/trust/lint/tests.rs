mod breadth;
mod pushers;
mod values;

use std::sync::Arc;

use super::*;
use crate::clock::Seconds;
use crate::issuer::{IssuerForm, PROFILES, TrustedIssuer};
use crate::trust::{ProjectPath, Severity, read_guard_rails, read_policy, who};

const LIMITS: Limits = Limits {
    default_lifetime: Seconds(3600),
    maximum_lifetime: Seconds(6 * 3600),
};

/// The five CI systems, under the names of their profiles.
fn registry() -> Registry {
    let named = PROFILES.into_iter().filter_map(|profile| {
        let form = IssuerForm::parse(profile.default_url?, profile.organization_in_issuer, false);
        Some(TrustedIssuer::new(
            profile.name,
            profile,
            form.unwrap(),
            "https://sts.example.com",
        ))
    });
    Registry::new(named)
}

fn policy(text: &str) -> ProjectPolicy {
    named_policy("acme/api", text)
}

fn named_policy(path: &str, text: &str) -> ProjectPolicy {
    let project = ProjectPath::parse(path).unwrap();
    read_policy(project, &format!("{path}.toml"), text, &registry())
        .unwrap_or_else(|fault| panic!("{}", fault.render(false)))
}

fn report(text: &str) -> Report {
    let registry = registry();
    let policy = policy(text);
    Linter::new([&policy], &registry, LIMITS).check(&policy, &|_| None)
}

/// The findings, as (code, severity).
fn found(text: &str) -> Vec<(&'static str, Severity)> {
    let report = report(text);
    let problems = report.problems().iter();
    problems
        .map(|problem| (problem.code(), problem.severity()))
        .collect()
}

fn severity_of(code: &str, text: &str) -> Option<Severity> {
    let found = found(text);
    found
        .iter()
        .find(|(found, _)| *found == code)
        .map(|(_, severity)| *severity)
}

const GITHUB: &str = r#"[[trust]]
name = "build"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
"#;

const GITLAB: &str = r#"[[trust]]
name = "build"
issuer = "gitlab"
project = "my-group/my-project"
project-id = "20"
namespace-id = "72"
"#;

const CIRCLECI: &str = r#"[[trust]]
name = "build"
issuer = "circleci"
organization = "a40f5d1f-d889-42e9-94ea-b9b33585fc6b"
project = "405d8375-3514-403b-8c43-83ae74cfe0e9"
"#;

const BUILDKITE: &str = r#"[[trust]]
name = "build"
issuer = "buildkite"
organization = "acme-inc"
organization-id = "f892efa9-103e-4d28-97a1-3b8616a0994d"
pipeline = "super-duper-app"
pipeline-id = "0184990a-4782-42b5-afc1-16715b10b110"
"#;

const WRITE: &str = "scopes = [\"write_registry\"]\n";
const READ: &str = "scopes = [\"read_registry\"]\n";
const MAIN: &str = "claims = { ref = \"refs/heads/main\" }\n";

/// A GitHub relationship with write scopes that is as narrow as one would wish, and these claims too.
fn on_main(claims: &str) -> String {
    format!(
        "{GITHUB}{WRITE}[trust.claims]\nevent_name = \"push\"\nref = \"refs/heads/main\"\n{claims}\n"
    )
}

/// The same for reading, with these claims alone.
fn reading(claims: &str) -> String {
    format!("{GITHUB}{READ}[trust.claims]\n{claims}\n")
}

fn writing_with(claims: &str) -> String {
    format!("{GITHUB}{WRITE}[trust.claims]\n{claims}\n")
}

fn gitlab(scopes: &str, rest: &str) -> String {
    format!("{GITLAB}{scopes}{rest}\n")
}

/// Each row: the code, a policy, and how much the finding matters, or that there is none.
#[track_caller]
fn table(code: &str, rows: &[(String, Option<Severity>)]) {
    assert!(codes().any(|known| known == code), "{code} is not listed");
    for (text, expected) in rows {
        assert_eq!(
            severity_of(code, text),
            *expected,
            "{code} in\n{text}\n{}",
            report(text).render(false)
        );
    }
}

use Severity::{Error, Note, Warning};

#[test]
fn what_is_as_narrow_as_one_would_wish_is_not_reported() {
    for text in [
        on_main(""),
        format!("{GITHUB}{WRITE}environment = \"production\"\nclaims = {{ event_name = \"push\" }}\n"),
        reading("event_name = [\"pull_request\", \"merge_group\"]"),
        on_main("runner_environment = \"github-hosted\""),
        on_main("actor = { not = [\"dependabot[bot]\"] }"),
        gitlab(WRITE, "ref = \"refs/heads/main\"\nclaims = { pipeline_source = \"push\" }"),
        gitlab(READ, ""),
        format!("{CIRCLECI}vcs-origin = \"github.com/acme/api\"\n{WRITE}claims = {{ \"oidc.circleci.com/vcs-ref\" = \"refs/heads/main\" }}\n"),
        "[[deny]]\nname = \"x\"\nissuer = \"github\"\nclaims = { runner_environment = { not = \"github-hosted\" } }\n".to_owned(),
    ] {
        assert_eq!(found(&text), [], "{text}");
    }
}

#[test]
fn a_finding_is_silenced_where_it_stands_and_an_idle_silence_is_told() {
    let silenced = |code: &str| {
        format!(
            "{GITHUB}{WRITE}silence = [{{ code = \"{code}\", because = \"seen\" }}]\n{MAIN}lifetime = \"2h\"\n"
        )
    };
    assert_eq!(found(&silenced("lifetime-long")), []);
    assert_eq!(
        found(&silenced("shadowed")),
        [("silence-unused", Note), ("lifetime-long", Warning)]
    );
    assert_eq!(
        severity_of("silence-unused", &silenced("lifetime-lang")),
        Some(Warning)
    );
    let of_file = format!(
        "silence = [{{ code = \"lifetime-long\", because = \"seen\" }}]\n{GITHUB}{WRITE}lifetime = \"2h\"\n{MAIN}"
    );
    assert_eq!(found(&of_file), []);
}

#[test]
fn guard_rails_are_looked_at_and_a_breach_is_named_on_both_sides() {
    let registry = registry();
    let text = "[[deny]]\nname = \"x\"\nissuer = \"github\"\nclaims = { event_nam = \"push\" }\n\n\
        [[require]]\nissuer = \"github\"\npin = [\"environment\"]\n";
    let rails = read_guard_rails("acme", "acme/_organization.toml", text, &registry).unwrap();
    let rails = Arc::new(rails);
    let policy = policy(&on_main("")).under(Some(rails.clone()));
    let mut linter = Linter::new([&policy], &registry, LIMITS);
    assert_eq!(
        linter.check_guard_rails(&rails).problems()[0].code(),
        "claim-unknown"
    );
    let report = linter.check(&policy, &|_| None);
    let breach = report
        .problems()
        .iter()
        .find(|problem| problem.code() == "guard-rail")
        .unwrap();
    assert_eq!(breach.severity(), Error);
    assert_eq!(
        breach.other_place().unwrap().0.name(),
        "acme/_organization.toml"
    );
}

#[test]
fn a_deny_of_the_organization_that_always_holds_is_shown_in_its_own_file() {
    let registry = registry();
    let text = "[[deny]]\nname = \"no github\"\nissuer = \"github\"\n";
    let rails = read_guard_rails("acme", "acme/_organization.toml", text, &registry).unwrap();
    let policy = policy(&on_main("")).under(Some(Arc::new(rails)));
    let report = Linter::new([&policy], &registry, LIMITS).check(&policy, &|_| None);
    let problem = &report.problems()[0];
    assert_eq!(problem.code(), "always-denied");
    assert_eq!(
        problem.other_place().unwrap().0.name(),
        "acme/_organization.toml"
    );
}

#[test]
fn a_case_whose_claims_are_not_there_is_an_error() {
    let text = format!(
        "{}\n[[case]]\nname = \"c\"\nfrom = \"nowhere\"\nexpect = \"denied\"\n",
        on_main("")
    );
    let policy = policy(&text);
    let registry = registry();
    let mut linter = Linter::new([&policy], &registry, LIMITS);
    let report = linter.check(&policy, &|_| {
        Some("there are no claims called `nowhere`".to_owned())
    });
    assert_eq!(report.problems()[0].code(), "case-not-found");
    assert_eq!(report.problems()[0].severity(), Error);
}

#[test]
fn issuers_whose_address_or_name_misleads() {
    let form = |url: &str| IssuerForm::parse(url, false, false).unwrap();
    let profile = |name: &str| crate::issuer::profile_named(name).unwrap();
    let issuer =
        |name: &str, of: &str, url: &str| TrustedIssuer::new(name, profile(of), form(url), "a");
    let codes = |issuer: TrustedIssuer| {
        let registry = Registry::new([issuer]);
        let linter = Linter::new([], &registry, LIMITS);
        let report = linter.check_issuers(PolicyFile::new("countersign.toml", "[[issuer]]\n"));
        report
            .problems()
            .iter()
            .map(Problem::code)
            .collect::<Vec<_>>()
    };
    let generic = |name, url| codes(issuer(name, "generic", url));
    assert_eq!(
        generic("aks", "https://westeurope.oic.prod-aks.azure.com/t/g/"),
        ["issuer-trailing-slash"]
    );
    assert_eq!(
        generic("gitlab.com", "https://gitlab.example.com"),
        ["issuer-name-misleads"]
    );
    assert_eq!(
        generic("github", "https://ci.example.com"),
        ["issuer-name-misleads"]
    );
    assert_eq!(generic("ci.example.com", "https://ci.example.com"), [""; 0]);
    assert_eq!(
        codes(issuer("gitlab", "gitlab", "https://gitlab.example.com")),
        [""; 0]
    );
    assert_eq!(
        codes(issuer(
            "ghes",
            "github",
            "https://github.example.com/_services/token"
        )),
        [""; 0]
    );
}

#[test]
fn every_finding_says_why_it_matters_and_what_to_write_instead() {
    for text in [
        format!("{GITHUB}{WRITE}"),
        reading("ref = \"main\"\nevnet_name = \"push\"\nsub = \"repo:o/r:x\""),
        format!("{BUILDKITE}{WRITE}"),
        format!("{CIRCLECI}{WRITE}"),
        gitlab(
            WRITE,
            "fork-merge-requests = true\nclaims = { ref = \"main\" }",
        ),
    ] {
        for problem in report(&text).problems() {
            assert!(problem.why().is_some(), "{}", problem.code());
            assert!(problem.help().is_some(), "{}", problem.code());
            assert!(!problem.message().ends_with('.'), "{}", problem.message());
            assert!(
                codes().any(|code| code == problem.code()),
                "{}",
                problem.code()
            );
        }
    }
}

#[test]
fn a_name_that_jobs_no_longer_have_is_told_with_the_decision_that_saw_it() {
    let registry = registry();
    let policy = policy(&on_main(""));
    let mut linter = Linter::new([&policy], &registry, LIMITS);
    linter.compare_with(vec![Renamed {
        project: "acme/api".to_owned(),
        relationship: "build".to_owned(),
        field: "repository".to_owned(),
        name: "octo-org/octo-renamed".to_owned(),
        decision_id: "019aa2f3-1c5e-7b1f-8c8e-0123456789ab".to_owned(),
    }]);
    let report = linter.check(&policy, &|_| None);
    let problem = &report.problems()[0];
    assert_eq!(problem.code(), "label-differs");
    assert!(problem.message().contains("octo-org/octo-renamed"));
    assert!(problem.why().unwrap().contains("019aa2f3"));
}

#[test]
fn who_takes_a_glob_without_a_wildcard_for_a_name() {
    let named = policy(&reading(
        "ref = { glob = [\"refs/heads/main\", \"refs/heads/next\"] }",
    ));
    let answer = &who(&named, &LIMITS)[0];
    assert_eq!(answer.other_branches.inside, Some(false), "{answer:?}");
    assert!(
        answer.sentence.contains("of branch main or branch next in"),
        "{answer:?}"
    );

    let beyond = policy(&reading(
        "ref = { glob = [\"refs/heads/main\", \"refs/heads/release/*\"] }",
    ));
    let answer = &who(&beyond, &LIMITS)[0];
    assert_eq!(answer.other_branches.inside, Some(true), "{answer:?}");
    assert!(
        answer
            .other_branches
            .because
            .contains("refs/heads/release/"),
        "{answer:?}"
    );

    let kite = policy(
        "[[trust]]\nname = \"x\"\nissuer = \"buildkite\"\norganization = \"acme\"\n\
        pipeline = { glob = \"deploy-*\" }\nscopes = [\"read_registry\"]\n",
    );
    let sentence = &who(&kite, &LIMITS)[0].sentence;
    assert!(
        sentence.contains("Buildkite pipeline matching acme/deploy-*"),
        "{sentence}"
    );
}
