//! The values that a policy names: of which type they are, what they match, and how they are said.

use serde_json::Number;

use crate::trust::glob::Glob;

/// A single value of a policy, of the JSON type that it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::trust) enum Scalar {
    Text(Box<str>),
    Number(Number),
    Boolean(bool),
}

/// What a claim's value may be: one of these.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::trust) struct Alternatives {
    pub(in crate::trust) exact: Vec<Scalar>,
    pub(in crate::trust) globs: Vec<Glob>,
}

impl Alternatives {
    pub(super) fn asks_for_texts(&self) -> bool {
        !self.globs.is_empty()
            || self
                .exact
                .iter()
                .any(|value| matches!(value, Scalar::Text(_)))
    }

    pub(super) fn asks_for_numbers(&self) -> bool {
        self.exact
            .iter()
            .any(|value| matches!(value, Scalar::Number(_)))
    }

    pub(super) fn asks_for_booleans(&self) -> bool {
        self.exact
            .iter()
            .any(|value| matches!(value, Scalar::Boolean(_)))
    }

    /// The values, the way a policy writes them.
    pub(in crate::trust) fn in_words(&self) -> String {
        let exact = self.exact.iter().map(Scalar::in_words);
        let globs = self.globs.iter().map(glob_in_words);
        one_of_in_words(exact.chain(globs).collect())
    }
}

impl Scalar {
    /// The value, the way a policy writes it.
    pub(in crate::trust) fn in_words(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
        }
    }
}

/// `like "refs/tags/v*"`.
pub(in crate::trust) fn glob_in_words(glob: &Glob) -> String {
    format!("like {}", quoted(glob.as_str()))
}

/// `"push"`, or `one of "push", "release"`.
pub(in crate::trust) fn one_of_in_words(values: Vec<String>) -> String {
    match <[String; 1]>::try_from(values) {
        Ok([single]) => single,
        Err(several) => format!("one of {}", several.join(", ")),
    }
}

/// The text in quotation marks, with what does not print escaped.
pub(in crate::trust) fn quoted(text: &str) -> String {
    // A text always has a form in JSON.
    serde_json::to_string(text).unwrap_or_default()
}

/// Whether two texts are the same, without ASCII case if `fold` says so (never Unicode folding).
pub(in crate::trust) fn same_text(one: &str, other: &str, fold: bool) -> bool {
    one == other || (fold && one.eq_ignore_ascii_case(other))
}

/// Whether two numbers have the same value, exactly: `1` is `1.0`, and no digit is lost in between.
pub(super) fn same_number(one: &Number, other: &Number) -> bool {
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
