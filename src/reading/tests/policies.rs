//! Which policy was in force at a moment.

use super::*;

fn told(answer: Answer) -> PolicyAnswer {
    match answer {
        Answer::Policy(answer) => *answer,
        other => panic!("{other:?}"),
    }
}

fn added(name: &str) -> PolicyLoaded {
    PolicyLoaded {
        added: vec![name.to_owned()],
        ..PolicyLoaded::default()
    }
}

/// Loaded at 10 s, refused at 15 s, changed at 20 s, removed at 30 s; guard rails from 12 s on; another project between.
fn story() -> MadeUp {
    let mut log = MadeUp::default();
    log.policy("acme/api.toml", "first", added("build"), at(10));
    log.policy(
        "acme/_organization.toml",
        "above",
        added("no forks"),
        at(12),
    );
    log.policy("acme/web.toml", "other", added("site"), at(13));
    let refused = Happening::PolicyRefused {
        file: "acme/api.toml".into(),
        digest: None,
        message: "line 3: not TOML".into(),
        in_force: None,
    };
    log.happened(refused, at(15));
    let changed = PolicyLoaded {
        changed: vec!["build".into()],
        ..PolicyLoaded::default()
    };
    log.policy("acme/api.toml", "second", changed, at(20));
    let removed = Happening::PolicyRemoved {
        file: "acme/api.toml".into(),
        before: None,
    };
    log.happened(removed, at(30));
    log
}

async fn at_moment(log: &MadeUp, seconds: u32) -> PolicyAnswer {
    let moment = at(seconds).to_string();
    let parameters = [("project", "acme/api"), ("at", moment.as_str())];
    told(log.ask(Question::Policy, &parameters).await)
}

#[tokio::test]
async fn the_text_in_force_at_a_moment_is_the_one_that_was_loaded_last() {
    let log = story();
    for (seconds, policy, guard_rails) in [
        (9, None, None),
        (10, Some("first"), None),
        (19, Some("first"), Some("above")),
        (20, Some("second"), Some("above")),
        (30, None, Some("above")),
    ] {
        let answer = at_moment(&log, seconds).await;
        let text = |file: &FileHistory| {
            let in_force = file.in_force.clone()?;
            in_force.text
        };
        assert_eq!(text(&answer.policy).as_deref(), policy, "{seconds}");
        assert_eq!(
            text(&answer.guard_rails).as_deref(),
            guard_rails,
            "{seconds}"
        );
    }
}

#[tokio::test]
async fn what_changed_before_and_after_is_told_in_order() {
    let answer = at_moment(&story(), 19).await;
    let kinds = |changes: &[PolicyChange]| -> Vec<String> {
        changes.iter().map(|change| change.kind.clone()).collect()
    };
    let policy = &answer.policy;
    assert_eq!(policy.file, "acme/api.toml");
    assert_eq!(kinds(&policy.before), ["policy-refused", "policy-loaded"]);
    assert_eq!(
        policy.before[0].message.as_deref(),
        Some("line 3: not TOML")
    );
    assert_eq!(policy.before[1].added, ["build"]);
    assert_eq!(kinds(&policy.after), ["policy-loaded", "policy-removed"]);
    assert_eq!(policy.after[0].changed, ["build"]);
    assert_eq!(policy.in_force.as_ref().unwrap().since, at(10).to_string());
    assert_eq!(kinds(&answer.guard_rails.before), ["policy-loaded"]);
}

#[tokio::test]
async fn of_many_changes_those_nearest_to_the_moment_are_told() {
    let mut log = MadeUp::default();
    for second in 0..20 {
        log.policy("acme/api.toml", &second.to_string(), added("x"), at(second));
    }
    let answer = at_moment(&log, 10).await;
    assert_eq!(answer.policy.before[0].at, at(10).to_string());
    assert_eq!(answer.policy.after[0].at, at(11).to_string());
    assert_eq!(
        (answer.policy.before.len(), answer.policy.after.len()),
        (5, 5)
    );
}
