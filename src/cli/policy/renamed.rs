//! What the jobs of the last days called what a policy names otherwise, while the ids agree.

use std::collections::HashMap;

use serde_json::Value;

use super::judge::{judge, suppose};
use super::setting::{Setting, each_decision};
use crate::audit::{Outcome, Record};
use crate::clock::{Clock as _, Seconds, SystemClock};
use crate::directory::ReadPolicies;
use crate::trust::{FindingKind, ProjectPolicy, Renamed, Wish};

/// The names that the ledger remembers last and that differ from those in the policies.
pub(super) async fn renamed(
    setting: &Setting,
    read: &ReadPolicies,
    since: Seconds,
) -> Result<Vec<Renamed>, u8> {
    let policies = read.policies.iter();
    let policies: HashMap<&str, &ProjectPolicy> = policies
        .map(|policy| (policy.path().as_str(), &**policy))
        .collect();
    let since = SystemClock.now().minus(since);
    let mut last_seen = LastSeen::default();
    each_decision(setting, since, |record| {
        let project = record.project.as_deref();
        let policy = project.and_then(|project| policies.get(project));
        if let (Some(policy), Outcome::Allowed) = (policy, record.outcome) {
            last_seen.note(setting, policy, record);
        }
    })
    .await?;
    Ok(last_seen.0.into_values().flatten().collect())
}

/// By project, relationship and field, the name of the last job, if it differs from the policy's. Earlier ones, which come
/// later, do not matter: they may be from before the policy followed.
#[derive(Default)]
struct LastSeen(HashMap<(String, String, String), Option<Renamed>>);

impl LastSeen {
    fn note(&mut self, setting: &Setting, policy: &ProjectPolicy, record: &Record) {
        let Ok(claims) = suppose(setting, (*record.claims).clone()) else {
            return;
        };
        let decision = judge(policy, &claims, &Wish::default(), setting.limits());
        for judged in decision.relationships.iter().filter(|judged| judged.holds) {
            let labels = judged.findings.iter();
            for label in labels.filter(|finding| finding.kind == FindingKind::Label) {
                let seen = Renamed {
                    project: policy.path().to_string(),
                    relationship: judged.name.to_string(),
                    field: label.asked.to_string(),
                    name: label
                        .found
                        .as_ref()
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned(),
                    decision_id: record.decision_id.to_string(),
                };
                let key = (
                    seen.project.clone(),
                    seen.relationship.clone(),
                    seen.field.clone(),
                );
                let found = label.renamed.then_some(seen);
                self.0.entry(key).or_insert(found);
            }
        }
    }
}
