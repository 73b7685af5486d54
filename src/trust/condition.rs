//! A condition on one claim, as it stands under `claims`.

mod value;

use serde_json::Value;

pub(super) use value::{Alternatives, Scalar, glob_in_words, one_of_in_words, quoted, same_text};

use value::same_number;

use crate::issuer::profile::{Claim, ClaimType};

/// Which kind of entry asks. A trust lets in, so what is odd does not satisfy it; a deny keeps out, so what is odd does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sense {
    /// Asked by a `[[trust]]`.
    Trust,
    /// Asked by a `[[deny]]`, which must not fail open.
    Deny,
}

/// What is asked of a claim.
#[derive(Debug, PartialEq)]
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
#[derive(Debug, PartialEq)]
pub(super) struct Condition {
    /// The claim's JSON type, where the profile knows it.
    pub(super) kind: Option<ClaimType>,
    /// Whether it compares without ASCII case.
    pub(super) fold: bool,
    pub(super) asked: Asked,
}

/// What one value, or one member of a list, says to a set of alternatives.
enum Verdict {
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
            Verdict::WrongType => sense == Sense::Deny,
            Verdict::Yes => wanted,
            Verdict::No => !wanted,
        };
        one_of.is_none_or(|asked| holds(asked, true))
            && none_of.is_none_or(|asked| holds(asked, false))
    }

    /// A list says yes if one member does, and is of a wrong type if one member is, whatever the others say.
    fn compare(&self, asked: &Alternatives, found: &Value) -> Verdict {
        let list_fits = matches!(self.kind, None | Some(ClaimType::TextList));
        match found {
            Value::Array(members) if list_fits => {
                let mut verdict = Verdict::No;
                for member in members {
                    match self.compare_one(asked, member) {
                        Verdict::WrongType => return Verdict::WrongType,
                        Verdict::Yes => verdict = Verdict::Yes,
                        Verdict::No => {}
                    }
                }
                verdict
            }
            _ if self.kind == Some(ClaimType::TextList) => Verdict::WrongType,
            single => self.compare_one(asked, single),
        }
    }

    fn compare_one(&self, asked: &Alternatives, found: &Value) -> Verdict {
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
            _ => return Verdict::WrongType,
        };
        if matched { Verdict::Yes } else { Verdict::No }
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

#[cfg(test)]
mod tests;
