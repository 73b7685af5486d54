//! JSON Schemas (draft 2020-12) of both kinds of policy files, so that editors complete and check them.
//!
//! They are made from the same profiles that loading reads. A schema cannot say everything: it refuses wrong shapes, and
//! what it lets through `policy check` may still refuse.

use serde_json::{Map, Value, json};

use crate::issuer::profile::{
    Claim, ClaimType, FieldKind, IdentityField, Many, Profile, Required, Requirement,
};
use crate::issuer::{Registry, TrustedIssuer};

/// Where the language of JSON Schema is defined.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The scopes that have a meaning in the service's own endpoints; any other word is the project's own business.
const KNOWN_SCOPES: [&str; 8] = [
    "read_repository",
    "write_repository",
    "read_registry",
    "write_registry",
    "read_package_registry",
    "write_package_registry",
    "read_virtual_registry",
    "write_virtual_registry",
];

/// The schema of a project's policy file, where `registry` holds the issuers. `claim_sets` are the names that a case may
/// start `from`.
pub fn policy_schema(registry: &Registry, claim_sets: &[&str]) -> Value {
    let mut definitions = shared_definitions(registry);
    for issuer in issuers(registry) {
        definitions.insert(format!("trust-{}", issuer.name), trust_of(issuer));
        definitions.insert(format!("deny-{}", issuer.name), deny_of(issuer));
    }
    definitions.insert("trust".to_owned(), trust(registry));
    definitions.insert("deny".to_owned(), deny(registry));
    definitions.insert("case".to_owned(), case(claim_sets));
    json!({
        "$schema": DIALECT,
        "title": "Countersign trust policy of a project",
        "description": "trust-policies/<organization>/<project>.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "trust": list_of("trust", "Who may act for the project. All that hold count."),
            "deny": list_of("deny", "What is kept out. A deny wins over every trust."),
            "case": list_of("case", "Claims, and what must come of them: `countersign policy test` tries them."),
            "silence": reference("silence"),
        },
        "$defs": definitions,
    })
}

/// The schema of an organization's guard rails, `_organization.toml`.
pub fn guard_rails_schema(registry: &Registry) -> Value {
    let mut definitions = shared_definitions(registry);
    for issuer in issuers(registry) {
        definitions.insert(format!("deny-{}", issuer.name), deny_of(issuer));
    }
    definitions.insert("deny".to_owned(), deny(registry));
    definitions.insert("require".to_owned(), require(registry));
    json!({
        "$schema": DIALECT,
        "title": "Countersign guard rails of an organization",
        "description": "trust-policies/<organization>/_organization.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "deny": list_of("deny", "What is kept out of every project of the organization."),
            "require": list_of("require", "What every relationship of the organization's projects must keep to."),
            "silence": reference("silence"),
        },
        "$defs": definitions,
    })
}

/// The issuers, by name.
fn issuers(registry: &Registry) -> Vec<&TrustedIssuer> {
    let mut issuers: Vec<&TrustedIssuer> = registry.all().map(AsRef::as_ref).collect();
    issuers.sort_by(|one, other| one.name.cmp(&other.name));
    issuers
}

fn issuer_names(registry: &Registry) -> Vec<&str> {
    let issuers = issuers(registry);
    issuers.into_iter().map(|issuer| &*issuer.name).collect()
}

/// What every file uses.
fn shared_definitions(registry: &Registry) -> Map<String, Value> {
    let glob = json!({"type": "string", "minLength": 1, "description": "`*` is any run without `/`, `?` one character but `/`, `**` any run; everything else is literal."});
    let definitions = json!({
        "name": {
            "type": "string",
            "minLength": 1,
            "maxLength": 100,
            "description": "Unique in the file; shown in the audit log and to who is refused.",
        },
        "mode": {
            "enum": ["enforce", "shadow"],
            "description": "`shadow`: judged and recorded, without any effect.",
        },
        "lifetime": {
            "type": "string",
            "pattern": "^ *[0-9]+ *[a-z]+( *[0-9]+ *[a-z]+)* *$",
            "examples": ["15m", "30m", "1h"],
        },
        "scope": {
            "type": "string",
            "pattern": "^[!#-\\[\\]-~]{1,128}$",
            "examples": KNOWN_SCOPES,
        },
        "silence": {
            "type": "array",
            "description": "Findings of `policy check` that are accepted, each with its reason.",
            "items": {
                "type": "object",
                "required": ["code", "because"],
                "additionalProperties": false,
                "properties": {"code": word(), "because": word()},
            },
        },
        "glob": glob,
        "globs": {"anyOf": [reference("glob"), {"type": "array", "items": reference("glob"), "minItems": 1}]},
        "any-value": {"type": ["string", "number", "boolean"]},
        "any-condition": condition(&reference("any-value"), true, true),
        "absence": {
            "type": "object",
            "required": ["absent"],
            "additionalProperties": false,
            "properties": {"absent": {"const": true}},
        },
    });
    let mut all = conditions();
    if let Value::Object(definitions) = definitions {
        all.extend(definitions);
    }
    for issuer in issuers(registry) {
        let profile = issuer.profile;
        all.insert(format!("claims-{}", profile.name), claims(profile));
    }
    all
}

/// A `[[trust]]`: which keys it has depends on its issuer.
fn trust(registry: &Registry) -> Value {
    json!({
        "type": "object",
        "required": ["name", "issuer", "scopes"],
        "properties": {"issuer": {"enum": issuer_names(registry)}},
        "allOf": by_issuer(registry, "trust"),
    })
}

/// A `[[deny]]`; without issuer it is for every one, and asks for claims alone.
fn deny(registry: &Registry) -> Value {
    let mut branches = by_issuer(registry, "deny");
    branches.push(json!({
        "if": {"not": {"required": ["issuer"]}},
        "then": {
            "required": ["claims"],
            "additionalProperties": false,
            "properties": {
                "name": reference("name"),
                "mode": reference("mode"),
                "silence": reference("silence"),
                "claims": {"type": "object", "additionalProperties": reference("any-condition")},
            },
        },
    }));
    json!({
        "type": "object",
        "required": ["name"],
        "properties": {"issuer": {"enum": issuer_names(registry)}},
        "allOf": branches,
    })
}

fn by_issuer(registry: &Registry, kind: &str) -> Vec<Value> {
    let branch = |issuer: &TrustedIssuer| {
        json!({
            "if": {"properties": {"issuer": {"const": &*issuer.name}}, "required": ["issuer"]},
            "then": reference(&format!("{kind}-{}", issuer.name)),
        })
    };
    issuers(registry).into_iter().map(branch).collect()
}

/// A `[[trust]]` for one issuer.
fn trust_of(issuer: &TrustedIssuer) -> Value {
    let profile = issuer.profile;
    let mut keys = keys_of(issuer);
    keys.insert(
        "scopes".to_owned(),
        json!({"type": "array", "items": reference("scope"), "minItems": 1, "uniqueItems": true, "description": "What the job gets."}),
    );
    keys.insert("lifetime".to_owned(), reference("lifetime"));
    keys.insert(
        "resources".to_owned(),
        json!({"type": "array", "items": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9+.-]*:[!-\"$-~]+$"}, "uniqueItems": true, "description": "What the job may ask for with `resource`."}),
    );
    for requirement in profile.requirements {
        if let Requirement::SameProject { lifted_by, .. } = requirement {
            keys.insert((*lifted_by).to_owned(), json!({"type": "boolean"}));
        }
    }
    let mut demands: Vec<Value> = profile.fields.iter().filter_map(required).collect();
    demands.extend(profile.fields.iter().filter_map(glob_needs_id));
    demands.extend(separates_customers(issuer));
    let mut schema = json!({"additionalProperties": false, "properties": keys});
    if let (Some(members), false) = (schema.as_object_mut(), demands.is_empty()) {
        members.insert("allOf".to_owned(), Value::Array(demands));
    }
    schema
}

/// That some value says which customer of an issuer is meant, where the profile does not know what does.
fn separates_customers(issuer: &TrustedIssuer) -> Option<Value> {
    if !issuer.profile.tenant_claims_configured {
        return None;
    }
    let tenants = issuer.tenant_claims.iter().map(String::as_str);
    let mut ways = vec![json!({"required": ["sub"]})];
    ways.extend(tenants.chain(["sub"]).map(
        |claim| json!({"required": ["claims"], "properties": {"claims": {"required": [claim]}}}),
    ));
    Some(json!({"anyOf": ways}))
}

/// A `[[deny]]` for one issuer.
fn deny_of(issuer: &TrustedIssuer) -> Value {
    json!({"additionalProperties": false, "properties": keys_of(issuer)})
}

/// The keys that trust and deny have in common.
fn keys_of(issuer: &TrustedIssuer) -> Map<String, Value> {
    let profile = issuer.profile;
    let mut keys = Map::new();
    keys.insert("name".to_owned(), reference("name"));
    keys.insert("issuer".to_owned(), json!({"const": &*issuer.name}));
    keys.insert("mode".to_owned(), reference("mode"));
    keys.insert("silence".to_owned(), reference("silence"));
    keys.insert(
        "claims".to_owned(),
        reference(&format!("claims-{}", profile.name)),
    );
    for field in profile.fields {
        keys.insert(field.name.to_owned(), self::field(field));
    }
    if profile.tenant_claims_configured {
        keys.insert(
            "sub".to_owned(),
            one_or_list(&json!({"type": "string"}), "The exact subject."),
        );
    }
    keys
}

/// That a field is given, if it must be.
fn required(field: &IdentityField) -> Option<Value> {
    match field.required {
        Required::No => None,
        Required::Yes => Some(json!({"required": [field.name]})),
        Required::UnlessIds(ids) => {
            Some(json!({"anyOf": [{"required": [field.name]}, {"required": ids}]}))
        }
    }
}

/// That a glob of names has the id beside it that keeps strangers out.
fn glob_needs_id(field: &IdentityField) -> Option<Value> {
    let Many::GlobWith(id) = field.many else {
        return None;
    };
    Some(json!({
        "if": {"properties": {field.name: {"type": "object"}}, "required": [field.name]},
        "then": {"required": [id]},
    }))
}

fn field(field: &IdentityField) -> Value {
    let value = match field.kind {
        FieldKind::Id => json!({"anyOf": [
            {"type": "string", "pattern": "^[^\\s/]+$"},
            {"type": "integer", "minimum": 0},
        ]}),
        FieldKind::Name => json!({"type": "string", "pattern": "^[^/]+$"}),
        FieldKind::Path => json!({"type": "string", "pattern": "^[^/]+(/[^/]+)+$"}),
        FieldKind::Opaque => json!({"type": "string", "minLength": 1}),
        FieldKind::Uuid(_) => json!({
            "type": "string",
            "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
        }),
        FieldKind::FullRef => json!({"type": "string", "pattern": "^refs/.*[^/]$"}),
        FieldKind::WorkflowFile => json!({"type": "string", "pattern": "^[^/]+\\.ya?ml$"}),
        FieldKind::ReusableWorkflow => {
            json!({"type": "string", "pattern": "^[^/@]+/[^/@]+/[^@]+(@.+)?$"})
        }
    };
    let description = match field.kind {
        FieldKind::Uuid(hint) => hint.to_owned(),
        _ if field.found_at.is_empty() => format!("The claim `{}`.", field.source.claim()),
        _ => format!("The claim `{}`; {}.", field.source.claim(), field.found_at),
    };
    let glob = json!({
        "type": "object",
        "required": ["glob"],
        "additionalProperties": false,
        "properties": {"glob": reference("globs")},
    });
    let list = json!({"type": "array", "items": value, "minItems": 1});
    let mut forms = vec![value];
    if field.many != Many::One {
        forms.push(list);
    }
    if matches!(field.many, Many::ListOrGlob | Many::GlobWith(_)) {
        forms.push(glob);
    }
    json!({"anyOf": forms, "description": description})
}

/// The table `claims` of a profile: what it knows by type, and any other claim by any value.
fn claims(profile: &Profile) -> Value {
    let mut known: Map<String, Value> = Map::new();
    for claim in profile.claims {
        let mut condition = condition_on(claim);
        if let Some(members) = condition.as_object_mut() {
            members.insert("description".to_owned(), json!(claim.meaning));
        }
        known.insert(claim.name.to_owned(), condition);
    }
    json!({
        "type": "object",
        "description": "Every line must hold. A list means one of.",
        "properties": known,
        "additionalProperties": reference("any-condition"),
    })
}

/// A condition on a claim of this type, by the name of its definition.
fn condition_on(claim: &Claim) -> Value {
    let kind = match claim.kind {
        ClaimType::Text | ClaimType::TextList | ClaimType::BooleanText => "text",
        ClaimType::Id => "id",
        ClaimType::Number => "number",
        ClaimType::Boolean => "boolean",
        ClaimType::Object => return reference("absence"),
    };
    let absence = if claim.always { "" } else { "-or-absence" };
    reference(&format!("{kind}-condition{absence}"))
}

/// The conditions on claims of each type, with and without `absent`.
fn conditions() -> Map<String, Value> {
    let mut conditions = Map::new();
    let id = json!({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]});
    for (kind, value, texts) in [
        ("text", json!({"type": "string"}), true),
        ("id", id, true),
        ("number", json!({"type": "number"}), false),
        ("boolean", json!({"type": "boolean"}), false),
    ] {
        let name = format!("{kind}-condition");
        conditions.insert(format!("{name}-or-absence"), condition(&value, texts, true));
        conditions.insert(name, condition(&value, texts, false));
    }
    conditions
}

/// A value, a list of values, or a table of `glob`, `not` and `absent`.
fn condition(value: &Value, texts: bool, may_be_absent: bool) -> Value {
    let glob = json!({
        "type": "object",
        "required": ["glob"],
        "additionalProperties": false,
        "properties": {"glob": reference("globs")},
    });
    let mut kept_out = vec![value.clone()];
    let mut members = Map::new();
    if texts {
        members.insert("glob".to_owned(), reference("globs"));
        kept_out.push(glob);
    }
    let kept_out = json!({"anyOf": kept_out});
    members.insert(
        "not".to_owned(),
        json!({"anyOf": [kept_out, {"type": "array", "items": kept_out, "minItems": 1}]}),
    );
    let mut forms = vec![
        value.clone(),
        json!({"type": "array", "items": value, "minItems": 1}),
        json!({
            "type": "object",
            "minProperties": 1,
            "additionalProperties": false,
            "properties": members,
        }),
    ];
    if may_be_absent {
        forms.push(reference("absence"));
    }
    json!({"anyOf": forms})
}

fn case(claim_sets: &[&str]) -> Value {
    json!({
        "type": "object",
        "required": ["name", "expect"],
        "additionalProperties": false,
        "properties": {
            "name": reference("name"),
            "from": {
                "type": "string",
                "examples": claim_sets,
                "description": "Claims that this program knows; `claims` changes some of them.",
            },
            "claims-file": {"type": "string", "description": "Claims as JSON, relative to this file."},
            "claims": {"type": "object", "description": "Claims as a token would have them."},
            "expect": one_or_list(
                &json!({"type": "string"}),
                "The relationships that must hold, or `\"denied\"`.",
            ),
            "because": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What must be among the reasons of a denial: fields, claims, or the name of a deny.",
            },
            "silence": reference("silence"),
        },
        "anyOf": [
            {"required": ["from"]},
            {"required": ["claims-file"]},
            {"required": ["claims"]},
        ],
        "not": {"required": ["from", "claims-file"]},
        "if": {"required": ["because"]},
        "then": {"properties": {"expect": {"const": "denied"}}},
    })
}

fn require(registry: &Registry) -> Value {
    let pins = |issuer: &TrustedIssuer| {
        let fields: Vec<&str> = issuer
            .profile
            .fields
            .iter()
            .map(|field| field.name)
            .collect();
        json!({
            "if": {"properties": {"issuer": {"const": &*issuer.name}}, "required": ["issuer"]},
            "then": {"properties": {"pin": {"items": {"enum": fields}}}},
        })
    };
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "name": reference("name"),
            "issuer": {
                "enum": issuer_names(registry),
                "description": "Whose relationships this is about; left out: those of every issuer.",
            },
            "pin": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "The identity fields that every relationship for the issuer must give.",
            },
            "scopes-at-most": {"type": "array", "items": reference("scope"), "minItems": 1},
            "lifetime-at-most": reference("lifetime"),
            "silence": reference("silence"),
        },
        "dependentRequired": {"pin": ["issuer"]},
        "anyOf": [
            {"required": ["pin"]},
            {"required": ["scopes-at-most"]},
            {"required": ["lifetime-at-most"]},
        ],
        "allOf": issuers(registry).into_iter().map(pins).collect::<Vec<_>>(),
    })
}

fn reference(definition: &str) -> Value {
    json!({"$ref": format!("#/$defs/{definition}")})
}

fn list_of(definition: &str, description: &str) -> Value {
    json!({"type": "array", "items": reference(definition), "description": description})
}

fn one_or_list(value: &Value, description: &str) -> Value {
    json!({
        "anyOf": [value, {"type": "array", "items": value, "minItems": 1}],
        "description": description,
    })
}

fn word() -> Value {
    json!({"type": "string", "pattern": "\\S"})
}

#[cfg(test)]
pub(super) mod tests {
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
}
