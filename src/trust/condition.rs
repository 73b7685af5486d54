//! A condition on one claim, as it stands under `claims`.

use serde_json::{Number, Value};

use super::glob::Glob;
use crate::issuer::profile::{Claim, ClaimType};

/// Which kind of entry asks. A trust lets in, so what is odd does not satisfy it; a deny keeps out, so what is odd does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sense {
    /// Asked by a `[[trust]]`.
    Trust,
    /// Asked by a `[[deny]]`, which must not fail open.
    Deny,
}

/// A single value of a policy, of the JSON type that it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Text(Box<str>),
    Number(Number),
    Boolean(bool),
}

/// What a claim's value may be: one of these.
#[derive(Debug, Clone, Default)]
pub(super) struct Alternatives {
    pub(super) exact: Vec<Scalar>,
    pub(super) globs: Vec<Glob>,
}

/// What is asked of a claim.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// That it is absent, or null.
    Absent,
    /// That it is there, is one of the first and none of the second, as far as they are given.
    Present {
        one_of: Option<Alternatives>,
        none_of: Option<Alternatives>,
    },
}

/// A condition on one claim.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// The claim's JSON type, where the profile knows it.
    pub(super) kind: Option<ClaimType>,
    /// Whether it compares without ASCII case.
    pub(super) fold: bool,
    pub(super) asked: Asked,
}

/// What one value, or one member of a list, says to a set of alternatives.
enum Match {
    Yes,
    No,
    WrongType,
}

impl Condition {
    /// A condition on a claim that the profile may know.
    pub(super) fn new(claim: Option<&Claim>, asked: Asked) -> Self {
        Self {
            kind: claim.map(|claim| claim.kind),
            fold: claim.is_some_and(|claim| claim.fold),
            asked,
        }
    }

    /// Whether `found`, the value of the claim, satisfies the condition. `None` is an absent claim or null.
    pub(super) fn holds(&self, found: Option<&Value>, sense: Sense) -> bool {
        let (one_of, none_of) = match &self.asked {
            Asked::Absent => return found.is_none(),
            Asked::Present { one_of, none_of } => (one_of.as_ref(), none_of.as_ref()),
        };
        let Some(found) = found else {
            // An absent claim is no value that could equal anything, but it is surely none of those to be kept out.
            return sense == Sense::Deny && one_of.is_none();
        };
        let holds = |asked: &Alternatives, wanted: bool| match self.compare(asked, found) {
            Match::WrongType => sense == Sense::Deny,
            Match::Yes => wanted,
            Match::No => !wanted,
        };
        one_of.is_none_or(|asked| holds(asked, true))
            && none_of.is_none_or(|asked| holds(asked, false))
    }

    /// A list says yes if one member does, and is of a wrong type if one member is, whatever the others say.
    fn compare(&self, asked: &Alternatives, found: &Value) -> Match {
        let list_fits = matches!(self.kind, None | Some(ClaimType::TextList));
        match found {
            Value::Array(members) if list_fits => {
                let mut verdict = Match::No;
                for member in members {
                    match self.compare_one(asked, member) {
                        Match::WrongType => return Match::WrongType,
                        Match::Yes => verdict = Match::Yes,
                        Match::No => {}
                    }
                }
                verdict
            }
            _ if self.kind == Some(ClaimType::TextList) => Match::WrongType,
            single => self.compare_one(asked, single),
        }
    }

    fn compare_one(&self, asked: &Alternatives, found: &Value) -> Match {
        let matched = match found {
            Value::String(found) if asked.asks_for_texts() => {
                asked.exact.iter().any(|wanted| match wanted {
                    Scalar::Text(wanted) => same_text(wanted, found, self.fold),
                    Scalar::Number(_) | Scalar::Boolean(_) => false,
                }) || asked.globs.iter().any(|glob| glob.matches(found))
            }
            Value::Number(found) if asked.asks_for_numbers() => {
                asked.exact.iter().any(|wanted| match wanted {
                    Scalar::Number(wanted) => same_number(wanted, found),
                    Scalar::Text(_) | Scalar::Boolean(_) => false,
                })
            }
            Value::Bool(found) if asked.asks_for_booleans() => {
                asked.exact.contains(&Scalar::Boolean(*found))
            }
            _ => return Match::WrongType,
        };
        if matched { Match::Yes } else { Match::No }
    }

    /// The values that are named literally: neither in a glob nor behind a `not`.
    pub(super) fn named_literally(&self) -> &[Scalar] {
        match &self.asked {
            Asked::Present {
                one_of: Some(one_of),
                ..
            } => &one_of.exact,
            _ => &[],
        }
    }

    /// The texts of which the claim must be one, if that is all that is asked.
    pub(super) fn exact_texts(&self) -> Option<Vec<&str>> {
        match &self.asked {
            Asked::Present {
                one_of: Some(one_of),
                ..
            } if one_of.globs.is_empty() => one_of
                .exact
                .iter()
                .map(|value| match value {
                    Scalar::Text(text) => Some(&**text),
                    Scalar::Number(_) | Scalar::Boolean(_) => None,
                })
                .collect(),
            _ => None,
        }
    }

    /// What is asked, in words.
    pub(super) fn in_words(&self) -> String {
        match &self.asked {
            Asked::Absent => "absent".to_owned(),
            Asked::Present { one_of, none_of } => {
                let one_of = one_of.as_ref().map(Alternatives::in_words);
                let none_of = none_of
                    .as_ref()
                    .map(|asked| format!("not {}", asked.in_words()));
                let parts: Vec<String> = one_of.into_iter().chain(none_of).collect();
                parts.join(" and ")
            }
        }
    }
}

impl Alternatives {
    fn asks_for_texts(&self) -> bool {
        !self.globs.is_empty()
            || self
                .exact
                .iter()
                .any(|value| matches!(value, Scalar::Text(_)))
    }

    fn asks_for_numbers(&self) -> bool {
        self.exact
            .iter()
            .any(|value| matches!(value, Scalar::Number(_)))
    }

    fn asks_for_booleans(&self) -> bool {
        self.exact
            .iter()
            .any(|value| matches!(value, Scalar::Boolean(_)))
    }

    /// The values, the way a policy writes them.
    pub(super) fn in_words(&self) -> String {
        let exact = self.exact.iter().map(Scalar::in_words);
        let globs = self.globs.iter().map(glob_in_words);
        one_of_in_words(exact.chain(globs).collect())
    }
}

impl Scalar {
    /// The value, the way a policy writes it.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
        }
    }
}

/// `like "refs/tags/v*"`.
pub(super) fn glob_in_words(glob: &Glob) -> String {
    format!("like {}", quoted(glob.as_str()))
}

/// `"push"`, or `one of "push", "release"`.
pub(super) fn one_of_in_words(values: Vec<String>) -> String {
    match <[String; 1]>::try_from(values) {
        Ok([single]) => single,
        Err(several) => format!("one of {}", several.join(", ")),
    }
}

/// The text in quotation marks, with what does not print escaped.
pub(super) fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// Whether two texts are the same, without ASCII case if `fold` says so (never Unicode folding).
pub(super) fn same_text(one: &str, other: &str, fold: bool) -> bool {
    one == other || (fold && one.eq_ignore_ascii_case(other))
}

/// Whether two numbers have the same value, exactly: `1` is `1.0`, and no digit is lost in between.
fn same_number(one: &Number, other: &Number) -> bool {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.as_f64() == other.as_f64(),
        _ => false,
    }
}

/// The value of a number that is whole.
fn integer(number: &Number) -> Option<i128> {
    /// 2 to the power of 100, which a floating-point number holds exactly; larger ones are compared as such.
    const BOUND: f64 = 1_267_650_600_228_229_401_496_703_205_376.0;
    number.as_i128().or_else(|| {
        let value = number.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the value is whole and within bounds"
        )]
        let whole = (value.fract() == 0.0 && value.abs() <= BOUND).then_some(value as i128);
        whole
    })
}

#[cfg(test)]
mod tests {
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

    fn absent() -> Condition {
        Condition::new(None, Asked::Absent)
    }

    #[test]
    fn in_a_trust_what_is_odd_satisfies_nothing() {
        let is_a = || of_unknown_type(Some(exact(text("a"))), None);
        let not_a = || of_unknown_type(None, Some(exact(text("a"))));
        let like_a = || of_unknown_type(Some(glob("a*")), None);
        let like_a_not_ab = || of_unknown_type(Some(glob("a*")), Some(exact(text("ab"))));
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
        for (condition, found, holds) in cases {
            let there = Some(found).filter(|found| !found.is_null());
            let asked = condition.in_words();
            assert_eq!(
                condition.holds(there, Sense::Trust),
                *holds,
                "{asked} on {found}"
            );
        }
    }

    #[test]
    fn in_a_deny_what_is_odd_keeps_out() {
        let is_a = || of_unknown_type(Some(exact(text("a"))), None);
        let not_a = || of_unknown_type(None, Some(exact(text("a"))));
        let like_a = || of_unknown_type(Some(glob("a*")), None);
        let like_a_not_ab = || of_unknown_type(Some(glob("a*")), Some(exact(text("ab"))));
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
        for (condition, found, holds) in cases {
            let there = Some(found).filter(|found| !found.is_null());
            let asked = condition.in_words();
            assert_eq!(
                condition.holds(there, Sense::Deny),
                *holds,
                "{asked} on {found}"
            );
        }
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
}
