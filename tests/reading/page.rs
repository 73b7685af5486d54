//! The page on reading the log shows what the program prints.

use std::fs;
use std::path::Path;

use countersign::audit::PolicyLoaded;
use countersign::clock::Seconds;

use super::stage::Stage;

const TOOLS: &str = r#"[[trust]]
name = "any job"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
scopes = ["read_registry"]

[[trust]]
name = "deploy"
issuer = "github"
owner = "octo-org"
owner-id = "65"
repository = "octo-repo"
repository-id = "74"
environment = "production"
scopes = ["write_registry"]
"#;

/// What the examples are about.
async fn story() -> Stage {
    let stage = Stage::with_a_story().await;
    stage.service().policy("acme/tools", TOOLS).await;
    let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let loaded = PolicyLoaded {
        added: named(&["any job", "deploy"]),
        ..PolicyLoaded::default()
    };
    stage.on_record("acme/tools.toml", TOOLS, loaded).await;
    let first = PolicyLoaded {
        added: named(&["any job"]),
        ..PolicyLoaded::default()
    };
    let text = TOOLS.split("\n[[trust]]").next().unwrap();
    stage.on_record("acme/history.toml", text, first).await;
    stage.service().advance(Seconds(10));
    let second = PolicyLoaded {
        added: named(&["deploy"]),
        ..PolicyLoaded::default()
    };
    stage.on_record("acme/history.toml", TOOLS, second).await;
    for _ in 0..10 {
        let answer = stage.exchange("github-push", "acme/tools", &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    stage
}

/// The text with ids, digests and numbers of entries that differ from run to run taken out, and columns moved together.
fn settled(text: &str) -> String {
    let mut settled = String::new();
    for line in text.lines() {
        let words = line.split_whitespace().map(|word| {
            let is_id = word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
            if word.starts_with("sha256:") || is_id {
                "ID"
            } else {
                word
            }
        });
        let mut words: Vec<&str> = words.collect();
        let numbered = words
            .first()
            .is_some_and(|first| first.parse::<u64>().is_ok());
        if numbered
            && words
                .get(1)
                .is_some_and(|second| second.starts_with("2026-"))
        {
            words[0] = "N";
        }
        if words.len() > 1 && words[words.len() - 2] == "entry" {
            words.pop();
        }
        settled.push_str(&words.join(" "));
        settled.push('\n');
    }
    settled.trim().to_owned()
}

/// Each example: the command without `countersign audit`, and what follows it.
fn examples(page: &str) -> Vec<(String, String)> {
    let blocks = page.split("```console\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap());
    blocks
        .map(|block| {
            let (command, printed) = block.split_once('\n').unwrap();
            let command = command.strip_prefix("$ countersign audit ").unwrap();
            (command.to_owned(), printed.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn every_example_of_the_page_is_what_the_program_prints() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit-reading.md");
    let page = fs::read_to_string(page).unwrap();
    let stage = story().await;
    let examples = examples(&page);
    assert_eq!(examples.len(), 6);
    for (command, printed) in examples {
        let words: Vec<&str> = command.split(' ').collect();
        let ran = stage.audit(words[0], &words[1..]).await;
        let out = ran.out.replace('\r', "");
        if words.contains(&"csv") {
            // Claims differ from run to run; the columns do not.
            assert_eq!(out.lines().next(), printed.lines().next(), "{command}");
        } else {
            assert_eq!(
                settled(&printed),
                settled(&out),
                "{command}: {out}{}",
                ran.err
            );
        }
    }
}

#[test]
fn every_column_of_an_export_stands_on_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit-reading.md");
    let page = fs::read_to_string(page).unwrap();
    for column in countersign::reading::COLUMNS {
        assert!(page.contains(&format!("`{column}`")), "{column}");
    }
}
