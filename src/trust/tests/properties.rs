//! What holds of every policy and every token, tried on many.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::trust::court::Court;

/// Identities that a relationship may give.
const IDENTITIES: &[&str] = &[
    "owner-id = 65\nrepository-id = 74",
    "owner = 'octo-org'\nrepository = 'octo-repo'",
    "owner = 'OCTO-ORG'\nrepository = ['x', 'Octo-Repo']\nowner-id = 65",
    "owner = 'octo-org'\nowner-id = 65\nrepository = { glob = 'octo-*' }",
    "owner = 'octo-org'\nowner-id = 65\nrepository = { glob = '*' }\nenvironment = 'prod'",
    "owner = 'octo-org'\nrepository = 'old-name'\nrepository-id = 74",
    "owner-id = 66\nrepository-id = 74",
    "owner = 'mallory'\nrepository = 'octo-repo'",
];

/// Conditions, each on a claim of its own. None names an event or an SSH rerun literally, which lifts what the profile
/// asks for: that is the one way in which a line more may let in more.
const CONDITIONS: &[&str] = &[
    "ref = 'refs/heads/main'",
    "actor = { not = ['dependabot[bot]', { glob = 'renovate*' }] }",
    "head_ref = { glob = '**' }",
    "runner_environment = ['github-hosted', 'self-hosted']",
    "enterprise = { absent = true }",
    "base_ref = ''",
    "event_name = { not = 'pull_request' }",
    "repository_visibility = { glob = 'p*', not = 'public' }",
];

const SCOPES: &[&str] = &["a", "b", "c", "d"];

/// Claims that a token may have otherwise.
const CHANGES: &[(&str, &str)] = &[
    ("ref", "\"refs/heads/dev\""),
    ("actor", "\"renovate-bot\""),
    ("actor", "null"),
    ("environment", "\"prod\""),
    ("runner_environment", "\"self-hosted\""),
    ("runner_environment", "[\"github-hosted\"]"),
    ("repository_owner_id", "\"66\""),
    ("repository_id", "\"75\""),
    ("event_name", "\"pull_request\""),
    ("event_name", "\"pull_request_target\""),
    ("enterprise", "\"octocat\""),
    ("repository_visibility", "\"public\""),
];

/// One entry of a policy: what it says above its conditions, and those.
#[derive(Debug, Clone)]
struct Entry {
    kind: &'static str,
    head: String,
    conditions: Vec<&'static str>,
}

fn a_trust() -> impl Strategy<Value = Entry> {
    let scopes = subsequence(SCOPES, 1..=SCOPES.len());
    let conditions = subsequence(CONDITIONS, 0..=3);
    let shadow = prop::bool::weighted(0.2);
    (select(IDENTITIES), scopes, conditions, 1..120_u32, shadow).prop_map(
        |(identity, scopes, conditions, minutes, shadow)| {
            let mode = if shadow { "shadow" } else { "enforce" };
            Entry {
                kind: "trust",
                head: format!(
                    "issuer = 'github'\nmode = '{mode}'\nscopes = {scopes:?}\nlifetime = '{minutes}m'\n{identity}\n"
                ),
                conditions,
            }
        },
    )
}

fn a_deny() -> impl Strategy<Value = Entry> {
    let issuer = select(&["", "issuer = 'github'\n", "issuer = 'gitlab'\n"][..]);
    (issuer, subsequence(CONDITIONS, 1..=2)).prop_map(|(issuer, conditions)| Entry {
        kind: "deny",
        head: issuer.to_owned(),
        conditions,
    })
}

/// Entries with the names that they keep in any order.
fn entries() -> impl Strategy<Value = Vec<(String, Entry)>> {
    let trust = prop::collection::vec(a_trust(), 1..6);
    let denies = prop::collection::vec(a_deny(), 0..2);
    (trust, denies).prop_map(|(trust, denies)| {
        let all = trust.into_iter().chain(denies).enumerate();
        all.map(|(at, entry)| (format!("e{at}"), entry)).collect()
    })
}

fn a_token() -> impl Strategy<Value = VerifiedClaims> {
    let set = select(&["github-push", "github-environment", "github-pull_request"][..]);
    (set, subsequence(CHANGES, 0..=2)).prop_map(|(set, changes)| {
        let changes: Vec<(&str, Value)> = changes
            .into_iter()
            .map(|(claim, value)| (claim, serde_json::from_str(value).unwrap()))
            .collect();
        with(set, &changes)
    })
}

fn written(entries: &[(String, Entry)]) -> ProjectPolicy {
    let mut text = String::new();
    for (name, entry) in entries {
        let (kind, head) = (entry.kind, &entry.head);
        write!(text, "[[{kind}]]\nname = '{name}'\n{head}[{kind}.claims]\n").unwrap();
        for condition in &entry.conditions {
            writeln!(text, "{condition}").unwrap();
        }
    }
    policy(&text)
}

/// What came of it, without anything that depends on how it was found.
fn result(
    policy: &ProjectPolicy,
    claims: &VerifiedClaims,
) -> (String, BTreeMap<&'static str, String>) {
    let decision = ask(policy, claims);
    let mut more = BTreeMap::from([
        ("proven", decision.proven.to_string()),
        ("shadow", decision.shadow.trust_names().join(" ")),
    ]);
    match decision.outcome {
        Ok(grant) => {
            more.insert("trust", grant.trust().join(" "));
            more.insert("scopes", grant.scopes().to_string());
            more.insert("lifetime", grant.lifetime().0.to_string());
            more.insert("pins", format!("{:?}", grant.pins()));
            ("allowed".to_owned(), more)
        }
        Err(refusal) => (refusal.code().to_owned(), more),
    }
}

/// The scopes that are granted; none if it is denied.
fn scopes(policy: &ProjectPolicy, claims: &VerifiedClaims) -> Scopes {
    let outcome = ask(policy, claims).outcome;
    outcome
        .map(|grant| grant.scopes().clone())
        .unwrap_or_default()
}

proptest! {
    #[test]
    fn a_decision_does_not_depend_on_the_order_of_the_entries(
        (entries, shuffled) in entries().prop_flat_map(|entries| {
            (Just(entries.clone()), Just(entries).prop_shuffle())
        }),
        claims in a_token(),
    ) {
        let mut turned = shuffled;
        for (_, entry) in &mut turned {
            entry.conditions.reverse();
        }
        prop_assert_eq!(result(&written(&entries), &claims), result(&written(&turned), &claims));
    }

    #[test]
    fn a_deny_more_never_allows_more(entries in entries(), deny in a_deny(), claims in a_token()) {
        let before = scopes(&written(&entries), &claims);
        let mut more = entries;
        more.push(("one more".to_owned(), deny));
        let after = scopes(&written(&more), &claims);
        prop_assert!(after.without(&before).is_empty(), "{before} became {after}");
    }

    #[test]
    fn a_condition_more_never_allows_more(
        entries in entries(),
        condition in select(CONDITIONS),
        which in any::<prop::sample::Index>(),
        claims in a_token(),
    ) {
        let before = scopes(&written(&entries), &claims);
        let mut more = entries;
        let at = which.index(more.len());
        let (_, entry) = &mut more[at];
        // In a deny, a condition more keeps out fewer.
        prop_assume!(entry.kind == "trust" && !entry.conditions.contains(&condition));
        entry.conditions.push(condition);
        let after = scopes(&written(&more), &claims);
        prop_assert!(after.without(&before).is_empty(), "{before} became {after}");
    }

    #[test]
    fn the_answer_is_what_its_reasons_say(entries in entries(), claims in a_token()) {
        // `ask` compares it with the answer that is found without them.
        let decision = ask(&written(&entries), &claims);
        let trusted = decision.relationships.iter().any(|judged| judged.holds);
        let denied = decision.denies.iter().any(|judged| judged.holds);
        prop_assert_eq!(decision.outcome.is_ok(), trusted && !denied);
    }

    #[test]
    fn the_index_misses_no_relationship_that_holds(entries in entries(), claims in a_token()) {
        let policy = written(&entries);
        let circumstances = Circumstances::unremembered(UnixTime::from_seconds(0));
        let court = Court { policy: &policy, claims: &claims, circumstances: &circumstances };
        let holds = |at: &usize| court.tally(&policy.relationships[*at]).holds();
        let scanned: Vec<usize> = (0..policy.len()).filter(holds).collect();
        let found: Vec<usize> = policy.index.candidates(&claims).into_iter().filter(holds).collect();
        prop_assert_eq!(scanned, found);
    }
}
