//! Who may import whom. Arrows run down only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room and the rooms it may know.
const ROOMS: [(&str, &[&str]); 26] = [
    ("digest", &[]),
    ("seal", &[]),
    ("excerpt", &[]),
    ("text", &[]),
    ("metrics", &[]),
    ("clock", &[]),
    ("issuer", &[]),
    ("subject", &["clock", "issuer"]),
    ("trust", &["clock", "issuer", "subject"]),
    ("audit", &["clock", "trust"]),
    ("notary", &["audit", "clock", "ledger"]),
    ("ledger", &["audit", "clock", "subject", "trust"]),
    (
        "discovery",
        &["audit", "clock", "issuer", "ledger", "metrics"],
    ),
    (
        "project_token",
        &["audit", "clock", "ledger", "subject", "trust"],
    ),
    (
        "directory",
        &["audit", "clock", "issuer", "ledger", "trust"],
    ),
    (
        "reading",
        &["audit", "clock", "directory", "issuer", "ledger", "trust"],
    ),
    (
        "exchange",
        &[
            "audit",
            "clock",
            "directory",
            "discovery",
            "issuer",
            "ledger",
            "project_token",
            "subject",
            "trust",
        ],
    ),
    (
        "store",
        &[
            "audit",
            "clock",
            "directory",
            "discovery",
            "issuer",
            "ledger",
            "metrics",
            "project_token",
            "subject",
            "trust",
        ],
    ),
    ("fake_ci", &["clock", "issuer"]),
    (
        "http",
        &[
            "audit",
            "clock",
            "directory",
            "exchange",
            "fake_ci",
            "issuer",
            "ledger",
            "metrics",
            "notary",
            "reading",
            "subject",
            "trust",
        ],
    ),
    ("verifier", &[]),
    ("client", &["issuer", "notary"]),
    (
        "config",
        &[
            "clock",
            "issuer",
            "notary",
            "project_token",
            "store",
            "subject",
            "trust",
        ],
    ),
    (
        "cli",
        &[
            "audit",
            "client",
            "clock",
            "config",
            "directory",
            "discovery",
            "exchange",
            "fake_ci",
            "http",
            "issuer",
            "ledger",
            "metrics",
            "notary",
            "project_token",
            "reading",
            "store",
            "subject",
            "trust",
            "verifier",
        ],
    ),
    ("lib", &[]),
    ("main", &["cli"]),
];

/// Tools without a word of our own, which every room may use.
const TOOLS: [&str; 4] = ["digest", "excerpt", "seal", "text"];

/// Libraries that one room alone may know, so that replacing one touches one place.
const LIBRARIES: [(&str, &[&str]); 23] = [
    ("annotate_snippets", &["excerpt"]),
    ("actix_web", &["http"]),
    ("pulldown_cmark", &["http"]),
    ("governor", &["http"]),
    ("reqwest", &["client", "discovery"]),
    ("openidconnect", &["discovery", "issuer"]),
    ("moka", &["discovery"]),
    ("jsonwebtoken", &["issuer"]),
    ("sled", &["store"]),
    ("tokio_postgres", &["store"]),
    ("deadpool_postgres", &["store"]),
    ("tokio_postgres_rustls", &["store"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("csv", &["reading"]),
    ("notify", &["directory"]),
    ("prometheus_client", &["metrics"]),
    ("regex_automata", &["trust"]),
    ("regex_syntax", &["trust"]),
    ("rustix", &["cli", "store"]),
    ("tempfile", &["cli", "http"]),
    ("toml_edit", &["cli"]),
    ("tracing_subscriber", &["cli"]),
];

/// Rooms that only think.
const PURE: [&str; 7] = [
    "clock", "digest", "excerpt", "issuer", "subject", "text", "trust",
];

struct Source {
    room: String,
    path: PathBuf,
    /// Without comments and tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let below = path.strip_prefix(root).unwrap();
            let first = below.iter().next().unwrap().to_str().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default();
            let code = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            found.push(Source {
                room: first.trim_end_matches(".rs").to_owned(),
                path: below.to_path_buf(),
                code: code.collect::<Vec<_>>().join("\n"),
            });
        }
    }
}

/// The words that follow `prefix` in `code`.
fn after<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let words = code.split(prefix).skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    words.filter(|word| !word.is_empty()).collect()
}

#[test]
fn imports_run_downward_only() {
    let allowed: BTreeMap<_, _> = ROOMS.into_iter().collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let rooms = allowed.get(source.room.as_str());
        let rooms = rooms.unwrap_or_else(|| panic!("no row for the room `{}`", source.room));
        for used in after(&source.code, "crate::") {
            if used != source.room && !rooms.contains(&used) && !TOOLS.contains(&used) {
                wrong.push(format!("{} imports {used}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_library_has_its_room() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (library, rooms) in LIBRARIES {
            let named = source.code.contains(&format!("{library}::"));
            if named && !rooms.contains(&source.room.as_str()) {
                wrong.push(format!("{} uses {library}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_rooms_that_think_do_not_wait_read_or_write() {
    let mut wrong = Vec::new();
    for source in sources()
        .into_iter()
        .filter(|source| PURE.contains(&source.room.as_str()))
    {
        for sign in [
            "async ",
            ".await",
            "std::fs",
            "std::net::Tcp",
            "tokio",
            "std::env",
        ] {
            if source.code.contains(sign) {
                wrong.push(format!("{} has `{sign}`", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_explanations_suppose_claims() {
    let rooms: BTreeSet<String> = sources()
        .into_iter()
        .filter(|source| source.code.contains("::supposed("))
        .map(|source| source.room)
        .collect();
    assert!(rooms.iter().all(|room| room == "cli"), "{rooms:?}");
}

#[test]
fn only_the_clock_reads_the_time_of_day() {
    let readers: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|source| source.code.contains("SystemTime::now") && source.room != "clock")
        .map(|source| source.path)
        .collect();
    assert!(readers.is_empty(), "{readers:?}");
}
