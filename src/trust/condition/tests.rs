//! What a condition says to each kind of value.

use serde_json::json;

use super::*;
use crate::trust::glob::Globs;

fn text(value: &str) -> Scalar {
    Scalar::Text(value.into())
}

fn number(value: &Value) -> Scalar {
    Scalar::Number(value.as_number().unwrap().clone())
}

fn exact(value: Scalar) -> Alternatives {
    Alternatives {
        exact: vec![value],
        globs: Vec::new(),
    }
}

fn glob(pattern: &str) -> Alternatives {
    Alternatives {
        exact: Vec::new(),
        globs: vec![Globs::default().compile(pattern, false).unwrap()],
    }
}

fn of_unknown_type(one_of: Option<Alternatives>, none_of: Option<Alternatives>) -> Condition {
    Condition::new(None, Asked::Present { one_of, none_of })
}

fn is_a() -> Condition {
    of_unknown_type(Some(exact(text("a"))), None)
}

fn not_a() -> Condition {
    of_unknown_type(None, Some(exact(text("a"))))
}

fn like_a() -> Condition {
    of_unknown_type(Some(glob("a*")), None)
}

fn like_a_not_ab() -> Condition {
    of_unknown_type(Some(glob("a*")), Some(exact(text("ab"))))
}

fn absent() -> Condition {
    Condition::new(None, Asked::Absent)
}

/// Asks each condition about its value; `null` is an absent claim.
fn each_says_as_told(cases: &[(Condition, Value, bool)], sense: Sense) {
    for (condition, found, holds) in cases {
        let there = Some(found).filter(|found| !found.is_null());
        let asked = condition.in_words();
        assert_eq!(condition.holds(there, sense), *holds, "{asked} on {found}");
    }
}

#[test]
fn in_a_trust_what_is_odd_satisfies_nothing() {
    let one = || of_unknown_type(Some(exact(number(&json!(1)))), None);
    let yes = || of_unknown_type(Some(exact(Scalar::Boolean(true))), None);
    let cases: &[(Condition, Value, bool)] = &[
        (is_a(), json!("a"), true),
        (is_a(), json!("A"), false),
        (is_a(), json!("a "), false),
        (is_a(), json!(""), false),
        (is_a(), json!(null), false),
        (is_a(), json!(["a"]), true),
        (is_a(), json!(["b", "a"]), true),
        (is_a(), json!(["a", 1]), false),
        (is_a(), json!([["a"]]), false),
        (is_a(), json!([]), false),
        (is_a(), json!({"a": "a"}), false),
        (is_a(), json!(true), false),
        (not_a(), json!("b"), true),
        (not_a(), json!("a"), false),
        (not_a(), json!(null), false),
        (not_a(), json!(1), false),
        (not_a(), json!(["b", "c"]), true),
        (not_a(), json!(["b", "a"]), false),
        (not_a(), json!(["b", 1]), false),
        (not_a(), json!([]), true),
        (not_a(), json!({}), false),
        (like_a(), json!("ab"), true),
        (like_a(), json!("a/b"), false),
        (like_a(), json!(1), false),
        (like_a_not_ab(), json!("ac"), true),
        (like_a_not_ab(), json!("ab"), false),
        (like_a_not_ab(), json!("b"), false),
        (one(), json!(1), true),
        (one(), json!(1.0), true),
        (one(), json!("1"), false),
        (one(), json!(2), false),
        (yes(), json!(true), true),
        (yes(), json!(false), false),
        (yes(), json!("true"), false),
        (absent(), json!(null), true),
        (absent(), json!(""), false),
    ];
    each_says_as_told(cases, Sense::Trust);
}

#[test]
fn in_a_deny_what_is_odd_keeps_out() {
    let cases: &[(Condition, Value, bool)] = &[
        (is_a(), json!("a"), true),
        (is_a(), json!("b"), false),
        (is_a(), json!(null), false),
        (is_a(), json!(1), true),
        (is_a(), json!(["b"]), false),
        (is_a(), json!(["b", 1]), true),
        (is_a(), json!({}), true),
        (not_a(), json!("a"), false),
        (not_a(), json!("b"), true),
        (not_a(), json!(null), true),
        (not_a(), json!(false), true),
        (not_a(), json!(["a", 1]), true),
        (not_a(), json!(["a"]), false),
        (not_a(), json!([]), true),
        (like_a(), json!("ab"), true),
        (like_a(), json!("b"), false),
        (like_a(), json!(null), false),
        (like_a(), json!(1), true),
        (like_a_not_ab(), json!("ab"), false),
        (like_a_not_ab(), json!("ac"), true),
        (like_a_not_ab(), json!(null), false),
        (absent(), json!(null), true),
        (absent(), json!(1), false),
    ];
    each_says_as_told(cases, Sense::Deny);
}

#[test]
fn a_claim_that_the_profile_knows_as_one_text_is_not_satisfied_by_a_list() {
    let known = |kind| Condition {
        kind: Some(kind),
        ..of_unknown_type(Some(exact(text("a"))), None)
    };
    for kind in [ClaimType::Text, ClaimType::Id, ClaimType::BooleanText] {
        assert!(known(kind).holds(Some(&json!("a")), Sense::Trust));
        assert!(!known(kind).holds(Some(&json!(["a"])), Sense::Trust));
        assert!(known(kind).holds(Some(&json!(["b"])), Sense::Deny));
    }
    let list = known(ClaimType::TextList);
    assert!(list.holds(Some(&json!(["a"])), Sense::Trust));
    assert!(!list.holds(Some(&json!("a")), Sense::Trust));
    assert!(list.holds(Some(&json!("b")), Sense::Deny));
}

#[test]
fn numbers_compare_by_value_and_lose_no_digit() {
    let same = |one: Value, other: Value| {
        same_number(one.as_number().unwrap(), other.as_number().unwrap())
    };
    assert!(same(json!(1), json!(1.0)));
    assert!(same(json!(-0.0), json!(0)));
    assert!(same(json!(0.5), json!(0.5)));
    assert!(same(json!(1e300), json!(1e300)));
    assert!(!same(
        json!(9_007_199_254_740_993_u64),
        json!(9_007_199_254_740_992.0)
    ));
    assert!(!same(json!(u64::MAX), json!(-1)));
}

#[test]
fn only_ascii_letters_fold() {
    assert!(same_text("Octo-Org", "octo-org", true));
    assert!(!same_text("Octo-Org", "octo-org", false));
    assert!(!same_text("É", "é", true));
    assert!(!same_text("k", "\u{212a}", true));
}
