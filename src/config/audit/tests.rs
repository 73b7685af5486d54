use super::super::tests::{faults, load};
use super::*;
use crate::digest::hex;

fn vkey(name: &str, kind: SignatureType) -> String {
    VerifierKey::new(name, kind, [7; 32]).unwrap().to_string()
}

fn of_witness(name: &str) -> String {
    vkey(name, SignatureType::Cosignature)
}

fn audit_of(lines: &str) -> AuditSettings {
    load(&format!("[audit]\n{lines}"), &[]).unwrap().audit
}

#[test]
fn everybody_may_read_tiles_only_where_nobody_else_is_or_the_operator_says_so() {
    for (public_url, lines, tiles) in [
        ("http://127.0.0.1:1", "", Tiles::Public),
        ("http://localhost:1", "", Tiles::Public),
        ("http://[::1]:1", "", Tiles::Public),
        ("https://sts.example.com", "", Tiles::Auditors),
        ("https://127.0.0.1.example.com", "", Tiles::Auditors),
        (
            "https://sts.example.com",
            "tiles = \"public\"",
            Tiles::Public,
        ),
        (
            "http://127.0.0.1:1",
            "tiles = \"auditors\"",
            Tiles::Auditors,
        ),
    ] {
        let text = format!("public-url = \"{public_url}\"\n[audit]\n{lines}\n");
        assert_eq!(load(&text, &[]).unwrap().audit.tiles, tiles, "{text}");
    }
    assert!(faults("[audit]\ntiles = \"all\"").contains("write `public` or `auditors`"));
}

#[test]
fn a_token_is_read_from_its_file_without_the_line_end_and_known_by_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let token = "0123456789abcdef0123456789abcdef01234567";
    std::fs::write(&file, format!("{token}\r\n")).unwrap();
    let digest = TokenSource::File(file).digest().unwrap();
    assert_eq!(digest.as_bytes(), &sha256(token.as_bytes()));
    assert!(!format!("{digest:?}").contains(&hex(digest.as_bytes())));
    let configured = audit_of(&format!("token-sha256 = \"{}\"", hex(digest.as_bytes())));
    assert_eq!(configured.tokens, [TokenSource::Sha256(digest)]);
}

#[test]
fn a_token_that_keeps_nobody_out_or_cannot_be_sent_is_refused_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    for (content, said) in [
        (String::new(), "is empty"),
        ("\n".to_owned(), "is empty"),
        ("s3cret-".repeat(4), "has 28 characters, and at least 32"),
        (
            "0123456789abcdef".repeat(2),
            "has 32 characters, and at least 40",
        ),
        (
            format!("{}\n{}", "s3cret-".repeat(5), "x"),
            "no header can carry",
        ),
        ("s3cret-".repeat(1000), "more than 4096"),
    ] {
        std::fs::write(&file, &content).unwrap();
        let fault = TokenSource::File(file.clone()).digest().unwrap_err();
        let shown = fault.to_string();
        assert!(shown.contains(said), "{shown}");
        assert!(shown.contains("openssl rand"), "{shown}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("cdef"),
            "{shown}"
        );
    }
    let nowhere = TokenSource::File(folder.path().join("nowhere")).digest();
    assert!(nowhere.unwrap_err().to_string().contains("cannot be read"));
    let shown = faults("[audit]\ntoken-sha256 = \"s3cret\"");
    assert!(shown.contains("64 hexadecimal digits"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn one_token_may_take_the_place_of_another() {
    let lines = format!(
        "token-file = \"audit-token\"\ntoken-sha256 = \"{}\"",
        "0".repeat(64)
    );
    assert_eq!(audit_of(&lines).tokens.len(), 2);
    assert!(audit_of("").tokens.is_empty());
    assert!(faults("[audit]\ntoken-file = \"\"").contains("`token-file` is empty"));
}

#[test]
fn a_copy_of_the_checkpoint_that_would_be_rolled_back_with_the_data_is_refused() {
    for inside in ["data/copy", "./data/copy", "x/../data/deeper/copy", "data"] {
        let shown = faults(&format!("[audit]\ncheckpoint-copy = \"{inside}\""));
        assert!(shown.contains("is in the data folder"), "{inside}: {shown}");
    }
    for no_file in ["", "/", "elsewhere/.."] {
        let shown = faults(&format!("[audit]\ncheckpoint-copy = \"{no_file}\""));
        assert!(
            shown.contains("not the path of a file"),
            "{no_file}: {shown}"
        );
    }
    for outside in ["copy", "data2/copy", "data/../copy"] {
        let copy = audit_of(&format!("checkpoint-copy = \"{outside}\"")).checkpoint_copy;
        assert!(copy.unwrap().is_absolute(), "{outside}");
    }
}

#[test]
fn a_link_into_the_data_folder_is_in_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(data.join("inner")).unwrap();
    std::os::unix::fs::symlink(data.join("inner"), folder.path().join("away")).unwrap();
    assert!(resolved(&folder.path().join("away/copy")).starts_with(resolved(&data)));
    assert!(!resolved(&folder.path().join("other/copy")).starts_with(resolved(&data)));
}

#[test]
fn personal_values_are_kept_for_a_year_for_another_span_or_for_ever() {
    let days = |days| Some(Seconds(days * DAY.0));
    assert_eq!(audit_of("").personal_values, days(365));
    assert_eq!(
        audit_of("personal-values = \"30d\"").personal_values,
        days(30)
    );
    assert_eq!(
        audit_of("personal-values = \"forever\"").personal_values,
        None
    );
    for (wrong, said) in [("23h", "from `1day`"), ("never", "is not a span of time")] {
        let shown = faults(&format!("[audit]\npersonal-values = \"{wrong}\""));
        assert!(shown.contains(said), "{shown}");
    }
}

#[test]
fn a_witness_is_known_by_the_key_that_it_publishes() {
    let key = of_witness("witness.example.com/w1");
    let table = format!("[[audit.witness]]\nkey = \"{key}\"\nurl = \"https://w.example/a/\"\n");
    let config = load(&table, &[]).unwrap();
    let witness = &config.audit.witnesses[0];
    assert_eq!(witness.key.name(), "witness.example.com/w1");
    assert_eq!(witness.url.as_str(), "https://w.example/a/");
    assert!(faults(&format!("{table}{table}")).contains("stands twice"));
}

#[test]
fn a_key_that_is_not_that_of_a_witness_is_refused_with_its_mend() {
    let good = of_witness("w");
    let changed = good.replacen("w+", "v+", 1);
    let of_a_log = vkey("w", SignatureType::Ed25519);
    for (key, said) in [
        ("", "cannot be read"),
        ("w+00000000+AAAA", "cannot be read"),
        (changed.as_str(), "cannot be read"),
        (of_a_log.as_str(), "of a log or a note"),
    ] {
        let shown = faults(&format!(
            "[[audit.witness]]\nkey = \"{key}\"\nurl = \"https://w.example\"\n"
        ));
        assert!(shown.contains(said), "{key}: {shown}");
        assert!(shown.contains("verifier key"), "{shown}");
    }
}

#[test]
fn a_witness_is_asked_over_https_or_on_loopback_where_that_is_allowed() {
    let at = |url: &str| {
        format!(
            "[[audit.witness]]\nkey = \"{}\"\nurl = \"{url}\"\n",
            of_witness("w")
        )
    };
    for url in [
        "http://w.example",
        "http://127.0.0.1:1",
        "w.example",
        "https://w.example?a",
        "https://a@w.example",
    ] {
        assert!(
            faults(&at(url)).contains("is not an `https://` address"),
            "{url}"
        );
    }
    let loopback = format!("allow-loopback-http = true\n{}", at("http://127.0.0.1:1"));
    assert!(load(&loopback, &[]).is_ok());
}

#[test]
fn every_key_may_be_set_by_environment() {
    let key = of_witness("w");
    let config = load(
        "",
        &[
            ("COUNTERSIGN_AUDIT__TILES", "auditors"),
            ("COUNTERSIGN_AUDIT__TOKEN_FILE", "t"),
            ("COUNTERSIGN_AUDIT__TOKEN_SHA256", &"0".repeat(64)),
            ("COUNTERSIGN_AUDIT__CHECKPOINT_COPY", "copy"),
            ("COUNTERSIGN_AUDIT__PERSONAL_VALUES", "2d"),
            ("COUNTERSIGN_AUDIT__RECORDED_DENIALS_PER_HOUR", "7"),
            ("COUNTERSIGN_AUDIT__WITNESS__0__KEY", &key),
            ("COUNTERSIGN_AUDIT__WITNESS__0__URL", "https://w.example"),
        ],
    );
    let audit = config.unwrap().audit;
    assert_eq!((audit.tiles, audit.tokens.len()), (Tiles::Auditors, 2));
    assert_eq!(audit.personal_values, Some(Seconds(2 * DAY.0)));
    assert_eq!(
        (audit.witnesses.len(), audit.recorded_denials_per_hour),
        (1, 7)
    );
    assert!(audit.checkpoint_copy.is_some());
}
