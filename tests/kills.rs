//! Killed under load, again and again: what was acknowledged is there, and nothing is let in twice.

#[expect(dead_code, reason = "the bench drives the program in more ways")]
#[path = "../benches/load/drive/mod.rs"]
pub mod drive;

use drive::kills::{Plan, run};

#[test]
fn eight_kills_under_load_lose_nothing_acknowledged_and_let_no_token_in_twice() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        kills: 8,
        connections: 6,
        exchanges: 60,
    };
    let findings = run(folder.path(), &plan);
    assert!(findings.all_well(), "{findings:?}");
    assert_eq!(findings.kills, 8);
    assert!(findings.acknowledged >= 8, "{findings:?}");
}
