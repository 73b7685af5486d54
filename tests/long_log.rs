//! The log of a service that is stopped and killed under load, before two verifiers that share nothing.

use crate::kills::drive::audited::{Plan, judge, run};

#[test]
fn two_verifiers_accept_the_log_of_many_lives_and_no_change_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        exchanges: 1200,
        kills: 4,
        stops: 2,
        connections: 6,
    };
    let log = run(folder.path(), &plan);
    assert!(log.acknowledged.len() >= 1200);
    assert!(log.size >= 1200);
    let verdicts = judge(&log);
    assert!(verdicts.wrong.is_empty(), "{:#?}", verdicts.wrong);
    assert!(verdicts.right > 1200);
}
