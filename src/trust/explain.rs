//! A decision as a person reads it: the whole tree, the nearest relationship first, and the one edit that would let the
//! job in.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::mend::{
    asked, edit_of, failed, falls_short, keeps_out, listed, missing, narrower, wanted_and_found,
};
use super::{Decision, FindingKind, Judgement, Refusal};
use crate::text::for_terminal;

/// What came of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A token would be issued, or was.
    Allowed,
    /// None would be, or was.
    Denied,
}

/// Which recorded decision is explained.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub at: String,
    /// The issuer and the subject of the token, if it verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// A decision, explained. This is for operators: it shows what the policy wanted.
///
/// Its JSON form is the answer of `policy explain --format json`.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The recorded decision, with its moment and its subject, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Recorded>,
    /// The project that was asked for.
    pub project: String,
    /// What came of it.
    pub outcome: Verdict,
    /// The stable code of a denial.
    pub reason: Option<String>,
    /// The names of the relationships that hold, sorted.
    pub trust: Vec<String>,
    /// The scopes that are granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// How long the project token lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u32>,
    /// What stopped it, in one sentence; none if nothing did.
    pub summary: Option<String>,
    /// The one edit of the policy that would let it in, where one is enough.
    pub edit: Option<String>,
    /// What every relationship answered, the nearest first.
    pub relationships: Vec<Judgement>,
    /// What every deny answered, those that hold first.
    pub denies: Vec<Judgement>,
    /// How many relationships are not listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub relationships_not_listed: usize,
    /// What every relationship in shadow mode answered, the nearest first. None of it has an effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadow_relationships: Vec<Judgement>,
    /// What the denies in shadow mode answered that hold. None of it has an effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadow_denies: Vec<Judgement>,
    /// What was not judged, or is to be known beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Explanation {
    /// Explains the decision about `project`.
    pub fn new(project: &str, decision: &Decision) -> Self {
        let shadow = decision.shadow.trust.iter();
        let mut explanation = Self {
            relationships: nearest_first(decision.relationships.clone()),
            denies: decision.denies.clone(),
            relationships_not_listed: decision.not_listed,
            shadow_relationships: shadow.chain(&decision.shadow.others).cloned().collect(),
            shadow_denies: decision.shadow.denies.clone(),
            ..Self::bare(project, Verdict::Allowed)
        };
        match &decision.outcome {
            Ok(grant) => {
                explanation.trust = texts(grant.trust());
                explanation.scopes = words(&grant.scopes().to_string());
                explanation.lifetime_seconds = Some(grant.lifetime().0);
            }
            Err(refusal) => {
                explanation.outcome = Verdict::Denied;
                explanation.reason = Some(refusal.code().to_owned());
                explanation.say_what_stopped_it(refusal);
            }
        }
        explanation
    }

    /// An explanation that says what came of it, and nothing more.
    pub fn bare(project: &str, outcome: Verdict) -> Self {
        Self {
            decision: None,
            project: project.to_owned(),
            outcome,
            reason: None,
            trust: Vec::new(),
            scopes: Vec::new(),
            lifetime_seconds: None,
            summary: None,
            edit: None,
            relationships: Vec::new(),
            denies: Vec::new(),
            relationships_not_listed: 0,
            shadow_relationships: Vec::new(),
            shadow_denies: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A refusal before any policy was asked.
    pub fn refused(project: &str, reason: &str, why: String) -> Self {
        Self {
            reason: Some(reason.to_owned()),
            summary: Some(why),
            ..Self::bare(project, Verdict::Denied)
        }
    }

    /// A decision of which only judgements and reason are left, as a record keeps them.
    pub fn recorded(
        project: &str,
        reason: &str,
        description: Option<String>,
        relationships: Vec<Judgement>,
        denies: Vec<Judgement>,
    ) -> Self {
        let mut explanation = Self {
            relationships: nearest_first(relationships),
            denies,
            ..Self::refused(project, reason, description.unwrap_or_default())
        };
        if let Some(nearest) = explanation.nearest_failed() {
            (explanation.summary, explanation.edit) = explanation.said_of(nearest);
        } else if let Some(deny) = explanation.denies.iter().find(|deny| deny.holds) {
            explanation.summary = Some(keeps_out(&explanation.relationships, deny));
            explanation.edit = narrower(&explanation.denies);
        }
        explanation
    }

    /// What is said of the nearest relationship. Where a deny holds too, no one edit of the relationship lets the job in.
    fn said_of(&self, nearest: &Judgement) -> (Option<String>, Option<String>) {
        let summary = falls_short(nearest);
        match self.denies.iter().find(|deny| deny.holds) {
            None => (Some(summary), edit_of(nearest)),
            Some(deny) => {
                let too = format!("; and the deny `{}` holds too", deny.name);
                (Some(summary + &too), None)
            }
        }
    }

    fn say_what_stopped_it(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::NotTrusted
            | Refusal::IdentityChanged { .. }
            | Refusal::RelationshipExpired(_) => match self.nearest_failed() {
                Some(nearest) => {
                    (self.summary, self.edit) = self.said_of(nearest);
                }
                None => self.summary = Some("the project has no trust relationship".to_owned()),
            },
            Refusal::DeniedByRule(name) => {
                if let Some(deny) = self.denies.iter().find(|deny| deny.name == *name) {
                    self.summary = Some(keeps_out(&self.relationships, deny));
                    self.edit = narrower(&self.denies);
                }
            }
            Refusal::ScopeExceedsGrant { exceeding, granted } => {
                self.trust = self.holding();
                self.summary = Some(format!(
                    "{} give `{granted}`, and not `{exceeding}`",
                    listed(&self.trust)
                ));
                self.edit = self.trust.first().map(|name| {
                    format!(
                        "in `{name}`, add `{exceeding}` to `scopes`; or let the job ask for less"
                    )
                });
            }
            Refusal::ResourceNotAllowed(resource) => {
                self.trust = self.holding();
                self.summary = Some(format!(
                    "{} hold, and none lists `{resource}` under `resources`",
                    listed(&self.trust)
                ));
                self.edit = self
                    .trust
                    .first()
                    .map(|name| format!("in `{name}`, add `\"{resource}\"` to `resources`"));
            }
        }
    }

    fn holding(&self) -> Vec<String> {
        let holding = self.relationships.iter().filter(|judged| judged.holds);
        let mut names: Vec<String> = holding.map(|judged| judged.name.to_string()).collect();
        names.sort();
        names
    }

    /// The relationship to speak of: that which the reason is about, or else the nearest; none if one holds.
    fn nearest_failed(&self) -> Option<&Judgement> {
        let kind = match self.reason.as_deref() {
            Some("identity-changed") => Some(FindingKind::Pin),
            Some("relationship-expired") => Some(FindingKind::Expired),
            _ => None,
        };
        let all_of = |judged: &&Judgement| missing(judged).iter().all(|one| Some(one.kind) == kind);
        let failed = || self.relationships.iter().filter(|judged| !judged.holds);
        let about = failed().find(all_of).filter(|_| kind.is_some());
        about.or_else(|| self.relationships.first().filter(|first| !first.holds))
    }

    /// The whole explanation, in lines.
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        if let Some(decision) = &self.decision {
            let _ = writeln!(text, "decision {} at {}", decision.id, decision.at);
            if let Some(subject) = &decision.subject {
                let _ = writeln!(text, "  {subject}");
            }
        }
        let _ = writeln!(text, "{}: {}", self.project, self.outcome_in_words());
        if let Some(summary) = &self.summary {
            let _ = writeln!(text, "  {summary}");
        }
        if let Some(edit) = &self.edit {
            let _ = writeln!(text, "  one edit would let it in: {}", for_terminal(edit));
        }
        for (kind, judgements) in [
            ("deny", &self.denies),
            ("trust", &self.relationships),
            ("shadow deny", &self.shadow_denies),
            ("shadow trust", &self.shadow_relationships),
        ] {
            for judgement in judgements {
                entry(&mut text, kind, judgement);
            }
        }
        if self.relationships_not_listed > 0 {
            let more = self.relationships_not_listed;
            let _ = writeln!(text, "  … and {more} more, none of them nearer");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }

    fn outcome_in_words(&self) -> String {
        match (self.outcome, &self.reason) {
            (Verdict::Allowed, _) => {
                let lifetime = self
                    .lifetime_seconds
                    .map(|seconds| format!(" for {}", crate::clock::Seconds(seconds)));
                format!(
                    "allowed by {}: {}{}",
                    listed(&self.trust),
                    self.scopes.join(" "),
                    lifetime.unwrap_or_default()
                )
            }
            (Verdict::Denied, Some(reason)) => format!("denied ({reason})"),
            (Verdict::Denied, None) => "denied".to_owned(),
        }
    }
}

/// Those first that the fewest edits would let hold; of two with as many, that which says more about the job. (A decision
/// lists those first whose identity holds, since their callers may be told. An operator wants to know what to mend.)
fn nearest_first(mut relationships: Vec<Judgement>) -> Vec<Judgement> {
    relationships.sort_by_key(|judged| {
        let other_issuer = failed(judged).any(|finding| finding.kind == FindingKind::Issuer);
        let held = judged.findings.iter().filter(|finding| finding.holds);
        (
            !judged.holds,
            other_issuer,
            missing(judged).len(),
            Reverse(held.count()),
            !judged.identity_holds,
        )
    });
    relationships
}

/// One judgement with every finding; of a deny that does not apply, only that.
fn entry(text: &mut String, kind: &str, judgement: &Judgement) {
    let name = &judgement.name;
    let _ = match (kind, judgement.holds) {
        (_, true) => writeln!(text, "  {kind} `{name}` holds"),
        ("deny" | "shadow deny", false) => writeln!(text, "  {kind} `{name}` does not apply"),
        (_, false) => writeln!(text, "  {kind} `{name}` does not hold"),
    };
    if kind.ends_with("deny") && !judgement.holds {
        return;
    }
    for finding in failed(judgement) {
        let _ = writeln!(
            text,
            "    no  {}: {}",
            asked(finding),
            wanted_and_found(finding)
        );
    }
    let held = judgement.findings.iter().filter(|finding| finding.holds);
    let held: Vec<String> = held.map(asked).collect();
    if !held.is_empty() {
        let _ = writeln!(text, "    ok  {}", held.join(", "));
    }
}

fn texts(names: &[Arc<str>]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trust::Finding;
    use crate::trust::mend::tests::{failing, finding};

    #[test]
    fn the_relationship_that_needs_the_fewest_edits_is_the_nearest() {
        let ok = Finding {
            holds: true,
            ..finding(FindingKind::Condition, "y", "\"y\"", Some(json!("y")))
        };
        let wrong = || finding(FindingKind::Condition, "ref", "\"a\"", None);
        let stranger = finding(FindingKind::Issuer, "issuer", "`gitlab`", None);
        let sorted = nearest_first(vec![
            failing("another issuer", vec![stranger]),
            failing("two edits", vec![wrong(), wrong()]),
            failing("one edit", vec![wrong()]),
            failing("one edit, and says more of the job", vec![ok, wrong()]),
        ]);
        let names: Vec<&str> = sorted.iter().map(|judged| &*judged.name).collect();
        assert_eq!(
            names,
            [
                "one edit, and says more of the job",
                "one edit",
                "two edits",
                "another issuer"
            ]
        );
    }
}
