//! `docs/claims.md` is written from the profiles, which also drive loading, lint and the console. After a change to them,
//! `UPDATE_DOCS=1 cargo test claims_page` writes it again.

use std::fmt::Write as _;
use std::path::Path;

use countersign::issuer::profile::{Claim, Form, Profile, PullRequests, TrustClass};
use countersign::issuer::{PROFILES, Profile as OneProfile};

const INTRODUCTION: &str = "\
# Claims: what each CI system says of a job, and who decides it

A condition is worth as much as the trouble it takes to bring about the value that it asks for. For each claim of each
profile this page says of what type it is, whether every job's token has it, and who decides its value. Policies are loaded
and checked by the same table.

This page is written by `UPDATE_DOCS=1 cargo test claims_page` from `src/issuer/claims/`; a test keeps it true.

## Who decides

| class | what a condition on it is worth |
|---|---|
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for class in TrustClass::ALL {
        let _ = writeln!(page, "| {} | {} |", class.in_words(), class.explained());
    }
    page.push_str(
        "\nWhere a cell under *sent* says *on request*, the job itself decides whether its token has the claim. *Personal*: it \
is about a\nperson, and stands in the record of every decision. *No case*: it compares without ASCII case.\n",
    );
    for profile in PROFILES {
        section(&mut page, profile);
    }
    page
}

fn section(page: &mut String, profile: &'static OneProfile) {
    let _ = writeln!(page, "\n## {}\n", heading(profile));
    if let Some(url) = profile.default_url {
        let _ = writeln!(
            page,
            "Issuer `{url}`, unless the configuration says otherwise. {}\n",
            of_pull_requests(profile)
        );
    } else {
        let _ = writeln!(
            page,
            "Nothing is known of its claims beyond `sub`: the configuration names those that separate the issuer's customers \
under\n`tenant-claims`, and lint says nothing of the others.\n"
        );
    }
    page.push_str("| claim | type | sent | who decides | what it says |\n|---|---|---|---|---|\n");
    for claim in profile.claims {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            claim.name,
            kind(claim),
            sent(claim),
            claim.trust.in_words(),
            meaning(profile, claim)
        );
    }
    if !profile.made_up_claims.is_empty() {
        let names: Vec<String> = profile
            .made_up_claims
            .iter()
            .map(|name| format!("`{name}…`"))
            .collect();
        let _ = writeln!(
            page,
            "\nClaims that begin with {} are made up by administrators or jobs.",
            names.join(" or ")
        );
    }
}

fn heading(profile: &Profile) -> String {
    match profile.default_url {
        Some(_) => format!("{} (`{}`)", profile.title, profile.name),
        None => "Any other OpenID Connect issuer (`generic`)".to_owned(),
    }
}

fn of_pull_requests(profile: &Profile) -> String {
    match profile.pull_requests {
        PullRequests::Marked(forks) => format!("Pull requests are marked; {forks}."),
        PullRequests::ByOrigin(claim) => format!("Builds of forks are told by `{claim}` alone."),
        PullRequests::Unmarked => "No claim marks pull requests.".to_owned(),
        PullRequests::SettledElsewhere => {
            "Which runs get a token is settled there, not in the token.".to_owned()
        }
        PullRequests::Unknown => String::new(),
    }
}

fn kind(claim: &Claim) -> &'static str {
    claim
        .kind
        .in_words()
        .trim_start_matches("a ")
        .trim_start_matches("an ")
}

fn sent(claim: &Claim) -> &'static str {
    match (claim.always, claim.on_request) {
        (true, _) => "always",
        (false, true) => "on request",
        (false, false) => "sometimes",
    }
}

fn meaning(profile: &Profile, claim: &Claim) -> String {
    let mut text = claim.meaning.to_owned();
    let words = match claim.form {
        Form::Words(words) => words
            .iter()
            .filter(|word| !word.is_empty())
            .copied()
            .collect(),
        _ => Vec::new(),
    };
    if !words.is_empty() && claim.kind.in_words() == "a text" {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        let _ = write!(text, ": {}", words.join(", "));
    }
    if let Some(id) = claim.id {
        let _ = write!(text, ". Its id is `{id}`");
    }
    let fields: Vec<String> = profile
        .fields
        .iter()
        .filter(|field| field.source.claim() == claim.name)
        .map(|field| format!("`{}`", field.name))
        .collect();
    if !fields.is_empty() {
        let _ = write!(text, ". Read by the field {}", fields.join(" and "));
    }
    for (holds, word) in [(claim.personal, "Personal"), (claim.fold, "No case")] {
        if holds {
            let _ = write!(text, ". *{word}*");
        }
    }
    text
}

#[test]
fn the_page_about_claims_says_what_the_profiles_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/claims.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(written, page, "run `UPDATE_DOCS=1 cargo test claims_page`");
}

#[test]
fn every_claim_of_the_collected_tokens_is_known_to_its_profile() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/claims");
    let mut unknown = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let Some(profile) = PROFILES
            .into_iter()
            .find(|profile| name.starts_with(&format!("{}-", profile.name)))
        else {
            continue;
        };
        let claims: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let general = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];
        let from_a_job = !name.contains("user-login")
            && !name.contains("audit-log")
            && !name.contains("docs-example");
        for claim in claims.keys() {
            let made_up = profile
                .made_up_claims
                .iter()
                .any(|prefix| claim.starts_with(prefix));
            if from_a_job
                && !general.contains(&claim.as_str())
                && !made_up
                && profile.claim(claim).is_none()
            {
                unknown.push(format!("{name}: {claim}"));
            }
        }
        for claim in profile
            .claims
            .iter()
            .filter(|claim| claim.always && from_a_job)
        {
            if !claims.contains_key(claim.name) {
                unknown.push(format!("{name} lacks {}", claim.name));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}
