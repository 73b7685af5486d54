//! From the text of a policy file to a [`ProjectPolicy`], or to everything that is wrong with it.
//!
//! The file is parsed into a tree that knows where each value stands, and the tree is walked by hand: every problem has
//! a place, and one problem does not hide the next.

mod case;
mod claims;
mod conditions;
mod entry;
mod fields;
mod guard_rails;
mod keys;
mod suggest;
mod words;

pub(super) use suggest::nearest;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::keys::{Key, Keys};
use super::fault::{PolicyFault, Problem};
use super::policy::Entries;
use super::{GuardRails, PolicyFile, ProjectPath, ProjectPolicy, Shared};
use crate::issuer::Registry;

/// The most syntax errors of one file that are shown: after the first, many are only its echo.
const MOST_SYNTAX_ERRORS: usize = 8;

/// The most problems of one file that are shown. Each is shown with its place in the text, so a large file that is all
/// wrong would otherwise take hours to refuse, and no other file is read meanwhile.
const MOST_PROBLEMS: usize = 100;

/// Reads the policy file of the project `path`, whose text is `text`. `file` is what errors call it. Issuers are those of
/// `registry`; a policy that names another one does not load.
pub fn read_policy(
    path: ProjectPath,
    file: &str,
    text: &str,
    registry: &Registry,
) -> Result<ProjectPolicy, PolicyFault> {
    Shared::default().read_policy(path, file, text, registry)
}

/// Reads the guard rails of `organization`, whose text is `text`. `file` is what errors call it.
pub fn read_guard_rails(
    organization: &str,
    file: &str,
    text: &str,
    registry: &Registry,
) -> Result<GuardRails, PolicyFault> {
    Shared::default().read_guard_rails(organization, file, text, registry)
}

impl Shared {
    /// [`read_policy`], for one of many.
    pub fn read_policy(
        &mut self,
        path: ProjectPath,
        file: &str,
        text: &str,
        registry: &Registry,
    ) -> Result<ProjectPolicy, PolicyFault> {
        let file = PolicyFile::new(file, text);
        let tree = parse(&file)?;
        let mut reader = Reader::new(registry, self);
        let entries = reader.file(Keys::of(tree.get_ref(), 0..0));
        reader.end(&file)?;
        Ok(ProjectPolicy::new(path, file.clone(), entries))
    }

    /// [`read_guard_rails`], for one of many.
    pub fn read_guard_rails(
        &mut self,
        organization: &str,
        file: &str,
        text: &str,
        registry: &Registry,
    ) -> Result<GuardRails, PolicyFault> {
        let file = PolicyFile::new(file, text);
        let tree = parse(&file)?;
        let mut reader = Reader::new(registry, self);
        let rails = reader.guard_rails(Keys::of(tree.get_ref(), 0..0));
        reader.end(&file)?;
        Ok(GuardRails::new(organization, file.clone(), rails))
    }
}

fn parse(file: &PolicyFile) -> Result<Spanned<DeTable<'_>>, PolicyFault> {
    let (tree, errors) = DeTable::parse_recoverable(file.text());
    if errors.is_empty() {
        return Ok(tree);
    }
    let problems = errors.iter().take(MOST_SYNTAX_ERRORS).map(syntax_error);
    Err(PolicyFault::new(file.clone(), problems.collect()))
}

fn syntax_error(error: &toml::de::Error) -> Problem {
    let message = words::shown(error.message());
    let span = error.span().unwrap_or_default();
    Problem::new("syntax", span, format!("not TOML: {message}"), "here")
}

/// What is at hand while a file is read.
struct Reader<'r, 't> {
    registry: &'r Registry,
    problems: Vec<Problem>,
    shared: &'r mut Shared,
    text: std::marker::PhantomData<&'t str>,
}

impl<'r, 't> Reader<'r, 't> {
    fn new(registry: &'r Registry, shared: &'r mut Shared) -> Self {
        shared.globs.begin();
        Self {
            registry,
            problems: Vec::new(),
            shared,
            text: std::marker::PhantomData,
        }
    }

    /// What came of reading `file`.
    fn end(self, file: &PolicyFile) -> Result<(), PolicyFault> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(PolicyFault::new(file.clone(), self.problems))
        }
    }

    fn report(&mut self, problem: Problem) {
        match self.problems.len().cmp(&MOST_PROBLEMS) {
            Ordering::Less => self.problems.push(problem),
            Ordering::Equal => self.problems.push(Problem::new(
                "more-problems",
                problem.span(),
                format!("there are more problems than the {MOST_PROBLEMS} that are shown"),
                "this is the next one",
            )),
            Ordering::Greater => {}
        }
    }

    fn file(&mut self, mut keys: Keys<'t>) -> Entries {
        let mut entries = Entries {
            silence: self.silence(keys.take("silence")),
            ..Entries::default()
        };
        let mut taken = BTreeMap::new();
        for table in self.tables(keys.take("trust")) {
            entries.relationships.extend(self.trust(table, &mut taken));
        }
        let mut taken = BTreeMap::new();
        for table in self.tables(keys.take("deny")) {
            entries.denies.extend(self.deny(table, &mut taken));
        }
        let mut taken = BTreeMap::new();
        for table in self.tables(keys.take("case")) {
            entries.cases.extend(self.case(table, &mut taken));
        }
        for key in keys.rest() {
            let problem = Problem::new(
                "unknown-key",
                key.at.into(),
                format!("`{}` is no key of a policy file", words::shown(key.name)),
                "unknown here",
            );
            let mend = match suggest::nearest(key.name, ["trust", "deny", "case"]) {
                Some(meant) => format!("did you mean `[[{meant}]]`?"),
                None => "a policy file holds `[[trust]]`, `[[deny]]` and `[[case]]` entries, and keys stand below one"
                    .to_owned(),
            };
            self.report(problem.mend(mend));
        }
        entries
    }

    /// The tables of `[[trust]]`, `[[deny]]` and so on.
    fn tables(&mut self, key: Option<Key<'t>>) -> Vec<Keys<'t>> {
        let Some(key) = key else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        match key.value.get_ref() {
            DeValue::Array(members) => {
                for member in members {
                    match member.get_ref() {
                        DeValue::Table(table) => tables.push(Keys::of(table, member.span())),
                        _ => self.report(words::wrong_type(key.name, member, "tables")),
                    }
                }
            }
            _ => self.report(
                words::wrong_type(key.name, key.value, "a list of tables").mend(format!(
                    "write `[[{}]]`, in two pairs of brackets",
                    key.name
                )),
            ),
        }
        tables
    }
}

#[cfg(test)]
mod tests;
