//! Which relationships are judged, and in which order they are shown.

use serde_json::json;

use super::*;

#[test]
fn among_twenty_thousand_relationships_only_those_that_could_hold_are_judged() {
    use std::fmt::Write;

    let mut text = String::new();
    for id in 0..20_000 {
        writeln!(
            text,
            "[[trust]]\nname = \"r{id}\"\nissuer = \"github\"\nowner-id = \"65\"\nrepository-id = {id}\nscopes = [\"s\"]"
        )
        .unwrap();
    }
    text.push_str("[[trust]]\nname = \"all\"\nissuer = \"github\"\nowner = \"octo-org\"\nowner-id = \"65\"\nrepository = { glob = \"*\" }\nscopes = [\"s\"]\n");
    let policy = policy(&text);
    let held = ask(&policy, &with("github-push", &[]));
    let grant = held.outcome.unwrap();
    assert_eq!(grant.trust(), [Arc::from("all"), Arc::from("r74")]);
    // The glob is filed under the owner, and so is nothing else: every other has a rarer id.
    assert_eq!(held.relationships.len(), 2);

    let stranger = ask(
        &policy,
        &with("github-push", &[("repository_owner_id", json!("1"))]),
    );
    assert!(stranger.outcome.is_err());
    assert_eq!(stranger.relationships.len(), 64);
    assert_eq!(stranger.not_listed, 20_001 - 64);
    // The nearest first: only the owner's id fails.
    assert_eq!(stopped_by(&stranger), ["owner-id"]);
}

#[test]
fn the_nearest_relationship_comes_first() {
    let text = format!(
        "{}\n{}\n{GITHUB}",
        CIRCLECI.replace("\"main\"", "\"far\""),
        GITHUB
            .replace("\"release\"", "\"stranger\"")
            .replace("\"65\"", "\"66\"")
    );
    let decision = ask(
        &policy(&text),
        &with("github-environment", &[("actor", json!("renovate"))]),
    );
    let names: Vec<&str> = decision
        .relationships
        .iter()
        .map(|judged| &*judged.name)
        .collect();
    assert_eq!(names, ["release", "stranger", "far"]);
}
