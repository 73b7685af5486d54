//! What every store promises to those who share it: who is second changes nothing that it has not seen.

use countersign::audit::{Happening, PolicyLoaded};
use countersign::directory::{OnRecord, PolicyChange, PolicyHistory};
use countersign::ledger::{AuditLog, Kept};
use countersign::project_token::{SigningKeyStore, StoredKey};

use super::audit_log::retired;
use super::fixture::*;
use crate::support::log;

macro_rules! every_store_can_be_shared {
    ($fixture:expr) => {
        crate::ledger::conformance::keeps_every_promise! {
            $fixture; instances;
            signing_keys_are_changed_only_by_who_knows_them
            the_checkpoint_key_is_replaced_only_by_who_knows_it
            a_checkpoint_that_is_kept_never_goes_back
            what_the_log_says_of_a_policy_already_adds_no_entry
        }
    };
}

pub(crate) use every_store_can_be_shared;

pub fn signing_keys_are_changed_only_by_who_knows_them(fixture: &impl Fixture<Store: AuditLog>) {
    let key = |id: &str| StoredKey {
        id: id.into(),
        sealed: id.into(),
    };
    let store = fixture.open();
    let replace = |known: &[&str], added: &[&str], removed: &[&str]| {
        let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let added = added.iter().map(|id| key(id)).collect();
        let events = vec![retired(1)];
        let (known, removed) = (texts(known), texts(removed));
        wait(store.replace_signing_keys(known, added, removed, events, noon())).unwrap()
    };
    assert!(replace(&[], &["a", "b"], &[]));
    assert!(!replace(&[], &["c", "d"], &[]), "another was first");
    assert!(!replace(&["a"], &["c"], &[]));
    assert!(!replace(&["a", "b", "c"], &[], &["a"]));
    assert!(replace(&["b", "a"], &["c"], &["a"]), "in any order");
    let mut kept = wait(store.signing_keys()).unwrap();
    kept.sort_by(|one, other| one.id.cmp(&other.id));
    assert!(kept == [key("b"), key("c")]);
    let events = wait(log::events(&store, "signing-key-retired"));
    assert_eq!(events.len(), 2, "what was not done is not on record");
    fixture.close(store);
}

pub fn the_checkpoint_key_is_replaced_only_by_who_knows_it(
    fixture: &impl Fixture<Store: AuditLog>,
) {
    let store = fixture.open();
    let keep = |before: Option<&[u8]>, sealed: &[u8]| {
        let named = Happening::LogNamed {
            origin: "sts.example.com/audit".into(),
            key: "sts.example.com/audit+00000000+AQ".into(),
        };
        let before = before.map(<[u8]>::to_vec);
        wait(store.keep_checkpoint_key(before, sealed.into(), named, noon())).unwrap()
    };
    assert!(!keep(Some(b"none"), b"other"));
    assert!(keep(None, b"first"));
    assert!(!keep(None, b"second"), "another was first");
    assert!(!keep(Some(b"second"), b"third"));
    assert!(keep(Some(b"first"), b"sealed anew"));
    let kept = wait(store.checkpoint_key()).unwrap();
    assert_eq!(kept.as_deref(), Some(b"sealed anew".as_slice()));
    assert_eq!(wait(log::events(&store, "log-named")).len(), 2);
    fixture.close(store);
}

pub fn a_checkpoint_that_is_kept_never_goes_back(fixture: &impl Fixture<Store: AuditLog>) {
    let note = |size: u64, more: &str| format!("sts.example.com/audit\n{size}\nAAAA\n\n{more}\n");
    let store = fixture.open();
    for which in [Kept::Signed, Kept::Cosigned] {
        let keep = |note: String| wait(store.keep_checkpoint(which, note)).unwrap();
        let kept = || wait(store.checkpoint(which)).unwrap().unwrap();
        keep(note(9, "one"));
        keep(note(10, "one"));
        keep(note(9, "late"));
        assert_eq!(kept(), note(10, "one"));
        keep(note(10, "with another cosignature"));
        assert_eq!(kept(), note(10, "with another cosignature"));
        keep("no checkpoint".to_owned());
        assert_eq!(kept(), note(10, "with another cosignature"));
    }
    fixture.close(store);
}

pub fn what_the_log_says_of_a_policy_already_adds_no_entry(
    fixture: &impl Fixture<Store: AuditLog>,
) {
    let store = fixture.open();
    let record = |files: &[(&str, Option<&str>)]| {
        let changes = files.iter().map(|(file, digest)| PolicyChange {
            file: (*file).into(),
            event: match digest {
                Some(digest) => Happening::PolicyLoaded(PolicyLoaded {
                    file: (*file).into(),
                    organization: "acme".into(),
                    digest: (*digest).into(),
                    ..PolicyLoaded::default()
                }),
                None => Happening::PolicyRemoved {
                    file: (*file).into(),
                    before: None,
                },
            },
            on_record: digest.map(|digest| OnRecord {
                in_force: Some(digest.into()),
                refused: None,
            }),
            text: digest.map(|digest| (digest.to_owned(), b"text".to_vec())),
        });
        wait(store.record_policies(changes.collect(), noon())).unwrap();
        let loaded = wait(log::events(&store, "policy-loaded")).len();
        (loaded, wait(log::events(&store, "policy-removed")).len())
    };
    let both = [("acme/api.toml", Some("1")), ("acme/web.toml", Some("1"))];
    assert_eq!(record(&both), (2, 0));
    assert_eq!(record(&both), (2, 0), "another was first");
    let one = [("acme/api.toml", Some("2")), ("acme/web.toml", Some("1"))];
    assert_eq!(record(&one), (3, 0));
    let gone = [("acme/api.toml", None), ("acme/web.toml", Some("1"))];
    assert_eq!(record(&gone), (3, 1));
    assert_eq!(record(&gone), (3, 1));
    let found = wait(store.policies_on_record()).unwrap();
    assert_eq!(found.len(), 1);
    fixture.close(store);
}
