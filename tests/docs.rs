//! The documents, held to their word: examples are run, names are looked up, links are followed.

mod configuration;
mod jobs;
pub mod markdown;
mod policies;
mod stage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use markdown::{read, root};

use markdown::documents;

/// Every file below `folder` whose name ends in `.rs`.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// Every test, by the path under which it is run.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["src", "tests"] {
        for path in sources(folder) {
            let text = std::fs::read_to_string(&path).unwrap();
            let module = module(folder, &path);
            let marked = ["#[test]", "#[tokio::test"].map(|mark| text.split(mark).skip(1));
            let functions = marked.into_iter().flatten().filter_map(|rest| {
                let (_, name) = rest.split_once("fn ")?;
                name.split('(').next()
            });
            found.extend(functions.map(|name| format!("{module}::{name}")));
        }
    }
    found
}

/// The module whose tests stand in a file.
fn module(folder: &str, path: &Path) -> String {
    let below = path.strip_prefix(root().join(folder)).unwrap();
    let below = below.with_extension("");
    let mut segments: Vec<&str> = below.iter().map(|part| part.to_str().unwrap()).collect();
    if folder == "src" {
        if *segments.last().unwrap() == "mod" {
            segments.pop();
        }
        if !segments.contains(&"tests") {
            segments.push("tests");
        }
        return segments.join("::");
    }
    // Parts of a test file that stand beside it.
    match segments.join("::").strip_prefix("support::ledger_") {
        Some(part) => format!("ledger::{part}"),
        None => segments.join("::"),
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        for link in document.links() {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => document.path.clone(),
                file => document.path.parent().unwrap().join(file),
            };
            let known = |anchors: Vec<String>| anchors.iter().any(|known| known == anchor);
            if !target.exists() || !(anchor.is_empty() || known(markdown::anchors(&target))) {
                wrong.push(format!("{}: {link}", document.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let mut wrong = Vec::new();
    for document in documents() {
        for path in document.code_words() {
            let ours = ["src/", "tests/", "docs/", "deploy/"];
            if ours.iter().any(|folder| path.starts_with(folder)) && !root().join(path).exists() {
                wrong.push(format!("{}: {path}", document.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_test_that_a_threat_names_exists() {
    let tests = tests();
    let page = read("docs/threats.md");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let mut named = 0;
    for cell in cells.filter(|cell| cell.contains("::")) {
        for test in cell.split('`').filter(|word| word.contains("::")) {
            named += 1;
            assert!(tests.contains(test), "there is no test `{test}`");
        }
    }
    assert!(named > 50, "only {named} tests were found in the tables");
}

#[test]
fn every_threat_has_a_file_that_stops_it_and_a_test_that_shows_it() {
    let page = read("docs/threats.md");
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        if cells[0].trim() == "attack" {
            continue;
        }
        assert_eq!(cells.len(), 3, "{row}");
        assert!(cells[1].contains("`src/"), "{row}");
        assert!(cells[2].contains("::"), "{row}");
    }
}

#[test]
fn every_reason_stands_in_the_page_on_the_exchange_as_it_is_told() {
    let page = read("docs/exchange.md");
    for file in std::fs::read_dir(root().join("tests/snapshots")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "snap") {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [status @ ("400" | "429" | "503"), error, reason, ..] = words.as_slice() else {
                continue;
            };
            let row = format!("| {status} | `{error}` | `{reason}` |");
            assert!(page.contains(&row), "`{row}` is missing");
        }
    }
}

#[test]
fn no_reason_stands_in_the_page_on_the_exchange_that_is_never_told() {
    let code: String = sources("src")
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let page = read("docs/exchange.md");
    let statuses = ["| 400 |", "| 429 |", "| 503 |"];
    let rows = page
        .lines()
        .filter(|line| statuses.iter().any(|status| line.starts_with(status)));
    let mut reasons = 0;
    for row in rows {
        let reason = row.split('`').nth(3).unwrap();
        assert!(code.contains(&format!("\"{reason}\"")), "{reason}");
        reasons += 1;
    }
    assert_eq!(reasons, 23);
}

#[test]
fn the_map_of_rooms_has_every_room() {
    let text = read("src/lib.rs");
    let rooms: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let mapped: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`")?.split('`').next())
        .collect();
    assert_eq!(mapped, rooms);
}

#[test]
fn documents_can_be_read_in_a_narrow_window() {
    for document in documents() {
        if document.name == "docs/claims.md" {
            continue; // A program wrote it, see `tests/claims_page.rs`.
        }
        // What a program printed stands as it printed it.
        let mut printed = false;
        for (number, line) in document.text.lines().enumerate() {
            match line {
                "```" => printed = false,
                "```console" | "```text" => printed = true,
                _ => {}
            }
            let long = line.chars().count() > 120 && !line.starts_with('|') && !printed;
            assert!(!long, "{}:{}", document.name, number + 1);
        }
    }
}
