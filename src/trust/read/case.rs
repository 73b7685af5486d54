//! One `[[case]]`.

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::Reader;
use super::conditions::number_of;
use super::entry::Taken;
use super::fields::empty_list;
use super::keys::{Key, Keys, Placed};
use super::words::{missing, shown};
use crate::trust::case::{Case, CasePlaces, CaseStart, Expectation};
use crate::trust::fault::Problem;
use crate::trust::place::Place;

const CASE_KEYS: &[&str] = &[
    "name",
    "from",
    "claims-file",
    "claims",
    "expect",
    "because",
    "silence",
];

/// How deep a value under `claims` may be nested.
const DEEPEST: usize = 16;

impl<'t> Reader<'_, 't> {
    /// A case. `None`, or a part of one, if something is wrong with it: then the file does not load.
    pub(super) fn case(&mut self, mut keys: Keys<'t>, taken: &mut Taken<'t>) -> Option<Case> {
        let header = keys.at;
        let name = self.name(keys.take("name"), "case", header, taken);
        let silence = self.silence(keys.take("silence"));
        let (file, set, claims) = (
            keys.take("claims-file"),
            keys.take("from"),
            keys.take("claims"),
        );
        let (expect, because) = (keys.take("expect"), keys.take("because"));
        self.unknown(&keys, CASE_KEYS, "case", None);

        let start_at = self.one_start(header, file.as_ref(), set.as_ref(), claims.as_ref());
        let start = match (&file, &set) {
            (Some(key), _) => CaseStart::File(self.text(key)?.to_owned()),
            (None, Some(key)) => CaseStart::Set(self.text(key)?.to_owned()),
            (None, None) => CaseStart::Nothing,
        };
        let claims = claims.map(|key| self.json_table(&key)).unwrap_or_default();
        let expect = self.expectation(expect, because, header)?;
        Some(Case {
            name: name?.into(),
            start,
            claims,
            expect,
            at: CasePlaces {
                header,
                start: start_at,
            },
            silence,
        })
    }

    /// Reports a case that starts from nothing, or from two things at once; the place of what it starts from.
    fn one_start(
        &mut self,
        header: Place,
        file: Option<&Key<'t>>,
        set: Option<&Key<'t>>,
        claims: Option<&Key<'t>>,
    ) -> Place {
        if let (Some(file), Some(set)) = (file, set) {
            self.report(
                Problem::new(
                    "case-claims",
                    set.at.into(),
                    "a case starts from one set of claims",
                    "and from this",
                )
                .earlier(file.at.into(), "from this")
                .mend("leave out one of the two"),
            );
        }
        let start = file.or(set).or(claims);
        if start.is_none() {
            self.report(
                Problem::new(
                    "case-claims",
                    header.into(),
                    "a case has claims",
                    "no claims here",
                )
                .mend(
                    "add `claims-file = \"…\"`, `from = \"github-push\"` or `claims = { … }`; \
                    `claims` beside one of the others changes single claims of it",
                ),
            );
        }
        start.map_or(header, |key| key.value_at().into())
    }

    fn expectation(
        &mut self,
        expect: Option<Key<'t>>,
        because: Option<Key<'t>>,
        header: Place,
    ) -> Option<Expectation> {
        let Some(expect) = expect else {
            self.report(missing("expect", "case", header).mend(
                "add `expect = \"…\"`: the name of the relationship that must hold, \
                a list of names, or `\"denied\"`",
            ));
            return None;
        };
        if expect.value.get_ref().as_str() == Some("denied") {
            let because = because.and_then(|key| self.texts(&key)).unwrap_or_default();
            return Some(Expectation::Denied {
                because: because
                    .into_iter()
                    .map(|(text, _)| text.to_owned())
                    .collect(),
            });
        }
        if let Some(because) = because {
            self.report(
                Problem::new(
                    "case-because",
                    because.at.into(),
                    "`because` says why a case is denied, and this one is not",
                    "beside another `expect`",
                )
                .earlier(expect.value_at(), "not `\"denied\"`")
                .mend("leave it out, or write `expect = \"denied\"`"),
            );
        }
        let mut names = match expect.value.get_ref() {
            DeValue::String(name) => vec![name.to_string()],
            DeValue::Array(members) if members.is_empty() => {
                self.report(empty_list(&expect).mend("write `expect = \"denied\"`"));
                return None;
            }
            _ => self
                .texts(&expect)?
                .into_iter()
                .map(|(text, _)| text.to_owned())
                .collect(),
        };
        names.sort();
        names.dedup();
        Some(Expectation::Trust(names))
    }

    /// A table of claims, as a token would have them.
    fn json_table(&mut self, key: &Key<'t>) -> Map<String, Value> {
        let DeValue::Table(table) = key.value.get_ref() else {
            self.wrong_type(key, "a table of claims");
            return Map::new();
        };
        Keys::of(table, key.value_at())
            .rest()
            .iter()
            .filter_map(|key| Some((key.name.to_owned(), self.json(key, key.value, 0)?)))
            .collect()
    }

    fn json(&mut self, key: &Key<'t>, value: &Placed<'t>, depth: usize) -> Option<Value> {
        let why = match value.get_ref() {
            _ if depth > DEEPEST => "nested too deeply",
            DeValue::String(text) => return Some(Value::String(text.to_string())),
            DeValue::Boolean(boolean) => return Some(Value::Bool(*boolean)),
            number @ (DeValue::Integer(_) | DeValue::Float(_)) => match number_of(number) {
                Some(number) => return Some(Value::Number(number)),
                None => "not finite, or too large",
            },
            DeValue::Array(members) => {
                let members = members.iter();
                return members
                    .map(|member| self.json(key, member, depth + 1))
                    .collect::<Option<Vec<_>>>()
                    .map(Value::Array);
            }
            DeValue::Table(table) => {
                let members = table.iter().map(|(name, member)| {
                    let member = self.json(key, member, depth + 1)?;
                    Some((name.get_ref().to_string(), member))
                });
                return members.collect::<Option<Map<_, _>>>().map(Value::Object);
            }
            DeValue::Datetime(_) => "a token has no dates: write a text or a number",
        };
        self.report(Problem::new(
            "case-value",
            value.span(),
            format!("a token cannot hold this value for `{}`", shown(key.name)),
            why,
        ));
        None
    }
}
