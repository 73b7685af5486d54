//! Every configuration in a document loads, and the one with every key has every key.

use std::collections::{BTreeMap, BTreeSet};

use countersign::config::Config;

use super::markdown::{blocks, read};

const REFERENCE: &str = "deploy/countersign.toml";

/// Loads `text` as the configuration file of a folder that is the same each time.
fn load(folder: &tempfile::TempDir, text: &str) -> Config {
    let file = folder.path().join("countersign.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), &BTreeMap::new()).unwrap_or_else(|fault| panic!("{fault}"))
}

/// Every key that the program reads, from the types that read them.
fn keys() -> BTreeSet<String> {
    let fields = read("src/config/raw.rs");
    let fields = fields
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    let keys: BTreeSet<String> = fields.map(|(name, _)| name.replace('_', "-")).collect();
    assert!(keys.contains("own-audience-only") && keys.len() > 20);
    keys
}

/// The reference with what is commented out brought in.
fn uncommented() -> String {
    let keys = keys();
    let lines = read(REFERENCE);
    let lines = lines.lines().map(|line| {
        let rest = line.strip_prefix("# ").unwrap_or(line);
        let key = rest.split_once(" = ").map_or("", |(key, _)| key).to_owned();
        if rest.starts_with("[[") || keys.contains(&key) {
            rest
        } else {
            line
        }
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    // What is commented out in `[store]` is for a database.
    let database = "url = \"postgres://countersign@db.example.com/countersign\"";
    text.replace("url = \"sled:data\"", database)
}

#[test]
fn every_configuration_in_a_document_loads() {
    let configurations: Vec<_> = blocks("toml")
        .into_iter()
        .filter(|block| {
            ["[[trust]]", "[[deny]]"]
                .iter()
                .all(|entry| !block.text.contains(entry))
        })
        .collect();
    assert_eq!(configurations.len(), 5);
    for block in configurations {
        let config = load(&tempfile::tempdir().unwrap(), &block.text);
        assert!(!config.issuers.is_empty(), "{}", block.place);
    }
}

#[test]
fn the_reference_loads_as_it_stands_and_with_all_that_is_commented_out() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(&folder, &read(REFERENCE)).issuers.len(), 5);
    assert_eq!(load(&folder, &uncommented()).issuers.len(), 7);
}

#[test]
fn the_reference_has_every_key_that_the_program_reads() {
    let text = uncommented();
    for key in keys() {
        let given = text.lines().any(|line| {
            let table = line.trim_matches(['[', ']']);
            let table = table.rsplit('.').next();
            line.starts_with(&format!("{key} = ")) || table == Some(key.as_str())
        });
        assert!(given, "`{key}` is missing in {REFERENCE}");
    }
}

#[test]
fn every_value_of_the_reference_is_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["github", "circleci", "buildkite", "rwx", "gitlab"];
    let issuers =
        names.map(|name| format!("[[issuer]]\nname = \"{name}\"\nprofile = \"{name}\"\n"));
    let issuers = issuers.concat();
    let least = format!(
        "public-url = \"https://sts.example.com\"\n[token]\nkey-encryption-file = \"kek\"\n{issuers}"
    );
    let (least, reference) = (load(&folder, &least), load(&folder, &read(REFERENCE)));
    assert_eq!(format!("{reference:#?}"), format!("{least:#?}"));
}

#[test]
fn without_a_configuration_the_issuers_are_those_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let reference = load(&folder, &read(REFERENCE)).issuers;
    let none = Config::load(None, &BTreeMap::new()).unwrap().issuers;
    let names = |issuers: &[countersign::issuer::TrustedIssuer]| -> Vec<String> {
        issuers
            .iter()
            .map(|issuer| format!("{} {}", issuer.name, issuer.form.as_configured()))
            .collect()
    };
    assert_eq!(names(&none), names(&reference));
}
