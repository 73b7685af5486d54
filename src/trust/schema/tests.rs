//! What loads fits the schema, and what it refuses for its shape does not.

use std::sync::LazyLock;

use super::*;
use crate::trust::tests::registry;
use crate::trust::{ProjectPath, read_policy};

static VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&policy_schema(&registry(), &[])).unwrap());

/// What the schema says against a file; nothing if it fits.
pub(in crate::trust) fn faults(text: &str) -> Vec<String> {
    let instance: Value = toml::from_str(text).unwrap();
    let errors = VALIDATOR.iter_errors(&instance);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn loads(text: &str) -> bool {
    let path = ProjectPath::parse("acme/api").unwrap();
    read_policy(path, "acme/api.toml", text, &registry()).is_ok()
}

const GOOD: &str = r#"
[[trust]]
name = "release"
issuer = "github"
owner = "acme"
owner-id = "65"
repository = "api"
repository-id = 74
scopes = ["read_registry"]
lifetime = "1h 30m"
resources = ["https://api.example"]
mode = "shadow"
silence = [{ code = "x", because = "y" }]
[trust.claims]
event_name = ["push", "release"]
ref = { glob = ["refs/tags/v*"], not = [{ glob = "refs/tags/v0*" }, "refs/tags/v1"] }
environment = { absent = true }
repo_property_team = "payments"
"/odd/claim" = 1.5

[[deny]]
name = "nobody"
claims = { runner_environment = { not = "github-hosted" } }

[[case]]
name = "a push"
from = "github-push"
claims = { ref = "refs/heads/x" }
expect = "denied"
because = ["ref"]
"#;

#[test]
fn a_file_that_loads_fits_the_schema() {
    assert!(loads(GOOD));
    assert_eq!(faults(GOOD), Vec::<String>::new());
}

#[test]
fn what_loading_refuses_for_its_shape_the_schema_refuses_too() {
    for (line, instead) in [
        ("name = \"release\"\n", ""),
        ("name = \"release\"\n", "name = \"\"\n"),
        ("issuer = \"github\"\n", ""),
        ("issuer = \"github\"\n", "issuer = \"githup\"\n"),
        ("issuer = \"github\"\n", "issuer = \"gitlab\"\n"),
        ("owner = \"acme\"\nowner-id", "onwer = \"acme\"\nowner-id"),
        ("owner = \"acme\"", "owner = [\"acme\"]"),
        ("owner = \"acme\"", "owner = \"acme/x\""),
        ("repository-id = 74", "repository-id = 7.4"),
        ("repository-id = 74", "repository-id = [74]"),
        ("repository = \"api\"", "repository = []"),
        (
            "owner-id = \"65\"\nrepository = \"api\"",
            "repository = { glob = \"a*\" }",
        ),
        ("repository = \"api\"", "repository = { glop = \"a*\" }"),
        ("scopes = [\"read_registry\"]\n", ""),
        ("scopes = [\"read_registry\"]", "scopes = \"read_registry\""),
        ("scopes = [\"read_registry\"]", "scopes = []"),
        ("scopes = [\"read_registry\"]", "scopes = [\"a b\"]"),
        ("scopes = [\"read_registry\"]", "scopes = [\"a\", \"a\"]"),
        ("lifetime = \"1h 30m\"", "lifetime = 30"),
        ("lifetime = \"1h 30m\"", "lifetime = \"30\""),
        ("mode = \"shadow\"", "mode = \"off\""),
        ("https://api.example", "api.example"),
        (", because = \"y\"", ""),
        ("because = \"y\"", "because = \" \""),
        ("event_name = [\"push\", \"release\"]", "event_name = []"),
        ("event_name = [\"push\", \"release\"]", "event_name = 1"),
        (
            "event_name = [\"push\", \"release\"]",
            "event_name = { absent = true }",
        ),
        (
            "event_name = [\"push\", \"release\"]",
            "ref_protected = true",
        ),
        ("event_name = [\"push\", \"release\"]", "event_name = {}"),
        ("not = [{ glob", "nto = [{ glob"),
        (
            "{ glob = \"refs/tags/v0*\" }",
            "{ not = \"refs/tags/v0*\" }",
        ),
        ("absent = true", "absent = false"),
        ("absent = true", "absent = true, glob = \"x\""),
        (
            "claims = { runner_environment = { not = \"github-hosted\" } }\n",
            "",
        ),
        (
            "claims = { runner_environment",
            "owner = \"x\"\nclaims = { runner_environment",
        ),
        ("expect = \"denied\"\n", ""),
        ("expect = \"denied\"", "expect = \"release\""),
        ("expect = \"denied\"", "expect = []"),
        (
            "from = \"github-push\"\nclaims = { ref = \"refs/heads/x\" }\n",
            "",
        ),
        (
            "from = \"github-push\"",
            "from = \"github-push\"\nclaims-file = \"x.json\"",
        ),
        ("[[case]]", "[[cases]]"),
    ] {
        let text = GOOD.replacen(line, instead, 1);
        assert_ne!(text, GOOD, "{line} is not in the file");
        assert!(!loads(&text), "loads with `{instead}`");
        assert_ne!(faults(&text), Vec::<String>::new(), "fits with `{instead}`");
    }
}
