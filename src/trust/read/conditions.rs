//! One condition under `claims`, checked against the type that the claim has.

use serde_json::Number;
use toml::de::DeValue;

use super::Reader;
use super::claims::Language;
use super::fields::empty_list;
use super::keys::{Key, Keys, Placed, kind_in_words};
use super::words::{id_number, shown};
use crate::issuer::profile::{Claim, ClaimType};
use crate::trust::condition::{Alternatives, Asked, Scalar};
use crate::trust::fault::Problem;
use crate::trust::glob::Glob;

impl<'t> Reader<'_, 't> {
    /// A value, a list of values, or a table of `glob`, `not` and `absent`.
    pub(super) fn condition(
        &mut self,
        key: &Key<'t>,
        name: &str,
        known: Option<&Claim>,
        language: Language<'_>,
    ) -> Option<Asked> {
        if let Some(claim) = known
            && claim.kind == ClaimType::Object
            && !key
                .value
                .get_ref()
                .as_table()
                .is_some_and(|table| table.contains_key("absent"))
        {
            self.report(
                Problem::new(
                    "claim-type",
                    key.value_at(),
                    format!("in tokens of {} `{name}` is an object", language.title()),
                    "no value equals an object",
                )
                .mend(format!("name one of its members: `\"/{name}/…\"`")),
            );
            return None;
        }
        if let DeValue::Table(table) = key.value.get_ref() {
            let table = Keys::of(table, key.value_at());
            return self.condition_table(key, table, known, language);
        }
        let one_of = Alternatives {
            exact: self.scalars(key, known, language)?,
            globs: Vec::new(),
        };
        Some(Asked::Present {
            one_of: Some(one_of),
            none_of: None,
        })
    }

    fn condition_table(
        &mut self,
        key: &Key<'t>,
        mut table: Keys<'t>,
        known: Option<&Claim>,
        language: Language<'_>,
    ) -> Option<Asked> {
        if table.rest().is_empty() {
            self.report(Problem::new(
                "condition-empty",
                key.value_at(),
                format!("the condition on `{}` asks nothing", shown(key.name)),
                "nothing here",
            ));
            return None;
        }
        let (absent, glob, not) = (table.take("absent"), table.take("glob"), table.take("not"));
        for other in table.rest() {
            let problem = Problem::new(
                "unknown-key",
                other.at.into(),
                format!("`{}` is no kind of condition", shown(other.name)),
                "unknown here",
            );
            self.report(problem.mend(
                "a condition is a value, a list of values, or a table with `glob`, `not` or `absent`; \
                a claim inside an object is named by a JSON Pointer, such as `\"/kubernetes.io/namespace\"`",
            ));
        }
        if let Some(absent) = absent {
            let alone = glob.is_none() && not.is_none();
            return self.absent(key, &absent, alone, known, language);
        }
        let one_of = glob.map(|glob| Alternatives {
            exact: Vec::new(),
            globs: self.claim_globs(&glob, known, language),
        });
        let none_of = match not {
            None => None,
            Some(not) => Some(self.none_of(&not, known, language)?),
        };
        (one_of.is_some() || none_of.is_some()).then_some(Asked::Present { one_of, none_of })
    }

    fn absent(
        &mut self,
        key: &Key<'t>,
        absent: &Key<'t>,
        alone: bool,
        known: Option<&Claim>,
        language: Language<'_>,
    ) -> Option<Asked> {
        if !self.boolean(absent)? {
            self.report(
                Problem::new(
                    "condition-absent",
                    absent.value_at(),
                    "`absent` is `true` or not there",
                    "`false` asks nothing",
                )
                .mend("a condition on the claim's value asks already that it is there"),
            );
            return None;
        }
        if !alone {
            self.report(Problem::new(
                "condition-absent",
                absent.at.into(),
                "`absent` stands alone: a claim that is absent has no value",
                "beside another condition",
            ));
            return None;
        }
        // For some other issuer, the claim may well be absent.
        if language.issuer.is_some() && known.is_some_and(|claim| claim.always) {
            self.report(Problem::new(
                "never-absent",
                absent.at.into(),
                format!("`{}` is in every token of {}", key.name, language.title()),
                "never absent",
            ));
            return None;
        }
        Some(Asked::Absent)
    }

    /// `not`: a value, a glob, or a list of them.
    fn none_of(
        &mut self,
        not: &Key<'t>,
        known: Option<&Claim>,
        language: Language<'_>,
    ) -> Option<Alternatives> {
        let single = std::slice::from_ref(not.value);
        let members: &[Placed<'t>] = match not.value.get_ref() {
            DeValue::Array(members) if members.is_empty() => {
                self.report(empty_list(not));
                return None;
            }
            DeValue::Array(members) => members,
            _ => single,
        };
        let mut none_of = Alternatives::default();
        for member in members {
            let DeValue::Table(table) = member.get_ref() else {
                none_of
                    .exact
                    .extend(self.scalar(not, member, known, language));
                continue;
            };
            let mut table = Keys::of(table, member.span());
            let glob = table.take("glob");
            if let (Some(glob), true) = (&glob, table.rest().is_empty()) {
                none_of
                    .globs
                    .extend(self.claim_globs(glob, known, language));
            } else {
                self.report(
                    Problem::new(
                        "condition-nested",
                        member.span(),
                        "`not` takes values and `{ glob = … }`",
                        "another condition",
                    )
                    .mend("write `{ not = \"…\" }` or `{ not = { glob = \"…\" } }`"),
                );
            }
        }
        Some(none_of)
    }

    /// The globs of a condition, on a claim that holds texts.
    fn claim_globs(
        &mut self,
        key: &Key<'t>,
        known: Option<&Claim>,
        language: Language<'_>,
    ) -> Vec<Glob> {
        if let Some(claim) = known
            && matches!(claim.kind, ClaimType::Number | ClaimType::Boolean)
        {
            self.report(Problem::new(
                "claim-type",
                key.value_at(),
                format!(
                    "in tokens of {} `{}` is {}: a glob is for texts",
                    language.title(),
                    claim.name,
                    claim.kind.in_words()
                ),
                "a glob",
            ));
            return Vec::new();
        }
        self.globs_of(key, known.is_some_and(|claim| claim.fold))
    }

    /// `glob = "…"` or `glob = ["…", "…"]`.
    pub(super) fn globs_of(&mut self, key: &Key<'t>, fold: bool) -> Vec<Glob> {
        let texts = match key.value.get_ref() {
            DeValue::String(text) => vec![(&**text, key.value_at())],
            DeValue::Array(members) if members.is_empty() => {
                self.report(empty_list(key));
                return Vec::new();
            }
            DeValue::Array(_) => self.texts(key).unwrap_or_default(),
            _ => {
                self.wrong_type(key, "a text or a list of texts");
                return Vec::new();
            }
        };
        let mut globs = Vec::new();
        for (text, at) in texts {
            match self.shared.globs.compile(text, fold) {
                Ok(glob) => globs.push(glob),
                Err(fault) => self.report(Problem::new(
                    "glob-invalid",
                    at,
                    format!("`{}` is no glob", shown(text)),
                    fault.to_string(),
                )),
            }
        }
        globs
    }

    /// A value or a list of values.
    fn scalars(
        &mut self,
        key: &Key<'t>,
        known: Option<&Claim>,
        language: Language<'_>,
    ) -> Option<Vec<Scalar>> {
        let DeValue::Array(members) = key.value.get_ref() else {
            return Some(vec![self.scalar(key, key.value, known, language)?]);
        };
        if members.is_empty() {
            self.report(empty_list(key));
            return None;
        }
        let mut scalars = Vec::new();
        for member in members {
            scalars.extend(self.scalar(key, member, known, language));
        }
        Some(scalars)
    }

    /// One value, of the type that the claim has.
    fn scalar(
        &mut self,
        key: &Key<'t>,
        value: &Placed<'t>,
        known: Option<&Claim>,
        language: Language<'_>,
    ) -> Option<Scalar> {
        let found = match value.get_ref() {
            DeValue::String(text) => Scalar::Text((&**text).into()),
            DeValue::Boolean(boolean) => Scalar::Boolean(*boolean),
            number @ (DeValue::Integer(_) | DeValue::Float(_)) => {
                let Some(number) = number_of(number) else {
                    self.report(Problem::new(
                        "number-invalid",
                        value.span(),
                        "a token cannot hold this number",
                        "not finite, or too large",
                    ));
                    return None;
                };
                Scalar::Number(number)
            }
            DeValue::Datetime(date) => {
                self.report(unusable(key, value).mend(format!(
                    "a token has no dates: write `\"{date}\"` if it is a text"
                )));
                return None;
            }
            DeValue::Array(_) => {
                self.report(unusable(key, value).mend("write the values in one list"));
                return None;
            }
            DeValue::Table(_) => {
                self.report(unusable(key, value).mend(format!(
                    "write `{} = {{ glob = [\"…\", \"…\"] }}` for several globs",
                    shown(key.name)
                )));
                return None;
            }
        };
        let Some(claim) = known else {
            return Some(found);
        };
        match (claim.kind, found) {
            (ClaimType::Id, Scalar::Number(_)) if id_number(value.get_ref()).is_some() => {
                id_number(value.get_ref()).map(|id| Scalar::Text(id.into()))
            }
            (
                ClaimType::Text | ClaimType::Id | ClaimType::BooleanText | ClaimType::TextList,
                text @ Scalar::Text(_),
            ) => Some(text),
            (ClaimType::Number, number @ Scalar::Number(_)) => Some(number),
            (ClaimType::Boolean, boolean @ Scalar::Boolean(_)) => Some(boolean),
            (_, other) => {
                self.report(contradicts(claim, &other, value, language));
                None
            }
        }
    }
}

fn contradicts(
    claim: &Claim,
    written: &Scalar,
    value: &Placed<'_>,
    language: Language<'_>,
) -> Problem {
    let problem = Problem::new(
        "claim-type",
        value.span(),
        format!(
            "in tokens of {} `{}` is {}",
            language.title(),
            claim.name,
            claim.kind.in_words()
        ),
        format!("this is {}", kind_in_words(value.get_ref())),
    );
    match (claim.kind, written) {
        (ClaimType::Number | ClaimType::Boolean, Scalar::Text(text))
            if text.parse::<f64>().is_ok() || matches!(&**text, "true" | "false") =>
        {
            problem.mend(format!("write `{text}` instead, without quotation marks"))
        }
        (ClaimType::Number | ClaimType::Boolean, _) => problem,
        _ => problem.mend(format!("write `\"{}\"` instead", written.in_words())),
    }
}

fn unusable(key: &Key<'_>, value: &Placed<'_>) -> Problem {
    Problem::new(
        "condition-nested",
        value.span(),
        format!(
            "`{}` takes texts, numbers and booleans, or a list of them",
            shown(key.name)
        ),
        format!("this is {}", kind_in_words(value.get_ref())),
    )
}

/// The number, if JSON has it.
pub(super) fn number_of(value: &DeValue<'_>) -> Option<Number> {
    match value {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .map(Number::from),
        DeValue::Float(float) => Number::from_f64(float.as_str().parse().ok()?),
        _ => None,
    }
}
