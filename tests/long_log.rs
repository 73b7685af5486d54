//! The log of a service that is stopped and killed under load, before two verifiers that share nothing.

use crate::kills::drive::audited::{Plan, judge, run};

#[test]
fn two_verifiers_accept_the_log_of_many_lives_and_no_change_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        exchanges: 600,
        kills: 3,
        stops: 1,
        connections: 6,
    };
    let log = run(folder.path(), &plan);
    assert!(log.acknowledged.len() >= 600);
    assert!(log.size >= 600);
    let verdicts = judge(&log);
    assert!(verdicts.wrong.is_empty(), "{:#?}", verdicts.wrong);
    assert!(verdicts.right > 600);
}
