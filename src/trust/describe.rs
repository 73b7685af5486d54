//! What the caller may be told of a decision.

use std::fmt::Write as _;

use serde_json::Value;

use super::{ChangedId, Decision, Finding, FindingKind, Judgement, Refusal};

/// All that a caller hears who proved no identity, whether or not there is such a project.
const NOT_TRUSTED: &str = "no trust relationship of this project holds for this token, or there is no such project: \
check that the audience names the project, and ask its operator to look up the decision id";

/// The longest description, in characters.
const LONGEST: usize = 600;

/// The longest value of a token that a description repeats, in characters.
const LONGEST_VALUE: usize = 80;

impl Decision {
    /// The identity fields whose names differ from the policy's while their ids agree, in relationships that hold:
    /// somebody renamed something, and the policy should follow.
    pub fn renamed(&self) -> Vec<String> {
        let holding = self.relationships.iter().filter(|judged| judged.holds);
        let mut fields: Vec<String> = holding
            .flat_map(|judged| &judged.findings)
            .filter(|finding| finding.renamed)
            .map(|finding| finding.asked.to_string())
            .collect();
        fields.sort();
        fields.dedup();
        fields
    }

    /// What the caller may be told, in the characters that `error_description` may have (RFC 6749, section 5.2), at most
    /// 600 of them; empty if a token is granted.
    ///
    /// Who proved no identity hears one sentence, the same for a project that does not trust it and for one that does not
    /// exist. Who proved one hears which claims failed and what the own token has for them, never what would have passed.
    pub fn description(&self) -> String {
        let text = match &self.outcome {
            Ok(_) => String::new(),
            Err(Refusal::NotTrusted) => match self.nearest_proven() {
                Some(nearest) => near_miss(nearest),
                None => NOT_TRUSTED.to_owned(),
            },
            Err(Refusal::IdentityChanged {
                relationship,
                changed,
            }) => identity_changed(relationship, changed),
            Err(Refusal::RelationshipExpired(name)) => format!(
                "the trust relationship `{name}` gives names without ids, and expired because they were not used in time: \
                ask the project's operator to give the ids, or to reset the pin"
            ),
            Err(Refusal::DeniedByRule(name)) => format!(
                "a trust relationship holds, but so does the deny `{name}`, and a deny wins: ask the project's operator"
            ),
            Err(Refusal::ScopeExceedsGrant { exceeding, granted }) => format!(
                "not granted: `{exceeding}`; granted are: `{granted}`. ask for these alone, or leave out `scope`"
            ),
            Err(Refusal::ResourceNotAllowed(resource)) => format!(
                "no relationship that holds lists the resource `{}` under `resources`",
                cut(resource, LONGEST_VALUE)
            ),
        };
        cut(&plain(&text), LONGEST)
    }

    fn nearest_proven(&self) -> Option<&Judgement> {
        self.relationships
            .iter()
            .find(|judged| judged.identity_holds && !judged.holds)
    }
}

fn identity_changed(relationship: &str, changed: &[ChangedId]) -> String {
    let listed = |left_out: bool| {
        let ids = changed.iter().filter(|id| id.left_out == left_out);
        let claims: Vec<String> = ids.map(|id| format!("`{}`", id.claim)).collect();
        claims.join(", ")
    };
    let (other, missing) = (listed(false), listed(true));
    let mut said = format!(
        "the names of the trust relationship `{relationship}` belong to the ids that used them first, and this token"
    );
    if !other.is_empty() {
        let _ = write!(said, " has another {other}");
    }
    if !missing.is_empty() {
        let and = if other.is_empty() { "" } else { " and" };
        let _ = write!(said, "{and} leaves out {missing}");
    }
    if let Some(option) = changed.iter().find_map(|id| id.ask_for) {
        let asked = changed.iter().filter(|id| id.ask_for.is_some());
        let claims: Vec<&str> = asked.map(|id| id.claim).collect();
        let _ = write!(said, ": ask for it with `{option} {}`", claims.join(","));
    }
    if !other.is_empty() {
        said.push_str(
            ": either somebody registered them again, or the project's operator has to reset the pin",
        );
    }
    said
}

fn near_miss(nearest: &Judgement) -> String {
    let mut failed: Vec<String> = Vec::new();
    let mut why: Vec<String> = Vec::new();
    let mut because = |reason: &str| {
        if !why.iter().any(|known| known == reason) {
            why.push(reason.to_owned());
        }
    };
    for finding in nearest.findings.iter().filter(|finding| !finding.holds) {
        match finding.kind {
            FindingKind::GuardRail => {
                because("is switched off by a guard rail of the organization");
            }
            FindingKind::Expired => because("expired because its names were not used in time"),
            _ => {
                let said = own_value(finding);
                if !failed.contains(&said) {
                    failed.push(said);
                }
            }
        }
    }
    if !failed.is_empty() {
        why.push(format!(
            "does not hold because of the token's {}",
            failed.join(", ")
        ));
    }
    format!(
        "the trust relationship `{}` comes nearest, and {}",
        nearest.name,
        why.join(", and ")
    )
}

/// The claim and what the token has for it.
fn own_value(finding: &Finding) -> String {
    let claim = &finding.claim;
    let list: Vec<String>;
    let found = match &finding.found {
        None => return format!("`{claim}` (has none)"),
        Some(Value::String(text)) if text.is_empty() => return format!("`{claim}` (empty)"),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(members)) => {
            list = members
                .iter()
                .map(|member| member.as_str().map_or(member.to_string(), str::to_owned))
                .collect();
            list.join(" ")
        }
        Some(other) => other.to_string(),
    };
    format!("`{claim}` (has `{}`)", cut(&found, LONGEST_VALUE))
}

/// Replaces what RFC 6749, section 5.2, does not allow.
fn plain(text: &str) -> String {
    let allowed = |c: char| matches!(c, '\x20'..='\x21' | '\x23'..='\x5B' | '\x5D'..='\x7E');
    text.chars()
        .map(|c| if allowed(c) { c } else { '?' })
        .collect()
}

/// The first `most` characters, with dots where something is left out.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 3).collect();
    format!("{kept}...")
}
