//! A glob and a value, with a line break between them: the automaton and a matcher that anybody can read agree.
#![no_main]

use std::sync::{Arc, LazyLock};

use countersign::clock::{Seconds, UnixTime};
use countersign::issuer::{IssuerForm, Registry, TrustedIssuer, profile_named};
use countersign::subject::VerifiedClaims;
use countersign::trust::{Circumstances, Limits, ProjectPath, Wish, decide, read_policy};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const ISSUER: &str = "https://ci.example";

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let profile = profile_named("generic").unwrap();
    let form = IssuerForm::parse(ISSUER, false, false).unwrap();
    Registry::new([TrustedIssuer::new("ci", profile, form, "https://sts.example.com")])
});

fuzz_target!(|text: &str| {
    let Some((glob, value)) = text.split_once('\n') else { return };
    if glob.is_empty() || glob.len() > 64 || value.len() > 256 {
        return;
    }
    let written = Value::String(glob.to_owned()).to_string();
    let policy = format!(
        "[[trust]]\nname = \"x\"\nissuer = \"ci\"\nscopes = [\"s\"]\n[trust.claims]\nsub = \"s\"\nclaim = {{ glob = {written} }}\n"
    );
    let project = ProjectPath::parse("acme/api").unwrap();
    // A character that JSON writes in a way that TOML does not know.
    let Ok(policy) = read_policy(project, "acme/api.toml", &policy, &REGISTRY) else { return };
    let (trusted, matched) = REGISTRY.find(ISSUER).unwrap();
    let claims = json!({"iss": ISSUER, "sub": "s", "claim": value});
    let claims = VerifiedClaims::supposed(
        Arc::clone(&trusted),
        matched,
        claims.as_object().unwrap().clone(),
    );
    let limits = Limits { default_lifetime: Seconds(60), maximum_lifetime: Seconds(60) };
    let now = Circumstances::unremembered(UnixTime::EPOCH);
    let decision = decide(&policy, &claims.unwrap(), &Wish::default(), &limits, &now);
    let glob: Vec<char> = glob.chars().collect();
    let value: Vec<char> = value.chars().collect();
    assert_eq!(decision.outcome.is_ok(), matches(&glob, &value), "{text:?}");
});

/// `**` any run, `*` any run without `/`, `?` one character but `/`; everything else is itself. Row by row: which
/// beginnings of the value the glob so far matches.
fn matches(glob: &[char], value: &[char]) -> bool {
    let mut reached = vec![false; value.len() + 1];
    reached[0] = true;
    let mut rest = glob;
    while let Some((first, after)) = rest.split_first() {
        let mut next = vec![false; value.len() + 1];
        match (first, after.first()) {
            ('*', Some('*')) => {
                rest = &after[1..];
                let from = reached.iter().position(|reached| *reached);
                for at in from.unwrap_or(next.len())..next.len() {
                    next[at] = true;
                }
            }
            ('*', _) => {
                rest = after;
                for at in 0..next.len() {
                    next[at] = reached[at] || (at > 0 && next[at - 1] && value[at - 1] != '/');
                }
            }
            (letter, _) => {
                rest = after;
                for at in 1..next.len() {
                    let fits = match letter {
                        '?' => value[at - 1] != '/',
                        letter => value[at - 1] == *letter,
                    };
                    next[at] = reached[at - 1] && fits;
                }
            }
        }
        reached = next;
    }
    reached[value.len()]
}
