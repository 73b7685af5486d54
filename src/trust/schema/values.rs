//! The schemas of what stands in an entry: identity fields, and conditions on claims.

use serde_json::{Map, Value, json};

use crate::issuer::profile::{Claim, ClaimType, FieldKind, IdentityField, Many, Profile, Required};

/// That a field is given, if it must be.
pub(super) fn required(field: &IdentityField) -> Option<Value> {
    match field.required {
        Required::No => None,
        Required::Yes => Some(json!({"required": [field.name]})),
        Required::UnlessIds(ids) => {
            Some(json!({"anyOf": [{"required": [field.name]}, {"required": ids}]}))
        }
    }
}

/// That a glob of names has the id beside it that keeps strangers out.
pub(super) fn glob_needs_id(field: &IdentityField) -> Option<Value> {
    let Many::GlobWith(id) = field.many else {
        return None;
    };
    Some(json!({
        "if": {"properties": {field.name: {"type": "object"}}, "required": [field.name]},
        "then": {"required": [id]},
    }))
}

pub(super) fn field(field: &IdentityField) -> Value {
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
pub(super) fn claims(profile: &Profile) -> Value {
    let mut known: Map<String, Value> = Map::new();
    for claim in profile.claims {
        let mut condition = condition_on(claim);
        if let Some(members) = condition.as_object_mut() {
            let said = format!("{} ({})", claim.meaning, claim.trust.in_words());
            members.insert("description".to_owned(), json!(said));
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
pub(super) fn condition_on(claim: &Claim) -> Value {
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
pub(super) fn conditions() -> Map<String, Value> {
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
pub(super) fn condition(value: &Value, texts: bool, may_be_absent: bool) -> Value {
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

pub(super) fn reference(definition: &str) -> Value {
    json!({"$ref": format!("#/$defs/{definition}")})
}
