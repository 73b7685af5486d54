//! The published schema, and the page on the log: what it shows is run.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::writer::{self, Log, START, Signer, put};

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The published schema of an entry.
pub fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&file("docs/audit-entry.schema.json")).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn the_schema_lets_through_what_the_verifiers_do() {
    let schema = schema();
    for number in 0..200 {
        let entry = writer::entry(number);
        assert!(schema.is_valid(&entry), "{entry}");
    }
    let put_back = writer::event("clock-put-back", 1, START);
    let pin = writer::event("pin-reset", 1, START);
    for event in [put_back, pin, writer::event("moon-risen", 1, START)] {
        assert!(schema.is_valid(&event), "{event}");
    }
}

/// The examples of entries in the page.
#[test]
fn the_entries_that_the_page_shows_are_as_the_schema_says() {
    let schema = schema();
    let page = file("docs/audit-log.md");
    let mut shown = 0;
    for block in page.split("```json\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let entry: Value = serde_json::from_str(block).unwrap();
        assert!(schema.is_valid(&entry), "{entry}");
        shown += 1;
    }
    assert_eq!(shown, 2);
}

/// The commands that the page shows in blocks of this language, as one script.
pub fn script(language: &str) -> String {
    let page = file("docs/audit-log.md");
    let begin = format!("```{language}\n");
    let blocks = page.split(&begin).skip(1);
    let steps: Vec<&str> = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(!steps.is_empty());
    format!("set -eu\n{}", steps.join("\n"))
}

/// The commands of the page, run one after the other in one shell with a copy of a log.
#[test]
fn the_steps_of_the_page_verify_a_log_without_this_program() {
    let script = script("sh");
    let run = |folder: &Path| {
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.success(),
            said,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };

    let folder = tempfile::tempdir().unwrap();
    let stage = |log: &Log| {
        log.write_tiles(folder.path());
        put(&folder.path().join("entry.json"), &log.leaves[300]);
        put(
            &folder.path().join("entry.tlog-proof"),
            log.proof(300).as_bytes(),
        );
        let (_, value) = writer::withhold(300, &json!("mona"));
        let values = json!({"/claims/actor": value});
        put(
            &folder.path().join("withheld.json"),
            values.to_string().as_bytes(),
        );
    };
    let log = Log::of(700);
    stage(&log);
    let (done, said, complaint) = run(folder.path());
    assert!(done, "{said}{complaint}");
    for expected in [
        "Signature Verified Successfully",
        "the key is its id",
        "700 entries",
        "the entry is in the log",
        "/claims/actor: as in the entry",
    ] {
        assert!(
            said.contains(expected),
            "`{expected}` is missing: {said}{complaint}"
        );
    }

    // And with something changed they do not.
    for (name, from, to) in [
        ("checkpoint", "\n700\n", "\n701\n"),
        ("entry.json", "acme/api", "acme/apj"),
        ("withheld.json", "mona", "lisa"),
        ("key", "sts.example.com", "sts.example.org"),
    ] {
        let path = folder.path().join(name);
        let before = std::fs::read_to_string(&path).unwrap();
        assert!(before.contains(from));
        put(&path, before.replacen(from, to, 1).as_bytes());
        let (done, said, _) = run(folder.path());
        assert!(!done, "{name}: {said}");
        put(&path, before.as_bytes());
    }
    let other = Signer::log(9);
    put(
        &folder.path().join("key"),
        format!("{}\n", other.vkey()).as_bytes(),
    );
    assert!(!run(folder.path()).0);
}
