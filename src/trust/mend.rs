//! What keeps a job out, in one sentence, and the one edit of a policy that would let it in.

use serde_json::Value;

use super::{Finding, FindingKind, Judgement};
use crate::text::for_terminal;

/// "`release` fails only on `environment`: wanted `production`, the token has none".
pub(super) fn falls_short(nearest: &Judgement) -> String {
    let name = &nearest.name;
    match missing(nearest).as_slice() {
        [only] => format!(
            "`{name}` fails only on `{}`: {}",
            only.asked,
            wanted_and_found(only)
        ),
        several => {
            let each = several
                .iter()
                .map(|finding| format!("`{}` ({})", finding.asked, wanted_and_found(finding)));
            let each: Vec<String> = each.collect();
            format!(
                "`{name}` comes nearest and fails on {}: {}",
                several.len(),
                each.join(", ")
            )
        }
    }
}

/// The edit of the file, if one is enough.
pub(super) fn edit_of(nearest: &Judgement) -> Option<String> {
    let missing = missing(nearest);
    if missing
        .iter()
        .all(|finding| finding.kind == FindingKind::Pin)
    {
        return Some(format!(
            "if the ids of this token are yours, write them into `{}`, or forget the pinned ones with \
            `countersign policy pin --reset`",
            nearest.name
        ));
    }
    let [only] = missing.as_slice() else {
        return None;
    };
    let (name, key) = (&nearest.name, toml_key(&only.asked));
    let mend = match (only.kind, &only.found) {
        (FindingKind::Issuer, _) => {
            return Some(format!(
                "write a relationship for this issuer; `{name}` is for another"
            ));
        }
        (FindingKind::Condition | FindingKind::Identity, None) => {
            format!("remove the line `{key}`, or let the job's token have it")
        }
        (FindingKind::Condition, Some(value)) => widened(&key, &only.wanted, value),
        (FindingKind::Profile, Some(value)) if may_be_named(only) && is_scalar(value) => {
            format!("name it literally under `claims`: `{key} = {value}`")
        }
        (FindingKind::Identity, Some(value)) if key.ends_with("-id") && is_scalar(value) => {
            format!("if this is the one that you mean, write `{key} = {value}`")
        }
        (FindingKind::Identity, Some(_)) => {
            format!("if this is the one that you mean, change `{key}`")
        }
        (FindingKind::GuardRail, _) => {
            format!("make `{}` {}", only.asked, only.wanted)
        }
        (FindingKind::Expired, _) => "give the ids beside the names".to_owned(),
        (FindingKind::Profile | FindingKind::Label | FindingKind::Pin, _) => return None,
    };
    Some(format!("in `{name}`, {mend}"))
}

pub(super) fn keeps_out(relationships: &[Judgement], deny: &Judgement) -> String {
    let holding = relationships.iter().filter(|judged| judged.holds);
    let holding: Vec<String> = holding.map(|judged| judged.name.to_string()).collect();
    let why: Vec<String> = deny
        .findings
        .iter()
        .filter(|finding| finding.kind != FindingKind::Issuer)
        .map(|finding| {
            format!(
                "`{}`: wanted {}, {}",
                finding.asked,
                wanted(finding),
                found(finding)
            )
        })
        .collect();
    let why = if why.is_empty() {
        "every job of the issuer".to_owned()
    } else {
        why.join(", ")
    };
    format!(
        "{} would let it in, but the deny `{}` keeps it out ({why})",
        listed(&holding),
        deny.name
    )
}

/// The edit of the deny that keeps a job out, if it is the only one.
pub(super) fn narrower(denies: &[Judgement]) -> Option<String> {
    let mut holding = denies.iter().filter(|deny| deny.holds);
    let (only, None) = (holding.next()?, holding.next()) else {
        return None;
    };
    Some(format!(
        "narrow the deny `{}`, so that it does not apply to this job",
        only.name
    ))
}

/// What an edit would have to mend. What the profile wants of a claim is left out where the relationship asks for that claim
/// too: to name a value there lifts both.
pub(super) fn missing(judgement: &Judgement) -> Vec<&Finding> {
    let asked_too = |claim: &str| {
        failed(judgement)
            .any(|other| other.kind == FindingKind::Condition && *other.claim == *claim)
    };
    failed(judgement)
        .filter(|finding| finding.kind != FindingKind::Profile || !asked_too(&finding.claim))
        .collect()
}

pub(super) fn failed(judgement: &Judgement) -> impl Iterator<Item = &Finding> {
    judgement.findings.iter().filter(|finding| !finding.holds)
}

/// How a condition lets `value` in too.
fn widened(key: &str, wanted: &str, value: &Value) -> String {
    let values = wanted.strip_prefix("one of ").unwrap_or(wanted);
    let listed = serde_json::from_str::<Vec<Value>>(&format!("[{values}]"));
    match listed {
        Ok(mut listed) if is_scalar(value) => {
            listed.push(value.clone());
            let listed: Vec<String> = listed.iter().map(Value::to_string).collect();
            format!("write `{key} = [{}]`", listed.join(", "))
        }
        _ if wanted == "absent" => format!("remove the line `{key}`"),
        _ if is_scalar(value) => format!("change `{key}`, so that {value} satisfies it"),
        _ => format!("change `{key}`"),
    }
}

/// Whether a relationship lifts a requirement by naming the token's value; `requirement_in_words` says so of those.
fn may_be_named(finding: &Finding) -> bool {
    finding.wanted.contains("the relationship names")
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

/// The key as TOML writes it.
fn toml_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        Value::String(key.to_owned()).to_string()
    }
}

pub(super) fn asked(finding: &Finding) -> String {
    let note = match finding.kind {
        FindingKind::Profile => " (of every token)",
        FindingKind::GuardRail => " (of the relationship)",
        FindingKind::Pin => " (pinned)",
        _ if finding.renamed => " (renamed)",
        _ => "",
    };
    format!("{}{note}", finding.asked)
}

pub(super) fn wanted_and_found(finding: &Finding) -> String {
    format!("wanted {}, {}", wanted(finding), found(finding))
}

/// What would have satisfied it; a single text without the quotation marks of the file.
fn wanted(finding: &Finding) -> String {
    match serde_json::from_str(&finding.wanted) {
        Ok(Value::String(text)) if !text.is_empty() => format!("`{text}`"),
        _ => finding.wanted.to_string(),
    }
}

fn found(finding: &Finding) -> String {
    if finding.kind == FindingKind::Expired {
        return "and nobody used its names".to_owned();
    }
    let who = match finding.kind {
        FindingKind::GuardRail => "the relationship gives",
        _ => "the token has",
    };
    match &finding.found {
        None => format!("{who} none"),
        Some(Value::String(text)) if !text.is_empty() => format!("{who} `{}`", for_terminal(text)),
        Some(value) => format!("{who} {}", for_terminal(&value.to_string())),
    }
}

/// "`a` and `b`".
pub(super) fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "a relationship".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::trust) fn finding(
        kind: FindingKind,
        asked: &str,
        wanted: &str,
        found: Option<Value>,
    ) -> Finding {
        Finding {
            asked: asked.into(),
            claim: asked.into(),
            kind,
            wanted: wanted.into(),
            found,
            holds: false,
            renamed: false,
        }
    }

    pub(in crate::trust) fn failing(name: &str, findings: Vec<Finding>) -> Judgement {
        Judgement {
            name: name.into(),
            holds: false,
            identity_holds: true,
            findings,
        }
    }

    #[test]
    fn the_one_edit_is_written_the_way_the_file_writes_it() {
        use FindingKind::{Condition, Identity, Issuer, Profile};
        type Case = (
            FindingKind,
            &'static str,
            &'static str,
            Option<Value>,
            Option<&'static str>,
        );
        let cases: &[Case] = &[
            (
                Condition,
                "ref",
                "\"refs/heads/main\"",
                Some(json!("refs/heads/dev")),
                Some("in `x`, write `ref = [\"refs/heads/main\", \"refs/heads/dev\"]`"),
            ),
            (
                Condition,
                "oidc.circleci.com/vcs-ref",
                "one of \"a\", \"b\"",
                Some(json!("c")),
                Some("in `x`, write `\"oidc.circleci.com/vcs-ref\" = [\"a\", \"b\", \"c\"]`"),
            ),
            (
                Condition,
                "ref",
                "like \"refs/tags/v*\"",
                Some(json!("refs/tags/x")),
                Some("in `x`, change `ref`, so that \"refs/tags/x\" satisfies it"),
            ),
            (
                Condition,
                "base_ref",
                "absent",
                Some(json!("main")),
                Some("in `x`, remove the line `base_ref`"),
            ),
            (
                Condition,
                "environment",
                "\"production\"",
                None,
                Some("in `x`, remove the line `environment`, or let the job's token have it"),
            ),
            (
                Identity,
                "repository-id",
                "\"74\"",
                Some(json!("9")),
                Some("in `x`, if this is the one that you mean, write `repository-id = \"9\"`"),
            ),
            (
                Profile,
                "ssh-rerun",
                "false, unless the relationship names true",
                Some(json!(true)),
                Some("in `x`, name it literally under `claims`: `ssh-rerun = true`"),
            ),
            (
                Profile,
                "org-id",
                "the organization in `iss`",
                Some(json!("o")),
                None,
            ),
            (
                Issuer,
                "issuer",
                "`github`, https://…",
                Some(json!("https://gitlab.com")),
                Some("write a relationship for this issuer; `x` is for another"),
            ),
        ];
        for (kind, asked, wanted, found, edit) in cases {
            let nearest = failing("x", vec![finding(*kind, asked, wanted, found.clone())]);
            assert_eq!(edit_of(&nearest).as_deref(), *edit, "{asked}");
        }
    }

    #[test]
    fn two_failures_have_no_one_edit_unless_one_line_mends_both() {
        let found = Some(json!("pull_request_target"));
        let required = "one of \"push\", or one that the relationship names under `event_name`";
        let both = failing(
            "x",
            vec![
                finding(FindingKind::Profile, "event_name", required, found.clone()),
                finding(
                    FindingKind::Condition,
                    "event_name",
                    "\"push\"",
                    found.clone(),
                ),
            ],
        );
        assert!(edit_of(&both).unwrap().contains("\"pull_request_target\"]"));
        let two = failing(
            "x",
            vec![
                finding(FindingKind::Condition, "a", "\"b\"", None),
                finding(FindingKind::Condition, "c", "\"d\"", None),
            ],
        );
        assert_eq!(edit_of(&two), None);
        assert!(
            falls_short(&two).contains("fails on 2: `a`"),
            "{}",
            falls_short(&two)
        );
    }

    #[test]
    fn a_branch_cannot_write_on_the_operators_terminal() {
        let name = json!("main\u{1b}[2J\u{202e}x\n");
        let finding = finding(FindingKind::Condition, "ref", "\"a\"", Some(name));
        assert_eq!(found(&finding), "the token has `main?[2J?x?`");
    }
}
