//! JSON Schemas (draft 2020-12) of both kinds of policy files, so that editors complete and check them.
//!
//! They are made from the same profiles that loading reads. A schema cannot say everything: it refuses wrong shapes, and
//! what it lets through `policy check` may still refuse.

mod values;

use serde_json::{Map, Value, json};

use values::{
    claims, condition, conditions, field as field_schema, glob_needs_id, reference, required,
};

use super::KNOWN_SCOPES;
use crate::issuer::profile::Requirement;
use crate::issuer::{Registry, TrustedIssuer};

/// Where the language of JSON Schema is defined.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

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
        keys.insert(field.name.to_owned(), field_schema(field));
    }
    if profile.tenant_claims_configured {
        keys.insert(
            "sub".to_owned(),
            one_or_list(&json!({"type": "string"}), "The exact subject."),
        );
    }
    keys
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
pub(super) mod tests;
