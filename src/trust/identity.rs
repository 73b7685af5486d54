//! Identity fields: who a job says it is, compared with what a policy names.

use std::borrow::Cow;

use serde_json::Value;

use super::condition::{Sense, glob_in_words, one_of_in_words, quoted, same_text};
use super::glob::Glob;
use crate::issuer::profile::{IdentityField, Source};
use crate::subject::VerifiedClaims;

/// The value of a token that an identity field is compared with.
pub(super) enum Reading<'a> {
    /// The claim is absent or null.
    Absent,
    /// The claim is there, but not of the form that the CI system gives it.
    Odd,
    /// The value.
    Text(Cow<'a, str>),
}

/// What a policy names for an identity field.
#[derive(Debug, PartialEq)]
pub(super) enum Named {
    /// One of these values.
    Exact(Box<[Box<str>]>),
    /// Whatever one of these globs matches.
    Like(Box<[Glob]>),
    /// A workflow's file, wherever the field's source is a path with a ref.
    Workflow(Box<WorkflowPath>),
}

/// A reusable workflow as a policy names it: `owner/repository/path[@ref]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkflowPath {
    /// `owner/repository`, compared without ASCII case.
    pub(super) repository: Box<str>,
    /// The file within it.
    pub(super) file: Box<str>,
    /// The ref, if the policy asks for one.
    pub(super) reference: Option<Box<str>>,
}

/// An identity field with what the policy names for it.
#[derive(Debug)]
pub(super) struct FieldTest {
    pub(super) field: &'static IdentityField,
    pub(super) named: Named,
    /// The id whose being given makes this name a label.
    pub(super) label_of: Option<&'static IdentityField>,
}

impl PartialEq for FieldTest {
    fn eq(&self, other: &Self) -> bool {
        let label_of = |test: &Self| test.label_of.map(std::ptr::from_ref);
        std::ptr::eq(self.field, other.field)
            && label_of(self) == label_of(other)
            && self.named == other.named
    }
}

/// Whether a field holds, and whether only because an id stands for its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) holds: bool,
    pub(super) renamed: bool,
}

impl Answer {
    /// An answer in which nothing was renamed.
    pub(super) fn plain(holds: bool) -> Self {
        Self {
            holds,
            renamed: false,
        }
    }
}

impl FieldTest {
    /// What the token says.
    ///
    /// A label in a trust holds for any name, since its id decides. In a deny it is asked only where the token leaves
    /// out the id: a deny must be escaped neither by a rename nor by not asking the CI system for the id.
    pub(super) fn answer(&self, claims: &VerifiedClaims, sense: Sense) -> Answer {
        let reading = read(self.field.source, claims);
        let same = match &reading {
            Reading::Text(found) => self.names(found),
            Reading::Absent | Reading::Odd => false,
        };
        match (sense, self.label_of) {
            (Sense::Trust, None) => Answer::plain(same),
            (Sense::Trust, Some(_)) => {
                let there = matches!(&reading, Reading::Text(found) if !found.is_empty());
                Answer {
                    holds: there,
                    renamed: there && !same,
                }
            }
            (Sense::Deny, None) => Answer::plain(same || self.odd_for_a_deny(&reading)),
            (Sense::Deny, Some(id)) => {
                if matches!(read(id.source, claims), Reading::Text(_)) {
                    Answer {
                        holds: true,
                        renamed: !same,
                    }
                } else {
                    Answer::plain(same || self.odd_for_a_deny(&reading))
                }
            }
        }
    }

    /// Whether a deny must hold because the token does not say who it is: the value has a wrong form, every job's token
    /// has it, or it is an id that the caller chose to leave out.
    fn odd_for_a_deny(&self, reading: &Reading<'_>) -> bool {
        match reading {
            Reading::Text(_) => false,
            Reading::Odd => true,
            Reading::Absent => self.field.always || self.field.id_of.is_some(),
        }
    }

    fn names(&self, found: &str) -> bool {
        match &self.named {
            Named::Exact(values) => values
                .iter()
                .any(|value| same_text(value, found, self.field.fold)),
            Named::Like(globs) => globs.iter().any(|glob| glob.matches(found)),
            Named::Workflow(path) => path.names(found),
        }
    }

    /// The exact values that the policy names, if a token must have one of them.
    pub(super) fn exact(&self) -> Option<&[Box<str>]> {
        match (&self.named, self.label_of) {
            (Named::Exact(values), None) => Some(values),
            _ => None,
        }
    }

    /// What is named, in words.
    pub(super) fn in_words(&self) -> String {
        match &self.named {
            Named::Exact(values) => {
                one_of_in_words(values.iter().map(|value| quoted(value)).collect())
            }
            Named::Like(globs) => one_of_in_words(globs.iter().map(glob_in_words).collect()),
            Named::Workflow(path) => quoted(&path.as_written()),
        }
    }
}

/// Reads the value of a token that a field is compared with.
pub(super) fn read(source: Source, claims: &VerifiedClaims) -> Reading<'_> {
    match source {
        Source::Claim(claim) | Source::WorkflowPath(claim) => text(claims, claim),
        Source::Within { claim, parent } => match (claims.text(claim), claims.text(parent)) {
            (Some(path), Some(parent)) => {
                rest_within(path, parent).map_or(Reading::Absent, |rest| Reading::Text(rest.into()))
            }
            _ => text_or_odd(claims, claim),
        },
        Source::WorkflowFile { claim, repository } => {
            match (claims.text(claim), claims.text(repository)) {
                (Some(path), Some(repository)) => workflow_file(path, repository)
                    .map_or(Reading::Odd, |file| Reading::Text(file.into())),
                _ => text_or_odd(claims, claim),
            }
        }
        Source::FullRef { claim, name, kind } => match claims.get(claim) {
            Some(_) => text(claims, claim),
            None => full_ref(claims, name, kind),
        },
    }
}

fn text<'a>(claims: &'a VerifiedClaims, claim: &str) -> Reading<'a> {
    match claims.get(claim) {
        None => Reading::Absent,
        Some(Value::String(text)) => Reading::Text(text.into()),
        Some(_) => Reading::Odd,
    }
}

/// For a value that takes two claims, when one of them is no text.
fn text_or_odd<'a>(claims: &'a VerifiedClaims, claim: &str) -> Reading<'a> {
    match claims.get(claim) {
        None => Reading::Absent,
        Some(_) => Reading::Odd,
    }
}

/// The rest of `path` after `parent` and a `/`. Owners compare without ASCII case.
fn rest_within<'a>(path: &'a str, parent: &str) -> Option<&'a str> {
    let (head, rest) = path.split_at_checked(parent.len())?;
    let rest = rest.strip_prefix('/')?;
    head.eq_ignore_ascii_case(parent).then_some(rest)
}

/// The file in `<repository>/.github/workflows/<file>@<ref>`: what follows the `@` must look like a ref, or else a file
/// called `f.yml@evil.yml` could pass for `f.yml`.
pub(super) fn workflow_file<'a>(path: &'a str, repository: &str) -> Option<&'a str> {
    let file = rest_within(path, repository)?.strip_prefix(".github/workflows/")?;
    file.match_indices('@')
        .find_map(|(at, _)| {
            let (file, reference) = (file.get(..at)?, file.get(at + 1..)?);
            is_reference(reference).then_some(file)
        })
        .filter(|file| !file.is_empty() && !file.contains('/'))
}

/// The full ref of a bare name and its type.
fn full_ref<'a>(claims: &'a VerifiedClaims, name: &str, kind: &str) -> Reading<'a> {
    let folder = match claims.text(kind) {
        Some("branch") => "heads",
        Some("tag") => "tags",
        Some(_) => return Reading::Odd,
        None => return text_or_odd(claims, kind),
    };
    match text(claims, name) {
        Reading::Text(name) => Reading::Text(format!("refs/{folder}/{name}").into()),
        other => other,
    }
}

/// Whether `text` is a full ref or the digest of a commit.
fn is_reference(text: &str) -> bool {
    let digest = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digest || (text.starts_with("refs/") && text.len() > "refs/".len())
}

impl WorkflowPath {
    /// Reads `owner/repository/path[@ref]`; the path ends at the first `@`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (path, reference) = match text.split_once('@') {
            Some((_, reference)) if !is_reference(reference) => return None,
            Some((path, reference)) => (path, Some(reference.into())),
            None => (text, None),
        };
        let (repository, file) = split_repository(path)?;
        let whole = path.split('/').all(|segment| !segment.is_empty());
        whole.then(|| Self {
            repository: repository.into(),
            file: file.into(),
            reference,
        })
    }

    fn names(&self, found: &str) -> bool {
        let Some((path, reference)) = found.split_once('@') else {
            return false;
        };
        let same_path = split_repository(path).is_some_and(|(repository, file)| {
            repository.eq_ignore_ascii_case(&self.repository) && *file == *self.file
        });
        same_path
            && match &self.reference {
                Some(wanted) => **wanted == *reference,
                None => is_reference(reference),
            }
    }

    fn as_written(&self) -> String {
        let path = format!("{}/{}", self.repository, self.file);
        match &self.reference {
            Some(reference) => format!("{path}@{reference}"),
            None => path,
        }
    }
}

/// Splits `owner/repository/path` after its second segment.
fn split_repository(path: &str) -> Option<(&str, &str)> {
    let owner = path.find('/')?;
    let repository = path.get(owner + 1..)?.find('/')?;
    let end = owner + 1 + repository;
    Some((path.get(..end)?, path.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_repository_is_what_follows_its_owner() {
        assert_eq!(
            rest_within("octo-org/octo-repo", "octo-org"),
            Some("octo-repo")
        );
        assert_eq!(
            rest_within("Octo-Org/octo-repo", "octo-org"),
            Some("octo-repo")
        );
        for (path, parent) in [
            ("octo-org", "octo-org"),
            ("octo-orgs/octo-repo", "octo-org"),
            ("mallory/octo-repo", "octo-org"),
            ("é/x", "a"),
        ] {
            assert_eq!(rest_within(path, parent), None, "{path}");
        }
    }

    #[test]
    fn a_file_with_an_at_sign_does_not_pass_for_another_workflow() {
        let file = |path| workflow_file(path, "o/r");
        for path in [
            "o/r/.github/workflows/f.yml@refs/heads/main",
            "O/R/.github/workflows/f.yml@refs/heads/main",
            "o/r/.github/workflows/f.yml@refs/heads/a@refs/heads/b",
            "o/r/.github/workflows/f.yml@2f1a8c9d4e5b60718293a4b5c6d7e8f901234567",
        ] {
            assert_eq!(file(path), Some("f.yml"), "{path}");
        }
        assert_eq!(
            file("o/r/.github/workflows/f.yml@evil.yml@refs/heads/main"),
            Some("f.yml@evil.yml")
        );
        for path in [
            "o/r/.github/workflows/f.yml",
            "o/r/.github/workflows/f.yml@",
            "o/r/.github/workflows/f.yml@main",
            "o/r/.github/workflows/@refs/heads/main",
            "o/r/.github/workflows/x/f.yml@refs/heads/main",
            "o/r2/.github/workflows/f.yml@refs/heads/main",
            "o/r/workflows/f.yml@refs/heads/main",
        ] {
            assert_eq!(file(path), None, "{path}");
        }
    }

    #[test]
    fn a_reusable_workflow_is_its_repository_in_any_case_its_path_exactly_and_its_ref_if_given() {
        let any_ref = WorkflowPath::parse("octo-org/Tools/.github/workflows/f.yml").unwrap();
        let of_main =
            WorkflowPath::parse("octo-org/tools/.github/workflows/f.yml@refs/heads/main").unwrap();
        for (found, any, main) in [
            (
                "octo-org/tools/.github/workflows/f.yml@refs/heads/main",
                true,
                true,
            ),
            (
                "Octo-Org/TOOLS/.github/workflows/f.yml@refs/heads/main",
                true,
                true,
            ),
            (
                "octo-org/tools/.github/workflows/f.yml@refs/tags/v1",
                true,
                false,
            ),
            (
                "octo-org/tools/.github/workflows/f.yml@refs/heads/Main",
                true,
                false,
            ),
            (
                "octo-org/tools/.github/workflows/F.yml@refs/heads/main",
                false,
                false,
            ),
            (
                "octo-org/tools/.github/workflows/f.yml@x.yml@refs/heads/main",
                false,
                false,
            ),
            ("octo-org/tools/.github/workflows/f.yml", false, false),
            (
                "octo-org/tools2/.github/workflows/f.yml@refs/heads/main",
                false,
                false,
            ),
        ] {
            assert_eq!(any_ref.names(found), any, "{found}");
            assert_eq!(of_main.names(found), main, "{found}");
        }
        for text in [
            "",
            "o/r",
            "o/r/",
            "o//f.yml",
            "/r/f.yml",
            "o/r/f.yml@main",
            "o/r/f.yml@",
        ] {
            assert_eq!(WorkflowPath::parse(text), None, "{text}");
        }
    }
}
