//! Entries as the service itself seals them, one of every kind, before the schema and both verifiers.

use std::path::Path;
use std::sync::Arc;

use countersign::audit::{
    Event, Explanation, Happening, IssuerKey, Outcome, PolicyLoaded, Record, RecordedClaims, Sealed,
};
use countersign::clock::UnixTime;
use countersign::trust::Names;
use serde_json::{Value, json};

use super::writer::{Log, ORIGIN, Signer, put};
use super::{of_tiles, python_of, question};

const NOON: UnixTime = UnixTime::from_seconds(1_795_176_000);

fn names() -> Names {
    Names {
        project: "acme/api".into(),
        issuer: "github".into(),
        names: [("owner".to_owned(), "acme".to_owned())].into(),
    }
}

fn key(number: u8) -> IssuerKey {
    IssuerKey {
        key_id: format!("k{number}"),
        sha256: format!("{number:064x}"),
    }
}

/// The kinds in an order of their own, so that each is made once.
fn next(before: Option<&Happening>) -> Option<Happening> {
    let some = |text: &str| Some(text.to_owned());
    let ids = || [("owner-id".to_owned(), "65".to_owned())].into();
    let Some(before) = before else {
        return Some(Happening::LogNamed {
            origin: ORIGIN.into(),
            key: Signer::log(7).vkey(),
        });
    };
    // A new kind does not build here until it has its place.
    Some(match before {
        Happening::LogNamed { .. } => Happening::PinMade {
            names: names(),
            ids: ids(),
            decision_id: Record::new(Outcome::Allowed, NOON).decision_id,
        },
        Happening::PinMade { .. } => Happening::PinReset {
            names: names(),
            ids: ids(),
            by: "uid 7".into(),
        },
        Happening::PinReset { .. } => Happening::DenialsCounted {
            issuer: "-".into(),
            reason: "invalid-signature".into(),
            hour_millis: NOON.millis(),
            count: 7,
        },
        Happening::DenialsCounted { .. } => Happening::PolicyLoaded(PolicyLoaded {
            file: "acme/api.toml".into(),
            organization: "acme".into(),
            project: some("acme/api"),
            project_id: some("p7f3"),
            digest: "9f86".into(),
            before: some("8e75"),
            added: vec!["trust release".into()],
            removed: vec!["trust old".into()],
            changed: vec!["deny no pushes".into()],
        }),
        Happening::PolicyLoaded(_) => Happening::PolicyRefused {
            file: "acme/api.toml".into(),
            digest: some("9f86"),
            message: "`scopes` is missing".into(),
            in_force: some("8e75"),
        },
        Happening::PolicyRefused { .. } => Happening::PolicyRemoved {
            file: "acme/api.toml".into(),
            before: some("8e75"),
        },
        Happening::PolicyRemoved { .. } => Happening::ConfigurationLoaded {
            program: "0.1.0".into(),
            digest: "9f86".into(),
            before: some("8e75"),
            settings: json!({"public-url": "https://sts.example.com"}),
        },
        Happening::ConfigurationLoaded { .. } => Happening::SigningKeyMade {
            key_id: "k1".into(),
            algorithm: "ES256".into(),
            signs_from_millis: NOON.millis(),
            public_key: json!({"kty": "EC", "crv": "P-256"}),
        },
        Happening::SigningKeyMade { .. } => Happening::SigningKeyRetired {
            key_id: "k1".into(),
        },
        Happening::SigningKeyRetired { .. } => Happening::IssuerKeysChanged {
            issuer: "https://token.actions.githubusercontent.com".into(),
            added: vec![key(1), key(2)],
            removed: Vec::new(),
        },
        Happening::IssuerKeysChanged { .. } => Happening::PersonalValuesRemoved { until: 3 },
        Happening::PersonalValuesRemoved { .. } => Happening::ClockPutBack {
            before_millis: NOON.millis() + 70_000,
        },
        Happening::ClockPutBack { .. } => return None,
    })
}

fn sealed(what: Happening) -> Sealed {
    // The last one puts the clock back to noon.
    let at = match what {
        Happening::ClockPutBack { .. } => NOON,
        _ => UnixTime::from_seconds(NOON.seconds() + 70),
    };
    Sealed::of_event(Event::new(what, at)).unwrap()
}

fn decisions() -> [Sealed; 2] {
    let claims = json!({"actor": "mona", "sub": "repo:acme/api", "ref": "refs/heads/main", "list": [1, {"key_id": "x"}]});
    let record = |outcome| Record {
        issuer: Some("github".into()),
        verified: true,
        subject: Some("repo:acme/api".into()),
        claims: RecordedClaims::new(Arc::new(claims.as_object().unwrap().clone()), vec!["actor"]),
        repository: Some("acme/api".into()),
        run_id: Some("7".into()),
        audience: "acme/api".into(),
        project: Some("acme/api".into()),
        project_id: Some("p7f3".into()),
        policy_digest: Some("9f86".into()),
        guard_rails_digest: Some("8e75".into()),
        shadow_trust: vec!["next".into()],
        shadow_denies: vec!["soon".into()],
        renamed: vec!["owner".into()],
        resource: Some("https://registry.example.com".into()),
        client_address: Some("192.0.2.7".into()),
        user_agent: Some("x".repeat(5000)),
        ..Record::new(outcome, NOON)
    };
    let allowed = Record {
        trust: vec!["release".into()],
        scopes: vec!["publish".into()],
        token_id: Some(record(Outcome::Allowed).decision_id.to_string()),
        token_expires: Some(NOON.seconds() + 3600),
        use_number: Some(1),
        ..record(Outcome::Allowed)
    };
    let denied = Record {
        reason: Some("denied".into()),
        nearest: Some("release".into()),
        denied_by: Some("no pushes".into()),
        unverified_issuer: Some("https://ci.example.com".into()),
        explanation: Some(Explanation {
            description: "`ref` differs".into(),
            ..Explanation::default()
        }),
        ..record(Outcome::Denied)
    };
    [allowed, denied].map(|record| Sealed::of_decision(record).unwrap())
}

/// An event of every kind, in which some are so long that their members are withheld, and decisions.
fn entries() -> Vec<Sealed> {
    let mut entries = Vec::new();
    let mut before = None;
    while let Some(what) = next(before.as_ref()) {
        entries.push(sealed(what.clone()));
        before = Some(what);
    }
    let put_back = entries.pop().unwrap();
    let long = || vec!["x".repeat(60_000)];
    entries.push(sealed(Happening::PolicyLoaded(PolicyLoaded {
        added: long(),
        removed: long(),
        ..PolicyLoaded::default()
    })));
    entries.push(sealed(Happening::PinReset {
        names: names(),
        ids: [("owner-id".to_owned(), "x".repeat(60_000))].into(),
        by: "uid 7".into(),
    }));
    entries.push(sealed(Happening::IssuerKeysChanged {
        issuer: "https://ci.example.com".into(),
        added: (0..200).map(key).chain(vec![key(7); 600]).collect(),
        removed: vec![key(9)],
    }));
    entries.push(put_back);
    entries.extend(decisions());
    entries
}

#[test]
fn one_of_every_kind_as_the_service_seals_it_is_as_the_schema_says_and_both_accept_it() {
    let schema = super::documents::schema();
    let entries = entries();
    let log = Log {
        leaves: entries.iter().map(|entry| entry.leaf.clone()).collect(),
        signer: Signer::log(7),
    };
    let folder = tempfile::tempdir().unwrap();
    log.write_tiles(folder.path());
    let mut withheld = 0;
    for (index, entry) in entries.iter().enumerate() {
        let leaf: Value = serde_json::from_slice(&entry.leaf).unwrap();
        assert!(schema.is_valid(&leaf), "{leaf}");
        withheld += leaf["withheld"]
            .as_object()
            .map_or(0, |all| all.len() as u64);
        if !entry.withheld.is_empty() {
            let file = folder.path().join(format!("withheld/{index}.json"));
            put(&file, &entry.withheld);
        }
    }
    let report = of_tiles(folder.path(), &question(&log));
    assert!(report.is_whole(), "{:#?}", report.faults);
    assert_eq!((report.unknown_kinds, report.withheld), (0, withheld));
    assert!(withheld >= 10, "{withheld}");
    let (whole, said) = python_of(folder.path(), &log, &[]);
    assert!(whole, "{said}");
}

#[test]
fn without_any_member_that_it_must_have_none_of_them_is_accepted() {
    let schema = super::documents::schema();
    let folder = tempfile::tempdir().unwrap();
    let optional = |leaf: &Value, name: &str| {
        let optional = [
            "project",
            "project_id",
            "before",
            "added",
            "removed",
            "changed",
            "digest",
            "in_force",
        ];
        match leaf["kind"].as_str().unwrap() {
            "policy-loaded" => name != "digest" && optional.contains(&name),
            "policy-refused" => optional.contains(&name),
            "policy-removed" | "configuration-loaded" => name == "before",
            _ => false,
        }
    };
    let mut cases = Vec::new();
    for entry in entries() {
        let leaf: Value = serde_json::from_slice(&entry.leaf).unwrap();
        if leaf["kind"] == "decision" || !entry.withheld.is_empty() {
            continue;
        }
        for name in leaf.as_object().unwrap().keys() {
            let mut without = leaf.clone();
            without.as_object_mut().unwrap().remove(name);
            let mut other = leaf.clone();
            other[name] = json!([null]);
            assert!(!schema.is_valid(&other), "{other}");
            cases.push(other);
            assert_eq!(
                schema.is_valid(&without),
                optional(&leaf, name),
                "{without}"
            );
            if !optional(&leaf, name) {
                cases.push(without);
            }
        }
    }
    // At most 20 faults are told.
    for cases in cases.chunks(20) {
        let name = sealed(next(None).unwrap()).leaf;
        let leaves = cases.iter().map(|case| case.to_string().into_bytes());
        let log = Log {
            leaves: std::iter::once(name).chain(leaves).collect(),
            signer: Signer::log(7),
        };
        log.write_tiles(&fresh(folder.path()));
        let report = of_tiles(folder.path(), &question(&log));
        let found: Vec<_> = super::codes(&report);
        let expected: Vec<_> = (1..=cases.len() as u64)
            .map(|index| ("schema", Some(index)))
            .collect();
        assert_eq!(found, expected, "{:#?}", report.faults);
        let (_, said) = python_of(folder.path(), &log, &[]);
        for (index, case) in (1..).zip(cases) {
            assert!(said.contains(&format!("entry {index}: ")), "{case}: {said}");
        }
    }
}

/// The folder without what was in it.
fn fresh(folder: &Path) -> std::path::PathBuf {
    std::fs::remove_dir_all(folder).unwrap();
    folder.to_owned()
}
