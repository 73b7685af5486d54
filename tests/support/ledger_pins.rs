//! What every store promises of names without ids.

use std::sync::Barrier;

use countersign::audit::{Event, Happening};
use countersign::clock::Seconds;
use countersign::directory::FirstLoads as _;
use countersign::ledger::{AuditLog, Ledger, Spent};
use countersign::trust::{NameState, Names, Pin};

use super::fixture::*;
use crate::support::log;

macro_rules! every_store_remembers_names {
    ($fixture:expr) => {
        crate::ledger::conformance::keeps_every_promise! {
            $fixture; pins;
            of_many_first_uses_at_once_one_identity_is_pinned_and_let_in
            a_pin_holds_across_a_restart_and_a_differing_use_writes_nothing
            a_use_that_leaves_a_pinned_id_out_is_refused
            ids_that_come_later_are_pinned_when_they_come
            a_pin_has_an_event_of_its_own_and_a_repeat_has_none
            of_two_names_in_one_use_none_is_pinned_if_one_differs
            names_are_pinned_for_one_project_and_issuer
            names_keep_the_time_of_their_first_load
            a_reset_lets_other_ids_in_and_is_on_record
            a_token_used_too_often_pins_nothing
        }
    };
}

pub(crate) use every_store_remembers_names;

const FIRST: &[(&str, &str)] = &[("owner-id", "65"), ("repository-id", "74")];
const OTHER: &[(&str, &str)] = &[("owner-id", "66"), ("repository-id", "75")];

fn pin_of(store: &impl Ledger, names: &Names) -> Option<Pin> {
    let states = wait(store.name_states(vec![names.clone()])).unwrap();
    states.get(names).and_then(|state| state.pin.clone())
}

fn events(store: &impl AuditLog) -> Vec<Event> {
    let mut found = wait(log::events(store, "pin-made"));
    found.extend(wait(log::events(store, "pin-reset")));
    found.sort_by_key(|event| event.event_id);
    found
}

pub fn of_many_first_uses_at_once_one_identity_is_pinned_and_let_in(
    fixture: &impl Fixture<Store: AuditLog>,
) {
    let store = fixture.open();
    for round in 0..8 {
        let names = names(&format!("repository {round}"));
        let together = Barrier::new(16);
        let let_in: Vec<String> = std::thread::scope(|scope| {
            let uses: Vec<_> = (0..16)
                .map(|number| {
                    let (store, names, together) = (&store, names.clone(), &together);
                    scope.spawn(move || {
                        let id = (number % 4).to_string();
                        let ids = [("owner-id", id.as_str())];
                        let one_use = once_as(&format!("{round} {number}"), wish(names, &ids));
                        together.wait();
                        match wait(store.spend(one_use, record())).unwrap() {
                            Spent::Nth { number: 1, .. } => Some(id),
                            Spent::IdentityChanged(_) => None,
                            other => panic!("{other:?}"),
                        }
                    })
                })
                .collect();
            let uses = uses.into_iter().map(|spent| spent.join().unwrap());
            uses.flatten().collect()
        });
        let pinned = pin_of(&store, &names).unwrap().ids["owner-id"].clone();
        assert_eq!(let_in, vec![pinned; 4], "all uses of one identity");
    }
    assert_eq!(events(&store).len(), 8);
    fixture.close(store);
}

pub fn a_pin_holds_across_a_restart_and_a_differing_use_writes_nothing(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = record();
    let one_use = once_as("first", wish(names("api"), FIRST));
    wait(store.spend(one_use, first.clone())).unwrap();
    fixture.close(store);

    let store = fixture.open();
    let other = record();
    let one_use = once_as("other", wish(names("api"), OTHER));
    let spent = wait(store.spend(one_use, other.clone())).unwrap();
    assert_eq!(spent, Spent::IdentityChanged(names("api")));
    assert!(wait(store.decision(other.decision_id)).unwrap().is_none());
    let again = once_as("other", wish(names("api"), FIRST));
    let spent = wait(store.spend(again, record())).unwrap();
    assert_eq!(spent.number(), Some(1), "the token was not spent");
    let pin = pin_of(&store, &names("api")).unwrap();
    assert_eq!(pin.decision_id, first.decision_id.to_string());
    assert_eq!(pin.since_millis, noon().millis());
    fixture.close(store);
}

pub fn a_use_that_leaves_a_pinned_id_out_is_refused(fixture: &impl Fixture) {
    let store = fixture.open();
    let attempt = |name: &str, ids| store.spend(once_as(name, wish(names("api"), ids)), record());
    assert_eq!(wait(attempt("whole", FIRST)).unwrap().number(), Some(1));
    for (number, left) in [&FIRST[..1], &FIRST[1..], &[]].into_iter().enumerate() {
        let spent = wait(attempt(&number.to_string(), left)).unwrap();
        assert_eq!(spent, Spent::IdentityChanged(names("api")), "{left:?}");
    }
    fixture.close(store);
}

pub fn ids_that_come_later_are_pinned_when_they_come(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    let attempt = |name: &str, ids| {
        let record = record();
        let id = record.decision_id.to_string();
        let one_use = once_as(name, wish(names("api"), ids));
        (wait(store.spend(one_use, record)).unwrap(), id)
    };
    assert_eq!(attempt("none", &[]).0.number(), Some(1));
    let used = pin_of(&store, &names("api")).unwrap();
    assert!(used.ids.is_empty(), "used, and nothing is pinned");
    assert_eq!(events(&store), []);
    let (spent, one) = attempt("one", &FIRST[..1]);
    assert_eq!(spent.number(), Some(1));
    assert_eq!(pin_of(&store, &names("api")).unwrap().decision_id, one);
    assert_eq!(attempt("both", FIRST).0.number(), Some(1));
    assert_eq!(pin_of(&store, &names("api")).unwrap().ids.len(), 2);
    assert_eq!(events(&store).len(), 2);
    assert!(matches!(
        attempt("other", OTHER).0,
        Spent::IdentityChanged(_)
    ));
    fixture.close(store);
}

pub fn a_pin_has_an_event_of_its_own_and_a_repeat_has_none(
    fixture: &impl Fixture<Store: AuditLog>,
) {
    let store = fixture.open();
    let first = record();
    for (name, record) in [("first", first.clone()), ("second", record())] {
        let one_use = once_as(name, wish(names("api"), FIRST));
        assert_eq!(
            wait(store.spend(one_use, record)).unwrap().number(),
            Some(1)
        );
    }
    let made = Happening::PinMade {
        names: names("api"),
        ids: wish(names("api"), FIRST).ids,
        decision_id: first.decision_id,
    };
    let [event] = events(&store).try_into().unwrap();
    assert_eq!((event.what, event.at_millis), (made, noon().millis()));
    fixture.close(store);
}

pub fn of_two_names_in_one_use_none_is_pinned_if_one_differs(fixture: &impl Fixture) {
    let store = fixture.open();
    let one_use = once_as("first", wish(names("api"), FIRST));
    wait(store.spend(one_use, record())).unwrap();
    let mut both = once("both");
    both.pins = vec![wish(names("web"), OTHER), wish(names("api"), OTHER)];
    let spent = wait(store.spend(both.clone(), record())).unwrap();
    assert_eq!(spent, Spent::IdentityChanged(names("api")));
    assert_eq!(pin_of(&store, &names("web")), None);
    both.pins.pop();
    assert_eq!(wait(store.spend(both, record())).unwrap().number(), Some(1));
    assert!(pin_of(&store, &names("web")).is_some());
    fixture.close(store);
}

pub fn names_are_pinned_for_one_project_and_issuer(fixture: &impl Fixture) {
    let store = fixture.open();
    let enterprise = Names {
        issuer: "github-enterprise".into(),
        ..names("api")
    };
    let all = [names("api"), names_in("acme/web", "api"), enterprise];
    for (number, names) in all.iter().enumerate() {
        let owner = number.to_string();
        let one_use = once_as(&owner, wish(names.clone(), &[("owner-id", &owner)]));
        assert_eq!(
            wait(store.spend(one_use, record())).unwrap().number(),
            Some(1)
        );
    }
    let listed = |project: Option<&str>| {
        let listed = wait(store.pins(project.map(str::to_owned))).unwrap();
        let ids = |of: &NameState| of.pin.clone().unwrap().ids["owner-id"].clone();
        let listed = listed.into_iter();
        listed
            .map(|one| (one.names, ids(&one.state)))
            .collect::<Vec<_>>()
    };
    let expected = |at: usize| (all[at].clone(), at.to_string());
    assert_eq!(listed(None), [expected(0), expected(2), expected(1)]);
    assert_eq!(listed(Some("acme/web")), [expected(1)]);
    assert_eq!(listed(Some("acme")), []);
    fixture.close(store);
}

pub fn names_keep_the_time_of_their_first_load(fixture: &impl Fixture<Store: AuditLog>) {
    let later = noon().plus(Seconds(86_400));
    let many: Vec<Names> = (0..300).map(|number| names(&number.to_string())).collect();
    let store = fixture.open();
    wait(store.note_names(many.clone(), noon())).unwrap();
    fixture.close(store);

    let store = fixture.open();
    wait(store.note_names(vec![names("7"), names("new")], later)).unwrap();
    let one_use = once_as("used", wish(names("8"), FIRST));
    wait(store.spend(one_use, record())).unwrap();
    wait(store.note_names(vec![names("8")], later)).unwrap();
    let asked = [names("7"), names("8"), names("new"), names("unknown")];
    let states = wait(store.name_states(asked.to_vec())).unwrap();
    let loaded = |name: &str| states[&names(name)].first_loaded_millis;
    assert_eq!(states.len(), 3);
    assert_eq!(loaded("7"), noon().millis());
    assert_eq!(loaded("8"), noon().millis());
    assert_eq!(loaded("new"), later.millis());
    assert!(states[&names("8")].pin.is_some());
    assert_eq!(wait(store.pins(None)).unwrap().len(), 301);
    assert_eq!(events(&store).len(), 1, "to load a name is no event");
    fixture.close(store);
}

pub fn a_reset_lets_other_ids_in_and_is_on_record(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    let attempt = |name: &str, ids| {
        let one_use = once_as(name, wish(names("api"), ids));
        wait(store.spend(one_use, record())).unwrap()
    };
    let later = noon().plus(Seconds(3600));
    let unknown = wait(store.reset_pin(names("web"), "uid 7".into(), later));
    assert_eq!(unknown.unwrap(), None);
    assert_eq!(attempt("first", FIRST).number(), Some(1));
    let event = wait(store.reset_pin(names("api"), "uid 7".into(), later));
    let event = event.unwrap().unwrap();
    let reset = Happening::PinReset {
        names: names("api"),
        ids: wish(names("api"), FIRST).ids,
        by: "uid 7".into(),
    };
    assert_eq!((&event.what, event.at_millis), (&reset, later.millis()));
    fixture.close(store);

    let store = fixture.open();
    assert_eq!(events(&store).last(), Some(&event));
    let states = wait(store.name_states(vec![names("api")])).unwrap();
    let fresh = NameState {
        first_loaded_millis: later.millis(),
        pin: None,
    };
    assert_eq!(states[&names("api")], fresh, "the window begins anew");
    let other = once_as("other", wish(names("api"), OTHER));
    assert_eq!(
        wait(store.spend(other, record())).unwrap().number(),
        Some(1)
    );
    fixture.close(store);
}

pub fn a_token_used_too_often_pins_nothing(fixture: &impl Fixture<Store: AuditLog>) {
    let store = fixture.open();
    wait(store.spend(once("spent"), record())).unwrap();
    let again = once_as("spent", wish(names("api"), FIRST));
    let spent = wait(store.spend(again, record())).unwrap();
    assert_eq!(spent, Spent::Exhausted);
    assert_eq!(pin_of(&store, &names("api")), None);
    assert_eq!(events(&store), []);
    fixture.close(store);
}
