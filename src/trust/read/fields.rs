//! The identity fields of an entry: who must ask.

use std::ops::Range;

use toml::de::DeValue;

use super::Reader;
use super::keys::{Key, Keys, Placed, kind_in_words};
use super::words::{id_number, shown, wrong_type};
use crate::issuer::profile::{FieldKind, IdentityField, Many, Profile, Required};
use crate::trust::FindingKind;
use crate::trust::entry::{Asks, Question, Test};
use crate::trust::fault::Problem;
use crate::trust::identity::{FieldTest, Named, WorkflowPath};
use crate::trust::place::Place;

/// A field that an entry gives, with its key.
type Given<'t> = (&'static IdentityField, Key<'t>);

impl<'t> Reader<'_, 't> {
    /// The identity fields of an entry, in the order of the file. `trust` is where a trust relationship begins, which must
    /// give all that its profile asks for; a deny may give any.
    pub(super) fn fields(
        &mut self,
        keys: &mut Keys<'t>,
        profile: &'static Profile,
        trust: Option<Place>,
    ) -> Vec<Question> {
        let mut given: Vec<Given<'t>> = profile
            .fields
            .iter()
            .filter_map(|field| Some((field, keys.take(field.name)?)))
            .collect();
        given.sort_by_key(|(_, key)| key.at);
        if let Some(header) = trust {
            self.complete(profile, &given, header);
        }
        let mut questions = Vec::new();
        for (field, key) in &given {
            if let Some(named) = self.named(field, key, &given, trust.is_some()) {
                questions.push(self.question(field, named, &given, key));
            }
        }
        questions
    }

    fn question(
        &mut self,
        field: &'static IdentityField,
        named: Named,
        given: &[Given<'t>],
        key: &Key<'t>,
    ) -> Question {
        let single = matches!(&named, Named::Exact(values) if values.len() == 1);
        let id = given
            .iter()
            .map(|(id, _)| *id)
            .find(|id| id.id_of == Some(field.name));
        let test = FieldTest {
            field,
            named,
            label_of: id.filter(|_| single),
        };
        let (kind, wanted) = match test.label_of {
            None => (FindingKind::Identity, test.in_words()),
            Some(id) => (
                FindingKind::Label,
                format!(
                    "{}, or another name: `{}` decides",
                    test.in_words(),
                    id.name
                ),
            ),
        };
        let asks = Asks {
            asked: self.shared.text(field.name),
            claim: self.shared.text(field.source.claim()),
            kind,
            wanted: wanted.into(),
            test: Test::Field(test),
        };
        Question {
            asks: self.shared.asks(asks),
            at: key.places(),
        }
    }

    /// Reports the fields that the profile asks for and the relationship does not give.
    fn complete(&mut self, profile: &'static Profile, given: &[Given<'t>], header: Place) {
        let has = |name: &str| given.iter().any(|(field, _)| field.name == name);
        for field in profile.fields {
            let (missing, unless) = match field.required {
                Required::No => continue,
                Required::Yes => (!has(field.name), String::new()),
                Required::UnlessIds(ids) => (
                    !has(field.name) && !ids.iter().all(|id| has(id)),
                    format!(", or all of {}", listed(ids)),
                ),
            };
            if missing {
                let hint = match field.kind {
                    FieldKind::Uuid(hint) => format!("; {hint}"),
                    _ => String::new(),
                };
                self.report(
                    Problem::new(
                        "identity-missing",
                        header.into(),
                        format!(
                            "`{}` is missing: it says whose jobs of {} are meant",
                            field.name, profile.title
                        ),
                        format!("no `{}` here", field.name),
                    )
                    .mend(format!("add `{} = \"…\"`{unless}{hint}", field.name)),
                );
            }
        }
    }

    /// What is written for a field: one value, a list, or a glob, as far as the field takes them.
    fn named(
        &mut self,
        field: &'static IdentityField,
        key: &Key<'t>,
        given: &[Given<'t>],
        in_trust: bool,
    ) -> Option<Named> {
        match key.value.get_ref() {
            DeValue::Array(members) => {
                if field.many == Many::One {
                    self.report(not_many(field, key, "a list"));
                    return None;
                }
                if members.is_empty() {
                    self.report(empty_list(key));
                    return None;
                }
                let mut values = Vec::new();
                for member in members {
                    values.extend(self.field_value(field, key.name, member));
                }
                Some(Named::Exact(values.into()))
            }
            DeValue::Table(table) => {
                let globs = Keys::of(table, key.value_at());
                match field.many {
                    Many::One | Many::List => {
                        self.report(not_many(field, key, "a glob"));
                        return None;
                    }
                    Many::GlobWith(id)
                        if in_trust && !given.iter().any(|(field, _)| field.name == id) =>
                    {
                        self.report(
                            Problem::new(
                                "glob-needs-id",
                                key.value_at(),
                                format!("a glob for `{}` needs `{id}` beside it", key.name),
                                "a glob of names",
                            )
                            .mend(format!(
"add `{id} = \"…\"`, so that nobody else can register a name that matches"
)),
                        );
                    }
                    Many::GlobWith(_) | Many::ListOrGlob => {}
                }
                self.only_glob(key, globs, field.fold)
            }
            _ if field.kind == FieldKind::ReusableWorkflow => self.reusable_workflow(key),
            _ => {
                let value = self.field_value(field, key.name, key.value)?;
                Some(Named::Exact(Box::new([value])))
            }
        }
    }

    /// `{ glob = … }` and nothing else.
    fn only_glob(&mut self, key: &Key<'t>, mut table: Keys<'t>, fold: bool) -> Option<Named> {
        let glob = table.take("glob");
        for other in table.rest() {
            self.report(
                Problem::new(
                    "unknown-key",
                    other.at.into(),
                    format!("`{}` is no key of an identity field", shown(other.name)),
                    "unknown here",
                )
                .mend(format!(
                    "an identity field is a value, a list, or `{} = {{ glob = \"…\" }}`",
                    key.name
                )),
            );
        }
        let Some(glob) = glob else {
            if table.rest().is_empty() {
                self.report(Problem::new(
                    "condition-empty",
                    key.value_at(),
                    "an empty table asks nothing",
                    "nothing here",
                ));
            }
            return None;
        };
        Some(Named::Like(self.globs_of(&glob, fold).into()))
    }

    fn reusable_workflow(&mut self, key: &Key<'t>) -> Option<Named> {
        let text = self.text(key)?;
        let path = WorkflowPath::parse(text);
        if path.is_none() {
            self.report(
                value_fault(
                    key.name,
                    text,
                    key.value_at(),
                    "not `owner/repository/path[@ref]`",
                )
                .mend(
                    "write the workflow's path in its repository, such as \
                    `\"acme/tools/.github/workflows/release.yml@refs/heads/main\"`; the ref is full",
                ),
            );
        }
        path.map(|path| Named::Workflow(Box::new(path)))
    }

    /// One exact value, checked for what the field may be.
    fn field_value(
        &mut self,
        field: &IdentityField,
        name: &str,
        value: &Placed<'t>,
    ) -> Option<Box<str>> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            number @ DeValue::Integer(_) if field.kind == FieldKind::Id => {
                let Some(id) = id_number(number) else {
                    let label = "an id is written with decimal digits";
                    self.report(value_fault(name, "this number", value.span(), label));
                    return None;
                };
                id
            }
            _ => {
                let wanted = if field.kind == FieldKind::Id {
                    "an id, as text or number"
                } else {
                    "a text"
                };
                let problem = wrong_type(name, value, wanted);
                let quoted = value
                    .get_ref()
                    .as_integer()
                    .map(|number| format!("write `\"{number}\"`"));
                self.report(match quoted {
                    Some(mend) => problem.mend(mend),
                    None => problem,
                });
                return None;
            }
        };
        match check(field.kind, name, &text) {
            Ok(value) => Some(value.into()),
            Err((label, mend)) => {
                let problem = value_fault(name, &text, value.span(), label);
                let mend = if mend.is_empty() {
                    field.found_at.to_owned()
                } else {
                    mend
                };
                self.report(if mend.is_empty() {
                    problem
                } else {
                    problem.mend(mend)
                });
                None
            }
        }
    }
}

/// Checks a text for a field; the value as it is compared, or what is wrong with it and how to mend it.
fn check(kind: FieldKind, name: &str, text: &str) -> Result<String, (&'static str, String)> {
    let fault = |label: &'static str| Err((label, String::new()));
    if text.is_empty() {
        return match kind {
            FieldKind::Uuid(hint) => Err(("empty", hint.to_owned())),
            _ => fault("empty"),
        };
    }
    if text.chars().any(char::is_control) {
        return fault("holds a control character");
    }
    let last = text.rsplit('/').next().unwrap_or_default();
    let spaced = text.trim() != text;
    match kind {
        FieldKind::Uuid(hint) => match uuid::Uuid::try_parse(text) {
            Ok(uuid) if text.len() == 36 => Ok(uuid.as_hyphenated().to_string()),
            _ => Err(("not a UUID", hint.to_owned())),
        },
        FieldKind::Opaque => Ok(text.to_owned()),
        _ if spaced => fault("begins or ends with a space"),
        FieldKind::Name if text.contains('/') => Err((
            "a name has no `/`",
            format!(
                "write `{name} = \"{}\"`: the part before it has a key of its own",
                shown(last)
            ),
        )),
        FieldKind::Path if !text.contains('/') || text.split('/').any(str::is_empty) => Err((
            "not a path",
            format!(
                "write the whole path, such as `{name} = \"acme/{}\"`",
                shown(last)
            ),
        )),
        FieldKind::Id if text.contains(|c: char| c.is_whitespace() || c == '/') => {
            fault("not an id")
        }
        FieldKind::FullRef if !text.starts_with("refs/") => Err((
            "not a full ref",
            format!(
                "write `\"refs/heads/{0}\"` for the branch or `\"refs/tags/{0}\"` for the tag",
                shown(text)
            ),
        )),
        FieldKind::FullRef if text.ends_with('/') => fault("not a full ref"),
        FieldKind::WorkflowFile if text.contains('/') => Err((
            "a path",
            format!(
                "write the file's name alone: `{name} = \"{}\"`",
                shown(last)
            ),
        )),
        FieldKind::WorkflowFile if !is_workflow_file(text) => Err((
            "not the name of a workflow's file",
            "write the file's name, such as `\"release.yml\"`; the name that is displayed \
            is the claim `workflow`, under `[trust.claims]`"
                .to_owned(),
        )),
        _ => Ok(text.to_owned()),
    }
}

/// Whether GitHub would run a file of this name. It takes these two endings, in lower case.
fn is_workflow_file(name: &str) -> bool {
    [".yml", ".yaml"]
        .into_iter()
        .any(|ending| name.ends_with(ending))
}

fn value_fault(name: &str, text: &str, at: Range<usize>, label: &'static str) -> Problem {
    Problem::new(
        "identity-value",
        at,
        format!("`{}` cannot be `{name}`", shown(text)),
        label,
    )
}

fn not_many(field: &IdentityField, key: &Key<'_>, what: &str) -> Problem {
    let takes = match field.many {
        Many::One => "one exact value",
        Many::List => "one exact value or a list of them",
        Many::ListOrGlob | Many::GlobWith(_) => "one exact value, a list or a glob",
    };
    Problem::new(
        "one-value",
        key.value_at(),
        format!("`{}` takes {takes}, and not {what}", field.name),
        format!("this is {}", kind_in_words(key.value.get_ref())),
    )
    .mend(format!(
        "write one relationship for each, or a condition on the claim `{}` under `claims`",
        field.source.claim()
    ))
}

pub(super) fn empty_list(key: &Key<'_>) -> Problem {
    Problem::new(
        "list-empty",
        key.value_at(),
        format!("the list of `{}` is empty", shown(key.name)),
        "no value could be one of none",
    )
}

/// `` `a`, `b` ``.
fn listed(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
